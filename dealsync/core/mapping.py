"""Order and subscription -> the deal fields we want, in the form in which Kommo gives them back.

What is wanted must equal what will be read later, or every run would find the same drift again: amounts are
plain decimals without trailing zeros, absent values are left out (null never overwrites a value).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from dealsync.core.assumptions import KOMMO_NUMERIC_FIELD_DECIMALS
from dealsync.core.models import Money, Order, Subscription


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
)
FIELD_KEYS: tuple[str, ...] = tuple(f.key for f in FIELDS)
NUMERIC_KEYS = frozenset(f.key for f in FIELDS if f.field_type == "numeric")


def deal_fields(order: Order, subscription: Subscription | None) -> dict[str, str]:
    """Return the wanted LS fields of the deal that `order` belongs to, by key; only those with a value."""
    fields = {
        "order_id": order.id,
        "order_number": str(order.number),
        "status": order.status.value,
        "amount_paid": plain_amount(order.total),
        "currency": order.total.currency,
    }
    if order.refunded.minor:
        fields["refunded"] = plain_amount(order.refunded)
    if subscription is not None:
        fields["subscription_id"] = subscription.id
    if order.receipt_url:
        fields["receipt_link"] = stable_link(order.receipt_url)
    return fields


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


def stable_link(url: str) -> str:
    """Return a signed link without its query: the signature changes with every answer, the receipt does not."""
    return url.split("?", 1)[0]


def fields_digest(fields: Mapping[str, str]) -> str:
    """Return a short digest of wanted fields: equal wishes, one effect."""
    text = "\n".join(f"{key}={fields[key]}" for key in sorted(fields))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
