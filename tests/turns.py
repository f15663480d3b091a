"""Turns without a database: for tests of one client, whose time may be virtual."""

import asyncio

from dealsync.core.turns import LONGEST_WAIT_S, RECOVERY_S, Turn


class LocalSlots:
    """Turns for the clients of one event loop, in its time; the shared ones have tests of their own."""

    def __init__(self, per_second: float) -> None:
        self._spacing_s = 1 / per_second
        self._last_s = self._hold_until_s = self._slow_until_s = float("-inf")  # in the loop's time
        self._blocked = ""

    async def reserve(self, *, urgent: bool, yielding: bool) -> Turn:
        """Reserve the next turn; nobody else is about, so nobody has to yield."""
        standing = await self.take_off(urgent=urgent)
        if standing.blocked or standing.wait_s > LONGEST_WAIT_S:
            return standing
        now_s = _now_s()
        spacing_s = self._spacing_s * (2 if self._slow_until_s > now_s else 1)
        self._last_s = max(now_s, self._hold_until_s, self._last_s + spacing_s)
        return Turn(self._last_s - now_s)

    async def take_off(self, *, urgent: bool) -> Turn:
        """Tell whether a reserved turn may still be taken."""
        left_s = self._hold_until_s - _now_s()
        return Turn(max(left_s, 0.0), granted=left_s <= 0 and not self._blocked, held=left_s > 0, blocked=self._blocked)

    async def land(self, flight: str) -> None:
        """Nobody else is about who would have to know."""

    async def hold(self, wait_s: float) -> None:
        """Let nobody go for so many seconds."""
        self._hold_until_s = max(self._hold_until_s, _now_s() + wait_s)

    async def slow_down(self) -> None:
        """Hand out turns at half the rate for RECOVERY_S."""
        self._slow_until_s = max(self._hold_until_s, _now_s()) + RECOVERY_S

    async def block(self, reason: str) -> bool:
        """Let nobody go any more; return whether this is news."""
        is_news, self._blocked = not self._blocked, self._blocked or reason
        return is_news


def _now_s() -> float:
    return asyncio.get_running_loop().time()
