"""The stored tables as pandas frames: the input of matching and of the diff.

Row values that differ become the frozen models; the rest never leaves the frame.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import pandas as pd

from dealsync.core.mapping import FIELD_KEYS
from dealsync.core.models import Deal, Money, Order, OrderStatus, Subscription

ORDER_COLUMNS = [
    "order_id",
    "store_id",
    "number",
    "order_status",
    "total_minor",
    "refunded_minor",
    "currency",
    "user_email",
    "user_name",
    "product_name",
    "variant_name",
    "variant_id",
    "quantity",
    "test_mode",
    "created_at",
    "updated_at",
    "refunded_at",
    "receipt_url",
]
SUBSCRIPTION_COLUMNS = [
    "subscription_id",
    "store_id",
    "order_id",
    "subscription_status",
    "user_email",
    "product_name",
    "variant_name",
    "test_mode",
    "created_at",
    "updated_at",
    "renews_at",
    "ends_at",
]
FIELD_COLUMNS = tuple(f"ls_{key}" for key in FIELD_KEYS)
DEAL_COLUMNS = [
    "lead_id",
    "name",
    "pipeline_id",
    "status_id",
    "price",
    "responsible_user_id",
    "created_at",
    "updated_at",
    "closed_at",
    "is_deleted",
    "written",
    *FIELD_COLUMNS,
]
CONTACT_EMAIL_COLUMNS = ["contact_id", "email"]
LEAD_CONTACT_COLUMNS = ["lead_id", "contact_id"]
LINK_COLUMNS = ["order_id", "lead_id", "tier", "evidence"]
LEDGER_COLUMNS = ["idempotency_key", "kind", "state", "order_id", "lead_id"]


@dataclass(frozen=True, slots=True)
class Tables:
    """One frame a table, with the columns named above. Times are aware UTC; absent values are None or NaT."""

    orders: pd.DataFrame
    subscriptions: pd.DataFrame
    deals: pd.DataFrame
    contact_emails: pd.DataFrame  # a row per address; live contacts only
    lead_contacts: pd.DataFrame  # a row per deal and contact
    links: pd.DataFrame
    ledger: pd.DataFrame  # entries that must not be planned again: applied, dismissed, sent, unknown

    def __post_init__(self) -> None:
        wanted = {
            "orders": ORDER_COLUMNS,
            "subscriptions": SUBSCRIPTION_COLUMNS,
            "deals": DEAL_COLUMNS,
            "contact_emails": CONTACT_EMAIL_COLUMNS,
            "lead_contacts": LEAD_CONTACT_COLUMNS,
            "links": LINK_COLUMNS,
            "ledger": LEDGER_COLUMNS,
        }
        for table in fields(self):
            missing = set(wanted[table.name]) - set(getattr(self, table.name).columns)
            if missing:
                raise ValueError(f"table {table.name} lacks the columns {sorted(missing)}")


def order_of(row: Any) -> Order:
    """Return the order that a row of `Tables.orders` (a named tuple) holds."""
    return Order(
        id=row.order_id,
        store_id=row.store_id,
        number=int(row.number),
        status=OrderStatus(row.order_status),
        total=Money(int(row.total_minor), row.currency),
        refunded=Money(int(row.refunded_minor), row.currency),
        user_email=row.user_email,
        user_name=row.user_name,
        product_name=row.product_name,
        variant_name=row.variant_name,
        variant_id=row.variant_id,
        quantity=int(row.quantity),
        test_mode=bool(row.test_mode),
        created_at=_required_time(row.created_at),
        updated_at=_required_time(row.updated_at),
        refunded_at=_time(row.refunded_at),
        receipt_url=_text(row.receipt_url),
    )


def subscription_of(row: Any) -> Subscription:
    """Return the subscription that a row of `Tables.subscriptions` holds."""
    return Subscription(
        id=row.subscription_id,
        store_id=row.store_id,
        order_id=row.order_id,
        subscription_status=row.subscription_status,
        user_email=row.user_email,
        product_name=row.product_name,
        variant_name=row.variant_name,
        test_mode=bool(row.test_mode),
        created_at=_required_time(row.created_at),
        updated_at=_required_time(row.updated_at),
        renews_at=_time(row.renews_at),
        ends_at=_time(row.ends_at),
    )


def deal_of(row: Any) -> Deal:
    """Return the deal that a row of `Tables.deals` holds, without its contacts and tags."""
    stored = {key: getattr(row, column) for key, column in zip(FIELD_KEYS, FIELD_COLUMNS, strict=True)}
    return Deal(
        lead_id=int(row.lead_id),
        name=row.name,
        pipeline_id=int(row.pipeline_id),
        status_id=int(row.status_id),
        price=int(row.price),
        responsible_user_id=None if pd.isna(row.responsible_user_id) else int(row.responsible_user_id),
        created_at=_required_time(row.created_at),
        updated_at=_required_time(row.updated_at),
        closed_at=_time(row.closed_at),
        fields={key: value for key, value in stored.items() if _text(value)},
        is_deleted=bool(row.is_deleted),
        written=json.loads(_text(row.written) or "{}"),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _time(value: Any) -> datetime | None:
    return None if value is None or pd.isna(value) else pd.Timestamp(value).to_pydatetime()


def _required_time(value: Any) -> datetime:
    time = _time(value)
    if time is None:
        raise ValueError("a stored row lacks its time")
    return time
