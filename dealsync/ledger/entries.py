"""The ledger as people see it: what was meant, sent and done, and what a person says about what was not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, and_, func, or_, select, update

from dealsync.core.plan import Kind
from dealsync.core.states import State, Step, sources, target
from dealsync.errors import UnknownEntry
from dealsync.ledger.steps import keep_steps
from dealsync.ledger.tables import LedgerEntry
from dealsync.ledger.upsert import chunks, table_of

DISMISSED_WORDS = "given up by a person"
_COLUMNS = (
    "idempotency_key", "kind", "state", "source", "order_id", "lead_id", "run_id", "result_id", "error", "is_refused",
    "attempts", "planned_at", "sent_at", "closed_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class EntryItem:
    """One action of the ledger. Without its content, which may name people."""

    idempotency_key: str
    kind: str
    state: State
    source: str
    order_id: str
    lead_id: int | None
    run_id: str
    result_id: int | None
    error: str | None
    is_refused: bool
    attempts: int
    planned_at: datetime
    sent_at: datetime | None
    closed_at: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class ChosenEntries:
    """Which actions are meant; what is empty does not matter."""

    keys: tuple[str, ...] = ()
    states: tuple[State, ...] = ()
    about: str = ""  # "order:17", "lead:31", "subscription:9", "invoice:44"
    run_id: str = ""

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return them for a statement."""
        found: list[ColumnElement[bool]] = []
        if self.keys:
            found.append(LedgerEntry.idempotency_key.in_(self.keys))
        if self.states:
            found.append(LedgerEntry.state.in_([state.value for state in self.states]))
        if self.run_id:
            found.append(LedgerEntry.run_id == self.run_id)
        if self.about:
            found.append(_is_about(self.about))
        return found


class Entries:
    """Lists actions, gives them up, and takes them up again."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def listed(self, chosen: ChosenEntries, *, limit: int | None = None) -> list[EntryItem]:
        """Return the actions that are meant, the latest first."""
        table = table_of(LedgerEntry)
        columns = [table.c[name] for name in _COLUMNS]
        reason = LedgerEntry.action["reason"].as_string().label("reason")
        query = select(*columns, reason).where(*chosen.conditions())
        query = query.order_by(table.c.planned_at.desc(), table.c.idempotency_key).limit(limit)
        with self._engine.connect() as db:
            return [EntryItem(**{**row._mapping, "state": State(row.state)}) for row in db.execute(query)]

    def find(self, key: str) -> EntryItem:
        """Return one action by its key. Raises UnknownEntry."""
        found = self.listed(ChosenEntries(keys=(key,)))
        if not found:
            raise UnknownEntry(f"The ledger has no action {key}. List them: dealsync ledger list")
        return found[0]

    def attempts(self, keys: Iterable[str]) -> dict[str, int]:
        """Return how often actions were sent, by key; those that never were are left out."""
        columns = (LedgerEntry.idempotency_key, LedgerEntry.attempts)
        found: dict[str, int] = {}
        with self._engine.connect() as db:
            for chunk in chunks(keys):
                query = select(*columns).where(LedgerEntry.idempotency_key.in_(chunk), LedgerEntry.attempts > 0)
                found |= {row.idempotency_key: row.attempts for row in db.execute(query)}
        return found

    def counts(self) -> dict[str, int]:
        """Return how many actions are in each state."""
        query = select(LedgerEntry.state, func.count()).group_by(LedgerEntry.state)
        with self._engine.connect() as db:
            found = {str(state): int(count) for state, count in db.execute(query).all()}
        return {state.value: found.get(state.value, 0) for state in State}

    def dismiss(self, chosen: ChosenEntries, now: datetime, words: str = DISMISSED_WORDS) -> list[str]:
        """Give up those of the chosen that are planned or failed; return their keys."""
        return self._step(Step.DISMISS, chosen, error=words, closed_at=now)

    def retry(self, chosen: ChosenEntries, now: datetime) -> list[str]:
        """Let later runs take up those of the chosen that had failed or were given up; return their keys."""
        return self._step(Step.RETRY, chosen, is_refused=False, closed_at=now)

    def _step(self, step: Step, chosen: ChosenEntries, **values: Any) -> list[str]:
        parts = [replace(chosen, keys=tuple(keys)) for keys in chunks(chosen.keys)] or [chosen]
        found: list[str] = []
        with self._engine.begin() as db:
            for part in parts:
                meant = (LedgerEntry.state.in_(sources(step)), *part.conditions())
                keep_steps(db, step, [{"words": values.get("error")}], values["closed_at"], *meant)
                statement = update(LedgerEntry).where(*meant).values(state=target(step), **values)
                found += db.scalars(statement.returning(LedgerEntry.idempotency_key))
        return sorted(found)


def is_of_kind(kind: Kind) -> ColumnElement[bool]:
    """Return the condition that an action is of a kind: in whichever state, as the index asks for that first."""
    return and_(LedgerEntry.state.in_([state.value for state in State]), LedgerEntry.kind == kind.value)


def _is_about(named: str) -> ColumnElement[bool]:
    """An object by its own name; an order and a deal also through what belongs to them."""
    kind, _, object_id = named.partition(":")
    found: ColumnElement[bool] = LedgerEntry.source == named
    if kind == "order":
        return or_(found, LedgerEntry.order_id == object_id)
    if kind == "lead" and object_id.isdecimal() and len(object_id) < 19:
        return or_(found, LedgerEntry.lead_id == int(object_id))
    return found
