"""The custom fields of Kommo's deals that dealsync owns, and the form in which their values are compared.

What is wanted must equal what will be read later, or every run would find the same drift again: amounts are plain
decimals without trailing zeros, times are ISO 8601 in UTC to the second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from dealsync.core.assumptions import KOMMO_NUMERIC_FIELD_DECIMALS
from dealsync.core.models import Money


@dataclass(frozen=True, slots=True)
class LsField:
    """A custom field of Kommo deals that dealsync owns. `field_type` is Kommo's word for its type."""

    key: str
    name: str
    field_type: str


AMOUNT = "numeric" if KOMMO_NUMERIC_FIELD_DECIMALS else "text"
FIELDS: tuple[LsField, ...] = (
    LsField("order_id", "LS order id", "text"),
    LsField("order_number", "LS order number", "text"),
    LsField("subscription_id", "LS subscription id", "text"),
    LsField("status", "LS status", "text"),
    LsField("amount_paid", "LS amount paid", AMOUNT),
    LsField("refunded", "LS refunded", AMOUNT),
    LsField("currency", "LS currency", "text"),
    LsField("receipt_link", "LS receipt link", "url"),
    LsField("subscription_status", "LS subscription status", "text"),
    LsField("plan", "LS plan", "text"),
    LsField("seats", "LS seats", "numeric"),
    LsField("renews_at", "LS renews at", "date_time"),
    LsField("ends_at", "LS ends at", "date_time"),
    LsField("lifetime_revenue", "LS lifetime revenue", AMOUNT),
    LsField("customer_portal", "LS customer portal", "url"),
    LsField("checkout_link", "LS checkout link", "url"),
    LsField("invoice_id", "LS invoice id", "text"),
)
OTHER_FIELD = "field:"
FIELD_KEYS: tuple[str, ...] = tuple(f.key for f in FIELDS)
NUMERIC_KEYS = frozenset(f.key for f in FIELDS if f.field_type == "numeric")
TIME_KEYS = frozenset(f.key for f in FIELDS if f.field_type == "date_time")


def other_field(field_id: int) -> str:
    """Return the key in `Deal.fields` of a field that is not ours, but that the configuration names."""
    return f"{OTHER_FIELD}{field_id}"


def plain_amount(money: Money) -> str:
    """Return an amount in major units as a plain decimal: 4990 USD -> "49.9", 49000 USD -> "490"."""
    return canonical_number(str(money.major))


def canonical_number(text: str) -> str:
    """Return a decimal without exponent or trailing zeros, so that "12.50" equals "12.5"; other text as it is."""
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return text
    return format(number.normalize(), "f") if number.is_finite() else text


def plain_time(time: datetime) -> str:
    """Return a time as fields hold it: ISO 8601 in UTC, to the second."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stable_link(url: str) -> str:
    """Return a signed link without its query: the signature changes with every answer, the receipt does not."""
    return url.split("?", 1)[0]


def fields_digest(fields: Mapping[str, str]) -> str:
    """Return a short digest of wanted fields: equal wishes, one effect."""
    text = "\n".join(f"{key}={fields[key]}" for key in sorted(fields))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
