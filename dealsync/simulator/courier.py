"""Makes the deliveries of a world: each attempt is a real request, in parallel with all others.

Source: Kommo reference 6 and Lemon Squeezy reference 7.3: redirects are failures, nothing keeps an order.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from dealsync.simulator.deliveries import Delivery
from dealsync.simulator.world import World

TICK_S = 0.05


class Courier:
    """Takes what is due and sends it, as long as `working` is entered; otherwise deliveries only wait."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._is_working = False
        self._client: httpx.AsyncClient | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Make deliveries until the end of the block; attempts that are under way then are broken off."""
        self._is_working = True
        ticker = asyncio.create_task(self._tick())
        ticker.add_done_callback(_complain)
        try:
            yield
        finally:
            self._is_working = False
            for task in (ticker, *self._under_way):
                task.cancel()
            await asyncio.gather(ticker, *self._under_way, return_exceptions=True)
            if self._client is not None:
                await self._client.aclose()

    def start_due(self) -> None:
        """Do what is due in the world, and start the attempts that follow from it."""
        self._world.run_due()
        if not self._is_working:
            return
        for delivery in self._world.deliveries.take_due():
            task = asyncio.create_task(self._attempt(delivery))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def advance(self, seconds: float) -> None:
        """Let time pass in the world, and wait at each moment for the attempts that are due at it."""
        await self._finish_due()
        for _ in self._world.steps(seconds):
            await self._finish_due()

    async def _finish_due(self) -> None:
        self.start_due()
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def _tick(self) -> None:
        while True:
            self.start_due()
            await asyncio.sleep(TICK_S)

    async def _attempt(self, delivery: Delivery) -> None:
        status, error = None, None
        try:
            async with asyncio.timeout(self._world.deliveries.timeout_s(delivery)):
                status = await self._post(delivery)
        except TimeoutError:
            error = "no answer in time"
        except (httpx.HTTPError, httpx.InvalidURL) as reason:
            error = str(reason) or type(reason).__name__
        self._world.deliveries.attempted(delivery, status, error)

    async def _post(self, delivery: Delivery) -> int:
        if self._client is None:
            # A new connection each time: a receiver that was restarted in between must not count as a failure.
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
            self._client = httpx.AsyncClient(timeout=None, limits=limits, trust_env=False)  # noqa: S113 (see _attempt)
        # Only the status counts, so an endless answer is not read.
        request = self._client.stream("POST", delivery.url, content=delivery.body, headers=delivery.headers)
        async with request as answer:
            return answer.status_code


def _complain(ticker: asyncio.Task[None]) -> None:
    """Say that something due could not be done, rather than stand still in silence."""
    if not ticker.cancelled() and (reason := ticker.exception()) is not None:
        ticker.get_loop().call_exception_handler({"message": "the simulator's clock stopped", "exception": reason})
