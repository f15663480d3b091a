"""When the next request may leave: turns, patience after a 429, silence after a ban.

Who else uses the same limit is the business of the slots behind it: those of `dealsync.ledger.slots` are shared by
every process of the machine and every worker on the same database.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from dealsync.core.turns import LONGEST_WAIT_S, Turn
from dealsync.errors import Banned, Unreachable

LONGEST_YIELD_S = 5.0
"""How long work that can wait lets urgent work pass; then it takes its turn all the same."""

LONGEST_CROWD_S = 30.0
"""How long it leaves what is kept for urgent work; then it takes of that."""


class Slots(Protocol):
    """Hands out turns to everybody who shares one limit."""

    async def reserve(self, *, urgent: bool, yielding: bool) -> Turn:
        """Reserve the next turn. Without `urgent` it may be refused for a moment, while urgent work is about."""

    async def take_off(self, *, urgent: bool) -> Turn:
        """Ask, when a reserved turn has come, whether it may be taken; the answer names the flight."""

    async def land(self, flight: str) -> None:
        """Tell that a request is over, answered or not."""

    async def hold(self, wait_s: float) -> None:
        """Let nobody go for so many seconds."""

    async def slow_down(self) -> None:
        """Hand out turns at half the rate for RECOVERY_S."""

    async def block(self, reason: str) -> bool:
        """Let nobody go until a person says so; return whether this is news."""


class Pace:
    """The turns of one client. Urgent ones (a webhook's work) go before those that can wait (a sweep's)."""

    def __init__(self, api: str, slots: Slots, *, urgent: bool = False) -> None:
        self._api = api
        self._slots = slots
        self._urgent = urgent
        self._queue = asyncio.Lock()
        self._blocked = ""

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until one request may leave; it is to be sent, and its answer read, inside.

        Raises Banned, and Unreachable rather than wait for more than LONGEST_WAIT_S.
        """
        async with self._queue:
            flight = await self._next()
        try:
            yield
        finally:
            await self._slots.land(flight)

    async def _next(self) -> str:
        yielded_s = 0.0
        while True:
            self._stop_if_blocked(self._blocked)
            reserved = await self._slots.reserve(urgent=self._urgent, yielding=yielded_s < LONGEST_YIELD_S)
            await self._wait(reserved)
            if not reserved.granted:
                yielded_s += reserved.wait_s
                continue
            # A turn that was waited for can have been overtaken by a 429 or a ban.
            taken = await self._take_off()
            if taken.granted:
                return taken.flight

    async def _take_off(self) -> Turn:
        """Take the turn that has come, as soon as there is room for it; it is refused if the API asked to wait."""
        waited_s = 0.0
        while True:
            taken = await self._slots.take_off(urgent=self._urgent or waited_s > LONGEST_CROWD_S)
            if not taken.granted and not taken.held:
                await self._wait(taken)
                waited_s += taken.wait_s
                continue
            self._stop_if_blocked(self._blocked)
            return taken

    async def _wait(self, turn: Turn) -> None:
        self._stop_if_blocked(turn.blocked)
        if turn.held and turn.wait_s > LONGEST_WAIT_S:
            raise Unreachable(f"{self._api} asks to wait {turn.wait_s:.0f} s more; nothing was sent", status=429)
        await asyncio.sleep(turn.wait_s)

    async def hold(self, wait_s: float) -> None:
        """Keep everybody waiting as long as the API asked, and go on slower after that."""
        await self._slots.hold(wait_s)
        await self._slots.slow_down()

    async def spare(self, wait_s: float) -> None:
        """Keep everybody waiting for a moment, because little is left of the limit."""
        await self._slots.hold(wait_s)

    async def block(self, reason: str) -> bool:
        """Silence everybody until a person says otherwise; return whether this is news.

        This client is silent from now on, whether or not the others can be told.
        """
        self._blocked = self._blocked or reason
        return await self._slots.block(reason)

    def _stop_if_blocked(self, reason: str) -> None:
        if reason:
            raise Banned(ban_words(self._api, reason), status=403)


def ban_words(api: str, blocked: str) -> str:
    """One line for a person: what happened, and the way out."""
    return (
        f"{api} has blocked this address ({blocked}). Nothing more is sent; ask its support to lift the block, "
        "then run: dealsync unblock"
    )
