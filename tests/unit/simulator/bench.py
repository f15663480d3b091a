"""Clients that speak to a world in memory, without a server in between."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette

from dealsync.simulator.server import create_app
from dealsync.simulator.world import World

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SAMPLES = Path(__file__).parents[2] / "samples"
UNLIMITED = {"kommo_limit_enabled": False, "ls_limit_enabled": False, "list_lag_s": 0, "search_lag_s": 0}


class InMemory(httpx.BaseTransport):
    """Hands requests straight to an ASGI application."""

    def __init__(self, app: Starlette, runner: asyncio.Runner) -> None:
        self._transport = httpx.ASGITransport(app)
        self._runner = runner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._runner.run(self._handle(request))

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        answer = await self._transport.handle_async_request(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())


@dataclass
class Bench:
    """A world and clients of its three parts; paths start below each part's root."""

    world: World
    kommo: httpx.Client
    lemon_squeezy: httpx.Client
    control: httpx.Client

    def set(self, **switches: Any) -> None:
        self.world.faults.update(switches)


@contextmanager
def bench(world: World) -> Iterator[Bench]:
    """All limits and lags are off."""
    world.faults.update(UNLIMITED)
    kommo_key = {"authorization": f"Bearer {world.secrets.kommo.token}"}
    ls_key = {"authorization": f"Bearer {world.secrets.lemon_squeezy_key}"}
    with asyncio.Runner() as runner:
        transport = InMemory(create_app(world), runner)
        yield Bench(
            world,
            httpx.Client(base_url="http://test/kommo/api/v4", headers=kommo_key, transport=transport),
            httpx.Client(base_url="http://test/lemonsqueezy/v1", headers=ls_key, transport=transport),
            httpx.Client(base_url="http://test/control", transport=transport),
        )
