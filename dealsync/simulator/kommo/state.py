"""The account: everything Kommo knows. Records are plain objects in the shape its API shows them.

A record's `_embedded` always holds its tags, companies and contacts; what an answer shows of that is decided
on reading. Times are Unix seconds.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from dealsync.simulator.assumptions import INACTIVE_USER_IS_REFUSED
from dealsync.simulator.clock import Clock
from dealsync.simulator.deliveries import Deliveries
from dealsync.simulator.faults import Faults
from dealsync.simulator.kommo.hooks import Hooks
from dealsync.simulator.kommo.search import Recency, search_text
from dealsync.simulator.schedule import Schedule
from dealsync.simulator.table import Record, SortKey, Table

WON, LOST = 142, 143
CLOSED = (WON, LOST)
UNSORTED_TYPE = 1
EVENT_PREFIX = "simulated"
SINGULAR = {"leads": "lead", "contacts": "contact", "companies": "company"}
# What a record of each type keeps in its `_embedded` about others; the other way round is looked up.
LINKS = {"leads": ("contacts", "companies"), "contacts": ("companies",), "companies": ()}
FIRST_IDS = {
    "leads": 10000,
    "contacts": 200000,
    "companies": 300000,
    "notes": 400000,
    "tasks": 600000,
    "events": 1_000_000,
    "tags": 3000,
    "custom_fields": 7000,
    "enums": 8000,
    "field_groups": 100,
    "pipelines": 7100,
    "statuses": 71000,
    "catalogs": 5000,
    "elements": 800_000,
    "sources": 9600,
    "webhooks": 900_000,
    "triggers": 500,
}
_ACTING: ContextVar[int | None] = ContextVar("acting", default=None)


def _number(name: str) -> SortKey:
    return lambda record: record.get(name) or 0


def _maybe(name: str) -> SortKey:
    return lambda record: record.get(name)


def _keys(*names: str) -> dict[str, SortKey]:
    return {name: _number(name) for name in names}


def _stage(record: Record) -> tuple[Any, Any]:
    return record.get("pipeline_id"), record.get("status_id")


def _entity(record: Record) -> tuple[Any, Any]:
    return record.get("entity_type"), record.get("entity_id")


def _number_of(record: Record) -> int:
    """Return what a table knows a record by: its id, of an event without the letters in front (5.7)."""
    return int(str(record["id"]).removeprefix(EVENT_PREFIX))


def _refill(found: dict[Any, Record], records: Iterable[Record]) -> None:
    found.clear()
    found.update((record["uid"] if "uid" in record else record["id"], record) for record in records)


class KommoAccount:
    """Tables, dictionaries and the history of one account."""

    def __init__(
        self, clock: Clock, faults: Faults, rng: random.Random, schedule: Schedule, deliveries: Deliveries
    ) -> None:
        self.clock = clock
        del rng, schedule  # nothing here is left to chance or to a moment of its own
        self.faults = faults
        self.account: Record = {}
        self.hooks = Hooks(clock, deliveries, lambda: self.account)
        self.users: dict[int, Record] = {}
        self.pipelines: dict[int, Record] = {}
        self.loss_reasons: dict[int, Record] = {}
        self.roles: dict[int, Record] = {}
        # By entity type, or "catalogs/{id}".
        self.custom_fields: dict[str, dict[int, Record]] = {kind: {} for kind in SINGULAR}
        self.field_groups: dict[str, dict[str, Record]] = {kind: {} for kind in SINGULAR}
        self.tags: dict[str, dict[int, Record]] = {kind: {} for kind in SINGULAR}
        self.catalogs: dict[int, Record] = {}
        self.sources: dict[int, Record] = {}
        self.duplicate_control = False  # whether /leads/complex merges into what is there (2.6)
        self.unsorted: dict[str, Record] = {}  # incoming leads that wait, by uid
        self.pinned_notes: dict[int, None] = {}
        by_id_and_time = _keys("id", "created_at", "updated_at")
        by_people = _keys("responsible_user_id", "created_by", "updated_by")
        next_task = {"closest_task_at": _maybe("closest_task_at")}
        self.entities = {
            "leads": Table(
                {**by_id_and_time, **next_task, "closed_at": _maybe("closed_at"), "price": _number("price")},
                {**by_people, **_keys("pipeline_id", "price"), "stage": _stage},
            ),
            "contacts": Table({**by_id_and_time, **next_task}, by_people),
            "companies": Table({**by_id_and_time, **next_task}, by_people),
        }
        self.bins = {kind: Table(by_id_and_time) for kind in SINGULAR}
        self.elements = Table(_keys("id"), _keys("catalog_id"))
        self.notes = {kind: Table(by_id_and_time, _keys("entity_id", "note_type")) for kind in SINGULAR}
        self.tasks = Table(
            {**by_id_and_time, **_keys("complete_till")},
            {"entity": _entity, **_keys("is_completed", "responsible_user_id", "task_type_id", "entity_type")},
        )
        self.events = Table(_keys("created_at"), {"entity": _entity, **_keys("type", "entity_type", "created_by")})
        self.recency = {kind: Recency() for kind in SINGULAR}
        self.exact_prices: dict[int, float] = {}  # lead id -> price with decimals, when one was written
        self._linked_from: dict[tuple[str, str], dict[int, dict[int, None]]] = {
            (target, kind): {} for kind, targets in LINKS.items() for target in targets
        }
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
    def companies(self) -> Table:
        """Live companies."""
        return self.entities["companies"]

    @property
    def recycle_bin(self) -> Table:
        """Deals a person deleted, until they are removed for good (2.3)."""
        return self.bins["leads"]

    @property
    def account_id(self) -> int:
        """The account's id, as every record carries it."""
        return int(self.account.get("id", 0))

    @property
    def current_user_id(self) -> int:
        """The user the present request acts for: the token's, unless X-Context-User-ID named another (1.2)."""
        acting = _ACTING.get()
        return int(self.account.get("current_user_id", 0)) if acting is None else acting

    @contextmanager
    def acting_for(self, user_id: int | None) -> Iterator[None]:
        """Let what happens inside be done by another user; None changes nothing."""
        if user_id is None:
            yield
            return
        token = _ACTING.set(user_id)
        try:
            yield
        finally:
            _ACTING.reset(token)

    def is_admin(self) -> bool:
        """Tell whether the acting user may see users and change the account's set-up (5.3)."""
        user = self.users.get(self.current_user_id)
        return user is None or bool(user["rights"]["is_admin"])

    def can_be_responsible(self, user_id: int) -> bool:
        """Tell whether entities can be given to this user: known and active (2.7)."""
        user = self.users.get(user_id)
        return user is not None and (bool(user["rights"].get("is_active", True)) or not INACTIVE_USER_IS_REFUSED)

    def next_id(self, kind: str) -> int:
        """Return a new id of this kind."""
        self._last_ids[kind] += 1
        return self._last_ids[kind]

    # --- saving -----------------------------------------------------------------------------------
    def state(self) -> Record:
        """Return everything as JSON. A new attribute of the account belongs here and in `load`."""
        return {
            "account": self.account,
            **{name: list(found.values()) for name, found in self._collections().items()},
            **{
                name: {kind: list(found.values()) for kind, found in by_kind.items()}
                for name, by_kind in self._collections_by_kind().items()
            },
            **{name: list(table) for name, table in self._tables().items()},
            "notes": {kind: list(table) for kind, table in self.notes.items()},
            "bins": {kind: list(table) for kind, table in self.bins.items()},
            "recency": {kind: recency.state() for kind, recency in self.recency.items()},
            "pinned_notes": list(self.pinned_notes),
            "duplicate_control": self.duplicate_control,
            "hooks": self.hooks.state(),
            "exact_prices": {str(lead_id): price for lead_id, price in self.exact_prices.items()},
            "linked_from": {
                f"{target} {kind}": {str(target_id): list(ids) for target_id, ids in links.items()}
                for (target, kind), links in self._linked_from.items()
            },
            "last_ids": dict(self._last_ids),
        }

    def load(self, state: Record) -> None:
        """Replace everything by what `state` returned, whose objects become ours. Raises KeyError, ValueError."""
        self.account = state["account"]
        for name, found in self._collections().items():
            _refill(found, state[name])
        for name, by_kind in self._collections_by_kind().items():
            by_kind.clear()
            for kind, records in state[name].items():
                _refill(by_kind.setdefault(kind, {}), records)
        for name, table in self._tables().items():
            table.load((_number_of(record), record) for record in state[name])
        for name, tables in (("notes", self.notes), ("bins", self.bins)):
            for kind, table in tables.items():
                table.load((record["id"], record) for record in state[name][kind])
        for kind, recency in self.recency.items():
            recency.load({r["id"]: search_text(r) for r in self.entities[kind]}, state["recency"][kind])
        self.pinned_notes = dict.fromkeys(state["pinned_notes"])
        self.duplicate_control = state["duplicate_control"]
        self.hooks.load(state["hooks"])
        self.exact_prices = {int(lead_id): price for lead_id, price in state["exact_prices"].items()}
        self._linked_from = {
            tuple(name.split(" ")): {int(target_id): dict.fromkeys(ids) for target_id, ids in links.items()}
            for name, links in state["linked_from"].items()
        }
        self._last_ids = Counter(state["last_ids"])

    def _collections(self) -> dict[str, dict[Any, Record]]:
        """Return the small collections of records by id (or uid), by their names in the saved state."""
        names = ("users", "pipelines", "loss_reasons", "roles", "catalogs", "sources", "unsorted")
        return {name: getattr(self, name) for name in names}

    def _collections_by_kind(self) -> dict[str, dict[str, dict[Any, Record]]]:
        return {name: getattr(self, name) for name in ("custom_fields", "field_groups", "tags")}

    def _tables(self) -> dict[str, Table]:
        return {**self.entities, "elements": self.elements, "tasks": self.tasks, "events": self.events}

    # --- deals and contacts -----------------------------------------------------------------------
    def file(self, kind: str, record: Record, *, fresh: bool) -> None:
        """File a new or changed deal or contact; `fresh` ones are subject to the lags."""
        record_id = int(record["id"])
        self._last_ids[kind] = max(self._last_ids[kind], record_id)
        self.entities[kind].put(record_id, record)
        moment = self.clock.now() if fresh else None
        self.recency[kind].note(record_id, search_text(record), moment)
        for target in LINKS[kind]:
            for link in record.get("_embedded", {}).get(target, ()):
                self._linked_from[target, kind].setdefault(link["id"], {})[record_id] = None

    def linked_from(self, target: str, target_id: int, kind: str) -> list[int]:
        """Return ids of live `kind` records that are linked to this contact or company, in order of linking."""
        found = self._linked_from.get((target, kind), {}).get(target_id, ())
        return [i for i in found if i in self.entities[kind]]

    def leads_of(self, contact_id: int) -> list[int]:
        """Return ids of live deals the contact is linked to, in order of linking."""
        return self.linked_from("contacts", contact_id, "leads")

    def unlink(self, kind: str, record: Record, target: str, target_id: int) -> bool:
        """Take a contact or company off a record; False when it was not on it. File the record afterwards."""
        links = record["_embedded"].get(target, [])
        left = [link for link in links if link["id"] != target_id]
        if len(left) == len(links):
            return False
        record["_embedded"][target] = left
        self._linked_from[target, kind].get(target_id, {}).pop(record["id"], None)
        return True

    def delete(self, kind: str, record_id: int, user_id: int) -> Record | None:
        """Move a record to the recycle bin, as a person can; the API has no such call (2.1)."""
        record = self.remove(kind, record_id)
        if record is None:
            return None
        record.update(is_deleted=True, updated_at=self.clock.seconds(), updated_by=user_id)
        self.bins[kind].put(record_id, record)
        self.record(f"{SINGULAR[kind]}_deleted", kind, record_id, user_id)
        return record

    def restore(self, kind: str, record_id: int, user_id: int) -> Record | None:
        """Take a record out of the recycle bin; None when it is not there."""
        record = self.bins[kind].remove(record_id)
        if record is None:
            return None
        record.update(is_deleted=False, updated_at=self.clock.seconds(), updated_by=user_id)
        self.file(kind, record, fresh=True)
        self.record(f"{SINGULAR[kind]}_restored", kind, record_id, user_id)
        return record

    def remove(self, kind: str, record_id: int) -> Record | None:
        """Take a live record away for good: from now on it is 204."""
        record = self.entities[kind].remove(record_id)
        if record is not None:
            self.recency[kind].forget(record_id)
        return record

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
                "id": f"{EVENT_PREFIX}{number}",
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
        """File a new or changed task, and tell its entity when the next one is due."""
        self.tasks.put(task["id"], task)
        self.note_next_task(task["entity_type"], task["entity_id"])

    def note_next_task(self, kind: str | None, entity_id: int | None) -> None:
        """Set `closest_task_at` of an entity by its open tasks."""
        entities = self.entities.get(str(kind))
        record = entities.get(entity_id or 0) if entities is not None else None
        if entities is None or record is None:
            return
        due = [t["complete_till"] for t in self.tasks.having("entity", (kind, entity_id)) if not t["is_completed"]]
        record["closest_task_at"] = min(due, default=None)
        entities.put(record["id"], record)

    def add_unsorted(self, lead: Record, metadata: Record) -> Record:
        """Let a deal wait among the incoming leads."""
        waiting = {
            "uid": f"{self.next_id('unsorted'):060x}",
            "source_uid": metadata.get("source_uid"),
            "source_name": metadata.get("source_name"),
            "category": metadata["category"],
            "pipeline_id": lead["pipeline_id"],
            "created_at": lead["created_at"],
            "metadata": {key: value for key, value in metadata.items() if key != "category"},
            "account_id": self.account_id,
            "lead_id": lead["id"],
        }
        self.unsorted[waiting["uid"]] = waiting
        return waiting
