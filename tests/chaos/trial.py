"""One seed: its history once without faults and once with them, and what is different in the end."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import tomlkit

from dealsync.simulator.opening import write_state
from dealsync.simulator.server import Simulator
from tests.chaos.child import SCALE, Death
from tests.chaos.compare import Lines, canonical, differences, doubled
from tests.chaos.database import Database, Databases
from tests.chaos.history import Act, History, Stage
from tests.chaos.processes import Process, Zygote
from tests.chaos.schedule import RECEIVER, EpochPlan, Launch, Schedule, Trouble, Window

CALM: dict[str, Any] = {
    "latency_ms": 0,
    "latency_jitter_ms": 0,
    "filters_enabled": True,
    "search_lag_s": 5.0 * SCALE,
    "list_lag_s": 2.0 * SCALE,
    "batch_mode": "all_or_nothing",
    "shuffle_batch_answers": False,
    "write_then_drop": "off",
    "noop_moves_updated_at": False,
    "webhook_duplicates": 0.0,
    "webhook_loss": 0.0,
    "webhook_delay_s": 0.0,
    "webhook_shuffle": False,
    "webhook_time_scale": 0.01,
    "kommo_limit_enabled": False,
    "ls_limit_enabled": False,
    "inject": None,
}
"""No faults. The lags are scaled, as all time is."""
SWEEP = (("reconcile", "--apply", "--deep"), ("checkouts",))
DRAIN = ("drain",)
MORE_SWEEPS = 2
"""How many more are tried where one was not enough, to tell what heals late from what never does."""
LONGEST_S = 40.0
"""A program of a sweep that runs longer hangs."""
CONFIG: dict[str, dict[str, Any]] = {
    "matching": {"settle_minutes": 0},
    "policy": {},
    "owners": {"strategy": "fixed", "users": [502], "default": 501},
    "checkout": {"custom_price": True},
}


@dataclass
class Opening:
    """The world and the database before anything can fail, to be copied for each trial."""

    history: History
    world: Path
    config: Path
    database: Database
    stage: Stage


@dataclass
class Epoch:
    """How things stand after the sweep of an epoch."""

    lines: Lines
    doubled: list[str]
    complaints: list[str]
    sweeps: int = 1


@dataclass
class Tally:
    """What a trial did."""

    started: int = 0
    killed: int = 0
    checks: int = 0
    sweeps: int = 0
    requests: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    unblocked: int = 0
    seconds: float = 0.0

    def add(self, other: Tally) -> None:
        """Take in another tally."""
        for name in ("started", "killed", "checks", "sweeps", "requests", "unblocked", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.faults.update(other.faults)


class Lab:
    """Where trials are made: a zygote, a maker of databases, a folder, and a port for the receiver."""

    def __init__(self, zygote: Zygote, databases: Databases, folder: Path) -> None:
        self.zygote, self.databases, self.folder = zygote, databases, folder
        self.port = _free_port()

    def open(self, name: str, history: History) -> Opening:
        """Set both accounts up, play the opening, and sweep."""
        database = self.databases.empty(name)
        with self._simulator() as simulator:
            stage = Stage(simulator.url)
            trial = Trial(self, simulator, database, stage, f"{name}-opening")
            trial.calm()
            trial.must("init", "--yes", "--receiver-url", f"http://127.0.0.1:{self.port}")
            self._configure(trial.folder / "dealsync.toml")
            with trial.receiving():
                trial.play(history.opening)
                trial.wait_for_webhooks()
                for program in SWEEP:
                    trial.must(*program)
            world = self.folder / f"{name}.world"
            write_state(world, simulator.world)
            return Opening(history, world, trial.folder / "dealsync.toml", database, stage)

    @contextmanager
    def trial(self, opening: Opening, name: str, *, sabotage: str = "") -> Iterator[Trial]:
        """Yield a trial that goes on from an opening."""
        database = self.databases.copy(opening.database, "trial")
        with self._simulator(state=opening.world) as simulator:
            simulator.world.clock.set(time.time(), running=True)
            trial = Trial(self, simulator, database, opening.stage.at(simulator.url), name, sabotage)
            (trial.folder / "dealsync.toml").write_bytes(opening.config.read_bytes())
            trial.calm()
            with trial.receiving():
                yield trial

    def _simulator(self, **start: Any) -> AbstractContextManager[Simulator]:
        return Simulator.running(seed=1, orders=0, **start)

    @staticmethod
    def _configure(path: Path) -> None:
        document = tomlkit.parse(path.read_text(encoding="utf-8"))
        for section, values in CONFIG.items():
            document[section] = values
        path.write_text(tomlkit.dumps(document), encoding="utf-8")


class Trial:
    """One simulator, one database, and the programs between them."""

    def __init__(
        self, lab: Lab, simulator: Simulator, database: Database, stage: Stage, name: str, sabotage: str = ""
    ) -> None:
        self._lab, self._simulator, self._database, self._stage = lab, simulator, database, stage
        self._sabotage = sabotage
        self._receiver: Process | None = None
        self._processes: list[Process] = []
        self.tally = Tally()
        self.folder = lab.folder / name
        self.folder.mkdir(parents=True)
        self.environment = {
            **simulator.environment(),
            "DEALSYNC_DATABASE_URL": database.url,
            "DEALSYNC_STATE_DIR": str(self.folder),
            "HOME": str(self.folder),
        }

    # --- the two ways through an epoch ------------------------------------------------------------
    def calmly(self, acts: Sequence[Act]) -> Epoch:
        """Let an epoch pass without faults."""
        self._tell_first(acts)
        self.play([act for act in acts if not act.told_first])
        self.wait_for_webhooks()
        return self._sweep(SWEEP, None)

    def wildly(self, acts: Sequence[Act], plan: EpochPlan, expected: Lines) -> Epoch:
        """Let an epoch pass with faults; sweep once, and again only where the outcome is not as expected."""
        self._tell_first(acts)
        for window in plan.windows:
            self._pass(window)
        return self._sweep((DRAIN, *SWEEP) if plan.drains_first else SWEEP, expected)

    def _tell_first(self, acts: Sequence[Act]) -> None:
        """What only webhooks tell arrives before any program looks."""
        self.play([act for act in acts if act.told_first])
        self.wait_for_webhooks()

    def _pass(self, window: Window) -> None:
        self.receive()
        self._stage.control("faults", inject=None)
        self._stage.control("faults", **window.switches, inject=list(window.injections))
        begun, launched = time.monotonic(), list[Process]()
        for at_s, do in self._timeline(window, launched):
            time.sleep(max(0.0, begun + at_s - time.monotonic()))
            do()
        for process in launched:
            process.wait(max(0.0, begun + window.ends_at_s + window.patience_s - time.monotonic()))
            process.kill()
        left = self._stage.control("faults", **window.switches)["inject"]
        self.tally.faults.update(window.met(left))

    def _timeline(self, window: Window, launched: list[Process]) -> list[tuple[float, Callable[[], object]]]:
        """What to do in a window, by its moment."""
        moments: list[tuple[float, Callable[[], object]]] = []
        for at_s, act in window.acts:
            moments.append((at_s, lambda act=act: self.play([act])))  # type: ignore[misc]
        for launch in window.launches:
            moments += self._of_launch(launch, launched)
        for trouble in window.troubles:
            moments += self._of_trouble(trouble)
        return sorted(moments, key=lambda moment: moment[0])

    def _of_launch(self, launch: Launch, launched: list[Process]) -> Iterator[tuple[float, Callable[[], object]]]:
        if launch.arguments == RECEIVER:
            if launch.death:
                yield launch.at_s, lambda: self.receive(launch.death)
            else:
                yield launch.at_s + (launch.killed_after_s or 0.0), self._kill_receiver
            return
        process: list[Process] = []

        def start() -> None:
            process.append(self.start(*launch.arguments, death=launch.death))
            launched.extend(process)

        yield launch.at_s, start
        if launch.killed_after_s is not None:
            yield launch.at_s + launch.killed_after_s, lambda: process[0].kill()

    def _of_trouble(self, trouble: Trouble) -> Iterator[tuple[float, Callable[[], object]]]:
        during = self._database.trouble(trouble.kind)
        yield trouble.at_s, during.__enter__
        yield trouble.at_s + trouble.lasts_s, lambda: during.__exit__(None, None, None)

    # --- the end of an epoch ----------------------------------------------------------------------
    def _sweep(self, programs: Sequence[tuple[str, ...]], expected: Lines | None) -> Epoch:
        self.calm()
        self.receive()
        self._unblock()
        for sweeps in range(1, 2 + MORE_SWEEPS):
            failed = self._sweep_once(programs)
            found = self._look(failed, sweeps)
            if expected is None or not (found.complaints or differences(found.lines, expected)):
                break
        return found

    def _sweep_once(self, programs: Sequence[tuple[str, ...]]) -> list[str]:
        self.tally.sweeps += 1
        failed = []
        for program in programs:
            process = self.start(*program)
            status = process.wait(LONGEST_S)
            process.kill()
            if status:
                failed.append(f"the sweep's {' '.join(program)} ended with {status}: {_last_lines(process)}")
            elif status is None:
                failed.append(f"the sweep's {' '.join(program)} hangs: {_last_lines(process)}")
        return failed

    def _look(self, failed: list[str], sweeps: int) -> Epoch:
        state = self._stage.state()
        self.tally.checks += 1
        lines = canonical(state, self._database.keys())
        return Epoch(lines, doubled(state), [*failed, *self._database.complaints()], sweeps)

    def _unblock(self) -> None:
        """What an operator does when the API has lifted a ban."""
        process = self.start("unblock")
        process.wait(LONGEST_S)
        self.tally.unblocked += "Sending again" in process.said()

    # --- parts ------------------------------------------------------------------------------------
    def calm(self) -> None:
        """Switch all faults off."""
        self._stage.control("faults", **CALM)

    def play(self, acts: Sequence[Act]) -> None:
        """Let things happen, one after the other."""
        for act in acts:
            self._stage.perform(act)

    def start(self, *arguments: str, death: Death | None = None) -> Process:
        """Start a program."""
        number = len(self._processes)
        process = self._lab.zygote.start(
            arguments,
            environment=self.environment,
            folder=self.folder,
            output=self.folder / f"{number:03}-{'-'.join(arguments[:2])}.log",
            death=death,
            sabotage=self._sabotage,
        )
        self._processes.append(process)
        return process

    def must(self, *arguments: str) -> None:
        """Run a program that has to succeed."""
        process = self.start(*arguments)
        if process.wait(LONGEST_S) != 0:
            raise RuntimeError(f"dealsync {' '.join(arguments)}: {process.status}: {process.said()}")

    def wait_for_webhooks(self) -> None:
        """Wait until everything that was sent has arrived."""
        deadline = time.monotonic() + LONGEST_S
        while waiting := [one for one in self._simulator.world.deliveries.all() if one.state == "waiting"]:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(waiting)} webhooks do not arrive: {waiting[0].shown()}")
            time.sleep(0.02)

    @contextmanager
    def receiving(self) -> Iterator[None]:
        """Have a receiver at the registered address; in the end nothing that was started here runs on."""
        try:
            self.receive()
            yield
        finally:
            for process in self._processes:
                process.kill()
            self.tally.started = len(self._processes)
            self.tally.requests = sum(self._simulator.world.log.counts.values())

    def receive(self, death: Death | None = None) -> None:
        """See to it that a receiver runs: the one there is, or a new one that is to die."""
        if death:
            self._kill_receiver()
        if self._receiver is not None and self._receiver.is_running:
            return
        self._receiver = self.start("receive", "--port", str(self._lab.port), death=death)
        deadline = time.monotonic() + LONGEST_S
        while self._receiver.is_running and time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                httpx.get(f"http://127.0.0.1:{self._lab.port}/healthz", timeout=LONGEST_S)
                return
            time.sleep(0.02)

    def _kill_receiver(self) -> None:
        if self._receiver is not None:
            self._receiver.kill()

    def count_killed(self) -> int:
        """Return how many processes were killed before the end, by others or by their own hand."""
        return sum(process.was_killed for process in self._processes)


def _last_lines(process: Process) -> str:
    return " | ".join(process.said().strip().splitlines()[-6:])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass
class Verdict:
    """What a seed showed: differences in words, none if all is well."""

    seed: int
    kind: str
    differences: list[str]
    tally: Tally
    late: list[str] = field(default_factory=list)
    """Epochs for which one sweep was not enough."""


class Bench:
    """Trials on one kind of database: openings and fault-free runs are made once for a history."""

    def __init__(self, lab: Lab, kind: str, calm: dict[int, list[Epoch]]) -> None:
        """`calm`: how the epochs of a history end without faults, shared with the benches of other databases."""
        self._lab, self._kind, self._trials, self._calm = lab, kind, 0, calm
        self._openings: dict[int, Opening] = {}

    def _opening(self, number: int, history: History) -> Opening:
        if number not in self._openings:
            self._openings[number] = self._lab.open(f"history_{number}", history)
        return self._openings[number]

    def _fault_free(self, number: int, opening: Opening) -> list[Epoch]:
        if number not in self._calm:
            with self._lab.trial(opening, f"{self._kind}-{number}-calm") as trial:
                self._calm[number] = [trial.calmly(acts) for acts in opening.history.epochs]
        return self._calm[number]

    def judge(self, number: int, history: History, schedule: Schedule, *, sabotage: str = "") -> Verdict:
        """Play a schedule and compare, epoch by epoch, with the run without faults."""
        opening = self._opening(number, history)
        calm = self._fault_free(number, opening)
        begun, found, late = time.monotonic(), list[str](), list[str]()
        self._trials += 1
        name = f"{self._kind}-{schedule.seed}-trial-{self._trials}"
        with self._lab.trial(opening, name, sabotage=sabotage) as trial:
            for index, (acts, plan) in enumerate(zip(history.epochs, schedule.epochs, strict=True)):
                epoch = trial.wildly(acts, plan, calm[index].lines)
                found += [f"epoch {index + 1}: {words}" for words in _judged(epoch, calm[index])]
                if epoch.sweeps > 1:
                    late.append(f"epoch {index + 1} took {epoch.sweeps} sweeps")
                if found:
                    break
            trial.tally.killed = trial.count_killed()
        trial.tally.seconds = time.monotonic() - begun
        return Verdict(schedule.seed, self._kind, found, trial.tally, late)


def _judged(epoch: Epoch, calm: Epoch) -> list[str]:
    return [
        *epoch.doubled,
        *(str(difference) for difference in differences(epoch.lines, calm.lines)),
        *epoch.complaints,
    ]
