"""The REST routes under /v1: lists, single resources, the refund.

Source: Lemon Squeezy reference, sections 3, 4 and 6.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dealsync.simulator.addresses import mounted_at
from dealsync.simulator.assumptions import (
    EMPTY_PAGE_HAS_NULL_RANGE,
    REFUND_OVER_THE_REST_STATUS,
    TOO_LARGE_PAGE_STATUS,
    TYPE_MISMATCH_STATUS,
    UNKNOWN_FILTER_STATUS,
)
from dealsync.simulator.lemonsqueezy import wire
from dealsync.simulator.lemonsqueezy.catalogue import TYPES, ResourceType, filter_key
from dealsync.simulator.lemonsqueezy.state import RefundError
from dealsync.simulator.table import Record
from dealsync.simulator.world import World

DEFAULT_SIZE, MAX_SIZE = 10, 100
FAMILY = re.compile(r"(filter|page)\[([^\]]*)\]")


class _QueryError(ValueError):
    """A JSON:API parameter that is refused, with the status to answer."""

    def __init__(self, detail: str, status: int = UNKNOWN_FILTER_STATUS) -> None:
        super().__init__(detail)
        self.status = status


class LemonSqueezyRoutes:
    """Request -> response, on one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._store = world.lemon_squeezy

    def routes(self) -> list[Route]:
        """Return the routes, to be mounted at the API's root."""
        found = [
            Route("/v1/users/me", self.me),
            Route("/v1/orders/{id}/refund", self.refund, methods=["POST"]),
        ]
        for kind in TYPES:
            found += [Route(f"/v1/{kind}", self.list_page), Route(f"/v1/{kind}/{{id}}", self.retrieve)]
        return found

    async def me(self, request: Request) -> Response:
        """GET /v1/users/me: the user behind the key; `meta` comes first."""
        user = self._store.user
        address = f"{_root(request)}/users/{user['id']}"
        return wire.answer(
            {
                "meta": {"test_mode": self._store.test_mode_key},
                "jsonapi": wire.JSONAPI,
                "links": {"self": address},
                "data": {**user, "links": {"self": address}},
            }
        )

    async def list_page(self, request: Request) -> Response:
        """GET /v1/{type}: one page in the type's default order."""
        kind = TYPES[_segment(request, 2)]
        try:
            filters, number, size = _read_query(request.query_params.multi_items(), kind)
        except _QueryError as bad:
            return wire.bad_query(str(bad), bad.status)
        ids = self._select(kind, filters)
        first = (number - 1) * size
        rows = [self._store.tables[kind.name].get(i) for i in ids[first : first + size]]
        address = f"{_root(request)}/{kind.name}"
        return wire.answer(_page(address, kind, filters, (number, size), len(ids), [r for r in rows if r]))

    async def retrieve(self, request: Request) -> Response:
        """GET /v1/{type}/{id}."""
        record = self._store.find(_segment(request, 2), request.path_params["id"])
        if record is None or not self._shown(record):
            return wire.not_found()
        return wire.answer(wire.single(record, _root(request)))

    async def refund(self, request: Request) -> Response:
        """POST /v1/orders/{id}/refund: acts at once, has no idempotency; 200 with the order."""
        order = self._store.find("orders", request.path_params["id"])
        if order is None:
            return wire.not_found()
        data = _document(await request.body())
        if data is None:
            return wire.error(400, "Non-Compliant JSON:API Document", "The request body must be a JSON:API document.")
        if data.get("type") != "orders" or str(data.get("id")) != order["id"]:
            return wire.error(TYPE_MISMATCH_STATUS, "Conflict", "The resource type or id does not match.")
        amount = (data.get("attributes") or {}).get("amount")
        pointer = "/data/attributes/amount"
        if amount is not None and (isinstance(amount, bool) or not isinstance(amount, int)):
            return wire.error(422, "Unprocessable Entity", "The amount must be an integer.", pointer)
        try:
            refunded = self._store.refund(int(order["id"]), amount)
        except RefundError as reason:
            return wire.error(REFUND_OVER_THE_REST_STATUS, "Unprocessable Entity", f"{reason}.", pointer)
        return wire.answer(wire.single(refunded, _root(request)))

    def _select(self, kind: ResourceType, filters: dict[str, str]) -> list[int]:
        table = self._store.tables[kind.name]
        where = {name: frozenset([filter_key(name, value)]) for name, value in filters.items()}
        ids = table.select("default", descending=kind.descending, where=where)
        if self._world.faults.test_mode_visible:
            return ids
        return [i for i in ids if self._shown(table.get(i) or {})]

    def _shown(self, record: Record) -> bool:
        if self._world.faults.test_mode_visible:
            return True
        own_mode = self._store.test_mode_key
        return bool(record["attributes"].get("test_mode", own_mode)) == own_mode


def _root(request: Request) -> str:
    return mounted_at(request) + "/v1"


def _segment(request: Request, number: int) -> str:
    path: str = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    return path.split("/")[number]


def _read_query(pairs: Iterable[tuple[str, str]], kind: ResourceType) -> tuple[dict[str, str], int, int]:
    """Return filters, page number and page size; parameters outside the JSON:API families are ignored."""
    filters: dict[str, str] = {}
    page = {"number": 1, "size": DEFAULT_SIZE}
    for key, value in pairs:
        family = FAMILY.fullmatch(key)
        if family is None:
            continue
        name = family[2]
        if family[1] == "filter":
            if name not in kind.filters:
                raise _QueryError(f"Filter parameter {name} is not allowed.")
            filters[name] = value
        elif name not in page or not value.isdigit() or int(value) < 1:
            raise _QueryError(f"Page parameter {name} is not valid.")
        else:
            page[name] = int(value)
    if page["size"] > MAX_SIZE:
        raise _QueryError(f"The page size must not be greater than {MAX_SIZE}.", TOO_LARGE_PAGE_STATUS)
    return filters, page["number"], page["size"]


def _page(
    address: str,
    kind: ResourceType,
    filters: dict[str, str],
    page: tuple[int, int],
    total: int,
    rows: list[Record],
) -> dict[str, Any]:
    number, size = page
    last = max(1, -(-total // size))
    first_row = (number - 1) * size + 1
    empty = EMPTY_PAGE_HAS_NULL_RANGE and not rows
    links = {"first": 1, "last": last}
    if number < last:
        links["next"] = number + 1
    if number > 1:
        links["prev"] = number - 1
    root = address.removesuffix(f"/{kind.name}")
    return {
        "meta": {
            "page": {
                "currentPage": number,
                "from": None if empty else first_row,
                "lastPage": last,
                "perPage": size,
                "to": None if empty else first_row + len(rows) - 1,
                "total": total,
            }
        },
        "jsonapi": wire.JSONAPI,
        "links": {name: wire.page_link(address, filters, n, size, kind.sort) for name, n in links.items()},
        "data": [wire.resource(row, root) for row in rows],
    }


def _document(body: bytes) -> Record | None:
    try:
        data = json.loads(body)["data"]
    except (ValueError, KeyError, TypeError):
        return None
    return data if isinstance(data, dict) else None
