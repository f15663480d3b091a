"""Every type of object in its documented shape is read, in a damaged one refused by name, with nobody's data shown."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dealsync.apis.lemonsqueezy import normalise, normalise_shop
from dealsync.apis.lemonsqueezy.values import Checkout, Price, PriceTier, Product, Redemption, Store, Variant, Webhook
from dealsync.core.models import OrderStatus
from dealsync.errors import UnexpectedAnswer
from tests.unit.apis import samples
from tests.unit.apis.damage import EMAIL, built, damaged

MADE = {"created_at": "2026-06-01T12:00:00.000000Z", "updated_at": "2026-06-01T12:00:01.000000Z"}


def at(year: int, month: int, day: int, hour: int, minute: int, second: int) -> datetime:
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


def documented(kind: str, object_id: str, **attributes: Any) -> dict[str, Any]:
    """An object that nobody recorded, as the reference has it."""
    return {"type": kind, "id": object_id, "attributes": {**attributes, **MADE}, "relationships": {}, "links": {}}


@dataclass(frozen=True)
class Kind:
    """A type of object: one of its kind, what the reference says may be null, and what older ones lack."""

    name: str
    build: Callable[[Any], Any]
    whole: Mapping[str, Any]
    nullable: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    enums: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


ORDER_LATER = ("refunded_amount", "setup_fee", "tax_inclusive", "identifier", "first_order_item", "urls")
INVOICE_NULLS = ("card_brand", "card_last_four", "refunded_at", "urls.invoice_url", "refunded")
PRICE_NULLS = ("usage_aggregation", "unit_price", "tiers", "renewal_interval_unit", "trial_interval_unit", "min_price")
KINDS = [
    Kind(
        "order",
        normalise.order,
        samples.webhook("eur-first-purchase/order_created"),
        ("tax_name", "refunded_at", "refunded"),
        ORDER_LATER,
        ("status",),
    ),
    Kind(
        "order item",
        normalise.order_item,
        documented(
            "order-items", "5", order_id=17, product_id=3, variant_id=4, price_id=9, product_name="Pro",
            variant_name="Yearly", price=49000, quantity=2, test_mode=False,
        ),
        (),
        ("price_id", "quantity"),
    ),
    Kind(
        "subscription",
        normalise.subscription,
        samples.webhook("eur-first-purchase/subscription_created"),
        ("card_brand", "card_last_four", "pause", "trial_ends_at", "ends_at", "first_subscription_item"),
        ("payment_processor", "renews_at"),
        ("status",),
    ),
    Kind(
        "subscription item",
        normalise.subscription_item,
        documented("subscription-items", "6", subscription_id=9, price_id=8, quantity=0, is_usage_based=True),
        (),
        ("is_usage_based",),
    ),
    Kind(
        "subscription invoice",
        normalise.invoice,
        samples.lemon_squeezy("subscription-invoice-retrieve"),
        INVOICE_NULLS,
        ("refunded_amount", "tax_inclusive"),
        ("status", "billing_reason"),
    ),
    Kind(
        "customer",
        normalise.customer,
        samples.lemon_squeezy("customer-retrieve"),
        ("city", "region", "country", "country_formatted", "urls.customer_portal"),
        (),
        ("status",),
    ),
    Kind("discount redemption", normalise.redemption, samples.lemon_squeezy("discount-redemption-list-by-order")[0]),
    Kind("store", normalise_shop.store, samples.lemon_squeezy("store-retrieve"), (), ("country_nicename",)),
    Kind(
        "product",
        normalise_shop.product,
        samples.lemon_squeezy("product-retrieve"),
        ("description", "thumb_url", "large_thumb_url", "from_price", "to_price", "buy_now_url"),
        ("from_price_formatted",),
        ("status",),
    ),
    Kind(
        "variant",
        normalise_shop.variant,
        samples.lemon_squeezy("variant-retrieve"),
        ("description", "interval", "interval_count"),
        ("links", "price"),
        ("status",),
    ),
    Kind(
        "price",
        normalise_shop.price,
        samples.lemon_squeezy("price-list-filtered")[0],
        PRICE_NULLS,
        ("unit_price_decimal", "setup_fee"),
        ("category", "scheme", "renewal_interval_unit", "tax_code"),
    ),
    Kind(
        "checkout",
        normalise_shop.checkout,
        samples.lemon_squeezy("checkout-create"),
        ("custom_price", "expires_at"),
        ("checkout_data.variant_quantities", "checkout_data.tax_number"),
    ),
    Kind("webhook", normalise_shop.webhook, samples.lemon_squeezy("webhook-create"), ("last_sent_at",)),
]  # fmt: skip
EACH = pytest.mark.parametrize("kind", KINDS, ids=str)


# --- recorded ones ---------------------------------------------------------------------------------------------


def test_store__as_recorded() -> None:
    made_at = at(2023, 11, 7, 19, 43, 22)
    assert normalise_shop.store(samples.lemon_squeezy("store-retrieve")) == Store(
        "51385", "My Store", "GBP", "https://my-store.lemonsqueezy.com", "GB", made_at, made_at
    )


def test_product__as_recorded() -> None:
    assert normalise_shop.product(samples.lemon_squeezy("product-retrieve")) == Product(
        id="128225",
        store_id="51385",
        name="SaaS Gold Plan",
        product_status="published",
        price=2000,
        pay_what_you_want=False,
        buy_now_url="https://my-store.lemonsqueezy.com/checkout/buy/7acc6d8a-6b79-4344-aa67-f47e8b1b6b04",
        test_mode=True,
        created_at=at(2023, 11, 7, 19, 48, 24),
        updated_at=at(2023, 11, 7, 21, 52, 8),
    )


def test_variants__as_recorded() -> None:
    made_at = at(2023, 11, 7, 19, 47, 50)
    assert normalise_shop.variant(samples.lemon_squeezy("variant-retrieve")) == Variant(
        "149091", "128224", "Default", "pending", 1, True, made_at, made_at
    )
    assert len([normalise_shop.variant(row) for row in samples.lemon_squeezy("variant-list-two-pages")]) == 10


def test_prices__as_recorded_newest_first() -> None:
    monthly, once = map(normalise_shop.price, samples.lemon_squeezy("price-list-filtered"))
    assert monthly == Price(
        id="144597",
        variant_id="149091",
        category="subscription",
        scheme="standard",
        unit_price=1000,
        unit_price_decimal=None,
        setup_fee=None,
        package_size=1,
        tiers=(),
        renewal_unit="month",
        renewal_quantity=1,
        trial_unit=None,
        trial_quantity=None,
        min_price=None,
        suggested_price=None,
        created_at=at(2023, 11, 7, 19, 48, 16),
        updated_at=at(2023, 11, 7, 21, 51, 7),
    )
    assert (once.category, once.unit_price, once.renewal_unit) == ("one_time", 999, None)
    assert once.created_at < monthly.created_at


def test_price__with_tiers_fees_and_fractions() -> None:
    recorded = samples.lemon_squeezy("price-list-filtered")[0]
    tiers = [
        {"last_unit": 10, "unit_price": 100, "unit_price_decimal": None, "fixed_fee": 5},
        {"last_unit": "inf", "unit_price": None, "unit_price_decimal": "0.5", "fixed_fee": 0},
    ]
    more = {"tiers": tiers, "setup_fee_enabled": True, "setup_fee": 999, "unit_price_decimal": "99.95"}
    found = normalise_shop.price({**recorded, "attributes": {**recorded["attributes"], **more}})
    assert found.tiers == (PriceTier(10, 100, None, 5), PriceTier(None, None, Decimal("0.5"), 0))
    assert (found.setup_fee, found.unit_price_decimal) == (999, Decimal("99.95"))
    off = {**recorded["attributes"], **more, "setup_fee_enabled": False}
    assert normalise_shop.price({**recorded, "attributes": off}).setup_fee is None


def test_customer__as_recorded() -> None:
    found = normalise.customer(samples.lemon_squeezy("customer-retrieve"))
    assert (found.id, found.store_id, found.email, found.country) == ("1584868", "51385", "buyer1@example.com", "GB")
    assert (found.customer_status, found.total_revenue, found.mrr, found.city) == ("subscribed", 0, 3000, None)
    spanish = normalise.customer(samples.lemon_squeezy("customer-list-2023")[0])
    assert (spanish.country, spanish.mrr) == ("ES", 3600)


def test_redemption__as_recorded() -> None:
    made_at = at(2024, 1, 14, 14, 20, 44)
    [recorded] = samples.lemon_squeezy("discount-redemption-list-by-order")
    assert normalise.redemption(recorded) == Redemption(
        "170576", "80554", "1907731", "10% Off", "10OFF", 100, made_at, made_at
    )


def test_checkout__as_recorded() -> None:
    made_at = at(2024, 1, 14, 14, 28, 26)
    recorded = samples.lemon_squeezy("checkout-create")
    assert normalise_shop.checkout(recorded) == Checkout(
        id="bbd5ae24-d022-4439-ae1e-7c0154610772",
        store_id="51385",
        variant_id="149091",
        url=recorded["attributes"]["url"],
        custom={},
        email="",
        name="",
        discount_code="",
        custom_price=None,
        quantity=1,
        redirect_url="",
        expires_at=None,
        test_mode=True,
        created_at=made_at,
        updated_at=made_at,
    )


def test_checkout__tells_custom_values_as_the_texts_that_webhooks_carry() -> None:
    recorded = samples.lemon_squeezy("checkout-create")
    custom = {"kommo_lead_id": 31, "plan": "pro", "flag": True, "gone": None, "odd": {"email": EMAIL}, "nul": "a\x00b"}
    data = {**recorded["attributes"]["checkout_data"], "custom": custom}
    found = normalise_shop.checkout({**recorded, "attributes": {**recorded["attributes"], "checkout_data": data}})
    assert found.custom == {
        "kommo_lead_id": "31",
        "plan": "pro",
        "flag": "true",
        "odd": f'{{"email": "{EMAIL}"}}',
        "nul": "ab",
    }


def test_checkout__tells_the_quantity_of_its_own_variant() -> None:
    recorded = samples.lemon_squeezy("checkout-create")
    quantities = [{"variant_id": 1, "quantity": 9}, {"variant_id": 149091, "quantity": 3}]
    data = {**recorded["attributes"]["checkout_data"], "variant_quantities": quantities}
    found = normalise_shop.checkout({**recorded, "attributes": {**recorded["attributes"], "checkout_data": data}})
    assert found.quantity == 3


def test_webhooks__as_recorded() -> None:
    made_at = at(2024, 1, 14, 14, 36, 30)
    assert normalise_shop.webhook(samples.lemon_squeezy("webhook-create")) == Webhook(
        "11630", "51385", "http://localhost:3000/webhook", frozenset({"order_created"}), None, True, made_at, made_at
    )
    listed = [normalise_shop.webhook(row).events for row in samples.lemon_squeezy("webhook-list")]
    assert listed[0] == {"order_created", "subscription_created"}


# --- any documented shape --------------------------------------------------------------------------------------


def changed(whole: Mapping[str, Any], path: str, change: Callable[[dict[str, Any], str], None]) -> None:
    parent: Any = whole["attributes"]
    *outer, last = path.split(".")
    for key in outer:
        parent = parent.get(key) or {}
    if last in parent:
        change(parent, last)


def with_unknown_keys(value: Any, unknown: Mapping[str, Any]) -> Any:
    """The same with keys of tomorrow in every object that has some already: an empty one may be a `[]`."""
    if isinstance(value, list):
        return [with_unknown_keys(part, unknown) for part in value]
    if not isinstance(value, dict) or not value:
        return value
    return {**unknown, **{key: with_unknown_keys(part, unknown) for key, part in value.items()}}


UNKNOWN = st.dictionaries(
    st.text(st.characters(categories=["Ll"]), min_size=25, max_size=27),
    st.none() | st.integers() | st.text() | st.just({"email": EMAIL}),
    max_size=3,
)


@EACH
@given(st.data())
def test_documented_shape__is_read_with_nulls_without_newer_fields_and_with_unknown_ones(
    kind: Kind, data: st.DataObject
) -> None:
    resource: dict[str, Any] = copy.deepcopy(dict(kind.whole))
    for path in data.draw(st.sets(st.sampled_from(kind.enums)) if kind.enums else st.just(set())):
        changed(resource, path, lambda parent, key: parent.update({key: "value_of_tomorrow"}))
    for path in data.draw(st.sets(st.sampled_from(kind.nullable)) if kind.nullable else st.just(set())):
        changed(resource, path, lambda parent, key: parent.update({key: None}))
    for path in data.draw(st.sets(st.sampled_from(kind.later)) if kind.later else st.just(set())):
        changed(resource, path, lambda parent, key: parent.pop(key))
    found = kind.build(resource)
    assert is_dataclass(found)
    assert kind.build(with_unknown_keys(resource, data.draw(UNKNOWN))) == found
    assert getattr(found, "id") == kind.whole["id"]  # noqa: B009 - any of thirteen types


@EACH
def test_unknown_enum__survives_as_itself_or_as_unknown(kind: Kind) -> None:
    for path in kind.enums:
        resource: dict[str, Any] = copy.deepcopy(dict(kind.whole))
        changed(resource, path, lambda parent, key: parent.update({key: "value_of_tomorrow"}))
        found = kind.build(resource)
        told = {
            getattr(found, field.name) for field in fields(found) if field.name.endswith(("status", "reason", "unit"))
        }
        told |= {getattr(found, name, None) for name in ("category", "scheme")}
        assert path == "tax_code" or told & {"value_of_tomorrow", OrderStatus.UNKNOWN}


# --- any damage ------------------------------------------------------------------------------------------------


@EACH
@given(st.data())
def test_damage__is_read_or_refused_by_name(kind: Kind, data: st.DataObject) -> None:
    resource = data.draw(damaged(kind.whole, (("id",),)))
    value = built(kind.build, resource, f"{kind.name} {kind.whole['id']}")
    for field in fields(value) if value is not None else ():
        part = getattr(value, field.name)
        assert not isinstance(part, datetime) or part.tzinfo is UTC
        assert type(part) is not float


@EACH
@pytest.mark.parametrize("row", [None, 5, EMAIL, [], {}, {"id": EMAIL}, {"id": "5", "attributes": [EMAIL]}], ids=repr)
def test_damage__to_the_whole_is_refused_by_name(kind: Kind, row: Any) -> None:
    with pytest.raises(UnexpectedAnswer, match=rf"^{kind.name} (5|without an id) cannot be read: ") as caught:
        kind.build(row)
    assert EMAIL not in str(caught.value)


@EACH
def test_missing_time__is_refused_with_the_field(kind: Kind) -> None:
    resource: dict[str, Any] = copy.deepcopy(dict(kind.whole))
    del resource["attributes"]["updated_at"]
    with pytest.raises(UnexpectedAnswer, match=rf"^{kind.name} {kind.whole['id']} cannot be read: updated_at: "):
        kind.build(resource)


def test_user__is_refused_by_name() -> None:
    me = {"meta": {"test_mode": True}, "data": {"id": "7", "attributes": EMAIL}}
    with pytest.raises(UnexpectedAnswer, match=r"^user 7 cannot be read: ") as caught:
        normalise_shop.user(me)
    assert EMAIL not in str(caught.value)
