"""Attributes of each object, with the keys and key order of recorded answers.

Source: Lemon Squeezy reference, section 5, and shared/samples/lemon-squeezy (order_created of 2024-06,
subscription_created of 2025-11), plus the attributes added since (setup_fee, refunded_amount).
"""

import calendar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dealsync.simulator.clock import iso
from dealsync.simulator.lemonsqueezy.money import formatted, money_attributes, rate_to_usd
from dealsync.simulator.table import Record

SIGNATURE = "0" * 64  # signed links carry one; ours is obviously none
STATUS_TEXTS = {"partial_refund": "Partial Refund", "past_due": "Past Due", "on_trial": "On Trial"}
CARD = {"card_brand": "visa", "card_last_four": "4242"}


@dataclass(frozen=True)
class Purchase:
    """What a buyer did: the input of `order`, `subscription` and their companions."""

    name: str
    email: str
    variant: Record
    product: Record
    total_minor: int
    currency: str
    quantity: int
    status: str  # order status at first
    created: float  # Unix seconds
    test_mode: bool


def status_formatted(status: str) -> str:
    """Return the status as people read it."""
    return STATUS_TEXTS.get(status, status.capitalize())


def product(store_id: int, name: str, price_minor: int, at: float) -> Record:
    """Return product attributes."""
    text = iso(at)
    return {
        "store_id": store_id,
        "name": name,
        "slug": name.lower().replace(" ", "-"),
        "description": None,
        "status": "published",
        "status_formatted": "Published",
        "thumb_url": None,
        "large_thumb_url": None,
        "price": price_minor,
        "price_formatted": formatted(price_minor, "USD"),
        "from_price": None,
        "to_price": None,
        "pay_what_you_want": False,
        "buy_now_url": None,
        "created_at": text,
        "updated_at": text,
        "test_mode": False,
    }


def variant(product_id: int, name: str, price_minor: int, *, monthly: bool, sort: int, slug: str, at: float) -> Record:
    """Return variant attributes; the deprecated price block comes first, as recorded."""
    text = iso(at)
    return {
        "price": price_minor,
        "is_subscription": monthly,
        "interval": "month" if monthly else None,
        "interval_count": 1 if monthly else None,
        "has_free_trial": False,
        "trial_interval": "day",
        "trial_interval_count": 30,
        "pay_what_you_want": False,
        "min_price": 0,
        "suggested_price": 0,
        "product_id": product_id,
        "name": name,
        "slug": slug,
        "description": "",
        "links": [],
        "has_license_keys": False,
        "license_activation_limit": 5,
        "is_license_limit_unlimited": False,
        "license_length_value": 1,
        "license_length_unit": "years",
        "is_license_length_unlimited": False,
        "sort": sort,
        "status": "published",
        "status_formatted": "Published",
        "created_at": text,
        "updated_at": text,
        "test_mode": False,
    }


def customer(store_id: int, customer_id: int, purchase: Purchase) -> Record:
    """Return the attributes of a customer made by a first purchase."""
    at = iso(purchase.created)
    return {
        "store_id": store_id,
        "name": purchase.name,
        "email": purchase.email,
        "status": "subscribed",
        "city": None,
        "region": None,
        "country": "US",
        "total_revenue_currency": 0,
        "mrr": 0,
        "status_formatted": "Subscribed",
        "country_formatted": "United States",
        "total_revenue_currency_formatted": formatted(0, "USD"),
        "mrr_formatted": formatted(0, "USD"),
        "urls": {
            "customer_portal": f"https://simulated-store.lemonsqueezy.com/billing?user={customer_id}"
            f"&signature={SIGNATURE}"
        },
        "created_at": at,
        "updated_at": at,
        "test_mode": purchase.test_mode,
    }


def order_item(order_id: int, item_id: int, purchase: Purchase) -> Record:
    """Return order item attributes; with its `id` in front it is the order's `first_order_item`."""
    at = iso(purchase.created)
    variant_id = int(purchase.variant["id"])
    return {
        "id": item_id,
        "order_id": order_id,
        "product_id": int(purchase.product["id"]),
        "variant_id": variant_id,
        "price_id": price_id(variant_id),
        "product_name": purchase.product["attributes"]["name"],
        "variant_name": purchase.variant["attributes"]["name"],
        "price": purchase.total_minor // purchase.quantity,
        "quantity": purchase.quantity,
        "created_at": at,
        "updated_at": at,
        "test_mode": purchase.test_mode,
    }


def price_id(variant_id: int) -> int:
    """Return the id of a variant's one price."""
    return variant_id + 10_000


def order(store_id: int, customer_id: int, number: int, identifier: str, item: Record, purchase: Purchase) -> Record:
    """Return order attributes, without tax: what is paid is the subtotal."""
    money = money_attributes(
        {
            "subtotal": purchase.total_minor,
            "setup_fee": 0,
            "discount_total": 0,
            "tax": 0,
            "total": purchase.total_minor,
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
        "tax_name": "",
        "tax_rate": "0.00",
        "tax_inclusive": False,
        "status": purchase.status,
        "status_formatted": status_formatted(purchase.status),
        "refunded": False,
        "refunded_at": None,
        **money,
        "first_order_item": item,
        "urls": {"receipt": f"https://app.lemonsqueezy.com/my-orders/{identifier}?signature={SIGNATURE}"},
        "created_at": iso(purchase.created),
        # Moves by itself some minutes after the purchase (5.1).
        "updated_at": iso(purchase.created + (60 if purchase.status == "paid" else 0)),
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
    """Return the attributes of an active subscription; `renews` is in Unix seconds."""
    created = purchase.created - 4  # some seconds before its order (5.3)
    base = "https://simulated-store.lemonsqueezy.com"
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
        "status": "active",
        "status_formatted": "Active",
        **CARD,
        "payment_processor": "stripe",
        "pause": None,
        "cancelled": False,
        "trial_ends_at": None,
        "billing_anchor": datetime.fromtimestamp(purchase.created, UTC).day,
        "first_subscription_item": {
            "id": subscription_id + 50_000,
            "subscription_id": subscription_id,
            "price_id": item["price_id"],
            "quantity": item["quantity"],
            "is_usage_based": False,
            "created_at": iso(created),
            "updated_at": iso(created),
        },
        "urls": {
            "update_payment_method": f"{base}/subscription/{subscription_id}/payment-details?signature={SIGNATURE}",
            "customer_portal": f"{base}/billing?user={customer_id}&signature={SIGNATURE}",
            "customer_portal_update_subscription": f"{base}/billing/{subscription_id}/update?signature={SIGNATURE}",
        },
        "renews_at": iso(renews),
        "ends_at": None,
        "created_at": iso(created),
        "updated_at": iso(purchase.created + 1),
        "test_mode": purchase.test_mode,
    }


def subscription_invoice(
    of: Record, subscription_id: int, invoice_id: int, identifier: str, *, reason: str, created: float, paid: float
) -> Record:
    """Return the attributes of a paid invoice that repeats the money of the first order `of`.

    Renewals keep the currency and the rate of the first purchase (5.4).
    """
    return {
        "store_id": of["store_id"],
        "subscription_id": subscription_id,
        "customer_id": of["customer_id"],
        "user_name": of["user_name"],
        "user_email": of["user_email"],
        "billing_reason": reason,
        **CARD,
        "currency": of["currency"],
        "currency_rate": of["currency_rate"],
        "status": "paid",
        "status_formatted": "Paid",
        "refunded": False,
        "refunded_at": None,
        "tax_inclusive": False,
        **money_attributes(
            {
                "subtotal": of["subtotal"],
                "discount_total": 0,
                "tax": 0,
                "total": of["total"],
                "refunded_amount": 0,
            },
            of["currency"],
        ),
        "urls": {
            "invoice_url": f"https://app.lemonsqueezy.com/my-orders/{identifier}"
            f"/subscription-invoice/{invoice_id}?signature={SIGNATURE}"
        },
        "created_at": iso(created),
        "updated_at": iso(paid),
        "test_mode": of["test_mode"],
    }


def months_later(seconds: float, months: int) -> float:
    """Return the same day and time some months on; the last day of a shorter month."""
    start = datetime.fromtimestamp(seconds, UTC)
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    return start.replace(year=year, month=month + 1, day=day).timestamp()


def store(name: str, at: float) -> dict[str, Any]:
    """Return store attributes."""
    return {
        "name": name,
        "slug": "simulated-store",
        "domain": "simulated-store.lemonsqueezy.com",
        "url": "https://simulated-store.lemonsqueezy.com",
        "avatar_url": "https://simulated-store.lemonsqueezy.com/avatar.png",
        "plan": "free",
        "country": "US",
        "country_nicename": "United States",
        "currency": "USD",
        "total_sales": 0,
        "total_revenue": 0,
        "thirty_day_sales": 0,
        "thirty_day_revenue": 0,
        "created_at": iso(at),
        "updated_at": iso(at),
    }
