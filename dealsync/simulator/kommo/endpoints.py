"""What every route of /api/v4 shares: who is asking, refusing a malformed body, sending webhooks afterwards.

Source: Kommo reference, 1.1 (X-Request-Id), 1.2 (X-Context-User-ID) and 5.3 (admin only).
"""

import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from dealsync.simulator.assumptions import UNKNOWN_CONTEXT_USER_STATUS
from dealsync.simulator.kommo import wire
from dealsync.simulator.kommo.state import KommoAccount
from dealsync.simulator.world import World

Handler: TypeAlias = Callable[[Any, Request], Awaitable[Response]]


class Endpoints:
    """The world and the account a group of routes works on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._faults = world.faults
        self._account = world.kommo


def answering(handler: Handler) -> Handler:
    """Let a handler act for the right user, turn a malformed body into its answer, then send the webhooks."""

    @functools.wraps(handler)
    async def wrapped(self: Endpoints, request: Request) -> Response:
        account = self._account
        try:
            with account.acting_for(_context_user(account, request)):
                response = await handler(self, request)
        except wire.Malformed as malformed:
            response = malformed.response
        account.hooks.flush()
        response.headers["x-request-id"] = f"{account.next_id('requests'):032x}"
        return response

    return wrapped


def admin_only(handler: Handler) -> Handler:
    """Answer 403 to users who are no admins; goes below `answering`."""

    @functools.wraps(handler)
    async def wrapped(self: Endpoints, request: Request) -> Response:
        return await handler(self, request) if self._account.is_admin() else wire.forbidden()

    return wrapped


def kind_of(request: Request) -> str:
    """Return the entity type in the address: "leads", "contacts" or "companies"; "catalogs/{id}" in a list."""
    path: str = request.scope["path"]
    parts = path.partition("/api/v4/")[2].split("/")
    return "/".join(parts[:2]) if parts[0] == "catalogs" else parts[0]


def _context_user(account: KommoAccount, request: Request) -> int | None:
    """Return the user X-Context-User-ID names; None without it. Raises Malformed for one who cannot act."""
    named = request.headers.get("x-context-user-id")
    if named is None:
        return None
    user = account.users.get(wire.whole(named) or 0)
    if user is None or user["rights"].get("is_free"):
        raise wire.Malformed(wire.plain(UNKNOWN_CONTEXT_USER_STATUS, "Invalid user name or password"))
    return int(user["id"])
