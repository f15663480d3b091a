"""Cutting a connection in the middle of a request."""

import asyncio
from typing import cast

from starlette.types import Receive, Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

_OPEN: dict[tuple[str, int], asyncio.Transport] = {}  # (server port is ours) by the client's address


class CuttableProtocol(H11Protocol):
    """uvicorn's protocol, which remembers its transports so that `cut` finds them."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Remember the transport by the client's address."""
        super().connection_made(transport)
        if self.client is not None:
            _OPEN[self.client] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the transport."""
        if self.client is not None:
            _OPEN.pop(self.client, None)
        super().connection_lost(exc)


async def cut(scope: Scope, receive: Receive) -> None:
    """Close the client's connection without an answer; raises ConnectionResetError without a socket."""
    transport = _OPEN.get(cast("tuple[str, int]", scope.get("client")))
    if transport is None:
        raise ConnectionResetError("the simulator dropped the connection")
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
