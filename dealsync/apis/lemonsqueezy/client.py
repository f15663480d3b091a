"""Reads from Lemon Squeezy. Lists run newest first and have no filter by time.

Source: Lemon Squeezy reference, "Lists: paging, order, filters, includes".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import httpx
from pydantic import ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from dealsync.apis.border import Int64, Refused, Text, Wire, named, parse, words
from dealsync.apis.lemonsqueezy import normalise
from dealsync.apis.transport import Transport
from dealsync.core.assumptions import LS_PAGE_SIZE
from dealsync.core.models import Invoice, Order, Subscription

JSON_API = "application/vnd.api+json"
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """One page of a list, newest first. `number` counts from 1 to `last`."""

    rows: tuple[Row, ...]
    number: int
    last: int


@dataclass(frozen=True, slots=True)
class Store:
    """A store: where the money of an account is taken."""

    id: str
    name: str
    currency: str


def _or_nothing(value: object, read: ValidatorFunctionWrapHandler) -> object:
    try:
        return read(value)
    except ValidationError:
        return None


IfReadable = WrapValidator(_or_nothing)
"""What goes around the rows: in an odd shape it counts as absent, and the rows are read all the same."""


class _PageMeta(Wire):
    lastPage: Annotated[Int64 | None, IfReadable] = None  # noqa: N815 - the API's own name


class _Meta(Wire):
    page: Annotated[_PageMeta | None, IfReadable] = None


class _Links(Wire):
    next: Annotated[str | None, IfReadable] = None


class _List(Wire):
    meta: Annotated[_Meta | None, IfReadable] = None
    links: Annotated[_Links | None, IfReadable] = None
    data: list[Any]

    def last(self, number: int) -> int:
        """The last page, seen from page `number`. A next one is announced by a link or by the count of pages."""
        page = self.meta.page if self.meta else None
        counted = number if page is None or page.lastPage is None else page.lastPage
        return max(counted, number + 1) if self.links and self.links.next else counted


class _KeyMeta(Wire):
    test_mode: bool = False


class _Key(Wire):
    meta: _KeyMeta = _KeyMeta()


class _Store(Wire):
    name: Text = ""
    currency: Text = "USD"


class LemonSqueezy:
    """Typed reads of one account. Objects that cannot be read are left out and named in `refused`."""

    def __init__(self, *, origin: str, api_key: str, requests_per_minute: int, retry_wait_s: float = 1.0) -> None:
        self.refused = Refused()
        self._transport = Transport(
            api="lemon_squeezy",
            origin=origin,
            token=api_key,
            requests_per_second=requests_per_minute / 60,
            read_error=_read_error,
            headers={"Accept": JSON_API, "Content-Type": JSON_API},
            retry_wait_s=retry_wait_s,
        )

    @property
    def requests(self) -> Mapping[str, int]:
        """Requests sent so far, by API, method and path."""
        return self._transport.requests

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def key_is_test_mode(self) -> bool:
        """Return the mode of the key; raises Unauthorized for a wrong one. Source: reference, "Transport"."""
        answer = await self._transport.get("/v1/users/me")
        return parse(_Key, answer, "the answer to users/me").meta.test_mode

    async def stores(self) -> list[Store]:
        """Return all stores that the key sees."""
        return [store async for page in self._pages("/v1/stores", _store, {}) for store in page.rows]

    def orders(self, store_id: str, *, first: int = 1) -> AsyncIterator[Page[Order]]:
        """Yield pages of orders, newest first, from page `first` to the last.

        Pages shift when an order arrives in between, so one can come twice: key by `id`. Read in order, none is
        missed. Raises Unauthorized, Unreachable.
        """
        return self._pages("/v1/orders", normalise.order, _of(store_id), first)

    def subscriptions(self, store_id: str, *, first: int = 1) -> AsyncIterator[Page[Subscription]]:
        """Yield pages of subscriptions, newest first; see `orders`."""
        return self._pages("/v1/subscriptions", normalise.subscription, _of(store_id), first)

    def invoices(self, store_id: str, *, first: int = 1) -> AsyncIterator[Page[Invoice]]:
        """Yield pages of subscription invoices, newest first; see `orders`."""
        return self._pages("/v1/subscription-invoices", normalise.invoice, _of(store_id), first)

    async def _pages(
        self, path: str, build: Callable[[object], Row], filters: Mapping[str, str], first: int = 1
    ) -> AsyncIterator[Page[Row]]:
        number = last = first
        while number <= last:
            answer = await self._transport.get(path, {**filters, "page[number]": number, "page[size]": LS_PAGE_SIZE})
            page = parse(_List, answer, f"page {number} of {path}")
            last = page.last(number)
            yield Page(tuple(self.refused.keep(build, page.data)), number, last)
            number += 1


def _of(store_id: str) -> dict[str, str]:
    return {"filter[store_id]": store_id}


def _store(resource: object) -> Store:
    name = named("store", resource)
    outer = parse(normalise.Resource, resource, name)
    wire = parse(_Store, outer.attributes, name)
    return Store(outer.id, wire.name, wire.currency)


def _read_error(response: httpx.Response) -> tuple[str, dict[str, str]]:
    """Words of a JSON:API error, else of the plain forms that a 5xx or gateway sends."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return words(), {}
    errors = body.get("errors")
    listed = [e for e in errors if isinstance(e, dict)] if isinstance(errors, list) else []
    details = [words(e.get("detail"), e.get("title")) for e in listed[:3]]
    return "; ".join(details) or words(body.get("message")), {}
