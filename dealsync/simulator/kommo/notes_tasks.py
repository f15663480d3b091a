"""Writing notes and tasks. Source: Kommo reference, 4.1 and 4.2."""

from collections.abc import Iterable, Mapping

from dealsync.simulator.assumptions import (
    DEFAULT_NOTE_TYPE,
    DEFAULT_TASK_TYPE,
    EDITABLE_NOTE_TYPES,
    NOTES_TOUCH_THEIR_LEAD,
    NULL_RESPONSIBLE_CODE,
)
from dealsync.simulator.kommo import announce
from dealsync.simulator.kommo.items import Commit, Item, is_a
from dealsync.simulator.kommo.state import KommoAccount
from dealsync.simulator.table import Record

NOTE_PARAMS = {
    "common": ("text",),
    "call_in": ("uniq", "duration", "source", "phone"),
    "call_out": ("uniq", "duration", "source", "phone"),
    "service_message": ("service", "text"),
    "extended_service_message": ("service", "text"),
    "message_cashier": ("status", "text"),
    "geolocation": ("text", "address", "longitude", "latitude"),
    "sms_in": ("text", "phone"),
    "sms_out": ("text", "phone"),
    "attachment": ("file_uuid", "version_uuid", "file_name"),
    "invoice_paid": ("service", "text", "icon_url"),
    "bill_paid": ("service", "text", "icon_url"),
}
NOTE_KEYS = (
    "entity_id",
    "note_type",
    "params",
    "request_id",
    "created_by",
    "responsible_user_id",
    "is_need_to_trigger_digital_pipeline",
)
CHANGE_KEYS = ("id", "entity_id", "note_type", "params", "request_id", "updated_by", "responsible_user_id")
NOTE_EVENTS = {"common": "common_note_added"}
TASK_SCALARS: Mapping[str, type] = {
    "text": str,
    "complete_till": int,
    "entity_id": int,
    "entity_type": str,
    "task_type_id": int,
    "duration": int,
    "is_completed": bool,
    "created_by": int,
    "updated_by": int,
    "created_at": int,
    "updated_at": int,
}
TASK_KEYS = (*TASK_SCALARS, "responsible_user_id", "result", "request_id", "id")
TASK_EVENTS = (  # field, event, key inside the event's value
    ("complete_till", "task_deadline_changed", "timestamp"),
    ("task_type_id", "task_type_changed", "id"),
)
TASK_ENTITIES = ("leads", "contacts", "companies", "customers")


class NoteWriter:
    """Checks and adds notes of one entity type."""

    def __init__(self, account: KommoAccount, kind: str, entity_id: int | None = None) -> None:
        """`entity_id` comes from the address; without it each item names its own."""
        self._account = account
        self._kind = kind
        self._entity_id = entity_id

    def prepare_new(self, raw: Record, request_id: str) -> Commit:
        """Check a new note. Raises Refused."""
        item = Item(raw)
        item.only(NOTE_KEYS)
        entity_id = raw.get("entity_id") if self._entity_id is None else self._entity_id
        if self._entity_id is None:
            item.need("entity_id")
        if entity_id is not None and entity_id not in self._account.entities[self._kind]:
            item.refuse("NotSupportedChoice", "entity_id")
        note_type = raw.get("note_type", DEFAULT_NOTE_TYPE)
        if note_type not in NOTE_PARAMS:
            item.refuse("NotSupportedChoice", "note_type")
        self._check_params(item, note_type)
        item.finish()

        def commit() -> Record:
            return {**self._add(entity_id, note_type, raw), "request_id": request_id}

        return commit

    def prepare_change(self, raw: Record, request_id: str) -> Commit:
        """Check a change of the note named by `id`; only some kinds can be changed (4.1). Raises Refused."""
        del request_id  # the answer shows none
        item = Item(raw)
        note = item.target(self._account.notes[self._kind])
        item.only(CHANGE_KEYS)
        if raw.get("entity_id", self._entity_id) not in (None, note["entity_id"]):
            item.refuse("NotSupportedChoice", "entity_id")
        note_type = str(raw.get("note_type", note["note_type"]))
        if not {note_type, note["note_type"]} <= set(EDITABLE_NOTE_TYPES):
            item.refuse("NotSupportedChoice", "note_type")
        if "params" in item:
            self._check_params(item, note_type)
        item.finish()

        def commit() -> Record:
            note.update(note_type=note_type, updated_at=self._account.clock.seconds())
            note["updated_by"] = raw.get("updated_by", self._account.current_user_id)
            note["params"] = {**note["params"], **raw.get("params", {})}
            self._account.notes[self._kind].put(note["id"], note)
            return {"id": note["id"], "entity_id": note["entity_id"], "updated_at": note["updated_at"]}

        return commit

    def _check_params(self, item: Item, note_type: str) -> None:
        params = item.raw.get("params")
        if not isinstance(params, dict):
            item.refuse("FieldMissing" if params is None else "InvalidType", "params")
            return
        for name in NOTE_PARAMS.get(note_type, ()):
            if name == "text" and name not in params:
                item.refuse("FieldMissing", "params.text")
        if "text" in params and not is_a(params["text"], str):
            item.refuse("InvalidType", "params.text")

    def _add(self, entity_id: int | None, note_type: str, raw: Record) -> Record:
        account, now = self._account, self._account.clock.seconds()
        user_id = raw.get("created_by", account.current_user_id)
        entity = account.entities[self._kind].get(entity_id or 0) or {}
        note = account.add_note(
            self._kind,
            {
                "entity_id": entity_id,
                "created_by": user_id,
                "updated_by": user_id,
                "created_at": now,
                "updated_at": now,
                "responsible_user_id": raw.get("responsible_user_id", entity.get("responsible_user_id", 0)),
                "group_id": 0,
                "note_type": note_type,
                "params": raw["params"],
                "account_id": account.account_id,
            },
        )
        event = NOTE_EVENTS.get(note_type, "service_note_added")
        account.record(event, self._kind, note["entity_id"], user_id, [{"note": {"id": note["id"]}}])
        announce.note_told(account, self._kind, note)
        if NOTES_TOUCH_THEIR_LEAD:
            account.file(self._kind, {**entity, "updated_at": now}, fresh=True)
        return {"id": note["id"], "entity_id": note["entity_id"]}


class TaskWriter:
    """Checks and does single writes of tasks."""

    def __init__(self, account: KommoAccount) -> None:
        self._account = account

    def prepare_new(self, raw: Record, request_id: str) -> Commit:
        """Check a new task. Raises Refused."""
        item = Item(raw)
        item.need("text", "complete_till")
        self._check(item)
        if "entity_id" in item and "entity_type" not in item:
            item.refuse("FieldMissing", "entity_type")
        item.finish()

        def commit() -> Record:
            task = self._blank()
            task.update(_written(raw))
            self._account.file_task(task)
            self._note_history("task_added", task, task["created_by"])
            announce.task_told(self._account, task, "add")
            return {"id": task["id"], "request_id": request_id}

        return commit

    def prepare_change(self, raw: Record, request_id: str) -> Commit:
        """Check a change of the task named by `id`. Raises Refused."""
        item = Item(raw)
        task = item.target(self._account.tasks)
        self._check(item)
        item.finish()

        def commit() -> Record:
            self.change(task, _written(raw), user_id=raw.get("updated_by"))
            return {"id": task["id"], "updated_at": task["updated_at"], "request_id": request_id}

        return commit

    def change(self, task: Record, changes: Record, *, user_id: int | None = None) -> None:
        """Apply checked changes to a stored task and write its history; None as user is the token's."""
        before = dict(task)
        by = self._account.current_user_id if user_id is None else user_id
        task.update(changes)
        task.update(updated_at=self._account.clock.seconds(), updated_by=by)
        self._account.file_task(task)
        if before["entity_id"] != task["entity_id"]:
            self._account.note_next_task(before["entity_type"], before["entity_id"])
        if task["is_completed"] and not before["is_completed"]:
            self._note_history("task_completed", task, by)
        if task["result"] and task["result"] != before["result"]:
            self._note_history("task_result_added", task, by)
        for name, event, value in TASK_EVENTS:
            if before[name] != task[name]:
                after, old = ([{event.removesuffix("_changed"): {value: one[name]}}] for one in (task, before))
                self._note_history(event, task, by, after, old)
        announce.task_told(self._account, task, "update", before)

    def _check(self, item: Item) -> None:
        item.only(TASK_KEYS)
        item.types(TASK_SCALARS)
        raw = item.raw
        if "responsible_user_id" in raw:
            user_id = raw["responsible_user_id"]
            if not is_a(user_id, int):
                item.refuse(NULL_RESPONSIBLE_CODE, "responsible_user_id")
            elif not self._account.can_be_responsible(user_id):
                item.refuse("NotSupportedChoice", "responsible_user_id")
        entity_type = item.sound("entity_type")
        if entity_type is not None and entity_type not in TASK_ENTITIES:
            item.refuse("NotSupportedChoice", "entity_type")
        table = self._account.entities.get(str(entity_type))
        entity_id = item.sound("entity_id")
        if table is not None and entity_id is not None and entity_id not in table:
            item.refuse("NotSupportedChoice", "entity_id")
        result = raw.get("result")
        if "result" in raw and not (isinstance(result, dict) and is_a(result.get("text"), str)):
            item.refuse("InvalidType", "result")

    def _blank(self) -> Record:
        account, now = self._account, self._account.clock.seconds()
        return {
            "id": account.next_id("tasks"),
            "created_by": account.current_user_id,
            "updated_by": account.current_user_id,
            "created_at": now,
            "updated_at": now,
            "responsible_user_id": account.current_user_id,
            "group_id": 0,
            "entity_id": None,
            "entity_type": None,
            "duration": 0,
            "is_completed": False,
            "task_type_id": DEFAULT_TASK_TYPE,
            "text": "",
            "result": [],  # an empty PHP array; an object once there is one (4.2)
            "complete_till": now,
            "account_id": account.account_id,
        }

    def _note_history(
        self, event: str, task: Record, user_id: int, after: Iterable[Record] = (), before: Iterable[Record] = ()
    ) -> None:
        if task["entity_type"] in self._account.entities and task["entity_id"]:
            self._account.record(event, task["entity_type"], task["entity_id"], user_id, after, before)


def _written(raw: Record) -> Record:
    return {key: value for key, value in raw.items() if key not in ("id", "request_id", "updated_at")}
