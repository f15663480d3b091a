"""The account: everything Kommo knows. Records are plain objects in the shape its API shows them.

A record's `_embedded` always holds its tags, companies and contacts; what an answer shows of that is decided
on reading. Times are Unix seconds.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from dealsync.simulator.clock import Clock
from dealsync.simulator.kommo.search import Recency, search_text
from dealsync.simulator.table import Record, SortKey, Table

WON, LOST = 142, 143
CLOSED = (WON, LOST)
UNSORTED_TYPE = 1
SINGULAR = {"leads": "lead", "contacts": "contact"}
FIRST_IDS = {
    "leads": 10000,
    "contacts": 200000,
    "notes": 400000,
    "tasks": 600000,
    "events": 1_000_000,
    "tags": 3000,
    "custom_fields": 7000,
    "enums": 8000,
}


def _number(name: str) -> SortKey:
    return lambda record: record.get(name) or 0


def _stage(record: Record) -> tuple[Any, Any]:
    return record.get("pipeline_id"), record.get("status_id")


def _entity(record: Record) -> tuple[Any, Any]:
    return record.get("entity_type"), record.get("entity_id")


class KommoAccount:
    """Tables, dictionaries and the history of one account."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.account: Record = {}
        self.users: dict[int, Record] = {}
        self.pipelines: dict[int, Record] = {}
        self.loss_reasons: dict[int, Record] = {}
        self.custom_fields: dict[str, dict[int, Record]] = {"leads": {}, "contacts": {}}
        self.tags: dict[str, dict[int, Record]] = {"leads": {}, "contacts": {}}
        by_id_and_time = {name: _number(name) for name in ("id", "created_at", "updated_at")}
        self.entities = {
            "leads": Table(
                by_id_and_time,
                {
                    "pipeline_id": _number("pipeline_id"),
                    "stage": _stage,
                    "responsible_user_id": _number("responsible_user_id"),
                },
            ),
            "contacts": Table(by_id_and_time, {"responsible_user_id": _number("responsible_user_id")}),
        }
        self.recycle_bin = Table(by_id_and_time)
        self.notes = {
            kind: Table(by_id_and_time, {name: _number(name) for name in ("entity_id", "note_type")})
            for kind in SINGULAR
        }
        self.tasks = Table(
            {**by_id_and_time, "complete_till": _number("complete_till")},
            {
                "entity": _entity,
                **{
                    name: _number(name)
                    for name in ("is_completed", "responsible_user_id", "task_type_id", "entity_type")
                },
            },
        )
        self.events = Table({"created_at": _number("created_at")}, {"type": _number("type"), "entity": _entity})
        self.recency = {kind: Recency() for kind in SINGULAR}
        self.exact_prices: dict[int, float] = {}  # lead id -> price with decimals, when one was written
        self._leads_of_contact: dict[int, dict[int, None]] = {}
        self._last_ids: Counter[str] = Counter(FIRST_IDS)

    @property
    def leads(self) -> Table:
        """Live deals."""
        return self.entities["leads"]

    @property
    def contacts(self) -> Table:
        """Live contacts."""
        return self.entities["contacts"]

    @property
    def account_id(self) -> int:
        """The account's id, as every record carries it."""
        return int(self.account.get("id", 0))

    @property
    def current_user_id(self) -> int:
        """The user behind the token."""
        return int(self.account.get("current_user_id", 0))

    def next_id(self, kind: str) -> int:
        """Return a new id of this kind."""
        self._last_ids[kind] += 1
        return self._last_ids[kind]

    # --- deals and contacts -----------------------------------------------------------------------
    def file(self, kind: str, record: Record, *, fresh: bool) -> None:
        """File a new or changed deal or contact; `fresh` ones are subject to the lags."""
        record_id = int(record["id"])
        self._last_ids[kind] = max(self._last_ids[kind], record_id)
        self.entities[kind].put(record_id, record)
        moment = self.clock.now() if fresh else None
        self.recency[kind].note(record_id, search_text(record), moment)
        if kind == "leads":
            for contact in record.get("_embedded", {}).get("contacts", ()):
                self._leads_of_contact.setdefault(contact["id"], {})[record_id] = None

    def leads_of(self, contact_id: int) -> list[int]:
        """Return ids of live deals the contact is linked to, in order of linking."""
        return [i for i in self._leads_of_contact.get(contact_id, ()) if i in self.leads]

    def unlink(self, lead: Record, contact_id: int) -> bool:
        """Take a contact off a deal; False when it was not on it."""
        contacts = lead["_embedded"].setdefault("contacts", [])
        left = [contact for contact in contacts if contact["id"] != contact_id]
        if len(left) == len(contacts):
            return False
        lead["_embedded"]["contacts"] = left
        self._leads_of_contact[contact_id].pop(lead["id"], None)
        return True

    def discard(self, lead_id: int) -> Record | None:
        """Move a deal to the recycle bin, as a person can; the API has no such call (2.1)."""
        lead = self.leads.remove(lead_id)
        if lead is None:
            return None
        lead["is_deleted"] = True
        lead["updated_at"] = self.clock.seconds()
        lead["updated_by"] = self.current_user_id
        self.recycle_bin.put(lead_id, lead)
        self.recency["leads"].forget(lead_id)
        self.record("lead_deleted", "leads", lead_id, self.current_user_id)
        return lead

    # --- pipelines --------------------------------------------------------------------------------
    @property
    def main_pipeline(self) -> Record:
        """The pipeline new deals go to; the first one when none is marked."""
        marked = (p for p in self.pipelines.values() if p.get("is_main"))
        return next(marked, next(iter(self.pipelines.values())))

    def statuses(self, pipeline_id: int) -> list[Record]:
        """Return the statuses of a pipeline, in its order."""
        pipeline = self.pipelines.get(pipeline_id)
        return list(pipeline["_embedded"]["statuses"]) if pipeline else []

    def status(self, pipeline_id: int, status_id: int) -> Record | None:
        """Return one status of a pipeline; 142 and 143 exist in each."""
        return next((s for s in self.statuses(pipeline_id) if s["id"] == status_id), None)

    def first_status(self, pipeline_id: int) -> int:
        """Return the first status a deal can be put into by hand."""
        return int(next(s["id"] for s in self.statuses(pipeline_id) if s.get("type") != UNSORTED_TYPE))

    def pipeline_of_status(self, status_id: int) -> int | None:
        """Return the pipeline of a normal status, whose id is unique in the account."""
        if status_id in CLOSED:
            return None
        return next((p for p in self.pipelines if self.status(p, status_id)), None)

    # --- tags and fields --------------------------------------------------------------------------
    def tag_named(self, kind: str, name: str, color: str | None = None) -> Record:
        """Return the tag of this name, made when it is new. Tag ids differ per entity type (5.5)."""
        for tag in self.tags[kind].values():
            if tag["name"] == name:
                return tag
        tag = {"id": self.next_id("tags"), "name": name, "color": color}
        self.tags[kind][tag["id"]] = tag
        return tag

    def field(self, kind: str, *, field_id: object = None, code: object = None) -> Record | None:
        """Return a custom field by id or, without one, by code."""
        fields = self.custom_fields[kind]
        if field_id is not None:
            return fields.get(field_id) if isinstance(field_id, int) else None
        return next((f for f in fields.values() if code is not None and f.get("code") == code), None)

    # --- history ----------------------------------------------------------------------------------
    def record(
        self,
        kind: str,
        entity_kind: str,
        entity_id: int,
        user_id: int,
        after: Iterable[Record] = (),
        before: Iterable[Record] = (),
        at: int | None = None,
    ) -> None:
        """Add an event; `kind` is its type ("lead_status_changed"), values are as in reference 5.7."""
        number = self.next_id("events")
        self.events.put(
            number,
            {
                "id": f"simulated{number}",
                "type": kind,
                "entity_id": entity_id,
                "entity_type": SINGULAR[entity_kind],
                "created_by": user_id,
                "created_at": self.clock.seconds() if at is None else at,
                "value_after": list(after),
                "value_before": list(before),
                "account_id": self.account_id,
            },
        )

    def add_note(self, kind: str, note: Record) -> Record:
        """File a note under a new id; it must name its entity."""
        note = {"id": self.next_id("notes"), **note}
        self.notes[kind].put(note["id"], note)
        return note

    def file_task(self, task: Record) -> None:
        """File a new or changed task, and tell its deal when the next one is due."""
        self.tasks.put(task["id"], task)
        entity = self.entities.get(str(task["entity_type"]))
        record = entity.get(task["entity_id"] or 0) if entity else None
        if record is not None:
            due = [
                t["complete_till"]
                for t in self.tasks.having("entity", (task["entity_type"], task["entity_id"]))
                if not t["is_completed"]
            ]
            record["closest_task_at"] = min(due, default=None)
