"""What was carried out, with the way back from it: what an undo is made of."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Engine, or_, select

from dealsync.core.plan import Action, DealChange
from dealsync.core.states import State
from dealsync.core.undo import Done, for_deal
from dealsync.errors import UnknownRun
from dealsync.ledger.runs import RUNNING
from dealsync.ledger.tables import LedgerEntry, RunRow
from dealsync.ledger.upsert import besides, chunks

_ACTION = TypeAdapter(Action)
_WAY_BACK = TypeAdapter(DealChange | None)
RECENT = 5


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run that is over."""

    run_id: str
    job: str
    started_at: datetime


class CarriedOut:
    """Reads applied actions back."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def run(self, run_id: str) -> PastRun:
        """Return a run. Raises UnknownRun naming the latest ones that did something."""
        columns = (RunRow.run_id, RunRow.job, RunRow.started_at)
        with self._engine.connect() as db:
            row = db.execute(select(*columns).where(RunRow.run_id == run_id, RunRow.outcome != RUNNING)).first()
            if row is not None:
                return PastRun(*row)
            did = select(LedgerEntry.run_id).where(LedgerEntry.state == State.APPLIED.value)
            latest = select(RunRow.run_id).where(RunRow.run_id.in_(did)).order_by(RunRow.started_at.desc())
            known = ", ".join(db.scalars(latest.limit(RECENT))) or "none"
        raise UnknownRun(f"There is no run {run_id} that is over. The latest that changed something: {known}")

    def of_run(self, run_id: str) -> list[Done]:
        """Return what a run carried out, in the order in which it was sent."""
        return self._read([LedgerEntry.run_id == run_id])

    def about(self, lead_ids: Collection[int], keys: Iterable[str]) -> list[Done]:
        """Return everything carried out on these deals and on the notes and tasks of these keys, oldest first."""
        change, found = LedgerEntry.action["change"], dict[str, Done]()
        wanted: list[ColumnElement[bool]] = [LedgerEntry.lead_id.in_(ids) for ids in chunks(lead_ids)]
        for part in chunks(keys):
            on_task, on_note = change["task_key"].as_string(), change["note_key"].as_string()
            wanted.append(or_(LedgerEntry.idempotency_key.in_(part), on_task.in_(part), on_note.in_(part)))
        for condition in wanted:
            found |= {one.action.key: one for one in self._read([condition])}
        return sorted(found.values(), key=lambda one: (one.at, one.action.key))

    def _read(self, conditions: list[ColumnElement[bool]]) -> list[Done]:
        query = select(
            LedgerEntry.action,
            LedgerEntry.lead_id,
            LedgerEntry.result_id,
            LedgerEntry.way_back,
            LedgerEntry.sent_at,
            LedgerEntry.closed_at,
            LedgerEntry.planned_at,
            LedgerEntry.run_id,
        ).where(besides(LedgerEntry.state) == State.APPLIED.value, *conditions)
        with self._engine.connect() as db:
            rows = [_done(row) for row in db.execute(query)]
        return sorted(rows, key=lambda one: (one.at, one.action.key))


def _done(row: Any) -> Done:
    one = Done(
        _ACTION.validate_python(row.action),
        row.result_id,
        _WAY_BACK.validate_python(row.way_back),
        row.sent_at or row.closed_at or row.planned_at,
        row.run_id,
    )
    return for_deal(one, row.lead_id)
