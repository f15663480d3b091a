"""Receiver, hot path and every deployment of `prefect.yaml` in one process: no work pool, no worker.

`dealsync serve` runs it from the checkout. Needs PREFECT_API_URL and dealsync's own settings. The receiver has the main
thread to itself, so that it answers at once whatever the rest is at.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import yaml
from prefect import aserve, get_client
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.settings import PREFECT_API_URL

from dealsync.errors import ConfigError, DealsyncError
from dealsync.receiver.serve import listener, parts_of, server
from dealsync.settings import Settings, build_store
from deployments.hot_path import HotPath
from tasks.accounts import DealsyncAccounts
from tasks.settings import read_settings

ROOT = Path(__file__).resolve().parent.parent
STOP_S = 10.0
"""How long a run that is under way may take to end."""


def declared() -> list[dict[str, Any]]:
    """Return the deployments of `prefect.yaml` as they stand there."""
    return list(yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"])


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="dealsync serve")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    options = parser.parse_args()
    try:
        serve(options.host, options.port)
    except DealsyncError as error:
        sys.exit(f"dealsync: {error.line}")


def serve(host: str, port: int) -> None:
    """Register every deployment, then receive, drain and run what is due. Raises ConfigError, DatabaseError."""
    settings = asyncio.run(_settings())
    hot_path = HotPath(build_store(settings.environment).inbox, settings.tags)
    parts = parts_of(settings, on_stored=hot_path.wake)
    receiver = server(parts, lambda url: print(f"Receiving at {url} (Ctrl-C stops)", flush=True))  # noqa: T201
    with listener(host, port) as listening:
        background = Background(hot_path, on_end=lambda: setattr(receiver, "should_exit", True))
        background.start()
        receiver.run([listening])
        background.stop()
    if background.failure is not None:
        raise ConfigError(f"The Prefect side stopped: {background.failure}") from background.failure


class Background(threading.Thread):
    """The hot path and Prefect's runner, in a thread and an event loop of their own."""

    def __init__(self, hot_path: HotPath, on_end: Callable[[], None]) -> None:
        super().__init__(name="flows", daemon=True)
        self.failure: BaseException | None = None
        self._hot_path = hot_path
        self._on_end = on_end
        self._loop = asyncio.new_event_loop()
        self._work: asyncio.Task[None] | None = None

    def run(self) -> None:
        """Work until stopped, or until one of the two fails: then all of it ends, for whoever restarts it."""
        asyncio.set_event_loop(self._loop)
        self._work = self._loop.create_task(self._both())
        try:
            self._loop.run_until_complete(self._work)
        except asyncio.CancelledError:
            pass
        except Exception as error:  # noqa: BLE001 - whatever it is, the main thread tells of it
            self.failure = error
        finally:
            self._on_end()

    def stop(self) -> None:
        """End; what a run under way had recorded is taken up by the next one."""
        if self._work is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._work.cancel)
        self.join(STOP_S)

    async def _both(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(aserve(*(_runner(entry) for entry in declared()), print_starting_message=False))
            group.create_task(self._hot_path.run())


async def _settings() -> Settings:
    """Return the settings as flows have them; the block that may hold credentials is known to the UI from now on."""
    await _ensure_prefect()
    await DealsyncAccounts.aregister_type_and_schema()
    return await read_settings()


async def _ensure_prefect() -> None:
    """Refuse to start without a server that answers: flows would otherwise run where nobody sees them."""
    url = PREFECT_API_URL.value()
    if not url:
        raise ConfigError("PREFECT_API_URL is not set: start a server (prefect server start) and set its address")
    try:
        async with get_client() as client:
            trouble = await client.api_healthcheck()
    except httpx.HTTPError as error:
        trouble = error
    if trouble is not None:
        raise ConfigError(f"The Prefect server at {url} does not answer ({type(trouble).__name__}). Start it first")


def _runner(entry: dict[str, Any]) -> RunnerDeployment:
    return RunnerDeployment.from_entrypoint(
        str(ROOT / entry["entrypoint"]),
        name=entry["name"],
        description=entry["description"],
        tags=entry["tags"],
        schedules=[CronSchedule(cron=s["cron"], timezone=s["timezone"]) for s in entry.get("schedules", ())],
        parameters=entry.get("parameters", {}),
        concurrency_limit=ConcurrencyLimitConfig(**limit) if (limit := entry.get("concurrency_limit")) else None,
    )


if __name__ == "__main__":
    main()
