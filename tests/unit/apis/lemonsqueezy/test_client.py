"""What is asked, what is sent, and what odd answers come to: rows are read all the same, and every walk ends."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import httpx
import pytest

from dealsync.apis.lemonsqueezy.client import LemonSqueezy
from dealsync.apis.lemonsqueezy.pages import Page
from dealsync.apis.lemonsqueezy.values import NewCheckout
from dealsync.apis.pace import Pace
from dealsync.errors import AnswerLost, ConfigError, Rejected, UnexpectedAnswer, Unreachable
from tests.turns import LocalSlots
from tests.unit.apis import samples
from tests.unit.apis.wire import Wire, connect, run

Value = TypeVar("Value")
ORDER = samples.webhook("eur-first-purchase/order_created")
NEXT_ORDER = {**ORDER, "id": "2925879"}
STORE_ID = "91257"
START = datetime(2026, 6, 1, tzinfo=UTC)
NEXT = {"next": "https://api.example/v1/orders?page%5Bnumber%5D=2"}
ODD_METAS: list[Any] = [
    ...,
    None,
    [],
    "x",
    {"page": None},
    {"page": []},
    {"page": 5},
    {"page": {}},
    {"page": {"lastPage": None}},
    {"page": {"lastPage": "many"}},
    {"page": {"lastPage": 10**40}},
    {"page": {"lastPage": [], "currentPage": {}}},
]


def told(story: Callable[[LemonSqueezy], Awaitable[Value]]) -> Value:
    async def tell() -> Value:
        client = LemonSqueezy(origin="https://api.example", api_key="k", pace=Pace("lemon_squeezy", LocalSlots(1000)))
        try:
            return await story(client)
        finally:
            await client.close()

    return run(tell())


def body(rows: Any, **around: Any) -> httpx.Response:
    return httpx.Response(200, json={"data": rows} | {key: v for key, v in around.items() if v is not ...})


async def pages(client: LemonSqueezy) -> list[tuple[int, int, int]]:
    """Rows, number and last of each page."""
    return [(len(page.rows), page.number, page.last) async for page in client.orders(STORE_ID)]


def page_numbers(wire: Wire) -> list[str]:
    return [request.url.params["page[number]"] for request in wire.requests]


@pytest.mark.parametrize("links", [..., None, [], "x", {"next": None}, {"next": []}, {"first": "x"}], ids=repr)
@pytest.mark.parametrize("meta", ODD_METAS, ids=repr)
def test_orders__without_a_count_of_pages_end_without_a_next_link(
    monkeypatch: pytest.MonkeyPatch, meta: Any, links: Any
) -> None:
    connect(monkeypatch, body([ORDER], meta=meta, links=links))
    assert told(pages) == [(1, 1, 1)]


@pytest.mark.parametrize("meta", ODD_METAS, ids=repr)
def test_orders__without_a_count_of_pages_go_on_with_a_next_link(monkeypatch: pytest.MonkeyPatch, meta: Any) -> None:
    wire = connect(monkeypatch, body([ORDER], meta=meta, links=NEXT), body([NEXT_ORDER], meta=meta))
    assert told(pages) == [(1, 1, 2), (1, 2, 2)]
    assert page_numbers(wire) == ["1", "2"]


def test_orders__go_on_without_a_row_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, body([None, "x", {"id": "5"}, ORDER]))

    async def story(client: LemonSqueezy) -> tuple[list[tuple[int, int, int]], list[str]]:
        return await pages(client), client.refused.reasons

    found, reasons = told(story)
    assert found == [(1, 1, 1)]
    assert [reason.partition(" cannot")[0] for reason in reasons] == [*["order without an id"] * 2, "order 5"]


@pytest.mark.parametrize("answer", [{}, [], {"data": None}, {"data": {}}, 5], ids=repr)
def test_orders__without_rows_are_unexpected(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    connect(monkeypatch, httpx.Response(200, json=answer))
    with pytest.raises(UnexpectedAnswer, match="page 1 of /v1/orders cannot be read"):
        told(pages)


def test_orders__end_with_an_empty_page_whatever_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    meta = {"page": {"lastPage": 10**12, "total": 10**14}}
    wire = connect(monkeypatch, body([ORDER], meta=meta), body([], meta=meta))
    assert told(pages) == [(1, 1, 10**12), (0, 2, 10**12)]
    assert page_numbers(wire) == ["1", "2"]


def test_orders__name_an_unreadable_row_once_though_it_comes_on_two_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {"id": "5", "attributes": {"store_id": 91257}}
    meta = {"page": {"lastPage": 2, "total": 3}}
    connect(monkeypatch, body([ORDER, broken], meta=meta), body([broken, NEXT_ORDER], meta=meta))

    async def story(client: LemonSqueezy) -> tuple[list[tuple[int, int, int]], int]:
        return await pages(client), len(client.refused.reasons)

    assert told(story) == ([(1, 1, 2), (1, 2, 2)], 1)


def store(number: int, **attributes: Any) -> dict[str, Any]:
    recorded = samples.lemon_squeezy("store-retrieve")
    return {**recorded, "id": str(number), "attributes": {**recorded["attributes"], **attributes}}


def test_stores__are_read_to_the_last_page(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = connect(monkeypatch, *(body([store(number)], meta={"page": {"lastPage": 2}}) for number in (1, 2)))
    assert [found.id for found in told(lambda client: client.stores())] == ["1", "2"]
    assert page_numbers(wire) == ["1", "2"]
    assert all("filter[store_id]" not in request.url.params for request in wire.requests)


def test_stores__without_a_currency_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, body([store(7, currency=None), store(8, name=None)]))

    async def story(client: LemonSqueezy) -> tuple[list[str], list[str]]:
        return [f"{found.id}:{found.name}" for found in await client.stores()], client.refused.reasons

    found, [reason] = told(story)
    assert found == ["8:"]
    assert reason.startswith("store 7 cannot be read: currency: ")


# --- filters ---------------------------------------------------------------------------------------------------


async def all_of(walk: AsyncIterator[Page[Any]]) -> list[Any]:
    return [row async for page in walk for row in page.rows]


@pytest.mark.parametrize(
    ("story", "sent"),
    [
        (lambda c: all_of(c.orders("1")), {"filter[store_id]": "1"}),
        (
            lambda c: c.orders_of("1", "a+b@example.com"),
            {"filter[store_id]": "1", "filter[user_email]": "a+b@example.com"},
        ),
        (lambda c: c.products("1"), {"filter[store_id]": "1"}),
        (lambda c: c.variants("2"), {"filter[product_id]": "2"}),
        (lambda c: c.variants("2", status="published"), {"filter[product_id]": "2", "filter[status]": "published"}),
        (lambda c: c.prices("3"), {"filter[variant_id]": "3"}),
        (lambda c: all_of(c.customers("1")), {"filter[store_id]": "1"}),
        (lambda c: c.customers_of("1", "a@example.com"), {"filter[store_id]": "1", "filter[email]": "a@example.com"}),
        (lambda c: c.order_items("4"), {"filter[order_id]": "4"}),
        (lambda c: c.discount_redemptions("4"), {"filter[order_id]": "4"}),
        (lambda c: all_of(c.subscriptions("1")), {"filter[store_id]": "1"}),
        (
            lambda c: all_of(c.subscriptions("1", status="past_due")),
            {"filter[store_id]": "1", "filter[status]": "past_due"},
        ),
        (
            lambda c: c.subscriptions_of("1", "a@example.com"),
            {"filter[store_id]": "1", "filter[user_email]": "a@example.com"},
        ),
        (lambda c: c.subscriptions_of_order("4"), {"filter[order_id]": "4"}),
        (lambda c: c.subscription_items("5"), {"filter[subscription_id]": "5"}),
        (lambda c: all_of(c.invoices("1", refunded=True)), {"filter[store_id]": "1", "filter[refunded]": "true"}),
        (lambda c: all_of(c.invoices("1", status="paid")), {"filter[store_id]": "1", "filter[status]": "paid"}),
        (lambda c: c.invoices_of("5"), {"filter[subscription_id]": "5"}),
        (
            lambda c: all_of(c.checkouts("1", variant_id="3")),
            {"filter[store_id]": "1", "filter[variant_id]": "3"},
        ),
        (lambda c: c.webhooks("1"), {"filter[store_id]": "1"}),
        (lambda c: c.stores(), {}),
    ],
)
def test_lists__send_their_filters_in_brackets(
    monkeypatch: pytest.MonkeyPatch, story: Callable[[LemonSqueezy], Awaitable[Any]], sent: dict[str, str]
) -> None:
    wire = connect(monkeypatch, body([]))
    assert told(story) == []
    [request] = wire.requests
    assert dict(request.url.params) == {**sent, "page[number]": "1", "page[size]": "100"}
    assert b"+" not in request.url.query  # it would arrive as a blank


SUBSCRIPTION = samples.webhook("eur-first-purchase/subscription_created")


@pytest.mark.parametrize(
    ("story", "row", "ignored"),
    [
        (lambda c: all_of(c.orders("4101")), ORDER, "store_id"),
        (lambda c: c.orders_of("91257", "other@example.com"), ORDER, "user_email"),
        (lambda c: all_of(c.subscriptions("4101")), SUBSCRIPTION, "store_id"),
        (lambda c: all_of(c.subscriptions("91257", status="expired")), SUBSCRIPTION, "status"),
        (lambda c: c.subscriptions_of_order("1"), SUBSCRIPTION, "order_id"),
    ],
)
def test_lists__stop_where_a_filter_was_ignored(
    monkeypatch: pytest.MonkeyPatch, story: Callable[[LemonSqueezy], Awaitable[Any]], row: Any, ignored: str
) -> None:
    wire = connect(monkeypatch, body([row], meta={"page": {"lastPage": 9, "total": 900}}))
    with pytest.raises(UnexpectedAnswer, match=rf"ignored filter\[{ignored}\]: object {row['id']} of") as caught:
        told(story)
    assert len(wire.requests) == 1
    assert "@" not in str(caught.value)


def test_lists__by_email_take_another_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether case counts for the API is not documented; it is the same address for us."""
    connect(monkeypatch, body([{**ORDER, "attributes": {**ORDER["attributes"], "user_email": "Ann@Example.com"}}]))
    assert len(told(lambda client: client.orders_of(STORE_ID, "ann@example.com "))) == 1


# --- walks -----------------------------------------------------------------------------------------------------


def orders_from(newest: int, count: int) -> list[dict[str, Any]]:
    """Recorded orders a minute apart, the newest first."""
    made = [START + timedelta(minutes=number) for number in range(newest, newest - count, -1)]
    return [
        {**ORDER, "id": str(number), "attributes": {**ORDER["attributes"], "created_at": f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"}}
        for number, at in zip(range(newest, newest - count, -1), made, strict=True)
    ]


@pytest.mark.parametrize(("minute", "asked"), [(301, ["1"]), (300, ["1"]), (202, ["1"]), (201, ["1", "2"])])
def test_orders__since_a_time_ask_for_no_page_behind_it(
    monkeypatch: pytest.MonkeyPatch, minute: int, asked: list[str]
) -> None:
    meta = {"page": {"lastPage": 3, "total": 300}}
    wire = connect(monkeypatch, *(body(orders_from(newest, 100), meta=meta) for newest in (300, 200, 100)))
    since = START + timedelta(minutes=minute)
    found = told(lambda client: all_of(client.orders(STORE_ID, since=since)))
    assert page_numbers(wire) == asked
    assert {order.id for order in found if order.created_at >= since} == {str(n) for n in range(minute, 301)}


@pytest.mark.parametrize(
    ("answer_s", "last", "asked", "seconds"),
    [
        (0.01, 8, 8, 0.1),
        (1.0, 8, 9, 4.2),  # the first page, seven in two rows, and the first again
        (1.0, 4, 4, 4.2),  # too few to be worth one more
    ],
)
def test_orders__are_read_side_by_side_where_answers_are_slow(
    monkeypatch: pytest.MonkeyPatch, answer_s: float, last: int, asked: int, seconds: float
) -> None:
    monkeypatch.setattr("tests.unit.apis.wire.ANSWER_S", answer_s)
    meta = {"page": {"lastPage": last, "total": last * 2}}
    numbers = [*range(1, last + 1), *([1] if asked > last else [])]
    rows = (orders_from(1000 - 2 * number, 2) for number in numbers)
    wire = connect(monkeypatch, *(body(page, meta=meta) for page in rows))

    async def story(client: LemonSqueezy) -> tuple[int, float]:
        began_s = asyncio.get_running_loop().time()
        found = await all_of(client.orders(STORE_ID))
        return len(found), asyncio.get_running_loop().time() - began_s

    found, took_s = told(story)
    assert (found, len(wire.requests)) == (2 * last, asked)
    assert took_s < seconds


# --- one object ------------------------------------------------------------------------------------------------


def test_order__by_id_is_that_order(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = connect(monkeypatch, httpx.Response(200, json={"data": ORDER}))
    assert told(lambda client: client.order("2925880")).id == "2925880"
    assert [request.url.path for request in wire.requests] == ["/v1/orders/2925880"]


def test_order__by_id_that_is_another_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, httpx.Response(200, json={"data": ORDER}))
    with pytest.raises(UnexpectedAnswer, match="/v1/orders/1 answered another object"):
        told(lambda client: client.order("1"))


@pytest.mark.parametrize("odd", ["", "../stores", "1/../2", "1 ", "a@example.com", "1?x=1"])
def test_order__by_what_is_no_id_is_not_there_and_nobody_is_asked(monkeypatch: pytest.MonkeyPatch, odd: str) -> None:
    wire = connect(monkeypatch)
    with pytest.raises(Rejected, match="an id has letters, digits and hyphens only") as caught:
        told(lambda client: client.order(odd))
    assert (caught.value.status, wire.requests) == (404, [])


# --- writes ----------------------------------------------------------------------------------------------------

NEW_CHECKOUT = NewCheckout(store_id="51385", variant_id="149091")
WEBHOOK_WRITES: list[Callable[[LemonSqueezy], Awaitable[Any]]] = [
    lambda c: c.create_webhook("1", url="https://example.com", events=["order_created"], secret="s" * 6),
    lambda c: c.update_webhook("1", secret="s" * 40),
    lambda c: c.delete_webhook("1"),
]
WRITES: list[Callable[[LemonSqueezy], Awaitable[Any]]] = [lambda c: c.create_checkout(NEW_CHECKOUT), *WEBHOOK_WRITES]


def test_create_checkout__is_one_request_and_tells_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = samples.lemon_squeezy("checkout-create")
    wire = connect(monkeypatch, httpx.Response(201, json={"data": recorded}))
    made = told(lambda client: client.create_checkout(NEW_CHECKOUT))
    assert (made.id, made.store_id, made.variant_id) == ("bbd5ae24-d022-4439-ae1e-7c0154610772", "51385", "149091")
    [request] = wire.requests
    assert (request.method, request.url.path) == ("POST", "/v1/checkouts")
    assert request.headers["content-type"] == "application/vnd.api+json"


@pytest.mark.parametrize("story", WRITES)
@pytest.mark.parametrize("answer", [httpx.ReadTimeout("late"), httpx.Response(500), httpx.Response(504, text="<html>")])
def test_writes__are_never_repeated_blind(
    monkeypatch: pytest.MonkeyPatch, answer: Any, story: Callable[[LemonSqueezy], Awaitable[Any]]
) -> None:
    wire = connect(monkeypatch, answer)
    with pytest.raises(AnswerLost, match="it may have happened all the same"):
        told(story)
    assert len(wire.requests) == 1


@pytest.mark.parametrize("story", WRITES[:3])
@pytest.mark.parametrize("answer", [{}, {"data": None}, {"data": {"id": "7"}}, [], {"data": []}], ids=repr)
def test_writes__whose_answer_cannot_be_read_are_lost_not_failed(
    monkeypatch: pytest.MonkeyPatch, answer: Any, story: Callable[[LemonSqueezy], Awaitable[Any]]
) -> None:
    connect(monkeypatch, httpx.Response(200, json=answer))
    with pytest.raises(AnswerLost, match="it may have happened all the same"):
        told(story)


@pytest.mark.parametrize("story", WRITES)
def test_writes__that_never_left_are_unreachable(
    monkeypatch: pytest.MonkeyPatch, story: Callable[[LemonSqueezy], Awaitable[Any]]
) -> None:
    connect(monkeypatch, httpx.ConnectError("refused"))
    with pytest.raises(Unreachable, match="nothing was sent"):
        told(story)


def test_create_checkout__refused_says_which_value_and_shows_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = json.loads((samples.SAMPLES / "lemon-squeezy/errors/422-custom-value-not-a-string.json").read_text())
    more = {"detail": "The e-mail planted.person@private.example is refused.", "status": "422"}
    errors = [*recorded["response"]["body"]["errors"], more]
    connect(monkeypatch, httpx.Response(422, json={"errors": errors}))
    with pytest.raises(Rejected) as caught:
        told(lambda client: client.create_checkout(NEW_CHECKOUT))
    assert caught.value.status == 422
    assert "/data/attributes/checkout_data/custom/user_email: The {0} field must be a string." in str(caught.value)
    assert "The e-mail (an e-mail address) is refused." in str(caught.value)
    assert "planted" not in str(caught.value)


def test_webhooks__are_made_changed_and_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = samples.lemon_squeezy("webhook-create")
    wire = connect(
        monkeypatch,
        httpx.Response(201, json={"data": made}),
        httpx.Response(200, json={"data": made}),
        httpx.Response(204),
        httpx.Response(404, json={"errors": [{"title": "Not Found"}]}),
    )

    async def story(client: LemonSqueezy) -> set[str]:
        await client.create_webhook("51385", url="https://example.com/x", events={"order_created"}, secret="s" * 6)
        changed = await client.update_webhook("11630", events=["order_refunded", "order_created"])
        await client.delete_webhook("11630")
        await client.delete_webhook("11630")  # gone already
        return {*changed.events}

    assert told(story) == {"order_created"}
    sent = [(request.method, request.url.path) for request in wire.requests]
    assert sent == [("POST", "/v1/webhooks"), ("PATCH", "/v1/webhooks/11630"), *[("DELETE", "/v1/webhooks/11630")] * 2]
    created, changed = (json.loads(request.content)["data"] for request in wire.requests[:2])
    assert created["attributes"] == {"url": "https://example.com/x", "events": ["order_created"], "secret": "s" * 6}
    assert created["relationships"]["store"]["data"] == {"type": "stores", "id": "51385"}
    assert changed == {
        "type": "webhooks",
        "id": "11630",
        "attributes": {"events": ["order_created", "order_refunded"]},
    }


@pytest.mark.parametrize("secret", ["", "x" * 5, "x" * 41])
def test_create_webhook__refuses_a_secret_of_another_length_and_does_not_show_it(
    monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    wire = connect(monkeypatch)
    with pytest.raises(ConfigError, match="LEMON_SQUEEZY_WEBHOOK_SECRET has ") as caught:
        told(lambda client: client.create_webhook("1", url="https://example.com", events=["x"], secret=secret))
    assert "xx" not in str(caught.value)
    assert wire.requests == []


def test_user__is_told_with_the_mode_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = json.loads((samples.SAMPLES / "lemon-squeezy/api/user-me.json").read_text())
    connect(monkeypatch, httpx.Response(200, json=recorded["response"]["body"]))
    found = told(lambda client: client.user())
    assert (found.id, found.name, found.test_mode) == ("1539071", "Test Buyer One", True)
