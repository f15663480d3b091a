"""Attributes of what a purchase makes: customer, order, item, subscription, invoice, license key.

Keys and key order as recorded. Source: Lemon Squeezy reference, section 5, and shared/samples/lemon-squeezy
(order_created of 2024-06, subscription_created of 2025-11), plus the attributes added since (setup_fee,
refunded_amount). Signed addresses get their expiry when they are shown: see wire.py.
"""

import calendar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

from dealsync.simulator.clock import iso
from dealsync.simulator.lemonsqueezy.goods import PRICE_OFFSET
from dealsync.simulator.lemonsqueezy.money import formatted, money_attributes, rate_to_usd
from dealsync.simulator.lemonsqueezy.words import APP_URL, SIGNATURE, STORE_URL, status_formatted
from dealsync.simulator.table import Record

CARD = {"card_brand": "visa", "card_last_four": "4242"}
NO_CARD = {"card_brand": None, "card_last_four": None}  # on zero and `updated` invoices (5.4)
SUBSCRIPTION_ITEM_OFFSET = 50_000  # the id of a subscription's item is the subscription's plus this


class Amounts(NamedTuple):
    """Money of an order or invoice in minor units; tax comes on top (tax_inclusive is false)."""

    subtotal: int
    discount: int
    tax: int
    total: int

    @classmethod
    def paid(cls, total: int, *, discount: int = 0, tax_percent: int = 0) -> "Amounts":
        """Take apart what was paid in all."""
        net = round(total * 100 / (100 + tax_percent))
        return cls(net + discount, discount, total - net, total)

    @classmethod
    def charged(cls, subtotal: int, *, discount: int = 0, tax_percent: int = 0) -> "Amounts":
        """Add up what is to pay. Less than nothing is nothing: recorded with subtotal -1 and total 0 (5.4)."""
        net = max(0, subtotal - discount)
        tax = round(net * tax_percent / 100)
        return cls(subtotal, min(discount, max(0, subtotal)), tax, net + tax)


@dataclass(frozen=True)
class Purchase:
    """What a buyer did: the input of `order`, `subscription` and their companions."""

    name: str
    email: str
    variant: Record
    product: Record
    total_minor: int  # what is paid, after discount and with tax
    currency: str
    quantity: int
    status: str  # order status at first
    created: float  # Unix seconds
    test_mode: bool
    discount_minor: int = 0
    tax_percent: int = 0
    unit_minor: int | None = None  # price of one; None: the subtotal shared out
    trial_days: int = 0  # a subscription starts on trial

    @cached_property
    def amounts(self) -> Amounts:
        """The parts of what is paid."""
        return Amounts.paid(self.total_minor, discount=self.discount_minor, tax_percent=self.tax_percent)


def customer(store_id: int, name: str, email: str, created: float, *, test_mode: bool) -> Record:
    """Return the attributes of a customer who has bought nothing yet."""
    at = iso(created)
    return {
        "store_id": store_id,
        "name": name,
        "email": email,
        "status": "subscribed",
        "city": None,
        "region": None,
        "country": None,
        "total_revenue_currency": 0,
        "mrr": 0,
        "status_formatted": "Subscribed",
        "country_formatted": None,
        "total_revenue_currency_formatted": formatted(0, "USD"),
        "mrr_formatted": formatted(0, "USD"),
        "urls": {"customer_portal": None},
        "created_at": at,
        "updated_at": at,
        "test_mode": test_mode,
    }


def has_bought(customer_id: int, attributes: Record) -> None:
    """Fill what a customer has from the first purchase on: country and portal (5.5)."""
    if attributes["country"] is None:
        attributes["country"], attributes["country_formatted"] = "US", "United States"
    attributes["urls"] = {"customer_portal": f"{STORE_URL}/billing?user={customer_id}&signature={SIGNATURE}"}


def order_item(order_id: int, item_id: int, purchase: Purchase) -> Record:
    """Return order item attributes; with its `id` in front it is the order's `first_order_item`."""
    at = iso(purchase.created)
    variant_id = int(purchase.variant["id"])
    shared = purchase.amounts.subtotal // purchase.quantity
    return {
        "id": item_id,
        "order_id": order_id,
        "product_id": int(purchase.product["id"]),
        "variant_id": variant_id,
        "price_id": price_id(variant_id),
        "product_name": purchase.product["attributes"]["name"],
        "variant_name": purchase.variant["attributes"]["name"],
        "price": shared if purchase.unit_minor is None else purchase.unit_minor,
        "quantity": purchase.quantity,
        "created_at": at,
        "updated_at": at,
        "test_mode": purchase.test_mode,
    }


def price_id(variant_id: int) -> int:
    """Return the id of a variant's one price."""
    return variant_id + PRICE_OFFSET


def order(store_id: int, customer_id: int, number: int, identifier: str, item: Record, purchase: Purchase) -> Record:
    """Return order attributes."""
    amounts = purchase.amounts
    money = money_attributes(
        {
            "subtotal": amounts.subtotal,
            "setup_fee": 0,
            "discount_total": amounts.discount,
            "tax": amounts.tax,
            "total": amounts.total,
            "refunded_amount": 0,
        },
        purchase.currency,
    )
    return {
        "store_id": store_id,
        "customer_id": customer_id,
        "identifier": identifier,
        "order_number": number,
        "user_name": purchase.name,
        "user_email": purchase.email,
        "currency": purchase.currency,
        "currency_rate": rate_to_usd(purchase.currency),
        "tax_name": "VAT" if purchase.tax_percent else "",
        "tax_rate": f"{purchase.tax_percent}.00",
        "tax_inclusive": False,
        "status": purchase.status,
        "status_formatted": status_formatted(purchase.status),
        "refunded": False,
        "refunded_at": None,
        **money,
        "first_order_item": item,
        "urls": {"receipt": f"{APP_URL}/my-orders/{identifier}?signature={SIGNATURE}"},
        "created_at": iso(purchase.created),
        "updated_at": iso(purchase.created),
        "test_mode": purchase.test_mode,
    }


def subscription(
    store_id: int,
    subscription_id: int,
    customer_id: int,
    item: Record,
    purchase: Purchase,
    *,
    renews: float,
) -> Record:
    """Return the attributes of a new subscription; `renews` is in Unix seconds."""
    created = iso(purchase.created - 4)  # some seconds before its order (5.3)
    on_trial = purchase.trial_days > 0
    return {
        "store_id": store_id,
        "customer_id": customer_id,
        "order_id": item["order_id"],
        "order_item_id": item["id"],
        "product_id": item["product_id"],
        "variant_id": item["variant_id"],
        "product_name": item["product_name"],
        "variant_name": item["variant_name"],
        "user_name": purchase.name,
        "user_email": purchase.email,
        "status": "on_trial" if on_trial else "active",
        "status_formatted": "On Trial" if on_trial else "Active",
        **CARD,
        "payment_processor": "stripe",
        "pause": None,
        "cancelled": False,
        "trial_ends_at": iso(renews) if on_trial else None,
        "billing_anchor": datetime.fromtimestamp(renews if on_trial else purchase.created, UTC).day,
        "first_subscription_item": {
            "id": subscription_id + SUBSCRIPTION_ITEM_OFFSET,
            "subscription_id": subscription_id,
            "price_id": item["price_id"],
            "quantity": item["quantity"],
            "is_usage_based": False,
            "created_at": created,
            "updated_at": created,
        },
        "urls": _subscription_urls(subscription_id, customer_id),
        "renews_at": iso(renews),
        "ends_at": None,
        "created_at": created,
        "updated_at": iso(purchase.created + 1),
        "test_mode": purchase.test_mode,
    }


def _subscription_urls(subscription_id: int, customer_id: int) -> Record:
    signed = f"signature={SIGNATURE}"
    return {
        "update_payment_method": f"{STORE_URL}/subscription/{subscription_id}/payment-details?{signed}",
        "customer_portal": f"{STORE_URL}/billing?user={customer_id}&{signed}",
        "customer_portal_update_subscription": f"{STORE_URL}/billing/{subscription_id}/update"
        f"?user={customer_id}&{signed}",
    }


def subscription_invoice(
    of: Record, subscription_id: int, amounts: Amounts, *, reason: str, created: float, card: bool = True
) -> Record:
    """Return the attributes of a pending invoice, of a subscription that the order with attributes `of` started.

    It keeps the currency and the rate of the first purchase (5.4). See `pay`.
    """
    return {
        "store_id": of["store_id"],
        "subscription_id": subscription_id,
        "customer_id": of["customer_id"],
        "user_name": of["user_name"],
        "user_email": of["user_email"],
        "billing_reason": reason,
        **(CARD if card else NO_CARD),
        "currency": of["currency"],
        "currency_rate": of["currency_rate"],
        "status": "pending",
        "status_formatted": "Pending",
        "refunded": False,
        "refunded_at": None,
        "tax_inclusive": False,
        **money_attributes(
            {
                "subtotal": amounts.subtotal,
                "discount_total": amounts.discount,
                "tax": amounts.tax,
                "total": amounts.total,
                "refunded_amount": 0,
            },
            of["currency"],
            of["currency_rate"],
        ),
        "urls": {"invoice_url": None},
        "created_at": iso(created),
        "updated_at": iso(created),
        "test_mode": of["test_mode"],
    }


def pay(invoice: Record, order_identifier: str, at: float) -> None:
    """Make a pending invoice a paid one: it is only then that it has an address (5.4)."""
    address = f"{APP_URL}/my-orders/{order_identifier}/subscription-invoice/{invoice['id']}?signature={SIGNATURE}"
    invoice["attributes"].update(
        status="paid", status_formatted="Paid", urls={"invoice_url": address}, updated_at=iso(at)
    )


def license_key(order: Record, variant: Record, key: str, at: float) -> Record:
    """Return the attributes of a license key for an order of a variant that has keys."""
    of, item, goods = order["attributes"], order["attributes"]["first_order_item"], variant["attributes"]
    length = {"days": "day", "months": "month", "years": "year"}[goods["license_length_unit"]]
    ends = next_period(at, length, goods["license_length_value"])
    return {
        "store_id": of["store_id"],
        "customer_id": of["customer_id"],
        "order_id": item["order_id"],
        "order_item_id": item["id"],
        "product_id": item["product_id"],
        "user_name": of["user_name"],
        "user_email": of["user_email"],
        "key": key,
        "key_short": f"XXXX-{key[-12:]}",
        "activation_limit": None if goods["is_license_limit_unlimited"] else goods["license_activation_limit"],
        "instances_count": 0,
        "disabled": False,
        "status": "inactive",
        "status_formatted": "Inactive",
        # A subscription's keys live as long as it does: recorded with null.
        "expires_at": None if goods["is_license_length_unlimited"] or goods["is_subscription"] else iso(ends),
        "created_at": iso(at),
        "updated_at": iso(at),
        "test_mode": of["test_mode"],
    }


def next_period(seconds: float, unit: str, count: int = 1, anchor: int | None = None) -> float:
    """Return the moment one period of `count` units (day, week, month, year) on.

    Months and years keep the day of month `anchor`, by default that of `seconds`, or a shorter month's last day.
    """
    if unit in ("day", "week"):
        return seconds + timedelta(days=count * (7 if unit == "week" else 1)).total_seconds()
    return months_later(seconds, count * (12 if unit == "year" else 1), anchor)


def months_later(seconds: float, months: int, anchor: int | None = None) -> float:
    """Return the same day and time some months on; the last day of a shorter month."""
    start = datetime.fromtimestamp(seconds, UTC)
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    day = min(anchor or start.day, calendar.monthrange(year, month + 1)[1])
    return start.replace(year=year, month=month + 1, day=day).timestamp()


def money_of(attributes: Record) -> dict[str, Any]:
    """Return the amounts of an order as its first invoice repeats them."""
    return {name: attributes.get(name, 0) for name in ("subtotal", "discount_total", "tax", "total")}
