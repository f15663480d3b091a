"""Clients that speak to a world in memory, without a server in between.

Run as a module it shows how long a large world takes: `python -m tests.unit.simulator.bench [ORDERS]`.
"""

import asyncio
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette

from dealsync.simulator.seed import seeded
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


LISTS = (
    "/leads?limit=250&page={page}&with=contacts",
    "/leads?limit=250&page={page}&filter[pipeline_id][]=7001&filter[responsible_user_id][]=501",
    "/leads?limit=250&page={page}&filter[statuses][0][pipeline_id]=7001&filter[statuses][0][status_id]=142",
    "/leads?limit=250&page={page}&filter[updated_at][from]=1&order[updated_at]=desc",
    "/leads?limit=250&page={page}&filter[price][from]=100&filter[price][to]=300",
    "/leads?limit=250&page={page}&filter[closed_at][from]=1",
    "/leads?limit=250&page={page}&query=starter",
    "/contacts?limit=250&page={page}&query=example",
    "/events?limit=100&page={page}",
)
PAGES = 6


def show_figures(orders: int) -> None:
    """Print the seconds to load a world, and milliseconds of a list's first page and of one further page."""
    started = time.perf_counter()
    world = seeded(orders=orders, now=NOW)
    loaded_s = time.perf_counter() - started
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
    sys.stdout.write(f"{orders} orders, {len(world.kommo.leads)} deals: loaded in {loaded_s:.1f} s, {memory_mb} MB\n")
    with bench(world) as one:
        for path in LISTS:
            first_ms, further_ms = _page_ms(one.kommo, path)
            sys.stdout.write(f"{first_ms:8.1f} ms first, {further_ms:6.1f} ms further  {path}\n")
        first_ms, further_ms = _page_ms(one.lemon_squeezy, "/orders?page[size]=100&page[number]={page}")
        sys.stdout.write(f"{first_ms:8.1f} ms first, {further_ms:6.1f} ms further  /orders\n")


def _page_ms(client: httpx.Client, path: str) -> tuple[float, float]:
    taken = []
    for page in range(1, PAGES + 1):
        started = time.perf_counter()
        client.get(path.format(page=page)).raise_for_status()
        taken.append((time.perf_counter() - started) * 1000)
    return taken[0], sum(taken[1:]) / (PAGES - 1)


if __name__ == "__main__":
    show_figures(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
