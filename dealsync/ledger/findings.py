"""What was found out of step and what conflict rules refused: since when it is known, and when it ended."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, select, update

from dealsync.core.plan import Drift, Plan, Refusal
from dealsync.ledger.past import Former, keep_past
from dealsync.ledger.tables import FindingRow, PastFindingRow
from dealsync.ledger.upsert import chunks, insert, table_of

REFUSAL = "refusal"
KEPT = ("finding", "kind", "source", "lead_id", "first_seen_at", "ended_at", "reason")
"""Columns of what is known about a finding that may be over."""


@dataclass(frozen=True, slots=True)
class Lasting:
    """A finding that holds still."""

    kind: str
    source: str
    first_seen_at: datetime


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
                statement = insert(db, table)
                fresh = {"last_seen_at": now, **{name: statement.excluded[name] for name in ("lead_id", "reason")}}
                _reopen(db, {row["finding"]: row["since"] for row in chunk}, now)
                db.execute(statement.on_conflict_do_update(index_elements=[table.c.finding], set_=fresh), chunk)
            if whole:
                unseen = (table.c.last_seen_at < now, table.c.ended_at.is_(None))
                db.execute(update(table).where(*unseen).values(ended_at=now))
            standing = select(table.c.finding, table.c.first_seen_at).where(table.c.ended_at.is_(None))
            return {row.finding: row.first_seen_at for row in db.execute(standing)}

    def lasting(self, kinds: Collection[str], before: datetime) -> list[Lasting]:
        """Return what holds still and was first seen before a time, of these kinds, the oldest first."""
        columns = select(FindingRow.kind, FindingRow.source, FindingRow.first_seen_at)
        found = columns.where(
            FindingRow.kind.in_(kinds), FindingRow.ended_at.is_(None), FindingRow.first_seen_at <= before
        )
        with self._engine.connect() as db:
            return [Lasting(*row) for row in db.execute(found.order_by(FindingRow.first_seen_at, FindingRow.finding))]


def _reopen(db: Connection, found: Mapping[str, datetime | None], now: datetime) -> None:
    """Begin anew what had ended; when it was so before is kept."""
    table = table_of(FindingRow)
    over = (table.c.finding.in_(found), table.c.ended_at.is_not(None))
    ended = select(*(table.c[name] for name in KEPT)).where(*over)
    db.execute(table_of(PastFindingRow).insert().from_select(KEPT, ended))
    kept = (table.c.finding, table.c.first_seen_at, table.c.since, table.c.ended_at)
    for row in db.execute(select(*kept).where(*over)).all():
        before = {"first_seen_at": row.first_seen_at, "since": row.since, "ended_at": row.ended_at}
        keep_past(db, [Former("findings", row.finding, now, before)])
        anew = {"first_seen_at": now, "ended_at": None, "since": found[row.finding]}
        db.execute(update(table).where(table.c.finding == row.finding).values(anew))


def _rows(plan: Plan, now: datetime) -> Iterator[dict[str, Any]]:
    found: Iterable[Drift | Refusal] = (*plan.drifts, *plan.refusals)
    for row in found:
        yield {
            "finding": row.key[:400],
            "kind": row.drift if isinstance(row, Drift) else REFUSAL,
            "source": row.source,
            "lead_id": row.lead_id,
            "since": row.since if isinstance(row, Drift) else None,
            "first_seen_at": now,
            "last_seen_at": now,
            "reason": row.reason if isinstance(row, Refusal) else "",
        }
