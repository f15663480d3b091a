"""The inbox: verified webhooks with their raw bodies, and what became of each. Nothing is ever taken out of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, exists, func, or_, select, update

from dealsync.core.evidence import LEAD_ID_KEY, Event, Sender
from dealsync.core.inbox import DISMISSED_BY, Failure, InboxItem, InboxState, batch_size, next_try
from dealsync.core.models import OrderStatus
from dealsync.errors import UnknownEvent
from dealsync.ledger.tables import HAS_BODY, EventRow, OrderRow
from dealsync.ledger.upsert import chunks, insert, table_of

WAITING = EventRow.state == InboxState.WAITING.value
_EVENT = [name for name in Event.__slots__ if name not in ("custom", "sender")]
_HANDLING = ("received_at", "state", "attempts", "next_try_at", "error", "result", "done_at")
EVENT_COLUMNS = [table_of(EventRow).c[name] for name in (*_EVENT, "custom", "sender", *_HANDLING)]
EVENT_COLUMNS.append((func.length(EventRow.body) > 0).label("has_body"))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A verified event with the bytes that brought it, and when."""

    event: Event
    body: bytes
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which events are meant; what is empty does not matter."""

    event_ids: tuple[str, ...] = ()
    states: tuple[InboxState, ...] = ()
    event_name: str = ""
    object_id: str = ""  # of the object itself, or of the order or subscription it belongs to
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Depth:
    """How much waits: since when the oldest is there, and at what time the first of them is to be tried."""

    waiting: int
    parked: int
    oldest_at: datetime | None
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class Handled:
    """What became of an event: a failure, or in words what followed from it, and how many changes."""

    event_id: str
    result: str = ""
    changes: int = 0
    failure: Failure | None = None


class Inbox:
    """Keeps events, gives out those that are due, and remembers what became of them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def keep(self, arrivals: Sequence[Arrival]) -> list[bool]:
        """Store events in one transaction; tell for each whether it is new: not stored before, nor earlier in the list.

        They are on disk when this returns.
        """
        fresh: set[str] = set()
        with self._engine.begin() as db:
            for part in chunks({a.event.event_id: _row(a) for a in reversed(arrivals)}.values()):
                statement = insert(db, table_of(EventRow)).on_conflict_do_nothing(index_elements=[EventRow.event_id])
                fresh.update(db.scalars(statement.returning(EventRow.event_id), part))
        told = []
        for arrival in arrivals:
            told.append(arrival.event.event_id in fresh)
            fresh.discard(arrival.event.event_id)
        return told

    def due(self, now: datetime, event_ids: Collection[str] = ()) -> list[InboxItem]:
        """Return the next batch of waiting events whose time has come, oldest first; of these alone if any are named.

        Those that never failed come first, and what failed equally often comes together. Payments go before what Kommo
        tells: most of that are echoes of our own writes, which would crowd a burst of payments out of its batches.
        """
        mine = [WAITING, EventRow.next_try_at <= now]
        if event_ids:
            mine.append(EventRow.event_id.in_(event_ids))
        with self._engine.connect() as db:
            attempts = db.scalar(select(func.min(EventRow.attempts)).where(*mine))
            if attempts is None:
                return []
            query = (
                select(*EVENT_COLUMNS)
                .where(*mine, EventRow.attempts == attempts)
                .order_by(EventRow.sender != Sender.LEMON_SQUEEZY.value, EventRow.received_at, EventRow.event_id)
                .limit(batch_size(attempts))
            )
            return [item_of(row) for row in db.execute(query)]

    def next_due_at(self) -> datetime | None:
        """Return when the next waiting event is to be tried; None when none waits."""
        with self._engine.connect() as db:
            found: datetime | None = db.scalar(select(func.min(EventRow.next_try_at)).where(WAITING))
            return found

    def depth(self) -> Depth:
        """Return how much waits, and since when."""
        counts = select(
            EventRow.state,
            func.count().label("events"),
            func.min(EventRow.received_at).label("oldest"),
            func.min(EventRow.next_try_at).label("due"),
        )
        left = EventRow.state.in_((InboxState.WAITING.value, InboxState.PARKED.value))
        with self._engine.connect() as db:
            rows = {row.state: row for row in db.execute(counts.where(left).group_by(EventRow.state))}
        waiting, parked = rows.get(InboxState.WAITING.value), rows.get(InboxState.PARKED.value)
        given_up = parked.events if parked else 0
        if waiting is None:
            return Depth(0, given_up, None, None)
        return Depth(waiting.events, given_up, waiting.oldest, waiting.due)

    def close(self, handled: Iterable[Handled], now: datetime) -> list[str]:
        """Remember what became of events; return the ids of those that are parked by it."""
        rows = {one.event_id: one for one in handled}
        table = table_of(EventRow)
        values = ("state", "attempts", "next_try_at", "error", "result", "changes", "done_at")
        statement = (
            update(table).where(table.c.event_id == bindparam("id")).values({n: bindparam(f"new_{n}") for n in values})
        )
        with self._engine.begin() as db:
            attempts = _attempts(db, rows)
            closed = [_closed(rows[i], tried, now) for i, tried in attempts.items()]
            if closed:
                db.execute(statement, closed)
        return [row["id"] for row in closed if row["new_state"] == InboxState.PARKED.value]

    def listed(self, chosen: Chosen, *, limit: int | None = None) -> list[InboxItem]:
        """Return events, the latest first."""
        query = select(*EVENT_COLUMNS).where(*_where(chosen)).order_by(EventRow.received_at.desc(), EventRow.event_id)
        with self._engine.connect() as db:
            return [item_of(row) for row in db.execute(query.limit(limit))]

    def last_from(self, sender: Sender) -> InboxItem | None:
        """Return the event of a sender that came last."""
        query = (
            select(*EVENT_COLUMNS).where(EventRow.sender == sender.value).order_by(EventRow.received_at.desc()).limit(1)
        )
        with self._engine.connect() as db:
            row = db.execute(query.limit(1)).first()
        return None if row is None else item_of(row)

    def untold_orders(self, stores: Collection[str], *, test_mode: bool, since: datetime) -> list[datetime]:
        """Return when each order was made that brought money after a time and that no webhook told of, oldest first."""
        told = exists().where(EventRow.order_id == OrderRow.order_id)
        query = select(OrderRow.created_at).where(
            OrderRow.created_at > since,
            OrderRow.store_id.in_(stores),
            OrderRow.test_mode == test_mode,
            OrderRow.order_status.not_in((OrderStatus.PENDING, OrderStatus.FAILED)),
            ~told,
        )
        with self._engine.connect() as db:
            return list(db.scalars(query.order_by(OrderRow.created_at)))

    def find(self, beginning: str) -> InboxItem:
        """Return the event whose id is, or begins with, a text. Raises UnknownEvent when it is none or several."""
        # Not LIKE: an id may hold its wildcards.
        begins = func.substr(EventRow.event_id, 1, len(beginning)) == beginning
        with self._engine.connect() as db:
            rows = db.execute(select(*EVENT_COLUMNS).where(begins).order_by(EventRow.event_id).limit(2)).all()
        if len(rows) != 1 and not (rows and rows[0].event_id == beginning):
            what = "Several events have ids that begin" if rows else "No event in the inbox has an id that begins"
            raise UnknownEvent(f"{what} with {beginning!r}. See: dealsync inbox list")
        return item_of(rows[0])

    def body(self, event_id: str) -> bytes:
        """Return the raw body that brought an event; empty if it was erased. Kommo's is kept with its first object."""
        with self._engine.connect() as db:
            body = db.scalar(select(EventRow.body).where(EventRow.event_id == event_id))
            if body or not event_id.startswith("kommo:"):
                return body or b""
            first = f"{event_id[: event_id.index(':', len('kommo:'))]}:0"
            begins = func.substr(EventRow.event_id, 1, len(first)) == first
            return db.scalar(select(EventRow.body).where(begins)) or b""

    def replay(self, chosen: Chosen, now: datetime) -> list[str]:
        """Let events be handled again, as if they had just come; return their ids, oldest first."""
        anew = {"state": InboxState.WAITING.value, "attempts": 0, "next_try_at": now, "error": None, "done_at": None}
        oldest_first = select(EventRow.event_id).where(*_where(chosen)).order_by(EventRow.received_at)
        with self._engine.begin() as db:
            event_ids = list(db.scalars(oldest_first))
            for part in chunks(event_ids):
                db.execute(update(EventRow).where(EventRow.event_id.in_(part)).values(anew))
        return event_ids

    def dismiss(self, event_id: str, by: str, now: datetime) -> None:
        """Leave an event alone for good."""
        values = {"state": InboxState.DONE.value, "result": f"{DISMISSED_BY}{by}", "done_at": now}
        with self._engine.begin() as db:
            db.execute(update(EventRow).where(EventRow.event_id == event_id).values(values))

    def erase_bodies(self, before: datetime) -> int:
        """Empty the bodies of events that came before a time and are done; return how many there were."""
        old = (EventRow.received_at < before, EventRow.state == InboxState.DONE.value, HAS_BODY)
        with self._engine.begin() as db:
            return db.execute(update(EventRow).where(*old).values(body=b"")).rowcount

    def delays(self, after: datetime) -> list[tuple[datetime, datetime, datetime]]:
        """Return when each event that changed something arrived, when its object had changed, and when it was done.

        Those done after a time only, oldest first.
        """
        columns = select(EventRow.received_at, EventRow.object_updated_at, EventRow.done_at)
        query = columns.where(EventRow.done_at > after, EventRow.changes > 0).order_by(EventRow.done_at)
        with self._engine.connect() as db:
            return [(r.received_at, r.object_updated_at or r.received_at, r.done_at) for r in db.execute(query)]


def _row(arrival: Arrival) -> dict[str, Any]:
    event = arrival.event
    return {
        **{name: getattr(event, name) for name in _EVENT},
        "custom": dict(event.custom),
        "sender": event.sender.value,
        "lead_text": event.custom.get(LEAD_ID_KEY),
        "body": arrival.body,
        "received_at": arrival.received_at,
        "state": InboxState.WAITING.value,
        "attempts": 0,
        "next_try_at": arrival.received_at,
        "result": "",
        "changes": 0,
    }


def item_of(row: Any) -> InboxItem:
    """Return an event from a row of EVENT_COLUMNS."""
    return InboxItem(
        event=Event(**{name: getattr(row, name) for name in _EVENT}, custom=row.custom, sender=Sender(row.sender)),
        received_at=row.received_at,
        state=InboxState(row.state),
        attempts=row.attempts,
        next_try_at=row.next_try_at,
        error=row.error,
        result=row.result,
        done_at=row.done_at,
        has_body=bool(row.has_body),
    )


def _attempts(db: Connection, event_ids: Collection[str]) -> Mapping[str, int]:
    columns = select(EventRow.event_id, EventRow.attempts)
    found: dict[str, int] = {}
    for part in chunks(event_ids):
        found |= {row.event_id: row.attempts for row in db.execute(columns.where(EventRow.event_id.in_(part)))}
    return found


def _closed(handled: Handled, attempts: int, now: datetime) -> dict[str, Any]:
    row = {"id": handled.event_id, "new_result": handled.result, "new_changes": handled.changes}
    if handled.failure is None:
        done = {"state": InboxState.DONE.value, "attempts": attempts, "next_try_at": now, "error": None, "done_at": now}
        return row | {f"new_{name}": value for name, value in done.items()}
    again_at = next_try(attempts, handled.failure, now)
    state = InboxState.PARKED if again_at is None else InboxState.WAITING
    failed = {"state": state.value, "attempts": attempts + 1, "next_try_at": again_at or now, "done_at": None}
    return row | {f"new_{name}": value for name, value in failed.items()} | {"new_error": handled.failure.reason}


def _where(chosen: Chosen) -> list[Any]:
    conditions: list[Any] = []
    if chosen.event_ids:
        conditions.append(EventRow.event_id.in_(chosen.event_ids))
    if chosen.states:
        conditions.append(EventRow.state.in_([state.value for state in chosen.states]))
    if chosen.event_name:
        conditions.append(EventRow.event_name == chosen.event_name)
    if chosen.object_id:
        ids = (EventRow.object_id, EventRow.order_id, EventRow.subscription_id)
        conditions.append(or_(*(column == chosen.object_id for column in ids)))
    if chosen.since is not None:
        conditions.append(EventRow.received_at >= chosen.since)
    return conditions
