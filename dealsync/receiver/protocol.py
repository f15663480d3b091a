"""HTTP for strangers: whoever is too slow to say what he wants is cut off. uvicorn waits for ever for a first line."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

LARGEST_HEAD = 32_768
SLOWEST_HEAD_S = 10.0
"""How long the head of a request may take, from the connection or from its own first byte."""
END_OF_HEAD = b"\r\n\r\n"


class ImpatientProtocol(H11Protocol):
    """uvicorn's own HTTP, with a deadline for the head of each request."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the clock: who says nothing at all is cut off, too."""
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Stop the clock when a head is complete, start it when another one has begun."""
        if self.conn.their_state is h11.IDLE and len(data) > LARGEST_HEAD and END_OF_HEAD not in data[:LARGEST_HEAD]:
            self.transport.close()  # uvicorn only counts heads that come in pieces
            return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._head_came()
        elif self._deadline is None and self.conn.trailing_data[0]:
            self._expect_head()

    def on_response_complete(self) -> None:
        """End the connection of who was answered before he had said everything: he might go on for ever."""
        if self.conn.their_state is h11.SEND_BODY:
            self.transport.close()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._head_came()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._deadline = self.loop.call_later(SLOWEST_HEAD_S, self._cut_off)

    def _head_came(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _cut_off(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
