"""What a buyer does with an issued checkout, and what it would cost.

Source: Lemon Squeezy reference, 5.6 and 8.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from dealsync.simulator.clock import unix
from dealsync.simulator.lemonsqueezy.books import Books, NotPossible, Placed, discount_minor
from dealsync.simulator.lemonsqueezy.life import Life
from dealsync.simulator.lemonsqueezy.money import money_attributes, rate_to_usd
from dealsync.simulator.lemonsqueezy.objects import Purchase
from dealsync.simulator.table import Record

TRIAL_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}


@dataclass(frozen=True)
class Buyer:
    """What a buyer types at the checkout; None leaves what the link was filled with."""

    email: str | None = None
    name: str | None = None
    discount_code: str | None = None
    quantity: int | None = None
    status: str = "paid"


@dataclass(frozen=True)
class Price:
    """What a purchase costs, in minor units."""

    unit_minor: int
    quantity: int
    discount_minor: int = 0

    @property
    def subtotal_minor(self) -> int:
        """Before the discount."""
        return self.unit_minor * self.quantity

    @property
    def total_minor(self) -> int:
        """After the discount; there is no tax at our checkouts."""
        return self.subtotal_minor - self.discount_minor


def redirect_after(checkout: Record, order: Record) -> str:
    """Return where a buyer is sent after paying, its variables filled in (reference 8); empty if nowhere."""
    bought = order["attributes"]
    values = {
        "order_id": order["id"],
        "order_identifier": bought["identifier"],
        "email": bought["user_email"],
        "name": bought["user_name"],
        "total": bought["total"],
    }
    link = str((checkout["attributes"]["product_options"] or {}).get("redirect_url") or "")
    for name, value in values.items():
        link = link.replace(f"[{name}]", quote(str(value), safe=""))
    return link


def pay(books: Books, life: Life, checkout: Record, buyer: Buyer) -> Placed:
    """Buy through a checkout: its custom data, price and quantity go into the purchase. Raises NotPossible."""
    attributes = checkout["attributes"]
    data = dict(attributes["checkout_data"] or {})
    if attributes["expires_at"] is not None and unix(attributes["expires_at"]) <= books.clock.now():
        raise NotPossible("the checkout has expired")
    variant = books.get("variants", attributes["variant_id"])
    email = buyer.email or data["email"]
    if not email:
        raise NotPossible("the checkout has no e-mail: the buyer must type one")
    code = buyer.discount_code or data["discount_code"]
    discount = None if not code else find_discount(books, code, variant, test_mode=attributes["test_mode"])
    price = price_of(checkout, variant, discount, buyer.quantity)
    trial_days = _trial_days(variant, checkout)
    purchase: Purchase = books.purchase(
        name=buyer.name or data["name"] or email.partition("@")[0],
        email=email,
        variant=variant,
        total_minor=0 if trial_days else price.total_minor,
        currency="USD",
        quantity=price.quantity,
        status=buyer.status,
        created=books.clock.now(),
        test_mode=attributes["test_mode"],
        discount_minor=0 if trial_days else price.discount_minor,
        unit_minor=price.unit_minor,
        trial_days=trial_days,
    )
    return life.buy(purchase, custom_data=custom_strings(data["custom"]), discount=discount)


def trial_days(variant: Record) -> int:
    """Return the length of a variant's free trial; 0 without one."""
    attributes = variant["attributes"]
    if not attributes.get("is_subscription") or not attributes.get("has_free_trial"):
        return 0
    return TRIAL_DAYS[attributes["trial_interval"]] * int(attributes["trial_interval_count"])


def price_of(checkout: Record, variant: Record, discount: Record | None, quantity: int | None = None) -> Price:
    """Return what a checkout costs; a `quantity` the buyer typed comes before those of the link."""
    attributes = checkout["attributes"]
    unit = attributes["custom_price"]
    unit = variant["attributes"]["price"] if unit is None else unit
    wanted = [
        entry["quantity"]
        for entry in attributes["checkout_data"]["variant_quantities"]
        if str(entry.get("variant_id")) == variant["id"]
    ]
    count = quantity or next(iter(wanted), None) or attributes["checkout_options"]["quantity"] or 1
    off = 0 if discount is None else discount_minor(discount["attributes"], unit * count)
    return Price(unit, count, off)


def preview(checkout: Record, variant: Record, discount: Record | None) -> Record:
    """Return what the answer to a POST with `preview: true` shows."""
    price = price_of(checkout, variant, discount)
    amounts = {
        "subtotal": price.subtotal_minor,
        "discount_total": price.discount_minor,
        "setup_fee": 0,
        "tax": 0,
        "total": price.total_minor,
    }
    return {"currency": "USD", "currency_rate": rate_to_usd("USD"), **money_attributes(amounts, "USD")}


def find_discount(books: Books, code: str, variant: Record, *, test_mode: bool) -> Record:
    """Return the discount with this code. Raises NotPossible when it does not apply to the variant now."""
    discount = next(
        (
            one
            for one in books.tables["discounts"]
            if one["attributes"]["code"] == code and one["attributes"]["test_mode"] == test_mode
        ),
        None,
    )
    if discount is None:
        raise NotPossible(f"there is no discount {code}")
    attributes, now = discount["attributes"], books.clock.now()
    limited_to = discount.get("hidden", {}).get("variants", ())
    used = len(books.tables["discount-redemptions"].having("discount_id", discount["id"]))
    reasons = {
        "is not for this variant": attributes["is_limited_to_products"] and int(variant["id"]) not in limited_to,
        "is used up": attributes["is_limited_redemptions"] and used >= attributes["max_redemptions"],
        "is not valid yet": attributes["starts_at"] is not None and unix(attributes["starts_at"]) > now,
        "is no longer valid": attributes["expires_at"] is not None and unix(attributes["expires_at"]) <= now,
    }
    for reason, holds in reasons.items():
        if holds:
            raise NotPossible(f"the discount {code} {reason}")
    return discount


def custom_strings(custom: Any) -> dict[str, str]:
    """Return custom data as webhooks bring it: every value a string (8)."""
    return {key: _text(value) for key, value in dict(custom or {}).items()}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _trial_days(variant: Record, checkout: Record) -> int:
    return 0 if checkout["attributes"]["checkout_options"].get("skip_trial") else trial_days(variant)
