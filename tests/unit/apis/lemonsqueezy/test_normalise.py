"""Recorded and damaged resources -> values, or a refusal that names the object and nothing else."""

from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dealsync.apis.lemonsqueezy import normalise
from dealsync.core.models import Invoice, Money, Order, OrderStatus, Subscription
from dealsync.errors import UnexpectedAnswer
from tests.unit.apis import samples
from tests.unit.apis.damage import BEYOND_UTC, UNSTORABLE_TEXTS, built, damaged

ORDER = samples.webhook("eur-first-purchase/order_created")
SUBSCRIPTION = samples.webhook("eur-first-purchase/subscription_created")
INVOICE = samples.webhook("pln-plan-migration/3-subscription_payment_success-5114228")
NOT_MEANT = "0" * 64


def at(year: int, month: int, day: int, hour: int, minute: int, second: int) -> datetime:
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


def order(**attributes: Any) -> Order:
    """The recorded order with other attributes; `...` drops one."""
    changed = {**ORDER["attributes"], **attributes}
    return normalise.order({**ORDER, "attributes": {key: v for key, v in changed.items() if v is not ...}})


def invoice(**attributes: Any) -> Invoice:
    return normalise.invoice({**INVOICE, "attributes": {**INVOICE["attributes"], **attributes}})


# --- recorded payloads ---------------------------------------------------------------------------------------


def test_order__of_a_recorded_list() -> None:
    newest, gold, silver = map(normalise.order, samples.lemon_squeezy("order-list"))
    assert newest == Order(
        id="1899988",
        store_id="51385",
        number=513853,
        status=OrderStatus.PAID,
        total=Money(1199, "GBP"),
        refunded=Money(0, "GBP"),
        user_email="buyer1@example.com",
        user_name="Test Buyer One",
        product_name="Test License",
        variant_name="Default",
        variant_id="211541",
        quantity=1,
        test_mode=True,
        created_at=at(2024, 1, 12, 19, 8, 56),
        updated_at=at(2024, 1, 12, 19, 9, 57),
        receipt_url=f"https://app.lemonsqueezy.com/my-orders/08caeb7e-3c21-4e8a-a0bb-4cbf3e2659cf?signature={NOT_MEANT}",
        identifier="08caeb7e-3c21-4e8a-a0bb-4cbf3e2659cf",
        customer_id="1584868",
        product_id="166175",
        subtotal_minor=999,
        tax_minor=200,
    )
    assert [(o.id, o.number, o.total, o.product_name) for o in (gold, silver)] == [
        ("1541086", 2, Money(2400, "GBP"), "SaaS Gold Plan"),
        ("1541082", 1, Money(1200, "GBP"), "SaaS Silver Plan"),
    ]


def test_order__retrieved_equals_the_one_in_the_list() -> None:
    assert normalise.order(samples.lemon_squeezy("order-retrieve")) == normalise.order(
        samples.lemon_squeezy("order-list")[0]
    )


def test_order__of_a_recorded_webhook() -> None:
    found = normalise.order(ORDER)
    assert (found.id, found.store_id, found.number, found.total) == ("2925880", "91257", 912571, Money(1999, "EUR"))
    assert (found.product_name, found.variant_id) == ("Product One (1 year subscription)", "394420")
    assert (found.created_at, found.updated_at) == (at(2024, 6, 19, 14, 8, 14), at(2024, 6, 19, 14, 8, 14))


def test_order__of_the_oldest_documentation_has_no_item_and_no_receipt() -> None:
    found = normalise.order(samples.webhook("docs-like/order_created-lemon_ex"))
    assert (found.id, found.number, found.total, found.status) == ("1", 1, Money(1199, "USD"), OrderStatus.PAID)
    assert (found.product_name, found.variant_id, found.quantity, found.receipt_url) == ("", "", 1, None)
    assert found.test_mode is False


def test_order__with_refunded_null_is_not_refunded() -> None:
    found = normalise.order(samples.webhook("docs-like/order_created-eur"))
    assert (found.status, found.refunded, found.refunded_at) == (OrderStatus.PAID, Money(0, "EUR"), None)
    assert (found.total, found.product_name, found.quantity) == (Money(1859, "EUR"), "Product One", 1)


def test_subscription__of_a_recorded_list() -> None:
    gold, silver = map(normalise.subscription, samples.lemon_squeezy("subscription-list"))
    assert gold == Subscription(
        id="176706",
        store_id="51385",
        order_id="1541086",
        subscription_status="active",
        user_email="buyer1@example.com",
        product_name="SaaS Gold Plan",
        variant_name="Default",
        test_mode=True,
        created_at=at(2023, 11, 7, 21, 52, 7),
        updated_at=at(2024, 1, 7, 21, 53, 46),
        renews_at=at(2024, 2, 7, 21, 52, 5),
        quantity=1,
        price_id="144599",
        variant_id="149092",
        product_id="128225",
        customer_id="1584868",
        user_name="Test Buyer One",
        portal_url=gold.portal_url,
    )
    assert str(gold.portal_url).startswith("https://my-store.lemonsqueezy.com/billing?expires=")
    assert (silver.id, silver.order_id) == ("176705", "1541082")


def test_subscription__tells_seats_trial_and_pause() -> None:
    seats = normalise.subscription(samples.webhook("pln-plan-migration/2-subscription_updated-1652194"))
    assert (seats.quantity, seats.price_id, seats.pause_mode, seats.is_cancelled) == (7, "1806320", None, False)
    trial = normalise.subscription(samples.webhook("docs-like/subscription_created-on_trial"))
    assert (trial.quantity, trial.trial_ends_at) == (5, at(2023, 1, 24, 12, 43, 48))
    pause = {"mode": "void", "resumes_at": "2026-07-01T00:00:00.000000Z"}
    changed = {**SUBSCRIPTION["attributes"], "pause": pause, "cancelled": True, "first_subscription_item": None}
    paused = normalise.subscription({**SUBSCRIPTION, "attributes": changed})
    assert (paused.pause_mode, paused.resumes_at, paused.is_cancelled) == ("void", at(2026, 7, 1, 0, 0, 0), True)
    assert paused.quantity is None


def test_subscription__after_a_stale_answer_still_shows_the_old_seats() -> None:
    """The answer to a change may be behind; what counts is read later. Source: reference, "Writes"."""
    found = normalise.subscription(samples.lemon_squeezy("subscription-update"))
    assert (found.id, found.quantity, found.price_id, found.variant_id) == ("176705", 2, "144597", "149092")


def test_subscription__cancelled_by_the_api_names_its_end() -> None:
    found = normalise.subscription(samples.lemon_squeezy("subscription-cancel-delete"))
    assert (found.subscription_status, found.is_cancelled) == ("cancelled", True)
    assert found.ends_at == at(2024, 2, 7, 21, 51, 8)


def test_subscription__of_2023() -> None:
    found = [normalise.subscription(row) for row in samples.lemon_squeezy("subscription-list-2023")]
    assert [(s.id, s.order_id, s.product_name, s.variant_name) for s in found] == [
        ("169590", "1487261", "App Pro", "App Pro Monthly"),
        ("169586", "1487247", "App Pro", "App Pro Monthly"),
    ]
    assert found[0].renews_at == at(2023, 11, 27, 7, 32, 22)


@pytest.mark.parametrize(
    ("name", "subscription_id", "order_id", "status", "ends_at"),
    [
        ("eur-first-purchase/subscription_created", "421953", "2925880", "active", None),
        ("eur-first-purchase/subscription_updated", "421953", "2925880", "active", None),
        ("docs-like/subscription_created-lemon_ex", "1", "1", "active", None),
        ("docs-like/subscription_created-on_trial", "1", "2", "on_trial", None),
        ("pln-plan-migration/1-subscription_created-1652194", "1652194", "6859924", "active", None),
        ("pln-plan-migration/2-subscription_updated-1652194", "1652194", "6859924", "active", None),
        *(
            (f"pln-plan-migration/{name}-1652134", "1652134", "6859754", "cancelled", at(2025, 12, 19, 12, 1, 43))
            for name in ("4-subscription_updated", "5-subscription_cancelled", "6-subscription_updated")
        ),
    ],
)
def test_subscription__of_a_recorded_webhook(
    name: str, subscription_id: str, order_id: str, status: str, ends_at: datetime | None
) -> None:
    found = normalise.subscription(samples.webhook(name))
    assert (found.id, found.order_id, found.subscription_status) == (subscription_id, order_id, status)
    assert found.ends_at == ends_at


def test_invoice__of_a_recorded_list() -> None:
    found = [normalise.invoice(row) for row in samples.lemon_squeezy("subscription-invoice-list")]
    assert len(found) == 7
    assert [(i.id, i.subscription_id, i.billing_reason, i.total) for i in found[:3]] == [
        ("549936", "176705", "updated", Money(0, "GBP")),
        ("534013", "176705", "renewal", Money(2400, "GBP")),
        ("534012", "176706", "renewal", Money(2400, "GBP")),
    ]
    assert found[1].updated_at == at(2024, 1, 7, 22, 55, 32)
    assert {i.invoice_status for i in found} == {"paid"}
    assert found[0].order_identifier == "c5c48c17-6c8c-45d2-bcdb-9f334226937a"
    assert (found[0].customer_id, found[0].user_email) == ("1584868", "buyer1@example.com")
    assert {i.refunded.minor for i in found} == {0}
    rest = [(3601, "GBP"), (2400, "GBP"), (2951, "USD"), (1476, "USD")]
    assert [i.total for i in found[3:]] == [Money(minor, currency) for minor, currency in rest]


@pytest.mark.parametrize(
    ("name", "invoice_id", "subscription_id", "total", "refunded"),
    [
        ("eur-first-purchase/subscription_payment_success", "1134198", "421953", Money(1999, "EUR"), 0),
        ("pln-plan-migration/3-subscription_payment_success-5114228", "5114228", "1652194", Money(67028, "PLN"), 0),
        ("docs-like/subscription_payment_refunded-edited", "1", "1", Money(999, "USD"), 999),
    ],
)
def test_invoice__of_a_recorded_webhook(
    name: str, invoice_id: str, subscription_id: str, total: Money, refunded: int
) -> None:
    found = normalise.invoice(samples.webhook(name))
    assert (found.id, found.subscription_id, found.total) == (invoice_id, subscription_id, total)
    assert found.refunded == Money(refunded, total.currency)
    assert found.billing_reason == "initial"


# --- refunds -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "refunded", "amount", "minor", "seen"),
    [
        ("paid", False, 0, 0, "paid"),
        ("paid", None, None, 0, "paid"),
        ("paid", False, 100, 100, "partial_refund"),  # the documentation's example of a partial refund
        ("partial_refund", False, 100, 100, "partial_refund"),  # a real webhook
        ("paid", False, 1999, 1999, "refunded"),
        ("partial_refund", False, 1999, 1999, "refunded"),
        ("refunded", True, 1999, 1999, "refunded"),
        ("refunded", True, None, 1999, "refunded"),  # before August 2024 there was the flag alone
        ("refunded", True, ..., 1999, "refunded"),
        ("paid", True, ..., 1999, "refunded"),
        ("refunded", ..., ..., 0, "refunded"),
        ("fraudulent", False, 0, 0, "fraudulent"),
        ("status_of_tomorrow", False, 0, 0, "unknown"),
    ],
)
def test_order__tells_a_refund_by_its_amount(status: str, refunded: Any, amount: Any, minor: int, seen: str) -> None:
    found = order(status=status, refunded=refunded, refunded_amount=amount)
    assert (found.refunded, found.status) == (Money(minor, "EUR"), OrderStatus(seen))


def test_order__refuses_a_refund_of_less_than_nothing() -> None:
    with pytest.raises(UnexpectedAnswer, match=r"order 2925880 cannot be read: refunded_amount: "):
        order(refunded_amount=-1)


@pytest.mark.parametrize("link", [None, "", "https://app.lemonsqueezy.com/elsewhere"])
def test_invoice__without_a_link_names_no_order(link: str | None) -> None:
    assert invoice(urls={"invoice_url": link}).order_identifier == ""
    assert invoice(urls=None).order_identifier == ""


@given(minor=st.integers(0, 2**63 - 1), as_text=st.booleans(), currency=st.sampled_from(["USD", "JPY", "KWD"]))
def test_order__keeps_money_exact(minor: int, as_text: bool, currency: str) -> None:
    amount: int | str = str(minor) if as_text else minor
    found = order(total=amount, refunded_amount=amount, currency=currency)
    assert found.total == found.refunded == Money(minor, currency)
    assert type(found.total.minor) is int
    assert invoice(total=amount, currency=currency).total == Money(minor, currency)


@pytest.mark.parametrize("total", [19.99, "19.99", 10**40, 2**63, None, [], {}, "€5"])
def test_order__refuses_money_that_is_not_a_whole_number(total: Any) -> None:
    with pytest.raises(UnexpectedAnswer, match=r"order 2925880 cannot be read: total: "):
        order(total=total)


# --- odd values ----------------------------------------------------------------------------------------------


def test_order__keeps_numbers_sent_as_text() -> None:
    found = order(store_id="91257", order_number="7", total="1999")
    assert (found.store_id, found.number, found.total) == ("91257", 7, Money(1999, "EUR"))


def test_order__loses_what_no_database_can_hold() -> None:
    found = order(user_name="A\x00nn", user_email="\x00ann@example.com", first_order_item={"product_name": "x\ud800"})
    assert (found.user_name, found.user_email) == ("Ann", "ann@example.com")
    assert found.product_name == "x?"


@pytest.mark.parametrize("empty", [None, [], {}, ...])
def test_order__does_without_its_optional_parts(empty: Any) -> None:
    found = order(urls=empty, first_order_item=empty)
    assert (found.receipt_url, found.product_name, found.quantity) == (None, "", 1)


def test_ids__of_forty_digits_stay_texts() -> None:
    assert normalise.order({**ORDER, "id": "9" * 40}).id == "9" * 40
    assert order(store_id=10**40).store_id == str(10**40)


def test_ids__are_digits_or_uuids_and_become_texts() -> None:
    uuid = "0b5a0c9e-6a5c-4d0a-9d5e-6d1f4f0a2b3c"
    assert [normalise.order({**ORDER, "id": given}).id for given in (17, "17", uuid)] == ["17", "17", uuid]


@pytest.mark.parametrize("row", [None, 5, "x", []])
def test_resource__that_is_no_object_is_refused_by_name(row: object) -> None:
    with pytest.raises(UnexpectedAnswer, match=r"^order without an id cannot be read: "):
        normalise.order(row)


@pytest.mark.parametrize("nothing", [None, [], {}])
def test_order__has_the_default_where_an_optional_field_holds_nothing(nothing: Any) -> None:
    whole = order(user_name="", user_email="", test_mode=False, refunded=None, refunded_amount=None, refunded_at=None)
    names = ("user_name", "user_email", "test_mode", "refunded", "refunded_amount", "refunded_at")
    assert order(**dict.fromkeys(names, nothing)) == whole


@pytest.mark.parametrize("nothing", [None, [], {}])
@pytest.mark.parametrize("name", ["store_id", "status", "currency", "total", "updated_at", "order_number"])
def test_order__is_refused_where_a_required_field_holds_nothing(name: str, nothing: Any) -> None:
    with pytest.raises(UnexpectedAnswer, match=f"order 2925880 cannot be read: {name}: "):
        order(**{name: nothing})


@pytest.mark.parametrize("time", ["0000-01-01T00:00:00Z", "2026-06-01T12:00:00", "yesterday", None, []])
def test_order__refuses_a_time_that_is_none(time: Any) -> None:
    with pytest.raises(UnexpectedAnswer, match=r"order 2925880 cannot be read: updated_at: "):
        order(updated_at=time)


def test_order__takes_the_last_second_there_is() -> None:
    assert order(updated_at="9999-12-31T23:59:59.000000Z").updated_at == at(9999, 12, 31, 23, 59, 59)


@pytest.mark.parametrize("time", BEYOND_UTC)
def test_order__refuses_a_time_that_utc_cannot_hold(time: str) -> None:
    with pytest.raises(UnexpectedAnswer, match="order 2925880 cannot be read"):
        order(updated_at=time)


@pytest.mark.parametrize("missing", [..., None, [], {}, "", True, 1.5, "9" * 65, "a b", "17\n", "1\x007", "\ud800"])
@pytest.mark.parametrize(
    ("build", "whole"),
    [(normalise.order, ORDER), (normalise.subscription, SUBSCRIPTION), (normalise.invoice, INVOICE)],
)
def test_resource__without_an_id_is_refused(
    build: Callable[[dict[str, Any]], Order | Subscription | Invoice], whole: dict[str, Any], missing: Any
) -> None:
    with pytest.raises(UnexpectedAnswer, match=r"^(order|subscription|subscription invoice) .*cannot be read: id: "):
        build({key: value for key, value in {**whole, "id": missing}.items() if value is not ...})


@pytest.mark.parametrize("text", UNSTORABLE_TEXTS)
@pytest.mark.parametrize(
    "attributes",
    [
        lambda text: {"user_name": text},
        lambda text: {"user_email": text},
        lambda text: {"first_order_item": {"product_name": text, "variant_name": text, "variant_id": text}},
        lambda text: {"urls": {"receipt": text}},
        lambda text: {"store_id": text},
        lambda text: {"status": text},
        lambda text: {"currency": text[:3]},
    ],
    ids=["name", "email", "item", "receipt", "store", "status", "currency"],
)
def test_order__holds_no_text_that_cannot_be_stored(attributes: Callable[[str], dict[str, Any]], text: str) -> None:
    resource = {**ORDER, "attributes": {**ORDER["attributes"], **attributes(text)}}
    built(normalise.order, resource, "order 2925880")


@pytest.mark.parametrize("attributes", [None, [], "x", {}])
def test_resource__without_attributes_is_refused_by_name(attributes: Any) -> None:
    with pytest.raises(UnexpectedAnswer, match="subscription 5 cannot be read"):
        normalise.subscription({"id": "5", "attributes": attributes})


# --- any damage ----------------------------------------------------------------------------------------------


def ours(build: Callable[[Any], Order | Subscription | Invoice], resource: dict[str, Any], name: str) -> None:
    """A value with times in UTC and whole money, or a refusal."""
    value = built(build, resource, f"{name} {resource['id']}")
    for field in fields(value) if value else ():
        part = getattr(value, field.name)
        if isinstance(part, datetime):
            assert part.tzinfo is UTC
        if isinstance(part, Money):
            assert type(part.minor) is int
            assert -(2**63) <= part.minor < 2**63


KEPT: tuple[tuple[str | int, ...], ...] = (("id",),)


@given(damaged(ORDER, KEPT))
def test_order__of_any_damage_parses_or_is_named(resource: dict[str, Any]) -> None:
    ours(normalise.order, resource, "order")


@given(damaged(SUBSCRIPTION, KEPT))
def test_subscription__of_any_damage_parses_or_is_named(resource: dict[str, Any]) -> None:
    ours(normalise.subscription, resource, "subscription")


@given(damaged(INVOICE, KEPT))
def test_invoice__of_any_damage_parses_or_is_named(resource: dict[str, Any]) -> None:
    ours(normalise.invoice, resource, "subscription invoice")


@given(st.data())
def test_order__is_the_same_with_unknown_keys(data: st.DataObject) -> None:
    unknown = data.draw(st.dictionaries(st.text(min_size=20, max_size=22), st.integers() | st.none(), max_size=5))
    widened = {
        **ORDER,
        "attributes": {**unknown, **ORDER["attributes"]},
        **{f"x{key}": v for key, v in unknown.items()},
    }
    assert normalise.order(widened) == normalise.order(ORDER)
