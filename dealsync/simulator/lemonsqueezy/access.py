"""What the routes share: from a request to the resource the key may see, from a refusal to its answer."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from dealsync.simulator.addresses import mounted_at
from dealsync.simulator.lemonsqueezy import wire
from dealsync.simulator.lemonsqueezy.books import Books
from dealsync.simulator.table import Record

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


def guarded(handler: Handler) -> Handler:
    """Return a handler whose ApiError becomes its answer."""

    async def endpoint(request: Request) -> Response:
        try:
            return await handler(request)
        except wire.ApiError as refused:
            return refused.response()

    return endpoint


def visible(store: Books, kind: str, resource_id: str) -> Record:
    """Return a resource the key can see. Raises ApiError (404)."""
    record = store.find(kind, resource_id)
    if record is None:
        raise wire.missing()
    own_mode = store.test_mode_key
    if not store.faults.test_mode_visible and bool(record["attributes"].get("test_mode", own_mode)) != own_mode:
        raise wire.missing()
    return record


def root_of(request: Request) -> str:
    """Return the address up to and with `/v1`."""
    return mounted_at(request) + "/v1"
