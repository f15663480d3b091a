"""How fast webhooks are acknowledged, and how fast payments reach their deals: `python -m benchmarks.webhooks`.

Every program runs in a process of its own on this machine: the simulated accounts (150 ms latency, limits on), the
Prefect server, `dealsync serve` or `dealsync receive`, and the load. About twelve minutes, half of them the usual
handler's; a name (acknowledged, idle, burst) runs that part alone.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.figures import Figure, report
from benchmarks.stage import Stage, program, stage
from benchmarks.webhooks_load import Load, load
from dealsync.core.inbox import InboxState
from dealsync.ledger.inbox import Chosen
from dealsync.local_prefect import LocalPrefect
from tests import postgres

ACKNOWLEDGED_GOAL_MS, STEADY = 50.0, 200.0
RATES: Sequence[float | None] = (50, STEADY, None)
SECONDS, QUICK_SECONDS = 10, 5
MOST = 3000
IDLE_PAYMENTS = 20
IDLE_GOALS_S = (2.0, 5.0)
BURST, PER_SECOND, BURST_GOAL_S = 500, 50, 20.0
KOMMO_PER_SECOND = 7
PATIENCE_S = 300
USUAL = "usual handler"


@dataclass(frozen=True, slots=True)
class Usual:
    """What became of a burst with the usual handler."""

    delays: Sequence[float]
    all_s: float
    busiest: int
    note: str


def figures(quick: bool) -> Iterator[Figure]:
    """Yield how quickly webhooks are acknowledged, and deals won: one at a time, and many at once."""
    if quick:
        with stage(0) as made:
            yield from _acknowledged(made, "SQLite", (STEADY,), QUICK_SECONDS)
        return
    for part in PARTS.values():
        yield from part()


def acknowledged() -> Iterator[Figure]:
    """Events on `dealsync receive`, at each rate, on each database."""
    with stage(0) as made:
        yield from _acknowledged(made, "SQLite", RATES, SECONDS)
    if not postgres.is_available():
        print(postgres.MISSING, file=sys.stderr)
        return
    with stage(0) as made, postgres.running() as url:
        made.environment["DEALSYNC_DATABASE_URL"] = url
        yield from _acknowledged(made, "PostgreSQL", RATES, SECONDS)


def _acknowledged(made: Stage, database: str, rates: Sequence[float | None], seconds: int) -> Iterator[Figure]:
    command = ("dealsync", "receive", "--port", "0")
    for rate in rates:
        with program(*command, environment=made.environment, folder=made.folder) as url:
            count = MOST if rate is None else int(rate * seconds)
            secret = made.environment["LEMON_SQUEEZY_WEBHOOK_SECRET"]
            asyncio.run(load(url, secret, count=50, per_second=None))  # the first ones open connections
            done: Load = asyncio.run(load(url, secret, count=count, per_second=rate))
        if done.refused:
            raise RuntimeError(f"{done.refused} of {count} webhooks were refused")
        if rate is None:
            yield Figure(f"webhooks acknowledged, {database}, as fast as it answers", done.rate, "/s")
            continue
        what, note = f"webhook acknowledged, {database}, {rate:.0f}/s", f"p50 {done.percentile_ms(0.5):.1f} ms"
        yield Figure(f"{what}: p99", done.percentile_ms(0.99), "ms", goal=ACKNOWLEDGED_GOAL_MS, note=note)


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


def idle() -> Iterator[Figure]:
    """Payments one at a time, each to its deal."""
    with stage() as made, served(made, IDLE_PAYMENTS) as lead_ids:
        delays = []
        for lead_id in lead_ids:
            began = time.time()
            order_id = pay(made, lead_id)
            wait_until(lambda order_id=order_id: order_id in done_at(made))  # type: ignore[misc]
            delays.append(done_at(made)[order_id] - began)
            time.sleep(2)  # what Kommo tells of our own writes is over by then
    what = "webhook to deal won, one at a time"
    yield Figure(f"{what}: p50", share(delays, 0.5), "s", goal=IDLE_GOALS_S[0], note=f"{IDLE_PAYMENTS} payments")
    yield Figure(f"{what}: p95", share(delays, 0.95), "s", goal=IDLE_GOALS_S[1])


def burst() -> Iterator[Figure]:
    """Payments at a steady rate, each to its deal; then the same payments with the usual handler."""
    with stage() as made, served(made, BURST) as lead_ids:
        paid = asyncio.run(pay_all(made, lead_ids))
        wait_until(lambda: len(done_at(made)) >= BURST)
        done = done_at(made)
        delays = [done[order_id] - at for order_id, at in paid.items()]
        all_s = max(done.values()) - min(paid.values())
        asked = made.look("requests")
    usual = with_usual_handler()
    what = f"{BURST} payments at {PER_SECOND}/s"
    busiest, kommo = asked["kommo_max_per_second"], count_of(asked, "kommo ")
    yield Figure(
        f"{what}: all deals won", all_s, "s", bound=BURST / PER_SECOND, goal=BURST_GOAL_S,
        peer=USUAL, peer_value=usual.all_s, note=f"{usual.note} by the usual handler",
    )  # fmt: skip
    for part in (0.5, 0.95):
        peer_s = share(usual.delays, part)
        yield Figure(f"{what}: p{part * 100:.0f}", share(delays, part), "s", peer=USUAL, peer_value=peer_s)
    yield Figure(
        f"{what}: most Kommo requests in any 1 s", busiest, "requests", goal=KOMMO_PER_SECOND,
        peer=USUAL, peer_value=usual.busiest, note=f"{kommo} in all",
    )  # fmt: skip
    yield Figure(f"{what}: refused by Kommo (429)", asked["refused_429"]["kommo"], "requests", goal=0)


def count_of(asked: dict[str, Any], prefix: str) -> int:
    """Return how many requests of one side were asked."""
    return sum(count for name, count in asked["counts"].items() if name.startswith(prefix))


def with_usual_handler() -> Usual:
    """Let buyers make the same payments, told to the usual handler."""
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
        return Usual(
            [done[order_id] - at for order_id, at in paid.items() if order_id in done],
            max(done.values()) - min(paid.values()),
            made.look("requests")["kommo_max_per_second"],
            f"{failed} of {len(told)} webhooks not answered in time",
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


def share(delays_s: Sequence[float], part: float) -> float:
    """Return the delay that so large a part did not exceed."""
    return sorted(delays_s)[min(len(delays_s) - 1, int(len(delays_s) * part))]


PARTS: dict[str, Callable[[], Iterator[Figure]]] = {"acknowledged": acknowledged, "idle": idle, "burst": burst}


if __name__ == "__main__":
    report(figure for name in sys.argv[1:] or PARTS for figure in PARTS[name]())
