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
from dealsync.core.models import Deal, Invoice, Money, Order, OrderStatus, Subscription

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
    "identifier",
    "customer_id",
    "product_id",
    "subtotal_minor",
    "discount_minor",
    "tax_minor",
    "setup_fee_minor",
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
    "trial_ends_at",
    "resumes_at",
    "is_cancelled",
    "quantity",
    "variant_id",
    "portal_url",
]
INVOICE_COLUMNS = [
    "invoice_id",
    "store_id",
    "subscription_id",
    "billing_reason",
    "invoice_status",
    "total_minor",
    "tax_minor",
    "refunded_minor",
    "currency",
    "test_mode",
    "created_at",
    "updated_at",
    "refunded_at",
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
    "entered_at",
    "entered_by",
    *FIELD_COLUMNS,
]
CONTACT_EMAIL_COLUMNS = ["contact_id", "email"]
LEAD_CONTACT_COLUMNS = ["lead_id", "contact_id"]
LINK_COLUMNS = ["order_id", "lead_id", "tier", "evidence"]
LEDGER_COLUMNS = ["idempotency_key", "kind", "state", "source", "order_id", "lead_id", "alarm"]
HINT_COLUMNS = [
    "kind",
    "event_name",
    "order_id",
    "subscription_id",
    "lead_text",
    "custom",
    "order_identifier",
    "variant_id",
    "issued_at",
    "seen_at",
]
CHECKOUT_COLUMNS = [
    "checkout_id",
    "store_id",
    "variant_id",
    "lead_text",
    "email",
    "custom_price",
    "created_at",
    "expires_at",
    "test_mode",
    "mark",
    "url",
]
MERGE_COLUMNS = ["gone_id", "lead_id", "is_settled"]
DECISION_COLUMNS = ["order_id", "decision"]
CUSTOMER_COLUMNS = ["customer_id", "country"]
COMPANY_COLUMNS = ["name", "company_id"]


@dataclass(frozen=True, slots=True)
class Tables:
    """One frame a table, with the columns named above. Times are aware UTC; absent values are None or NaT."""

    orders: pd.DataFrame
    subscriptions: pd.DataFrame
    invoices: pd.DataFrame
    deals: pd.DataFrame
    contact_emails: pd.DataFrame  # a row per address; live contacts only
    lead_contacts: pd.DataFrame  # a row per deal and contact
    links: pd.DataFrame
    ledger: pd.DataFrame  # entries that must not be planned again: applied, dismissed, sent, unknown
    hints: pd.DataFrame  # webhooks and claims that speak of an order or subscription, see `core.evidence`
    checkouts: pd.DataFrame  # with a deal's id in their custom data, whoever made them
    merges: pd.DataFrame  # deals that are gone, and which took them in; settled: nothing more can be learned
    decisions: pd.DataFrame  # reviews that a person decided without naming a deal, see `plan.Decision`
    customers: pd.DataFrame  # those that were ever asked for
    companies: pd.DataFrame  # by normalised name, those that were ever asked for; without an id: looked for in vain

    def __post_init__(self) -> None:
        wanted = {
            "orders": ORDER_COLUMNS,
            "subscriptions": SUBSCRIPTION_COLUMNS,
            "invoices": INVOICE_COLUMNS,
            "deals": DEAL_COLUMNS,
            "contact_emails": CONTACT_EMAIL_COLUMNS,
            "lead_contacts": LEAD_CONTACT_COLUMNS,
            "links": LINK_COLUMNS,
            "ledger": LEDGER_COLUMNS,
            "hints": HINT_COLUMNS,
            "checkouts": CHECKOUT_COLUMNS,
            "merges": MERGE_COLUMNS,
            "decisions": DECISION_COLUMNS,
            "customers": CUSTOMER_COLUMNS,
            "companies": COMPANY_COLUMNS,
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
        refunded_at=time_of(row.refunded_at),
        receipt_url=_text(row.receipt_url),
        identifier=_text(row.identifier) or "",
        customer_id=_text(row.customer_id) or "",
        product_id=_text(row.product_id) or "",
        subtotal_minor=None if pd.isna(row.subtotal_minor) else int(row.subtotal_minor),
        discount_minor=int(row.discount_minor),
        tax_minor=int(row.tax_minor),
        setup_fee_minor=int(row.setup_fee_minor),
        paid_at=time_of(getattr(row, "paid_at", None)),
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
        renews_at=time_of(row.renews_at),
        ends_at=time_of(row.ends_at),
        trial_ends_at=time_of(row.trial_ends_at),
        resumes_at=time_of(row.resumes_at),
        is_cancelled=bool(row.is_cancelled),
        quantity=None if pd.isna(row.quantity) else int(row.quantity),
        variant_id=_text(row.variant_id) or "",
        portal_url=_text(row.portal_url),
    )


def invoice_of(row: Any) -> Invoice:
    """Return the invoice that a row of `Tables.invoices` holds."""
    return Invoice(
        id=row.invoice_id,
        store_id=row.store_id,
        subscription_id=row.subscription_id,
        billing_reason=row.billing_reason,
        invoice_status=row.invoice_status,
        total=Money(int(row.total_minor), row.currency),
        refunded=Money(int(row.refunded_minor), row.currency),
        tax_minor=int(row.tax_minor),
        test_mode=bool(row.test_mode),
        created_at=_required_time(row.created_at),
        updated_at=_required_time(row.updated_at),
        refunded_at=time_of(row.refunded_at),
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
        closed_at=time_of(row.closed_at),
        fields={key: value for key, value in stored.items() if _text(value)},
        is_deleted=bool(row.is_deleted),
        written=json.loads(_text(row.written) or "{}"),
        entered_at=time_of(row.entered_at),
        entered_by=None if pd.isna(row.entered_by) else int(row.entered_by),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def time_of(value: Any) -> datetime | None:
    """Return a time of a frame; None where it is absent."""
    if isinstance(value, datetime) and value is not pd.NaT:
        return value.to_pydatetime() if isinstance(value, pd.Timestamp) else value
    return None if value is None or pd.isna(value) else pd.Timestamp(value).to_pydatetime()


def _required_time(value: Any) -> datetime:
    time = time_of(value)
    if time is None:
        raise ValueError("a stored row lacks its time")
    return time
