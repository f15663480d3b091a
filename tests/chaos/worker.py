"""What judges seeds one after the other: a zygote, a folder, and the databases, made when they are first needed."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from tests.chaos.database import Postgres, Sqlite, databases
from tests.chaos.history import draw_history
from tests.chaos.processes import Zygote
from tests.chaos.schedule import Schedule, draw_schedule
from tests.chaos.trial import Bench, Epoch, Lab, Verdict

Wanted = Sequence[tuple[str, int]]
"""Kinds of database and seeds."""
HISTORIES = 6
"""Seeds share so many histories, each of which is played once without faults."""
TROUBLES = {"sqlite": Sqlite.troubles, "postgresql": Postgres.troubles}


def schedule_of(kind: str, seed: int) -> tuple[int, Schedule]:
    """Return the number of a seed's history, and its schedule on a kind of database."""
    number = seed % HISTORIES
    return number, draw_schedule(seed, draw_history(number).epochs, TROUBLES[kind])


class Worker:
    """Judges seeds. What the programs print is in `folder`, which is removed at the end unless it is to be kept."""

    def __init__(self, *, keep: bool = False) -> None:
        self._open = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="chaos-"))
        if not keep:
            self._open.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._zygote = self._open.enter_context(Zygote.running())
        self._benches: dict[str, Bench] = {}
        self._calm: dict[int, list[Epoch]] = {}

    def judge(self, kind: str, seed: int) -> Verdict:
        """Judge one seed."""
        return self.play(kind, *schedule_of(kind, seed))

    def play(self, kind: str, number: int, schedule: Schedule, *, sabotage: str = "") -> Verdict:
        """Judge a schedule for the history of a number."""
        return self._bench(kind).judge(number, draw_history(number), schedule, sabotage=sabotage)

    def _bench(self, kind: str) -> Bench:
        if kind not in self._benches:
            folder = self.folder / kind
            folder.mkdir()
            made = self._open.enter_context(databases(kind, folder))
            self._benches[kind] = Bench(Lab(self._zygote, made, folder), kind, self._calm)
        return self._benches[kind]

    def close(self) -> None:
        """Stop what was started, and remove the folder."""
        self._open.close()


def judge_all(wanted: Wanted, *, keep: bool) -> list[Verdict]:
    """Judge seeds in a process of their own, telling of each on standard output."""
    verdicts = []
    with closing(Worker(keep=keep)) as worker:
        for kind, seed in wanted:
            verdicts.append(worker.judge(kind, seed))
            sys.stdout.write(f"{in_a_line(verdicts[-1])}\n")
            sys.stdout.flush()
    return verdicts


def in_a_line(verdict: Verdict) -> str:
    """Return what became of a seed."""
    tally = verdict.tally
    words = f"{len(verdict.differences)} differences" if verdict.differences else "equal"
    late = f" ({'; '.join(verdict.late)})" if verdict.late else ""
    return (
        f"seed {verdict.seed} on {verdict.kind}: {words}{late}, {tally.killed} of {tally.started} processes killed, "
        f"{tally.faults.total()} faults, {tally.seconds:.1f} s"
    )
