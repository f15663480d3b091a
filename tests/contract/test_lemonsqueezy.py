"""Every call of the Lemon Squeezy client, and every way in which it can fail."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

import pytest

from dealsync.apis.lemonsqueezy import client as module
from dealsync.apis.lemonsqueezy import pages as walks
from dealsync.apis.lemonsqueezy.pages import Dated, Page
from dealsync.apis.lemonsqueezy.values import NewCheckout
from dealsync.apis.transport import ATTEMPTS
from dealsync.core.models import Money, OrderStatus
from dealsync.errors import AnswerLost, Rejected, Unauthorized, Unreachable
from tests.contract.apis import Apis
from tests.contract.scenario import NOW, STORE_ID, TEAM, TEAM_MONTHLY

Row = TypeVar("Row", bound=Dated)
CHECKOUT = NewCheckout(store_id=STORE_ID, variant_id=str(TEAM), email="ann@example.com", custom={"kommo_lead_id": 31})


async def pages_of(walk: AsyncIterator[Page[Row]]) -> list[Page[Row]]:
    return [page async for page in walk]


def ago(minutes: int) -> datetime:
    return NOW - timedelta(minutes=minutes)


async def test_key_is_test_mode__tells_the_mode_of_the_key(apis: Apis) -> None:
    assert await apis.lemon_squeezy().key_is_test_mode() is False


async def test_key_is_test_mode__is_true_for_a_test_key(apis: Apis) -> None:
    if apis.simulator is not None:
        apis.simulator.world.lemon_squeezy.test_mode_key = True
    assert await apis.lemon_squeezy().key_is_test_mode() is True


async def test_stores__are_named_with_their_currency(apis: Apis) -> None:
    client = apis.lemon_squeezy()
    [store] = await client.stores()
    assert (store.id, store.name, store.currency, store.country) == (STORE_ID, "Simulated Store", "USD", "US")
    assert await client.store(STORE_ID) == store


async def test_user__is_whose_key_it_is(apis: Apis) -> None:
    user = await apis.lemon_squeezy().user()
    assert user.id
    assert user.test_mode is False


async def test_catalogue__leads_from_the_store_to_the_price_that_counts(apis: Apis) -> None:
    client = apis.lemon_squeezy()
    products = await client.products(STORE_ID)
    team = next(product for product in products if product.name == "Team")
    assert {product.store_id for product in products} == {STORE_ID}
    assert await client.product(team.id) == team
    variants = await client.variants(team.id)
    monthly = next(variant for variant in variants if variant.id == str(TEAM_MONTHLY))
    assert {variant.product_id for variant in variants} == {team.id}
    assert await client.variant(monthly.id) == monthly
    price = (await client.prices(monthly.id))[0]
    assert (price.variant_id, price.category, price.renewal_unit) == (monthly.id, "subscription", "month")
    assert price.unit_price == 9950
    assert await client.price(price.id) == price


async def test_customers__are_found_by_email_and_by_id(apis: Apis) -> None:
    client = apis.lemon_squeezy()
    [page] = await pages_of(client.customers(STORE_ID))
    [ann] = await client.customers_of(STORE_ID, "ann@example.com")
    assert {customer.email for customer in page.rows} == {"ann@example.com", "ben@example.com", "cy@example.com"}
    assert (ann.name, ann.store_id) == ("Ann", STORE_ID)
    assert await client.customer(ann.id) == ann
    assert await client.customers_of(STORE_ID, "nobody@example.com") == []


async def test_order__is_found_by_id_and_by_email_with_its_lines(apis: Apis) -> None:
    client = apis.lemon_squeezy()
    ben = await client.order("500002")
    assert [order.id for order in await client.orders_of(STORE_ID, "ben@example.com")] == [ben.id]
    [item] = await client.order_items(ben.id)
    assert (item.order_id, item.variant_id, item.quantity) == (ben.id, str(TEAM_MONTHLY), 1)
    assert (item.product_name, item.variant_name) == ("Team", "Monthly")
    assert await client.discount_redemptions(ben.id) == []


async def test_subscription__is_found_by_id_order_email_and_status_with_its_seats(apis: Apis) -> None:
    client = apis.lemon_squeezy()
    found = await client.subscription("700001")
    assert [s.id for s in await client.subscriptions_of_order("500002")] == ["700001"]
    assert [s.id for s in await client.subscriptions_of(STORE_ID, "ben@example.com")] == ["700001"]
    [active] = await pages_of(client.subscriptions(STORE_ID, status="active"))
    [paused] = await pages_of(client.subscriptions(STORE_ID, status="paused"))
    assert [[s.id for s in page.rows] for page in (active, paused)] == [["700001"], []]
    [item] = await client.subscription_items("700001")
    assert (item.subscription_id, item.quantity, item.is_usage_based) == ("700001", found.quantity, False)
    assert (found.variant_id, found.pause_mode, found.is_cancelled) == (str(TEAM_MONTHLY), None, False)


async def test_invoice__is_found_by_id_and_subscription_and_leads_to_its_order(apis: Apis) -> None:
    client = apis.lemon_squeezy()
    invoice = await client.invoice("900001")
    assert [found.id for found in await client.invoices_of("700001")] == ["900001"]
    assert invoice.order_identifier == (await client.order("500002")).identifier != ""
    [paid] = await pages_of(client.invoices(STORE_ID, status="paid"))
    [refunded] = await pages_of(client.invoices(STORE_ID, refunded=True))
    assert [[i.id for i in page.rows] for page in (paid, refunded)] == [["900001"], []]


async def test_orders__come_newest_first_with_exact_money(apis: Apis) -> None:
    client = apis.lemon_squeezy()
    [page] = await pages_of(client.orders(STORE_ID))
    assert (page.number, page.last) == (1, 1)
    assert [order.id for order in page.rows] == ["500003", "500002", "500001"]
    cy, ben, ann = page.rows
    assert (ann.total, ann.refunded, ann.status) == (Money(49000, "USD"), Money(0, "USD"), OrderStatus.PAID)
    assert (ann.user_email, ann.user_name, ann.store_id) == ("ann@example.com", "Ann", STORE_ID)
    assert (ann.product_name, ann.variant_name, ann.variant_id) == ("Team", "One-time", str(TEAM))
    assert (ann.number, ann.quantity, ann.test_mode, ann.created_at) == (1, 1, False, ago(180))
    assert ben.variant_id == str(TEAM_MONTHLY)
    assert (cy.total, cy.refunded, cy.status) == (Money(4999, "EUR"), Money(1000, "EUR"), OrderStatus.PARTIAL_REFUND)
    assert cy.refunded_at is None
    assert cy.updated_at == NOW
    assert ann.receipt_url is not None
    assert ann.receipt_url.startswith("https://app.lemonsqueezy.com/my-orders/")
    assert client.refused.reasons == []


async def test_orders__of_a_partial_refund_that_calls_itself_paid_are_told_by_the_amount(apis: Apis) -> None:
    apis.switch(partial_refund_status="paid")
    if apis.simulator is not None:
        apis.simulator.world.lemon_squeezy.refund(500001, 100)
    [page] = await pages_of(apis.lemon_squeezy().orders(STORE_ID))
    ann = next(order for order in page.rows if order.id == "500001")
    assert (ann.refunded, ann.status) == (Money(100, "USD"), OrderStatus.PARTIAL_REFUND)


async def test_orders__of_a_full_refund_carry_its_time(apis: Apis) -> None:
    if apis.simulator is not None:
        apis.simulator.world.lemon_squeezy.refund(500001)
    [page] = await pages_of(apis.lemon_squeezy().orders(STORE_ID))
    ann = next(order for order in page.rows if order.id == "500001")
    assert (ann.refunded, ann.status, ann.refunded_at) == (Money(49000, "USD"), OrderStatus.REFUNDED, NOW)


async def test_orders__are_walked_to_the_last_page(apis: Apis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LS_PAGE_SIZE", 2)
    pages = await pages_of(apis.lemon_squeezy().orders(STORE_ID))
    assert [(page.number, page.last) for page in pages] == [(1, 2), (2, 2)]
    assert [[order.id for order in page.rows] for page in pages] == [["500003", "500002"], ["500001"]]


async def test_orders__can_start_at_a_later_page(apis: Apis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LS_PAGE_SIZE", 1)
    client = apis.lemon_squeezy()
    pages = await pages_of(client.orders(STORE_ID, first=2))
    assert [[order.id for order in page.rows] for page in pages] == [["500002"], ["500001"]]
    assert sum(client.requests.values()) == 2


async def test_orders__of_a_store_without_any_are_one_empty_page(apis: Apis) -> None:
    assert await pages_of(apis.lemon_squeezy().orders("999")) == [Page((), 1, 1)]


async def test_subscriptions__name_the_order_that_started_them(apis: Apis) -> None:
    [page] = await pages_of(apis.lemon_squeezy().subscriptions(STORE_ID))
    [subscription] = page.rows
    assert (subscription.id, subscription.order_id, subscription.store_id) == ("700001", "500002", STORE_ID)
    assert (subscription.subscription_status, subscription.user_email) == ("active", "ben@example.com")
    assert (subscription.product_name, subscription.variant_name) == ("Team", "Monthly")
    assert subscription.renews_at is not None
    assert subscription.renews_at - subscription.created_at >= timedelta(days=28)
    assert subscription.ends_at is None


async def test_invoices__repeat_the_money_of_the_first_order(apis: Apis) -> None:
    [page] = await pages_of(apis.lemon_squeezy().invoices(STORE_ID))
    [invoice] = page.rows
    assert (invoice.id, invoice.subscription_id, invoice.billing_reason) == ("900001", "700001", "initial")
    assert (invoice.total, invoice.refunded, invoice.invoice_status) == (Money(9950, "USD"), Money(0, "USD"), "paid")


async def test_orders__since_a_time_stop_there(apis: Apis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LS_PAGE_SIZE", 1)
    client = apis.lemon_squeezy()
    pages = await pages_of(client.orders(STORE_ID, since=ago(90)))
    assert [[order.id for order in page.rows] for page in pages] == [["500003"], ["500002"]]
    assert client.requests == {"lemon_squeezy GET /v1/orders": 2}


# How many pages are under way at a time is ours to tune, and a cassette would pin it: simulator only.
async def test_orders__of_a_long_list_are_read_side_by_side(live: Apis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LS_PAGE_SIZE", 1)
    monkeypatch.setattr(walks, "ABREAST_FROM", 3)
    client = live.lemon_squeezy()
    pages = await pages_of(client.orders(STORE_ID))
    assert [order.id for page in pages for order in page.rows] == ["500003", "500002", "500001"]
    assert client.requests == {"lemon_squeezy GET /v1/orders": 4}


# --- writes --------------------------------------------------------------------------------------------------


async def test_create_checkout__is_found_again_with_its_custom_data(apis: Apis) -> None:
    client = apis.lemon_squeezy()
    a_week_on = NOW + timedelta(days=7)
    wanted = replace(CHECKOUT, name="Ann", custom_price=Money(12345, "USD"), quantity=2, expires_at=a_week_on)
    made = await client.create_checkout(wanted)
    assert (made.store_id, made.variant_id, made.custom_price) == (STORE_ID, str(TEAM), 12345)
    assert (made.email, made.name, made.custom) == ("ann@example.com", "Ann", {"kommo_lead_id": "31"})
    assert (made.quantity, made.expires_at, made.test_mode) == (2, a_week_on, False)
    assert made.url.startswith("https://")
    [page] = await pages_of(client.checkouts(STORE_ID, variant_id=str(TEAM)))
    assert [(found.id, found.custom) for found in page.rows] == [(made.id, made.custom)]
    [other] = await pages_of(client.checkouts(STORE_ID, variant_id=str(TEAM_MONTHLY)))
    assert other.rows == ()
    assert (await client.checkout(made.id)).custom == made.custom


async def test_create_checkout__of_an_unknown_variant_is_not_found(apis: Apis) -> None:
    with pytest.raises(Rejected, match=r"The related resource does not exist\. \(HTTP 404\)") as caught:
        await apis.lemon_squeezy().create_checkout(replace(CHECKOUT, variant_id="1"))
    assert caught.value.status == 404


async def test_webhook__is_made_changed_and_removed(apis: Apis) -> None:
    client = apis.lemon_squeezy()
    url = "https://hooks.example.com/webhooks/lemon-squeezy"
    made = await client.create_webhook(STORE_ID, url=url, events=["order_created"], secret="not-a-secret")
    assert (made.store_id, made.url, made.events, made.last_sent_at) == (
        STORE_ID,
        url,
        frozenset({"order_created"}),
        None,
    )
    changed = await client.update_webhook(made.id, events=["order_created", "order_refunded"])
    assert (changed.id, changed.events) == (made.id, frozenset({"order_created", "order_refunded"}))
    assert [webhook.id for webhook in await client.webhooks(STORE_ID)] == [made.id]
    assert (await client.webhook(made.id)).events == changed.events
    await client.delete_webhook(made.id)
    await client.delete_webhook(made.id)
    assert await client.webhooks(STORE_ID) == []


async def test_refused_value__is_named_by_its_place(apis: Apis) -> None:
    client = apis.lemon_squeezy()
    with pytest.raises(Rejected, match=r"/data/attributes/events: .+ \(HTTP 422\)") as caught:
        await client.create_webhook(STORE_ID, url="https://hooks.example.com", events=[], secret="not-a-secret")
    assert caught.value.status == 422


async def test_server_error__on_a_write_may_have_happened(apis: Apis) -> None:
    apis.switch(inject={"api": "lemonsqueezy", "status": 500})
    client = apis.lemon_squeezy()
    with pytest.raises(AnswerLost, match="HTTP 500; it may have happened"):
        await client.create_checkout(CHECKOUT)
    assert client.requests == {"lemon_squeezy POST /v1/checkouts": 1}


async def test_gateway_page__on_a_write_may_have_happened(apis: Apis) -> None:
    apis.switch(inject={"api": "lemonsqueezy", "status": 504, "html": True})
    with pytest.raises(AnswerLost, match="HTTP 504; it may have happened"):
        await apis.lemon_squeezy().create_checkout(CHECKOUT)


async def test_429__on_a_write_is_not_repeated(apis: Apis) -> None:
    apis.switch(inject={"api": "lemonsqueezy", "status": 429})
    client = apis.lemon_squeezy()
    with pytest.raises(AnswerLost, match="HTTP 429"):
        await client.create_checkout(CHECKOUT)
    assert client.requests == {"lemon_squeezy POST /v1/checkouts": 1}


# --- failures ------------------------------------------------------------------------------------------------


async def test_wrong_key__is_unauthorized(apis: Apis) -> None:
    client = apis.lemon_squeezy("not-the-key")
    with pytest.raises(Unauthorized, match=r"Unauthenticated.*HTTP 401.*check the key") as caught:
        await client.key_is_test_mode()
    assert caught.value.status == 401
    assert "not-the-key" not in str(caught.value)
    assert sum(client.requests.values()) == 1


async def test_unknown_path__is_rejected(apis: Apis) -> None:
    with pytest.raises(Rejected, match="HTTP 404") as caught:
        await apis.lemon_squeezy(below="/lemonsqueezy/elsewhere").stores()
    assert caught.value.status == 404
    assert caught.value.items == {}


async def test_unknown_id__is_not_found(apis: Apis) -> None:
    with pytest.raises(Rejected, match=r"/v1/orders/1: .+ \(HTTP 404\)") as caught:
        await apis.lemon_squeezy().order("1")
    assert caught.value.status == 404


async def test_bad_query__is_rejected_with_the_words_of_the_api(apis: Apis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LS_PAGE_SIZE", 101)
    with pytest.raises(Rejected, match=r"/v1/orders: .+ \(HTTP 400\)"):
        await pages_of(apis.lemon_squeezy().orders(STORE_ID))


async def test_429__is_waited_out_and_the_read_repeated(apis: Apis) -> None:
    apis.switch(inject={"api": "lemonsqueezy", "status": 429, "times": 2})
    client = apis.lemon_squeezy()
    assert len(await client.stores()) == 1
    assert client.requests == {"lemon_squeezy GET /v1/stores": 3}


async def test_server_error__is_repeated_even_without_json(apis: Apis) -> None:
    faults = [{"api": "lemonsqueezy", "status": 500}, {"api": "lemonsqueezy", "status": 504, "html": True}]
    apis.switch(inject=faults)
    client = apis.lemon_squeezy()
    [page] = await pages_of(client.orders(STORE_ID))
    assert len(page.rows) == 3
    assert client.requests == {"lemon_squeezy GET /v1/orders": 3}


# How often is ours to tune, and a cassette would pin it: simulator only.
async def test_lasting_server_error__is_unreachable(live: Apis) -> None:
    live.switch(inject={"api": "lemonsqueezy", "status": 503, "times": 99})
    client = live.lemon_squeezy()
    with pytest.raises(Unreachable, match=r"HTTP 503; try again later") as caught:
        await client.stores()
    assert caught.value.status == 503
    assert client.requests == {"lemon_squeezy GET /v1/stores": ATTEMPTS}


# A cut connection has no answer that a cassette could hold: simulator only.
async def test_cut_connection__is_read_again(live: Apis) -> None:
    live.switch(inject={"api": "lemonsqueezy", "how": "drop"})
    assert len(await live.lemon_squeezy().stores()) == 1
    assert live.received("lemonsqueezy GET /v1/stores") == 2
