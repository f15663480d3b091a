"""What was found out of step and what conflict rules refused: since when it is known, and when it ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from sqlalchemy import Engine, select, update

from dealsync.core.plan import Drift, Plan, Refusal
from dealsync.ledger.tables import FindingRow, PastFindingRow
from dealsync.ledger.upsert import chunks, insert, table_of

REFUSAL = "refusal"
KEPT = ("finding", "kind", "source", "lead_id", "first_seen_at", "ended_at", "reason")
"""Columns of what is known about a finding that may be over."""


class Findings:
    """The findings that hold now, and those that ended."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def keep(self, plan: Plan, now: datetime, *, whole: bool = True) -> dict[str, datetime]:
        """Store what a plan found; what a whole one did not find has ended. Return when each was first seen, by key.

        A finding that ended and is found again is a new one.
        """
        table = table_of(FindingRow)
        rows = list({row["finding"]: row for row in _rows(plan, now)}.values())
        with self._engine.begin() as db:
            for chunk in chunks(rows):
                statement = insert(db, table).values(chunk)
                fresh = {"last_seen_at": now, **{name: statement.excluded[name] for name in ("lead_id", "reason")}}
                again = (table.c.finding.in_([row["finding"] for row in chunk]), table.c.ended_at.is_not(None))
                ended = select(*(table.c[name] for name in KEPT)).where(*again)
                db.execute(table_of(PastFindingRow).insert().from_select(KEPT, ended))
                db.execute(update(table).where(*again).values(first_seen_at=now, ended_at=None))
                db.execute(statement.on_conflict_do_update(index_elements=[table.c.finding], set_=fresh))
            if whole:
                unseen = (table.c.last_seen_at < now, table.c.ended_at.is_(None))
                db.execute(update(table).where(*unseen).values(ended_at=now))
            standing = select(table.c.finding, table.c.first_seen_at).where(table.c.ended_at.is_(None))
            return {row.finding: row.first_seen_at for row in db.execute(standing)}


def _rows(plan: Plan, now: datetime) -> Iterator[dict[str, object]]:
    found: Iterable[Drift | Refusal] = (*plan.drifts, *plan.refusals)
    for row in found:
        yield {
            "finding": row.key[:400],
            "kind": row.drift if isinstance(row, Drift) else REFUSAL,
            "source": row.source,
            "lead_id": row.lead_id,
            "first_seen_at": now,
            "last_seen_at": now,
            "reason": row.reason if isinstance(row, Refusal) else "",
        }
