"""Everything that reports are made of, read at once: objects with their past, links, findings, wins, runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.orm import DeclarativeBase

from dealsync.core.figures import BY_POLL, BY_WEBHOOK, Facts, Finding, Win
from dealsync.core.history import History, history
from dealsync.core.plan import Kind
from dealsync.core.states import State
from dealsync.ledger.findings import REFUSAL
from dealsync.ledger.past import Past
from dealsync.ledger.reviews import closed_at
from dealsync.ledger.runs import APPLYING_JOBS, DRAIN
from dealsync.ledger.tables import (
    AccountRow,
    DealRow,
    FindingRow,
    InvoiceRow,
    LedgerEntry,
    LinkRow,
    OrderRow,
    ReviewRow,
    RunRow,
    SubscriptionRow,
)
from dealsync.ledger.upsert import table_of

WON_BY = (Kind.CLOSE.value, Kind.CREATE_DEAL.value)
COLUMNS: dict[type[DeclarativeBase], tuple[str, ...]] = {
    OrderRow: (
        "order_id", "number", "order_status", "total_minor", "refunded_minor", "refunded_at", "currency",
        "product_name", "variant_name", "created_at",
    ),
    InvoiceRow: (
        "invoice_id", "subscription_id", "billing_reason", "invoice_status", "total_minor", "refunded_minor",
        "refunded_at", "currency", "created_at",
    ),
    SubscriptionRow: (
        "subscription_id", "order_id", "subscription_status", "product_name", "variant_name", "renews_at", "ends_at",
        "is_cancelled", "created_at",
    ),
}  # fmt: skip
"""No addresses, no names of persons."""


class Books:
    """Reads facts for `core.figures`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._past = Past(engine)

    def facts(self, *, store_ids: Collection[str], test_mode: bool, kommo_origin: str) -> Facts:
        """Return all that is known of these stores in this mode."""
        with self._engine.connect() as db:
            orders = self._objects(db, OrderRow, store_ids, test_mode)
            return Facts(
                orders=orders,
                invoices=self._objects(db, InvoiceRow, store_ids, test_mode),
                subscriptions=self._objects(db, SubscriptionRow, store_ids, test_mode),
                deals=self._owners(db),
                links=self._links(db, orders),
                reviews=self._reviews(db, orders),
                users=self._users(db, kommo_origin),
                findings=tuple(self._findings(db)),
                wins=tuple(_wins(db, orders)),
                drifts=tuple(_drifts(db)),
                began_at=db.scalar(select(func.min(RunRow.started_at)).where(RunRow.job.in_((*APPLYING_JOBS, DRAIN)))),
            )

    def _objects(
        self, db: Connection, model: type[DeclarativeBase], store_ids: Collection[str], test_mode: bool
    ) -> dict[str, History]:
        table, names = table_of(model), COLUMNS[model]
        mine = (table.c.store_id.in_(store_ids), table.c.test_mode.is_(test_mode))
        query = select(*(table.c[name] for name in names)).where(*mine).order_by(table.c[names[0]])
        past = self._past.of(table.name)
        return {row[0]: history(dict(row._mapping), past.get(row[0], ())) for row in db.execute(query)}

    def _owners(self, db: Connection) -> dict[int, History]:
        past = self._past.of("deals")
        rows = db.execute(select(DealRow.lead_id, DealRow.responsible_user_id))
        return {
            row.lead_id: history({"responsible_user_id": row.responsible_user_id}, past.get(str(row.lead_id), ()))
            for row in rows
        }

    def _links(self, db: Connection, orders: Collection[str]) -> dict[str, History]:
        past = self._past.of("links")
        rows = db.execute(select(LinkRow.order_id, LinkRow.lead_id, LinkRow.tier, LinkRow.linked_at))
        return {
            row.order_id: history(dict(row._mapping), past.get(row.order_id, ()))
            for row in rows
            if row.order_id in orders
        }

    def _reviews(self, db: Connection, orders: Collection[str]) -> dict[str, History]:
        past = self._past.of("reviews")
        columns = (
            ReviewRow.order_id,
            ReviewRow.state,
            ReviewRow.first_seen_at,
            ReviewRow.decided_at,
            ReviewRow.last_seen_at,
        )
        return {
            row.order_id: history(
                {"first_seen_at": row.first_seen_at, "closed_at": closed_at(row)}, past.get(row.order_id, ())
            )
            for row in db.execute(select(*columns))
            if row.order_id in orders
        }

    def _users(self, db: Connection, origin: str) -> dict[int, History]:
        view: Mapping[str, Any] = db.scalar(select(AccountRow.view).where(AccountRow.name == origin)) or {}
        names = {str(user["user_id"]): user["name"] for user in view.get("users", ())}
        past = self._past.of("users")
        return {
            int(user_id): history({"name": names.get(user_id)}, past.get(user_id, ()))
            for user_id in names.keys() | past.keys()
        }

    def _findings(self, db: Connection) -> Iterator[Finding]:
        past = self._past.of("findings")
        table = table_of(FindingRow)
        for row in db.execute(select(table).where(table.c.kind != REFUSAL).order_by(table.c.finding)):
            spells = [values for _, values in past.get(row.finding, ())]
            for spell in (*spells, dict(row._mapping)):
                first: datetime = spell["first_seen_at"]
                yield Finding(row.kind, row.source, row.lead_id, spell["since"] or first, first, spell["ended_at"])


def _wins(db: Connection, orders: Collection[str]) -> Iterator[Win]:
    entry = LedgerEntry
    query = (
        select(entry.source, entry.order_id, entry.lead_id, entry.closed_at, RunRow.job)
        .outerjoin(RunRow, RunRow.run_id == entry.run_id)
        .where(entry.kind.in_(WON_BY), entry.state == State.APPLIED.value)
        .where(entry.lead_id.is_not(None), entry.closed_at.is_not(None))
        .order_by(entry.closed_at, entry.idempotency_key)
    )
    for row in db.execute(query):
        if row.order_id in orders:
            way = BY_WEBHOOK if row.job == DRAIN else BY_POLL
            yield Win(row.source, row.order_id, row.lead_id, row.closed_at, way)


def _drifts(db: Connection) -> Iterator[tuple[datetime, dict[str, int]]]:
    """What each run that looked everywhere found out of step when it began."""
    query = select(RunRow.started_at, RunRow.summary).where(RunRow.job.in_(APPLYING_JOBS)).order_by(RunRow.started_at)
    for row in db.execute(query):
        if "drift" in row.summary:
            yield row.started_at, dict(sorted(row.summary["drift"].items()))
