"""`python -m tests.chaos`: many seeds, one table."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing

from tests import postgres
from tests.chaos.database import KINDS
from tests.chaos.trial import Tally, Verdict
from tests.chaos.worker import HISTORIES, Wanted, Worker, in_a_line, judge_all, schedule_of

SHOWN = 5
"""Differences of a seed that are printed without --verbose."""


def main() -> int:
    """Run seeds and print what became of them; 1 when anything is different."""
    asked = _asked()
    wanted = [(kind, seed) for seed in range(asked.first, asked.first + asked.seeds) for kind in _kinds_of(asked, seed)]
    verdicts = []
    begun = time.monotonic()
    for verdict in _run(wanted, asked.jobs, keep=asked.keep):
        verdicts.append(verdict)
        _say(f"[{len(verdicts)}/{len(wanted)}, {time.monotonic() - begun:.0f} s] {in_a_line(verdict)}")
        _say(*(f"    {line}" for line in verdict.differences[: None if asked.verbose else SHOWN]))
        if asked.verbose:
            _say(str(schedule_of(verdict.kind, verdict.seed)[1]))
    _say(_table(verdicts))
    return 1 if any(verdict.differences for verdict in verdicts) else 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first one")
    parser.add_argument("--database", choices=[*KINDS, "both"], default="both", help="both: one and the other in turn")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time")
    parser.add_argument("--verbose", action="store_true", help="print each schedule, and every difference")
    parser.add_argument("--keep", action="store_true", help="keep what the programs print, and say where")
    asked = parser.parse_args()
    if asked.database != "sqlite" and not postgres.is_available():
        _say(f"PostgreSQL is left out: {postgres.MISSING}")
        asked.database = "sqlite"
    return asked


def _kinds_of(asked: argparse.Namespace, seed: int) -> tuple[str, ...]:
    # Each history comes on each kind: neighbours in the list of seeds share neither.
    return (KINDS[seed // HISTORIES % len(KINDS)],) if asked.database == "both" else (asked.database,)


def _run(wanted: Wanted, jobs: int, *, keep: bool) -> Iterator[Verdict]:
    if jobs == 1:
        with closing(Worker(keep=keep)) as worker:
            _say(*(f"What the programs print is kept in {worker.folder}" for _ in range(keep)))
            yield from (worker.judge(kind, seed) for kind, seed in wanted)
        return
    # Seeds of one history stay together, so that its fault-free run is made once. What becomes of each is told as it
    # comes by the process that judges it, and once more at the end.
    shares = [[one for one in wanted if one[1] % HISTORIES % jobs == job] for job in range(jobs)]
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for future in as_completed([pool.submit(judge_all, share, keep=keep) for share in shares]):
            yield from future.result()


def _table(verdicts: Sequence[Verdict]) -> str:
    total = Tally()
    for verdict in verdicts:
        total.add(verdict.tally)
    bad = [verdict for verdict in verdicts if verdict.differences]
    rows: list[tuple[str, object]] = [
        ("seeds", len(verdicts)),
        *((f"  on {kind}", sum(v.kind == kind for v in verdicts)) for kind in KINDS),
        ("processes started", total.started),
        ("  killed with SIGKILL", total.killed),
        ("requests answered by the simulator", total.requests),
        ("faults met", total.faults.total()),
        *((f"  {kind}", times) for kind, times in sorted(total.faults.items())),
        ("bans lifted by hand", total.unblocked),
        ("states compared", total.checks),
        ("sweeps", total.sweeps),
        ("epochs that one sweep did not settle", sum(len(v.late) for v in verdicts)),
        ("seconds a seed", f"{total.seconds / max(1, len(verdicts)):.1f}"),
        ("differences", sum(len(v.differences) for v in verdicts)),
    ]
    lines = [f"{name:<45}{value!s:>10}" for name, value in rows]
    lines += [f"seed {v.seed} on {v.kind}: {v.differences[0]}" for v in bad]
    return "\n".join(lines)


def _say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
