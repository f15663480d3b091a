"""Attributes of what a seller sets up: store, products, variants, prices, discounts, webhooks, checkouts.

Keys and key order as recorded. Source: Lemon Squeezy reference, 5.6-5.9, and shared/samples/lemon-squeezy.
"""

from collections.abc import Mapping
from typing import Any

from dealsync.simulator.clock import iso
from dealsync.simulator.lemonsqueezy.money import formatted
from dealsync.simulator.lemonsqueezy.words import SIGNATURE, STORE_URL, status_formatted
from dealsync.simulator.table import Record

PRICE_OFFSET = 10_000  # the id of a variant's first price is the variant's plus this


def store(name: str, at: float) -> Record:
    """Return store attributes."""
    return {
        "name": name,
        "slug": "simulated-store",
        "domain": STORE_URL.removeprefix("https://"),
        "url": STORE_URL,
        "avatar_url": f"{STORE_URL}/avatar.png",
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


def product(store_id: int, name: str, price_minor: int, at: float, *, test_mode: bool = False) -> Record:
    """Return product attributes."""
    text, slug = iso(at), name.lower().replace(" ", "-")
    return {
        "store_id": store_id,
        "name": name,
        "slug": slug,
        "description": f"<p>{name}</p>",
        "status": "published",
        "status_formatted": "Published",
        "thumb_url": None,
        "large_thumb_url": None,
        "price": price_minor,
        "price_formatted": formatted(price_minor, "USD"),
        "from_price": None,
        "to_price": None,
        "from_price_formatted": None,
        "to_price_formatted": None,
        "pay_what_you_want": False,
        "buy_now_url": f"{STORE_URL}/checkout/buy/{slug}",
        "created_at": text,
        "updated_at": text,
        "test_mode": test_mode,
    }


def variant(
    product_id: int,
    name: str,
    price_minor: int,
    *,
    sort: int,
    slug: str,
    at: float,
    monthly: bool = False,
    interval: str | None = None,
    trial_days: int = 0,
    license_keys: bool = False,
    test_mode: bool = False,
) -> Record:
    """Return variant attributes; the deprecated price block comes first, as recorded.

    `interval` is day, week, month or year; `monthly` is short for month; neither means a one-time purchase.
    """
    text = iso(at)
    interval = interval or ("month" if monthly else None)
    return {
        "price": price_minor,
        "is_subscription": interval is not None,
        "interval": interval,
        "interval_count": 1 if interval else None,
        "has_free_trial": trial_days > 0,
        "trial_interval": "day",
        "trial_interval_count": trial_days or 30,
        "pay_what_you_want": False,
        "min_price": 0,
        "suggested_price": 0,
        "product_id": product_id,
        "name": name,
        "slug": slug,
        "description": "",
        "links": [],
        "has_license_keys": license_keys,
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
        "test_mode": test_mode,
    }


def price(variant_id: int, variant: Mapping[str, Any]) -> Record:
    """Return the attributes of the one price of a variant, given the variant's attributes."""
    trial = variant["has_free_trial"]
    return {
        "variant_id": variant_id,
        "category": "subscription" if variant["is_subscription"] else "one_time",
        "scheme": "standard",
        "usage_aggregation": None,
        "unit_price": variant["price"],
        "unit_price_decimal": None,
        "setup_fee_enabled": False,
        "setup_fee": None,
        "package_size": 1,
        "tiers": None,
        "renewal_interval_unit": variant["interval"],
        "renewal_interval_quantity": variant["interval_count"],
        "trial_interval_unit": variant["trial_interval"] if trial else None,
        "trial_interval_quantity": variant["trial_interval_count"] if trial else None,
        "min_price": None,
        "suggested_price": None,
        "tax_code": "saas" if variant["is_subscription"] else "eservice",
        "created_at": variant["created_at"],
        "updated_at": variant["updated_at"],
    }


def discount(store_id: int, given: Mapping[str, Any], at: float, *, test_mode: bool) -> Record:
    """Return discount attributes; `given` are those of the request, already checked."""
    names = ("name", "code", "amount", "amount_type")
    defaults = {
        "is_limited_to_products": False,
        "is_limited_redemptions": False,
        "max_redemptions": 0,
        "starts_at": None,
        "expires_at": None,
        "duration": "once",
        "duration_in_months": 1,
    }
    text = iso(at)
    return {
        "store_id": store_id,
        **{name: given[name] for name in names},
        **{name: given.get(name, default) for name, default in defaults.items()},
        "status": "published",
        "status_formatted": status_formatted("published"),
        "created_at": text,
        "updated_at": text,
        "test_mode": test_mode,
    }


def redemption(discount_id: int, discount: Mapping[str, Any], order_id: int, amount_minor: int, at: float) -> Record:
    """Return the attributes of one use of a discount; `amount_minor` in the order's currency."""
    return {
        "discount_id": discount_id,
        "order_id": order_id,
        "discount_name": discount["name"],
        "discount_code": discount["code"],
        "discount_amount": discount["amount"],
        "discount_amount_type": discount["amount_type"],
        "amount": amount_minor,
        "created_at": iso(at),
        "updated_at": iso(at),
    }


def webhook(store_id: int, url: str, events: list[str], at: float, *, test_mode: bool) -> Record:
    """Return webhook attributes: seven, the secret is never among them (5.9)."""
    return {
        "store_id": store_id,
        "url": url,
        "events": events,
        "last_sent_at": None,
        "created_at": iso(at),
        "updated_at": iso(at),
        "test_mode": test_mode,
    }


# What a checkout has where the request says nothing (5.6, checkout-create.json). An empty object is `[]`.
CHECKOUT_DEFAULTS: dict[str, Record] = {
    "product_options": {
        "name": "",
        "description": "",
        "media": [],
        "redirect_url": "",
        "receipt_button_text": "",
        "receipt_link_url": "",
        "receipt_thank_you_note": "",
        "enabled_variants": [],
        "confirmation_title": "",
        "confirmation_message": "",
        "confirmation_button_text": "",
    },
    "checkout_options": {
        "embed": False,
        "media": True,
        "logo": True,
        "desc": True,
        "discount": True,
        "skip_trial": False,
        "quantity": 1,
        "dark": False,
        "subscription_preview": True,
        "button_color": "#7047EB",
    },
    "checkout_data": {
        "email": "",
        "name": "",
        "billing_address": [],
        "tax_number": "",
        "discount_code": "",
        "custom": [],
        "variant_quantities": [],
    },
}


def checkout(
    checkout_id: str,
    store_id: int,
    variant_id: int,
    given: Mapping[str, Any],
    at: float,
    *,
    expires: float | None,
    test_mode: bool,
) -> Record:
    """Return checkout attributes; `given` are those of the request, already checked; `expires` in Unix seconds."""
    expiry = "" if expires is None else f"expires={int(expires)}&"
    return {
        "store_id": store_id,
        "variant_id": variant_id,
        "custom_price": given.get("custom_price"),
        **{name: _filled(defaults, given.get(name)) for name, defaults in CHECKOUT_DEFAULTS.items()},
        "preview": False,
        "expires_at": None if expires is None else iso(expires),
        "created_at": iso(at),
        "updated_at": iso(at),
        "test_mode": test_mode,
        "url": f"{STORE_URL}/checkout/custom/{checkout_id}?{expiry}signature={SIGNATURE}",
    }


def _filled(defaults: Record, given: Mapping[str, Any] | list[Any] | None) -> Record:
    """Return the defaults with what was given over them; unknown members are dropped, null means the default."""
    said = {name: value for name, value in dict(given or {}).items() if value is not None}
    filled = {name: said.get(name, default) for name, default in defaults.items()}
    return {name: [] if value == {} else value for name, value in filled.items()}
