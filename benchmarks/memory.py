"""How much memory every process needs at most: `python -m benchmarks.memory` (Linux).

The programs are started as their users start them. `reconcile` of more orders is measured in `benchmarks.reconciling`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

from benchmarks.figures import Figure, report
from benchmarks.processes import PROC, peak_mb, run, started, watched
from benchmarks.stage import Stage, program, stage
from benchmarks.webhooks_load import load
from dealsync.local_prefect import LocalPrefect

ORDERS, EVENTS, PER_SECOND = 1_000, 1_000, 200
RECONCILE = (sys.executable, "-m", "dealsync", "reconcile", "--apply", "--max-changes", "1000000")


def figures(quick: bool) -> Iterator[Figure]:
    """Yield the peak of each program; the quick ones leave out what needs a Prefect server."""
    if not PROC.exists():
        print("Only Linux tells how much memory another process has.", file=sys.stderr)
        return
    yield Figure("memory of dealsync --help", run(sys.executable, "-m", "dealsync", "--help").peak_mb, "MB")
    with stage(0, orders=ORDERS) as made:
        ran = run(*RECONCILE, environment=made.environment, folder=made.folder)
        yield Figure(f"memory of reconcile, {ORDERS:,} orders", ran.peak_mb, "MB")
        yield from _receiving(made)
        if not quick:
            yield from _serving(made)


def _receiving(made: Stage) -> Iterator[Figure]:
    with program("dealsync", "receive", "--port", "0", environment=made.environment, folder=made.folder) as url:
        pid = started("dealsync", "receive")
        yield Figure("memory of receive, idle", peak_mb(pid), "MB")
        secret = made.environment["LEMON_SQUEEZY_WEBHOOK_SECRET"]
        asyncio.run(load(url, secret, count=EVENTS, per_second=PER_SECOND))
        yield Figure(f"memory of receive, after {EVENTS:,} events", peak_mb(pid), "MB")


def _serving(made: Stage) -> Iterator[Figure]:
    with (
        LocalPrefect.running(made.folder / "prefect") as prefect,
        prefect.serving(made.environment, folder=made.folder),
    ):
        pid = started("serve.py")
        yield Figure("memory of serve, idle", peak_mb(pid), "MB", note="receiver, hot path and runner")
        with prefect.unscheduled(), watched(pid) as runs:
            prefect.run_deployment("reconcile", {"apply": True})
        yield Figure("memory of serve, after a run", peak_mb(pid), "MB")
        yield Figure(f"memory of a run, {ORDERS:,} orders", max(runs.values()), "MB", note="its own process")
        yield Figure("memory of Prefect's server", peak_mb(started("prefect", "server")), "MB")


if __name__ == "__main__":
    report(figures("--quick" in sys.argv))
