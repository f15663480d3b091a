"""What Prefect adds to a run: `python -m benchmarks.orchestration`.

The same `reconcile` with nothing new: once from the command line, once as a deployment that is triggered as the UI
does it, on a Prefect server and `dealsync serve` of its own; the median of a few runs each.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator

import httpx

from benchmarks.figures import Figure, report
from benchmarks.processes import run
from benchmarks.stage import Stage, stage
from dealsync.local_prefect import FlowRun, LocalPrefect

ORDERS = 1_000
TIMES = 5
RECONCILE = (sys.executable, "-m", "dealsync", "reconcile", "--apply")
STAGES = 9
"""What a run that applies consists of: a task each, however many deals it touches."""
INFO = 20


def figures(quick: bool) -> Iterator[Figure]:
    """Yield seconds of both ways, and what a run leaves behind in Prefect; nothing when time is short."""
    if quick:
        return
    with stage(0, orders=ORDERS) as made:
        made.dealsync("reconcile", "--apply", "--max-changes", "1000000")
        with (
            LocalPrefect.running(made.folder / "prefect") as prefect,
            prefect.serving(made.environment, folder=made.folder),
            prefect.unscheduled(),
        ):
            yield from _runs(made, prefect)


def _runs(made: Stage, prefect: LocalPrefect) -> Iterator[Figure]:
    took, runs, typed = [], [], []
    for _ in range(TIMES):  # in turns: whatever else this machine does meets both
        typed.append(run(*RECONCILE, environment=made.environment, folder=made.folder).wall_s)
        began = time.perf_counter()
        runs.append(prefect.run_deployment("reconcile", {"apply": True}))
        took.append(time.perf_counter() - began)
    if {done.state for done in runs} != {"Completed"}:
        raise RuntimeError(f"a run failed: {[done.message for done in runs]}")
    whole, by_hand = statistics.median(took), statistics.median(typed)
    inside = statistics.median(done.took_s for done in runs)
    what = "quiet reconcile as a deployment"
    yield Figure(f"{what}, triggered to ended", whole, "s", peer="command line", peer_value=by_hand)
    yield Figure(f"{what}, its flow alone", inside, "s", note="without the wait for the runner, process and imports")
    yield Figure("overhead of Prefect a run", whole - by_hand, "s")
    yield from _left_behind(prefect, runs[-1])
    stored = [path for path in (prefect.home / "storage").rglob("*") if path.is_file()]
    yield Figure(f"results kept on disk by {TIMES} runs", len(stored), "files", goal=0)


def _left_behind(prefect: LocalPrefect, done: FlowRun) -> Iterator[Figure]:
    tasks = _ask(prefect, "task_runs", {"flow_runs": {"id": {"any_": [done.id]}}})
    yield Figure("task runs of a run", len(tasks), "tasks", goal=STAGES, note="one a stage")
    lines = _ask(prefect, "logs", {"logs": {"flow_run_id": {"any_": [done.id]}, "level": {"ge_": INFO}}})
    yield Figure("log lines of a run at INFO", len(lines), "lines")


def _ask(prefect: LocalPrefect, what: str, wanted: dict[str, object]) -> list[dict[str, object]]:
    time.sleep(2)  # events of the run's end are still under way
    answer = httpx.post(f"{prefect.ui_url}/api/{what}/filter", json=wanted, timeout=30).raise_for_status()
    return list(answer.json())


if __name__ == "__main__":
    report(figures("--quick" in sys.argv))
