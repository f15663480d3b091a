"""What objects were before they changed, so that a report about a month that is over can be made again.

The mirror keeps each object as it was last seen. Here are the values that it replaced, each with the time until which
it held: whoever asks what was so at a time takes the first that held longer, else what is so now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, select
from sqlalchemy.orm import DeclarativeBase

from dealsync.core.models import OrderStatus
from dealsync.ledger.tables import DealRow, InvoiceRow, OrderRow, PastRow, SubscriptionRow
from dealsync.ledger.upsert import insert, table_of

Values = dict[str, Any]
WATCHED: dict[type[DeclarativeBase], tuple[str, ...]] = {
    OrderRow: (
        "order_status", "total_minor", "refunded_minor", "refunded_at", "currency", "product_name", "variant_name",
    ),
    InvoiceRow: ("invoice_status", "total_minor", "refunded_minor", "refunded_at", "currency"),
    SubscriptionRow: ("subscription_status", "product_name", "variant_name", "renews_at", "ends_at", "is_cancelled"),
    DealRow: ("responsible_user_id",),
}  # fmt: skip
"""What is kept of each kind of object: what reports are made of, and nothing personal."""
GIVEN_BACK = (OrderStatus.REFUNDED, OrderStatus.PARTIAL_REFUND, "partial_refunded")
TAKEN_BACK = (*GIVEN_BACK, OrderStatus.FRAUDULENT)


@dataclass(frozen=True, slots=True)
class Former:
    """What an object was until a time."""

    what: str  # a table's name, or "users"
    name: str  # its key there
    until: datetime
    values: Values


class Past:
    """Reads what was."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of(self, what: str) -> dict[str, list[tuple[datetime, Values]]]:
        """Return what the objects of a kind were, by key, each with the time until which it held, oldest first."""
        columns = (PastRow.name, PastRow.until, PastRow.values)
        found: dict[str, list[tuple[datetime, Values]]] = {}
        with self._engine.connect() as db:
            for row in db.execute(select(*columns).where(PastRow.what == what).order_by(PastRow.name, PastRow.until)):
                found.setdefault(row.name, []).append((row.until, _read(row.values)))
        return found


def keep_past(db: Connection, formers: Iterable[Former]) -> None:
    """Write down what was; what is there of the same time stays."""
    rows = [{"what": f.what, "name": f.name, "until": f.until, "values": _written(f.values)} for f in formers]
    if rows:
        statement = insert(db, table_of(PastRow)).on_conflict_do_nothing(index_elements=["what", "name", "until"])
        db.execute(statement, rows)


def keep_replaced(
    db: Connection, model: type[DeclarativeBase], rows: Sequence[Values], stored: Mapping[Any, Mapping[str, Any]]
) -> None:
    """Write down what fresh rows are about to replace, `stored` by key. What comes as refunded was paid before."""
    if not (columns := WATCHED.get(model)):
        return
    table, now = table_of(model), datetime.now(UTC)
    key = next(iter(table.primary_key.columns))
    formers = []
    for row in rows:
        old = stored.get(row[key.name]) or _before_refund(row)
        if old is None or row["updated_at"] < old["updated_at"] or all(old[name] == row[name] for name in columns):
            continue
        values = {name: old[name] for name in columns}
        formers.append(Former(table.name, str(row[key.name]), _until(old, row, now), values))
    keep_past(db, formers)


def _before_refund(row: Values) -> Values | None:
    """What an object was before its refund, if it is first seen with one."""
    status = next((name for name in ("order_status", "invoice_status") if name in row), None)
    if status is None or (not row["refunded_minor"] and row[status] not in TAKEN_BACK):
        return None
    unchanged = row["updated_at"] - timedelta(microseconds=1)
    return {**row, status: "paid", "refunded_minor": 0, "refunded_at": None, "updated_at": unchanged}


def _until(old: Mapping[str, Any], new: Values, now: datetime) -> datetime:
    """When the new values began: by their API, or now, if it does not tell."""
    refunded_at: datetime | None = new.get("refunded_at")
    if refunded_at is not None and refunded_at != old["refunded_at"]:
        return refunded_at
    changed_at: datetime = new["updated_at"]
    return changed_at if changed_at > old["updated_at"] else now


def _written(values: Mapping[str, Any]) -> Values:
    return {
        name: value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
        for name, value in values.items()
    }


def _read(values: Mapping[str, Any]) -> Values:
    """As it was: what ends in `_at`, and `since`, is a time."""
    return {
        name: datetime.fromisoformat(value) if value and (name.endswith("_at") or name == "since") else value
        for name, value in values.items()
    }
