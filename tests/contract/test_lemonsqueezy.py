"""Every call of the Lemon Squeezy client, and every way in which it can fail."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import TypeVar

import pytest

from dealsync.apis.lemonsqueezy import client as module
from dealsync.apis.lemonsqueezy.client import Page, Store
from dealsync.apis.transport import ATTEMPTS
from dealsync.core.models import Money, OrderStatus
from dealsync.errors import Rejected, Unauthorized, Unreachable
from tests.contract.apis import Apis
from tests.contract.scenario import NOW, STORE_ID, TEAM, TEAM_MONTHLY

Row = TypeVar("Row")


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
    assert await apis.lemon_squeezy().stores() == [Store(STORE_ID, "Simulated Store", "USD")]


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
    faults = [{"api": "lemonsqueezy", "status": 500}, {"api": "lemonsqueezy", "status": 502, "html": True}]
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
