"""Walks over pages whose surroundings are odd: the rows are read all the same, and the walk ends."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx
import pytest

from dealsync.apis.lemonsqueezy.client import LemonSqueezy, Store
from dealsync.errors import UnexpectedAnswer
from tests.unit.apis import samples
from tests.unit.apis.wire import Wire, connect, run

Value = TypeVar("Value")
ORDER = samples.webhook("eur-first-purchase/order_created")
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
        client = LemonSqueezy(origin="https://api.example", api_key="k", requests_per_minute=60_000)
        try:
            return await story(client)
        finally:
            await client.close()

    return run(tell())


def body(rows: Any, **around: Any) -> httpx.Response:
    return httpx.Response(200, json={"data": rows} | {key: v for key, v in around.items() if v is not ...})


async def pages(client: LemonSqueezy) -> list[tuple[int, int, int]]:
    """Rows, number and last of each page."""
    return [(len(page.rows), page.number, page.last) async for page in client.orders("1")]


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
    wire = connect(monkeypatch, body([ORDER], meta=meta, links=NEXT), body([ORDER], meta=meta))
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


def test_stores__are_read_to_the_last_page(monkeypatch: pytest.MonkeyPatch) -> None:
    stores = [{"id": number, "attributes": {"name": f"S{number}", "currency": "EUR"}} for number in (1, 2)]
    wire = connect(monkeypatch, *(body([store], meta={"page": {"lastPage": 2}}) for store in stores))
    assert told(lambda client: client.stores()) == [Store("1", "S1", "EUR"), Store("2", "S2", "EUR")]
    assert page_numbers(wire) == ["1", "2"]
    assert all("filter[store_id]" not in request.url.params for request in wire.requests)


def test_stores__without_an_id_or_a_name_are_left_out_or_nameless(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, body([{"attributes": {}}, {"id": "7", "attributes": {"name": None, "currency": []}}]))
    assert told(lambda client: client.stores()) == [Store("7", "", "USD")]
