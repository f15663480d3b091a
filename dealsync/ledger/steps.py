"""The steps of actions, written down in the transaction that takes them: what the ledger's newest state leaves out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, ColumnElement, Connection, Text, bindparam, literal, select

from dealsync.core.plan import Action
from dealsync.core.states import Step
from dealsync.ledger.tables import LedgerEntry, StepRow, UtcTime
from dealsync.ledger.upsert import table_of

_COLUMNS = (
    "idempotency_key", "step", "was", "at", "run_id", "attempt", "by_reading", "lead_id", "result_id", "words",
)  # fmt: skip


def keep_claims(db: Connection, actions: Iterable[Action], run_id: str, now: datetime) -> None:
    """Write down that a run took actions up, and why each is due."""
    rows = [
        {
            "idempotency_key": action.key,
            "step": Step.CLAIM.value,
            "at": now,
            "run_id": run_id,
            "attempt": 0,
            "by_reading": False,
            "lead_id": action.lead_id,
            "words": action.reason,
        }
        for action in actions
    ]
    if rows:
        db.execute(table_of(StepRow).insert(), rows)


def keep_steps(
    db: Connection,
    step: Step | str,
    rows: Sequence[Mapping[str, Any]],
    now: datetime,
    *where: ColumnElement[bool],
    run_id: str | None = None,
) -> None:
    """Write down a step of those actions that are about to take it. Call it before their state changes.

    `rows`: what is told of each, by `key`; without one, of all that the conditions choose.
    """
    table, entry = table_of(StepRow), table_of(LedgerEntry).c
    told: dict[str, Any] = {"deal": None, "made": None, "words": None, "by_reading": False}
    mine = [entry.idempotency_key == bindparam("key")] if rows and "key" in rows[0] else []
    chosen = select(
        entry.idempotency_key,
        literal(str(step)),
        entry.state,
        literal(now, UtcTime),
        literal(run_id, Text),
        entry.attempts + (1 if step is Step.SEND else 0),
        bindparam("by_reading", type_=Boolean),
        bindparam("deal", type_=BigInteger),
        bindparam("made", type_=BigInteger),
        bindparam("words", type_=Text),
    ).where(*mine, *where)
    # Locked, where a database can: nothing else may happen to them before their state changes.
    statement = table.insert().from_select(_COLUMNS, chosen.with_for_update(of=table_of(LedgerEntry)))
    db.execute(statement, [{**told, **{k: v for k, v in row.items() if k in (*told, "key")}} for row in rows])
