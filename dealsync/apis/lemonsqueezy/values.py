"""What a store is made of, besides its orders and subscriptions. Ids are strings, money is in minor units.

Orders, subscriptions and invoices are in `dealsync.core.models`. Source: Lemon Squeezy reference, "Objects".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from dealsync.core.models import Money


@dataclass(frozen=True, slots=True)
class User:
    """Whose key it is, and for which mode."""

    id: str
    name: str
    email: str
    test_mode: bool


@dataclass(frozen=True, slots=True)
class Store:
    """A store: where the money of an account is taken. It serves both modes."""

    id: str
    name: str
    currency: str
    url: str
    country: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Product:
    """What is sold; how it is priced is a matter of its variants."""

    id: str
    store_id: str
    name: str
    product_status: str  # draft, published
    price: int | None  # currency of the store
    pay_what_you_want: bool
    buy_now_url: str | None
    test_mode: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Variant:
    """A plan or edition of a product. A `pending` one is the only one of its product, and is sold all the same."""

    id: str
    product_id: str
    name: str
    variant_status: str  # pending, draft, published
    sort: int
    test_mode: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class PriceTier:
    """A step of a graduated or volume price. `last_unit` is None for the step without an end."""

    last_unit: int | None
    unit_price: int | None
    unit_price_decimal: Decimal | None
    fixed_fee: int | None


@dataclass(frozen=True, slots=True)
class Price:
    """What a variant costs, or cost: the newest of its prices counts. Amounts in the currency of the store."""

    id: str
    variant_id: str
    category: str  # one_time, subscription, lead_magnet, pwyw
    scheme: str  # standard, package, graduated, volume
    unit_price: int | None
    unit_price_decimal: Decimal | None  # fractions of a minor unit
    setup_fee: int | None  # None unless one is charged
    package_size: int
    tiers: tuple[PriceTier, ...]
    renewal_unit: str | None  # day, week, month, year; None for what is paid once
    renewal_quantity: int | None
    trial_unit: str | None
    trial_quantity: int | None
    min_price: int | None
    suggested_price: int | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Customer:
    """A buyer in one store. The same person may be several customers."""

    id: str
    store_id: str
    name: str
    email: str
    customer_status: str  # subscribed, unsubscribed, archived, requires_verification, invalid_email, bounced
    city: str | None
    region: str | None
    country: str | None  # ISO alpha-2
    total_revenue: int  # its currency is not certain: documented as USD, seen in that of the store
    mrr: int  # the same
    portal_url: str | None
    test_mode: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class OrderItem:
    """A line of an order. `price` is for one, in the currency of the order."""

    id: str
    order_id: str
    product_id: str
    variant_id: str
    price_id: str
    product_name: str
    variant_name: str
    price: int
    quantity: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class SubscriptionItem:
    """What a subscription is for, and how often: seats. With usage billing the quantity is 0."""

    id: str
    subscription_id: str
    price_id: str
    quantity: int
    is_usage_based: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Redemption:
    """A discount that was used in an order. `amount` is in minor units of the order's currency."""

    id: str
    discount_id: str
    order_id: str
    discount_name: str
    discount_code: str
    amount: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCheckout:
    """A checkout to be made for one buyer. What is None or empty is left to the store's own settings."""

    store_id: str
    variant_id: str
    custom: Mapping[str, str | int | None] = field(default_factory=dict, hash=False)  # comes back in webhooks, as text
    email: str | None = None
    name: str | None = None
    discount_code: str | None = None
    custom_price: Money | None = None  # in the store's currency; what 0 does is not documented
    quantity: int | None = None
    expires_at: datetime | None = None
    redirect_url: str | None = None
    receipt_button_text: str | None = None
    receipt_link_url: str | None = None
    receipt_thank_you_note: str | None = None
    confirmation_title: str | None = None
    confirmation_message: str | None = None
    confirmation_button_text: str | None = None
    only_this_variant: bool = True  # the buyer is not offered the product's other variants


@dataclass(frozen=True, slots=True)
class Checkout:
    """A checkout as it was made. It has no status, and neither it nor an order names the other."""

    id: str
    store_id: str
    variant_id: str
    url: str
    custom: Mapping[str, str] = field(hash=False)
    email: str
    name: str
    discount_code: str
    custom_price: int | None  # currency of the store
    quantity: int | None
    redirect_url: str
    expires_at: datetime | None
    test_mode: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where events are sent to. Its secret is never told again."""

    id: str
    store_id: str
    url: str
    events: frozenset[str]
    last_sent_at: datetime | None
    test_mode: bool
    created_at: datetime
    updated_at: datetime
