"""What holds for any account: these cassettes may come from a live one, and the simulator must agree with it.

Nothing is known of the account beforehand, so what is asserted is how its objects hang together. An account that has
no order says nothing about orders: record with one that has some (README, "Recording").
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import pairwise
from typing import TypeVar

import pytest

from dealsync.apis.lemonsqueezy.client import Pages
from dealsync.apis.lemonsqueezy.pages import Dated
from dealsync.apis.lemonsqueezy.values import NewCheckout
from dealsync.core.models import LOST_STATUS_ID, WON_STATUS_ID
from dealsync.errors import Rejected, Unauthorized
from tests.contract.conftest import Account

Row = TypeVar("Row", bound=Dated)
Anything = TypeVar("Anything")
HOOK = "https://hooks.example.com/dealsync-contract-test"


async def newest(pages: Pages[Row]) -> list[Row]:
    """The rows of the first page: an account may be large."""
    async with aclosing(pages) as walk:
        async for page in walk:
            return list(page.rows)
    return []


async def first_of(pages: AsyncIterator[list[Anything]]) -> list[Anything]:
    return await anext(pages, [])


def come_newest_first_and_once(rows: list[Row]) -> bool:
    return all(above.created_at >= below.created_at for above, below in pairwise(rows)) and len(
        {row.id for row in rows}
    ) == len(rows)


# --- Lemon Squeezy -------------------------------------------------------------------------------------------


async def test_key__tells_its_mode_and_sees_the_store(shop: Account) -> None:
    client = shop.apis.lemon_squeezy()
    assert (await client.user()).test_mode == await client.key_is_test_mode()
    assert shop.store_id in {store.id for store in await client.stores()}
    assert (await client.store(shop.store_id)).currency.isupper()
    assert client.refused.reasons == []


async def test_catalogue__hangs_together(shop: Account) -> None:
    client = shop.apis.lemon_squeezy()
    [product, *_] = await client.products(shop.store_id)
    [variant, *_] = await client.variants(product.id)
    prices = await client.prices(variant.id)
    assert (product.store_id, variant.product_id) == (shop.store_id, product.id)
    assert {price.variant_id for price in prices} == {variant.id}
    assert come_newest_first_and_once(prices)
    assert client.refused.reasons == []


async def test_orders__hang_together(shop: Account) -> None:
    client = shop.apis.lemon_squeezy()
    orders = await newest(client.orders(shop.store_id))
    assert come_newest_first_and_once(orders)
    for order in orders[:1]:
        again, items = await client.order(order.id), await client.order_items(order.id)
        assert (again.id, again.total, again.created_at) == (order.id, order.total, order.created_at)
        assert {item.order_id for item in items} == {order.id}
        assert order.variant_id in {item.variant_id for item in items}
        assert order.id in {found.id for found in await client.orders_of(shop.store_id, order.user_email)}
        assert (await client.customer(order.customer_id)).store_id == shop.store_id
        assert {used.order_id for used in await client.discount_redemptions(order.id)} <= {order.id}
    assert client.refused.reasons == []


async def test_subscriptions__hang_together(shop: Account) -> None:
    client = shop.apis.lemon_squeezy()
    subscriptions = await newest(client.subscriptions(shop.store_id))
    assert come_newest_first_and_once(subscriptions)
    for found in subscriptions[:1]:
        order, items = await client.order(found.order_id), await client.subscription_items(found.id)
        invoices = await client.invoices_of(found.id)
        assert {item.subscription_id for item in items} == {found.id}
        assert {invoice.subscription_id for invoice in invoices} <= {found.id}
        assert {invoice.order_identifier for invoice in invoices} <= {order.identifier, ""}
        assert found.id in {each.id for each in await client.subscriptions_of_order(order.id)}
    assert client.refused.reasons == []


async def test_invoices__hang_together(shop: Account) -> None:
    client = shop.apis.lemon_squeezy()
    invoices = await newest(client.invoices(shop.store_id))
    assert come_newest_first_and_once(invoices)
    assert all(i.refunded_at for i in await newest(client.invoices(shop.store_id, refunded=True)))
    assert client.refused.reasons == []


async def test_checkout__is_made_in_the_mode_of_the_key_and_found_again(shop: Account) -> None:
    client = shop.apis.lemon_squeezy()
    [product, *_] = await client.products(shop.store_id)
    [variant, *_] = await client.variants(product.id)
    custom = {"kommo_lead_id": 31}
    made = await client.create_checkout(NewCheckout(store_id=shop.store_id, variant_id=variant.id, custom=custom))
    assert (made.store_id, made.variant_id, made.custom) == (shop.store_id, variant.id, {"kommo_lead_id": "31"})
    assert made.test_mode == await client.key_is_test_mode()
    found = await newest(client.checkouts(shop.store_id, variant_id=variant.id))
    assert made.id in {checkout.id for checkout in found}
    assert (await client.checkout(made.id)).custom == made.custom


async def test_webhook__is_made_changed_and_removed(shop: Account) -> None:
    client = shop.apis.lemon_squeezy()
    made = await client.create_webhook(shop.store_id, url=HOOK, events=["order_created"], secret="not-a-secret")
    try:
        changed = await client.update_webhook(made.id, events=["order_created", "order_refunded"])
        listed = {webhook.id for webhook in await client.webhooks(shop.store_id)}
    finally:
        await client.delete_webhook(made.id)
    assert changed.events == {"order_created", "order_refunded"}
    assert made.id in listed
    assert made.id not in {webhook.id for webhook in await client.webhooks(shop.store_id)}


async def test_refusals__have_their_status(shop: Account) -> None:
    client = shop.apis.lemon_squeezy()
    with pytest.raises(Unauthorized, match="HTTP 401"):
        await shop.apis.lemon_squeezy("not-the-key").user()
    with pytest.raises(Rejected, match="HTTP 404"):
        await client.order("1")
    with pytest.raises(Rejected, match="HTTP 404"):
        await client.create_checkout(NewCheckout(store_id=shop.store_id, variant_id="1"))
    with pytest.raises(Rejected, match="HTTP 422"):
        await client.create_webhook(shop.store_id, url=HOOK, events=[], secret="not-a-secret")


# --- Kommo, which is only read -------------------------------------------------------------------------------


async def test_kommo_account__has_users_and_pipelines_that_can_be_won_and_lost(crm: Account) -> None:
    client = crm.apis.kommo()
    account, users, pipelines = await client.account(), await client.users(), await client.pipelines()
    assert account.account_id
    assert users
    assert pipelines[0].is_main
    for pipeline in pipelines:
        assert {WON_STATUS_ID, LOST_STATUS_ID} <= {status.status_id for status in pipeline.statuses}
    assert client.refused.reasons == []


async def test_kommo_deals__come_by_id_and_are_found_by_it(crm: Account) -> None:
    client = crm.apis.kommo()
    pipelines = {pipeline.pipeline_id for pipeline in await client.pipelines()}
    deals = await first_of(client.deals({}))
    ids = [deal.lead_id for deal in deals]
    assert ids == sorted(set(ids))
    assert {deal.pipeline_id for deal in deals} <= pipelines
    assert set(await client.deals_by_id(ids[:5], {})) == {*ids[:5]}
    assert client.refused.reasons == []


async def test_kommo_wrong_token__is_unauthorized(crm: Account) -> None:
    with pytest.raises(Unauthorized, match="HTTP 401"):
        await crm.apis.kommo("not-the-token").account()
