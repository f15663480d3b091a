"""What a process of the harness does before it becomes `dealsync`: time is scaled, and it may be told where to die.

Time is scaled, not skipped: whatever waits for seconds in production waits for a twentieth of that here, and so does
the simulator. Ratios stay: the lag that is waited out is longer than the simulator's, the lease is longer than several
renewals, and whoever waits for the run lock outlives a killed holder. Turns are the real ones, handed out far faster;
the limits of both APIs have tests of their own.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import httpx
from sqlalchemy.engine.default import DefaultDialect

from dealsync import doubts, drain, issuing, poll, reconcile, run, settings
from dealsync.apis import transport
from dealsync.core import inbox
from dealsync.core.assumptions import KOMMO_READ_LAG
from dealsync.core.plan import Outcome
from dealsync.core.states import State
from dealsync.core.turns import Rate
from dealsync.ledger import runs, sqlite
from dealsync.ledger.runs import utc_now
from dealsync.ledger.slots import SharedSlots
from dealsync.run import Run

SCALE = 0.05
READ_LAG = KOMMO_READ_LAG * SCALE
TURNS_PER_SECOND = 100_000.0


@dataclass(frozen=True)
class Death:
    """SIGKILL by its own hand at the n-th point of I/O: right before or after a commit or a request.

    `of_writing`: counted from the first request on that changes something.
    """

    point: int
    of_writing: bool = False

    def arm(self) -> None:
        """Count from now on."""
        counter = _Counter(self)
        _before_and_after_commits(counter)
        _before_and_after_requests(counter)


class _Counter:
    def __init__(self, death: Death) -> None:
        self._death = death
        self._passed = 0
        self._counts = not death.of_writing

    def begin(self) -> None:
        """Count from now on, if it was not counted before."""
        self._counts = True

    def pass_point(self) -> None:
        """Die, if this is the point."""
        self._passed += self._counts
        if self._passed == self._death.point:
            os.kill(os.getpid(), signal.SIGKILL)


def _before_and_after_commits(counter: _Counter) -> None:
    commit: Callable[[DefaultDialect, Any], None] = DefaultDialect.do_commit

    def committing(dialect: DefaultDialect, connection: Any) -> None:
        counter.pass_point()
        commit(dialect, connection)
        counter.pass_point()

    DefaultDialect.do_commit = committing  # type: ignore[method-assign]


def _before_and_after_requests(counter: _Counter) -> None:
    handle = httpx.AsyncHTTPTransport.handle_async_request

    async def handling(wire: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        if request.method != "GET":
            counter.begin()
        counter.pass_point()
        response = await handle(wire, request)
        counter.pass_point()
        return response

    httpx.AsyncHTTPTransport.handle_async_request = handling  # type: ignore[method-assign, assignment]


class _Quick(SharedSlots):
    """The shared turns, without waiting for them: holds and blocks are kept as ever."""

    def __init__(self, name: str, rate: Rate, **engines: Any) -> None:
        del rate
        super().__init__(name, Rate(TURNS_PER_SECOND), **engines)


WAITS: tuple[tuple[ModuleType, tuple[str, ...]], ...] = (
    (runs, ("LEASE", "RENEWAL_S", "RETRY_S")),
    (run, ("LEASE", "RETRY_S", "PATIENCE", "URGENT_RETRY_S")),
    (doubts, ("KOMMO_READ_LAG",)),
    (poll, ("KOMMO_READ_LAG",)),
    (drain, ("LINGER", "LINGER_S", "SOON")),
    (issuing, ("BREATH_S",)),
    (sqlite, ("BUSY_S",)),
)
"""What is waited for, module by module: a constant that is imported elsewhere is there once more."""


def scale_time() -> None:
    """Let a second of patience last a twentieth."""
    for module, names in WAITS:
        for name in names:
            setattr(module, name, getattr(module, name) * SCALE)
    inbox.RETRY_DELAYS = tuple(delay * SCALE for delay in inbox.RETRY_DELAYS)
    settings.__dict__["SharedSlots"] = _Quick
    _scale_retries()


def _scale_retries() -> None:
    defaults = transport.Transport.__init__.__kwdefaults__ or {}
    defaults["retry_wait_s"] *= SCALE
    asked = transport._asked_wait

    def asked_wait(response: httpx.Response) -> float | None:
        wish_s = asked(response)
        return None if wish_s is None else wish_s * SCALE

    transport._asked_wait = asked_wait


async def _give_up_unlooked(this: Run) -> int:
    """What `settle_doubts` would be if it took every lost answer for a failure."""
    found = this.store.journal.doubts()
    outcomes = [Outcome(doubt.action.key, State.FAILED, error="not looked up") for doubt in found]
    this.store.journal.close(outcomes, (), utc_now(), run_id=this.run_id)
    return len(found)


def _never_look() -> None:
    for module in (reconcile, drain, issuing):
        module.__dict__["settle_doubts"] = _give_up_unlooked


SABOTAGES: dict[str, Callable[[], None]] = {"": lambda: None, "never_look": _never_look}
"""Defects that are put in on purpose: a harness that does not find them finds nothing."""
