"""How fast webhooks are acknowledged, and how fast payments reach their deals: `python -m benchmarks.webhooks`.

Every program runs in a process of its own on this machine: the simulated accounts (150 ms latency, limits on), the
Prefect server, `dealsync serve` or `dealsync receive`, and the load. About six minutes; a name (acknowledged, idle,
burst, article) runs that part alone.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx

from benchmarks.stage import Stage, program, stage
from benchmarks.webhooks_load import Load, load
from dealsync.core.inbox import InboxState
from dealsync.ledger.inbox import Chosen
from dealsync.local_prefect import LocalPrefect
from tests import postgres

RATES: Sequence[float | None] = (50, 200, None)
SECONDS = 10
MOST = 3000
IDLE_PAYMENTS = 20
BURST, PER_SECOND = 500, 50
PATIENCE_S = 300


def acknowledged() -> Iterator[str]:
    """Events on `dealsync receive`, at each rate, on each database."""
    with stage(0) as made:
        yield from _acknowledged(made, "SQLite")
    if not postgres.is_available():
        yield f"| PostgreSQL | {postgres.MISSING} | | | | |"
        return
    with stage(0) as made, postgres.running() as url:
        made.environment["DEALSYNC_DATABASE_URL"] = url
        yield from _acknowledged(made, "PostgreSQL")


def _acknowledged(made: Stage, database: str) -> Iterator[str]:
    command = ("dealsync", "receive", "--port", "0")
    for rate in RATES:
        with program(*command, environment=made.environment, folder=made.folder) as url:
            count = MOST if rate is None else int(rate * SECONDS)
            secret = made.environment["LEMON_SQUEEZY_WEBHOOK_SECRET"]
            asyncio.run(load(url, secret, count=50, per_second=None))  # the first ones open connections
            done: Load = asyncio.run(load(url, secret, count=count, per_second=rate))
        wanted = "as fast as it answers" if rate is None else f"{rate:.0f}/s"
        yield (
            f"| {database} | {wanted} | {done.rate:.0f}/s | {done.percentile_ms(0.5):.1f} ms "
            f"| {done.percentile_ms(0.99):.1f} ms | {done.refused} |"
        )


@contextmanager
def served(made: Stage, deals: int) -> Iterator[list[int]]:
    """Serve, with a Prefect server; yield open deals that the mirror knows."""
    lead_ids = [int(made.control("leads", price=490)["id"]) for _ in range(deals)]
    made.dealsync("reconcile", "--apply")
    with (
        LocalPrefect.running(made.folder / "prefect") as prefect,
        prefect.serving(made.environment, folder=made.folder) as url,
    ):
        made.dealsync("init", "--yes", "--receiver-url", url)
        yield lead_ids


def idle() -> Iterator[str]:
    """Payments one at a time, each to its deal."""
    with stage() as made, served(made, IDLE_PAYMENTS) as lead_ids:
        delays = []
        for lead_id in lead_ids:
            began = time.time()
            order_id = pay(made, lead_id)
            wait_until(lambda order_id=order_id: order_id in done_at(made))  # type: ignore[misc]
            delays.append(done_at(made)[order_id] - began)
            time.sleep(2)  # what Kommo tells of our own writes is over by then
        yield f"| one at a time, {IDLE_PAYMENTS} payments | {shown(delays)} | |"


def burst() -> Iterator[str]:
    """Payments at a steady rate, each to its deal."""
    with stage() as made, served(made, BURST) as lead_ids:
        paid = asyncio.run(pay_all(made, lead_ids))
        wait_until(lambda: len(done_at(made)) >= BURST)
        done = done_at(made)
        delays = [done[order_id] - at for order_id, at in paid.items()]
        all_s = max(done.values()) - min(paid.values())
        asked = made.look("requests")
        kommo = sum(count for name, count in asked["counts"].items() if name.startswith("kommo "))
        yield (
            f"| {BURST} at {PER_SECOND}/s | {shown(delays)} | all after {all_s:.1f} s; {kommo} requests to Kommo, "
            f"{asked['kommo_max_per_second']} in its busiest second, {asked['refused_429']['kommo']} refused |"
        )


def article() -> Iterator[str]:
    """The same payments on the usual handler."""
    with stage() as made:
        lead_ids = [int(made.control("leads", price=490)["id"]) for _ in range(BURST)]
        with program("benchmarks.article", environment=made.environment, folder=Path.cwd()) as url:
            made.dealsync("init", "--yes", "--receiver-url", url)
            paid = asyncio.run(pay_all(made, lead_ids))
            last, since = 0, time.time()
            while time.time() - since < 60 and last < BURST:  # given up by both sides after a minute without progress
                count = len(httpx.get(f"{url}/done", timeout=60).json())
                last, since = (count, time.time()) if count > last else (last, since)
                time.sleep(0.5)
            done = {i: float(at) for i, at in httpx.get(f"{url}/done", timeout=60).json().items()}
        told = made.look("deliveries?sender=lemonsqueezy")["deliveries"]
        failed = sum(len(one["attempts"]) > 1 or one["state"] != "delivered" for one in told)
        delays = [done[order_id] - at for order_id, at in paid.items() if order_id in done]
        all_s = max(done.values()) - min(paid.values())
        yield (
            f"| {BURST} at {PER_SECOND}/s, the usual handler | {shown(delays)} | {len(done)} done after {all_s:.1f} s; "
            f"{failed} of {len(told)} webhooks were not answered in time at first |"
        )


def pay(made: Stage, lead_id: int) -> str:
    """Let a buyer pay for a deal; return the order's id."""
    custom = {"kommo_lead_id": str(lead_id)}
    return str(made.control("orders", email="buyer@example.com", total=49000, custom_data=custom)["data"]["id"])


async def pay_all(made: Stage, lead_ids: Sequence[int]) -> dict[str, float]:
    """Let buyers pay at a steady rate; return when each did (Unix seconds), by order id."""
    paid: dict[str, float] = {}
    async with httpx.AsyncClient(timeout=60) as http:

        async def one(lead_id: int) -> None:
            at, custom = time.time(), {"kommo_lead_id": str(lead_id)}
            body = {"email": f"buyer{lead_id}@example.com", "total": 49000, "custom_data": custom}
            answer = await http.post(f"{made.url}/control/orders", json=body)
            paid[str(answer.raise_for_status().json()["data"]["id"])] = at

        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number, lead_id in enumerate(lead_ids):
                await asyncio.sleep(max(0.0, began + number / PER_SECOND - time.perf_counter()))
                group.create_task(one(lead_id))
    return paid


def done_at(made: Stage) -> dict[str, float]:
    """Return when the deal of each order was brought in line (Unix seconds), by order id."""
    items = made.inbox.listed(Chosen(states=(InboxState.DONE,), event_name="order_created"))
    return {item.event.object_id: item.done_at.timestamp() for item in items if item.done_at}


def wait_until(true: Callable[[], bool]) -> None:
    """Poll until something is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError("it did not happen in time")
        time.sleep(0.1)


def shown(delays_s: Sequence[float]) -> str:
    """Return the middle, the slow end and the slowest of some delays."""
    ranked = sorted(delays_s)
    return f"{ranked[len(ranked) // 2]:.2f} s | {ranked[int(len(ranked) * 0.95)]:.2f} s | {ranked[-1]:.2f} s"


PARTS: dict[str, tuple[str, Callable[[], Iterator[str]]]] = {
    "acknowledged": ("| database | events | reached | p50 | p99 | refused |\n|---|---|---|---|---|---|", acknowledged),
    "idle": ("| payment to deal | p50 | p95 | slowest | |\n|---|---|---|---|---|", idle),
    "burst": ("", burst),
    "article": ("", article),
}


def main() -> None:
    """Print the tables, row by row."""
    wanted = sys.argv[1:] or list(PARTS)
    print(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores", flush=True)
    for name in wanted:
        head, rows = PARTS[name]
        if head:
            print(f"\n{head}", flush=True)
        for row in rows():
            print(row, flush=True)


if __name__ == "__main__":
    main()
