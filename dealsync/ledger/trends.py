"""What happened when, over many runs: for charts and for how long payments took to close their deals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, func, or_, select

from dealsync.core.models import OrderStatus
from dealsync.core.plan import Kind
from dealsync.core.states import State
from dealsync.ledger.runs import APPLYING_JOBS, DONE
from dealsync.ledger.tables import LedgerEntry, OrderRow, RunRow

BROUGHT_MONEY = (OrderStatus.PAID, OrderStatus.PARTIAL_REFUND, OrderStatus.REFUNDED, OrderStatus.FRAUDULENT)


@dataclass(frozen=True, slots=True)
class Won:
    """A payment whose deal was closed or made by dealsync, and the job that did it."""

    paid_at: datetime
    won_at: datetime
    job: str

    @property
    def took_s(self) -> float:
        """From payment to won, in seconds."""
        return max(0.0, (self.won_at - self.paid_at).total_seconds())


class Trends:
    """Answers about the past. Reads only."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def won(self, since: datetime) -> list[Won]:
        """Return the payments since a time whose deals are won, in the order in which they were.

        What a poll found that was paid before dealsync first looked is not counted: nobody could have been quicker.
        """
        was_told = RunRow.job.not_in(APPLYING_JOBS)
        query = (
            select(OrderRow.created_at, LedgerEntry.closed_at, RunRow.job)
            .join(LedgerEntry, LedgerEntry.source == "order:" + OrderRow.order_id)
            .join(RunRow, RunRow.run_id == LedgerEntry.run_id)
            .where(LedgerEntry.kind.in_((Kind.CLOSE.value, Kind.CREATE_DEAL.value)))
            .where(LedgerEntry.state == State.APPLIED.value, LedgerEntry.closed_at.is_not(None))
            .where(OrderRow.created_at >= since, OrderRow.total_minor > 0)
            .order_by(LedgerEntry.closed_at, OrderRow.order_id)
        )
        with self._engine.connect() as db:
            began_at = db.scalar(select(func.min(RunRow.started_at)))
            if began_at is None:
                return []
            # Lemon Squeezy tells whole seconds: what was paid in the first run's own second may have been seen.
            seen = or_(OrderRow.created_at >= began_at.replace(microsecond=0), was_told)
            return [Won(*row) for row in db.execute(query.where(seen))]

    def payments(self, since: datetime, store_ids: Collection[str], *, test_mode: bool) -> Counter[date]:
        """Return how many orders were paid on each day (UTC)."""
        status = OrderRow.order_status.in_([status.value for status in BROUGHT_MONEY])
        return self._per_day(OrderRow.created_at, since, store_ids, status, test_mode=test_mode)

    def refunds(self, since: datetime, store_ids: Collection[str], *, test_mode: bool) -> Counter[date]:
        """Return how many orders were given back, in full or in part, on each day (UTC)."""
        return self._per_day(OrderRow.refunded_at, since, store_ids, OrderRow.refunded_minor > 0, test_mode=test_mode)

    def drift(self, since: datetime) -> list[tuple[datetime, dict[str, int]]]:
        """Return what each run over all deals found out of step, by class, in the order of the runs."""
        query = (
            select(RunRow.started_at, RunRow.summary)
            .where(RunRow.job.in_(APPLYING_JOBS), RunRow.outcome == DONE, RunRow.started_at >= since)
            .order_by(RunRow.started_at)
        )
        with self._engine.connect() as db:
            return [(at, dict(summary["drift"])) for at, summary in db.execute(query) if "drift" in summary]

    def _per_day(
        self,
        column: Any,
        since: datetime,
        store_ids: Collection[str],
        *conditions: ColumnElement[bool],
        test_mode: bool,
    ) -> Counter[date]:
        mine = (OrderRow.store_id.in_(store_ids), OrderRow.test_mode.is_(test_mode), OrderRow.total_minor > 0)
        query = select(column).where(column >= since, *mine, *conditions)
        with self._engine.connect() as db:
            return Counter(at.date() for at in db.scalars(query))
