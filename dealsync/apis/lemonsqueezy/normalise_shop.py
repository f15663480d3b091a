"""Whose key it is, what is sold, and what dealsync makes in a store -> values.

Source: Lemon Squeezy reference, "Objects", 5.6 to 5.9.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from dealsync.apis.border import Int64, Text, Time, Wire, named, parse, storable
from dealsync.apis.lemonsqueezy.normalise import Currency, Dates, Id, Resource, attributes
from dealsync.apis.lemonsqueezy.values import Checkout, Price, PriceTier, Product, Store, User, Variant, Webhook


class _KeyMeta(Wire):
    test_mode: bool = False


class _Me(Wire):
    meta: _KeyMeta = _KeyMeta()
    data: Any = None


class _User(Wire):
    name: Text = ""
    email: Text = ""


class _Store(Dates):
    name: Text = ""
    currency: Currency
    url: Text = ""
    country: Text = ""


class _Product(Dates):
    store_id: Id
    name: Text
    status: Text
    price: Int64 | None = None
    pay_what_you_want: bool = False
    buy_now_url: Text | None = None
    test_mode: bool = False


class _Variant(Dates):
    product_id: Id
    name: Text
    status: Text
    sort: Int64 = 0
    test_mode: bool = False


class _Tier(Wire):
    last_unit: Int64 | Literal["inf"]
    unit_price: Int64 | None = None
    unit_price_decimal: Decimal | None = None
    fixed_fee: Int64 | None = None


class _Price(Dates):
    variant_id: Id
    category: Text
    scheme: Text
    unit_price: Int64 | None = None
    unit_price_decimal: Decimal | None = None
    setup_fee_enabled: bool | None = None
    setup_fee: Int64 | None = None
    package_size: Int64 = 1
    tiers: list[_Tier] = []  # noqa: RUF012 - pydantic copies defaults
    renewal_interval_unit: Text | None = None
    renewal_interval_quantity: Int64 | None = None
    trial_interval_unit: Text | None = None
    trial_interval_quantity: Int64 | None = None
    min_price: Int64 | None = None
    suggested_price: Int64 | None = None


def custom_texts(value: object) -> object:
    """Return custom data whose values, which are free, are the texts that a webhook would carry; nulls are left out."""
    if not isinstance(value, dict):
        return value
    return {storable(str(key)): _custom_text(part) for key, part in value.items() if part is not None}


def _custom_text(value: object) -> str:
    return storable(value if isinstance(value, str) else json.dumps(value))


class _VariantQuantity(Wire):
    variant_id: Text = ""
    quantity: Int64 | None = None


class _CheckoutData(Wire):
    email: Text = ""
    name: Text = ""
    discount_code: Text = ""
    custom: Annotated[dict[str, str], BeforeValidator(custom_texts)] = {}  # noqa: RUF012 - pydantic copies defaults
    variant_quantities: list[_VariantQuantity] = []  # noqa: RUF012 - the same


class _ProductOptions(Wire):
    redirect_url: Text = ""


class _CheckoutOptions(Wire):
    quantity: Int64 | None = None


class _Checkout(Dates):
    store_id: Id
    variant_id: Id
    url: Text
    custom_price: Int64 | None = None
    product_options: _ProductOptions = _ProductOptions()
    checkout_options: _CheckoutOptions = _CheckoutOptions()
    checkout_data: _CheckoutData = _CheckoutData()
    expires_at: Time | None = None
    test_mode: bool = False


class _Webhook(Dates):
    store_id: Id
    url: Text
    events: list[Text]
    last_sent_at: Time | None = None
    test_mode: bool = False


def user(answer: object) -> User:
    """Return the whole answer of `users/me`: the mode of the key stands beside the user. Raises UnexpectedAnswer."""
    me = parse(_Me, answer, "the answer to users/me")
    name = named("user", me.data)
    outer = parse(Resource, me.data, name)
    wire = parse(_User, outer.attributes, name)
    return User(outer.id, wire.name, wire.email, me.meta.test_mode)


def key_is_test_mode(answer: object) -> bool:
    """Return the mode of the key from the answer of `users/me`, whatever it says of the user."""
    return parse(_Me, answer, "the answer to users/me").meta.test_mode


def store(resource: object) -> Store:
    """Return a `stores` resource. Raises UnexpectedAnswer."""
    store_id, wire = attributes("store", _Store, resource)
    return Store(store_id, wire.name, wire.currency, wire.url, wire.country, wire.created_at, wire.updated_at)


def product(resource: object) -> Product:
    """Return a `products` resource. Raises UnexpectedAnswer."""
    product_id, wire = attributes("product", _Product, resource)
    return Product(
        id=product_id,
        store_id=wire.store_id,
        name=wire.name,
        product_status=wire.status,
        price=wire.price,
        pay_what_you_want=wire.pay_what_you_want,
        buy_now_url=wire.buy_now_url,
        test_mode=wire.test_mode,
        created_at=wire.created_at,
        updated_at=wire.updated_at,
    )


def variant(resource: object) -> Variant:
    """Return a `variants` resource. Raises UnexpectedAnswer."""
    variant_id, wire = attributes("variant", _Variant, resource)
    return Variant(
        id=variant_id,
        product_id=wire.product_id,
        name=wire.name,
        variant_status=wire.status,
        sort=wire.sort,
        test_mode=wire.test_mode,
        created_at=wire.created_at,
        updated_at=wire.updated_at,
    )


def price(resource: object) -> Price:
    """Return a `prices` resource. Raises UnexpectedAnswer."""
    price_id, wire = attributes("price", _Price, resource)
    return Price(
        id=price_id,
        variant_id=wire.variant_id,
        category=wire.category,
        scheme=wire.scheme,
        unit_price=wire.unit_price,
        unit_price_decimal=wire.unit_price_decimal,
        setup_fee=wire.setup_fee if wire.setup_fee_enabled is not False else None,
        package_size=wire.package_size,
        tiers=tuple(map(_tier, wire.tiers)),
        renewal_unit=wire.renewal_interval_unit,
        renewal_quantity=wire.renewal_interval_quantity,
        trial_unit=wire.trial_interval_unit,
        trial_quantity=wire.trial_interval_quantity,
        min_price=wire.min_price,
        suggested_price=wire.suggested_price,
        created_at=wire.created_at,
        updated_at=wire.updated_at,
    )


def _tier(wire: _Tier) -> PriceTier:
    last_unit = None if wire.last_unit == "inf" else wire.last_unit
    return PriceTier(last_unit, wire.unit_price, wire.unit_price_decimal, wire.fixed_fee)


def checkout(resource: object) -> Checkout:
    """Return a `checkouts` resource. Raises UnexpectedAnswer."""
    checkout_id, wire = attributes("checkout", _Checkout, resource)
    data = wire.checkout_data
    return Checkout(
        id=checkout_id,
        store_id=wire.store_id,
        variant_id=wire.variant_id,
        url=wire.url,
        custom=data.custom,
        email=data.email,
        name=data.name,
        discount_code=data.discount_code,
        custom_price=wire.custom_price,
        quantity=_quantity(wire),
        redirect_url=wire.product_options.redirect_url,
        expires_at=wire.expires_at,
        test_mode=wire.test_mode,
        created_at=wire.created_at,
        updated_at=wire.updated_at,
    )


def _quantity(wire: _Checkout) -> int | None:
    """The quantity of the checkout's own variant, wherever it was put."""
    own = (q.quantity for q in wire.checkout_data.variant_quantities if q.variant_id == wire.variant_id)
    return next(own, wire.checkout_options.quantity)


def webhook(resource: object) -> Webhook:
    """Return a `webhooks` resource. Raises UnexpectedAnswer."""
    webhook_id, wire = attributes("webhook", _Webhook, resource)
    return Webhook(
        id=webhook_id,
        store_id=wire.store_id,
        url=wire.url,
        events=frozenset(wire.events),
        last_sent_at=wire.last_sent_at,
        test_mode=wire.test_mode,
        created_at=wire.created_at,
        updated_at=wire.updated_at,
    )
