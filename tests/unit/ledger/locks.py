"""The run lock, taken without a run."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Engine

from dealsync.ledger.runs import LOCK
from dealsync.ledger.tables import LockRow
from dealsync.ledger.upsert import insert

FAR = datetime(2099, 1, 1, tzinfo=UTC)


def hold_lock(engine: Engine, run_id: str) -> None:
    """Give the lock to a run, whoever had it."""
    with engine.begin() as db:
        statement = insert(db, LockRow).values(name=LOCK, holder=run_id, expires_at=FAR)
        db.execute(statement.on_conflict_do_update(index_elements=[LockRow.name], set_={"holder": run_id}))
