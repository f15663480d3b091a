"""Reads from Lemon Squeezy. Lists run newest first and have no filter by time.

Source: Lemon Squeezy reference, "Lists: paging, order, filters, includes".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import httpx

from dealsync.apis.border import Refused, Text, Wire, parse
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


class _PageMeta(Wire):
    currentPage: int = 1  # noqa: N815 - the API's own name
    lastPage: int = 1  # noqa: N815


class _Meta(Wire):
    page: _PageMeta = _PageMeta()
    test_mode: bool = False


class _List(Wire):
    meta: _Meta = _Meta()
    data: list[dict[str, Any]]


class _Single(Wire):
    meta: _Meta = _Meta()
    data: dict[str, Any]


class _Store(Wire):
    name: Text = ""
    currency: str = "USD"


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
        return parse(_Single, answer, "the answer to users/me").meta.test_mode

    async def stores(self) -> list[Store]:
        """Return the stores that the key sees (the first 100)."""
        answer = await self._transport.get("/v1/stores", {"page[size]": LS_PAGE_SIZE})
        rows = parse(_List, answer, "the list of stores").data
        wires = [(str(row["id"]), parse(_Store, row.get("attributes"), f"store {row['id']}")) for row in rows]
        return [Store(store_id, wire.name, wire.currency) for store_id, wire in wires]

    def orders(self, store_id: str, *, first: int = 1) -> AsyncIterator[Page[Order]]:
        """Yield pages of orders, newest first, from page `first` to the last.

        Pages shift when an order arrives in between, so one can come twice: key by `id`. Read in order, none is
        missed. Raises Unauthorized, Unreachable.
        """
        return self._pages("/v1/orders", normalise.order, store_id, first)

    def subscriptions(self, store_id: str, *, first: int = 1) -> AsyncIterator[Page[Subscription]]:
        """Yield pages of subscriptions, newest first; see `orders`."""
        return self._pages("/v1/subscriptions", normalise.subscription, store_id, first)

    def invoices(self, store_id: str, *, first: int = 1) -> AsyncIterator[Page[Invoice]]:
        """Yield pages of subscription invoices, newest first; see `orders`."""
        return self._pages("/v1/subscription-invoices", normalise.invoice, store_id, first)

    async def _pages(
        self, path: str, build: Callable[[Mapping[str, Any]], Row], store_id: str, first: int
    ) -> AsyncIterator[Page[Row]]:
        number = last = first
        while number <= last:
            answer = await self._transport.get(
                path, {"filter[store_id]": store_id, "page[number]": number, "page[size]": LS_PAGE_SIZE}
            )
            page = parse(_List, answer, f"page {number} of {path}")
            last = page.meta.page.lastPage
            yield Page(tuple(self.refused.keep(build, page.data)), number, last)
            number += 1


def _read_error(response: httpx.Response) -> tuple[str, dict[str, str]]:
    """Words of a JSON:API error, else of the plain forms that a 5xx or gateway sends."""
    try:
        body = response.json()
    except ValueError:
        return "refused without a reason", {}
    errors = body.get("errors") if isinstance(body, dict) else None
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        details = [str(e.get("detail") or e.get("title") or "") for e in errors if isinstance(e, dict)]
        return "; ".join(d[:200] for d in details[:3]) or "refused without a reason", {}
    return str(body.get("message", "refused without a reason"))[:200] if isinstance(body, dict) else "refused", {}
