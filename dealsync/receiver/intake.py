"""Group commit: events that arrive while one transaction is under way travel together in the next.

A commit costs a disk its time, however much is in it; a burst of webhooks shares few of them, and still every one is
answered after its own commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from dealsync.ledger.inbox import Arrival, Inbox

log = logging.getLogger(__name__)
LARGEST_COMMIT = 500
PATIENCE_S = 5.0
"""How long a sender waits for the database. It sends again; what was committed all the same is a duplicate then."""


class NotStored(Exception):
    """The database did not take an event, or not in time: its sender has to send it again."""


class Intake:
    """Stores events for one event loop. Call `close` at the end: what was accepted is committed first."""

    def __init__(self, inbox: Inbox, on_stored: Callable[[], None]) -> None:
        """`on_stored` is called, in the loop, after each commit that brought something new."""
        self._inbox = inbox
        self._on_stored = on_stored
        self._waiting: list[tuple[Arrival, asyncio.Future[bool]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inbox")

    async def keep(self, arrivals: Sequence[Arrival]) -> list[bool]:
        """Store events; tell for each, after the commit, whether it is new. Raises NotStored."""
        loop = asyncio.get_running_loop()
        told = [loop.create_future() for _ in arrivals]
        self._waiting += zip(arrivals, told, strict=True)
        if self._writer is None or self._writer.done():
            self._writer = loop.create_task(self._write())
        try:
            async with asyncio.timeout(PATIENCE_S):
                return [await one for one in told]
        except TimeoutError as error:
            raise NotStored("the database takes too long") from error

    async def close(self) -> None:
        """Commit what waits, and end."""
        if self._writer is not None:
            with suppress(asyncio.CancelledError):
                await self._writer
        self._thread.shutdown()

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting[:LARGEST_COMMIT], self._waiting[LARGEST_COMMIT:]
            try:
                fresh = await loop.run_in_executor(self._thread, self._inbox.keep, [arrival for arrival, _ in batch])
            except Exception as error:  # noqa: BLE001 - whatever it is, the senders are told, and the next come through
                _refuse(batch, error)
                continue
            for (_, told), is_fresh in zip(batch, fresh, strict=True):
                if not told.done():
                    told.set_result(is_fresh)
            if any(fresh):
                self._on_stored()


def _refuse(batch: Sequence[tuple[Arrival, asyncio.Future[bool]]], error: Exception) -> None:
    log.error("%d webhooks could not be stored (%s)", len(batch), type(error).__name__)
    for _, told in batch:
        if not told.done():
            refused = NotStored("the database does not answer")
            refused.__cause__ = error
            told.set_exception(refused)
            told.exception()  # whoever does not wait for it any more need not be told
