"""What a run did, in the few words that fit into its name: "12 closed, 1 flagged"."""

from __future__ import annotations

from collections.abc import Iterable

from dealsync.core.plan import Action, Kind
from dealsync.core.states import State
from dealsync.drained import Drained
from dealsync.errors import (
    ApiError,
    Banned,
    ConfigError,
    DatabaseError,
    EventsParked,
    Unauthorized,
    Unreachable,
    UnsafePlan,
)
from dealsync.issued import Issued
from dealsync.report import Report

NOTHING = "nothing to do"
TOLD_APART = {
    "closed": (Kind.CLOSE,),
    "created": (Kind.CREATE_DEAL,),
    "to attention": (Kind.ATTENTION,),
    "flagged": (Kind.TASK,),
}
"""What is worth a number of its own, by the kinds of action that say so: as many as there are deals."""
FAILURES: tuple[tuple[type[Exception], str], ...] = (
    (UnsafePlan, "the plan is too large"),
    (EventsParked, "events are parked"),
    (Banned, "blocked by an API"),
    (Unauthorized, "a key is refused"),
    (Unreachable, "an API does not answer"),
    (ApiError, "an API's answer is not understood"),
    (ConfigError, "the settings are wrong"),
    (DatabaseError, "the database is away"),
)
MOST_EVENTS = 3


def of_report(report: Report) -> str:
    """Return what a run over all deals did, or what its plan would do."""
    if not report.applied:
        waiting = len(report.plan.actions)
        return f"{number(waiting, 'change')} waiting" if waiting else NOTHING
    return _done(report)


def of_drain(drained: Drained) -> str:
    """Return what a run over the inbox did, and for which events."""
    if drained.report is None:
        return "nothing waits"
    names = list(dict.fromkeys(event.item.event.event_name for event in drained.events))
    more = [f"{len(names) - MOST_EVENTS} more"] if len(names) > MOST_EVENTS else []
    parked = [f"{len(drained.parked)} parked"] if drained.parked else []
    return f"{', '.join([_done(drained.report), *parked])} ({', '.join([*names[:MOST_EVENTS], *more])})"


def of_checkouts(issued: Issued) -> str:
    """Return what a run over the deals that wait for payment did."""
    counts = issued.counts()
    parts = [number(counts["opened"], "link")] if counts.get("opened") else []
    parts += [f"{counts['flagged']} flagged"] if counts.get("flagged") else []
    if issued.troubled:
        return _failed(len(issued.troubled), parts)
    return ", ".join(parts) or NOTHING


def of_failure(error: object) -> str:
    """Return why a run failed; the whole of it is in the run's own message."""
    words = next((words for kind, words in FAILURES if isinstance(error, kind)), "")
    return f"failed, {words}" if words else "failed"


def _done(report: Report) -> str:
    done = [a for a in report.plan.actions if report.state_of(a) == State.APPLIED]
    parts = [f"{count} {words}" for words, kinds in TOLD_APART.items() if (count := _deals(done, kinds))]
    if not parts and done:
        parts = [f"{_deals(done, tuple(Kind))} updated"]
    if report.troubled:
        return _failed(len(report.troubled), parts)
    return ", ".join(parts) or NOTHING


def _failed(writes: int, done: Iterable[str]) -> str:
    return "; ".join([f"failed, {number(writes, 'write')}", *([", ".join(done)] if done else [])])


def _deals(actions: Iterable[Action], kinds: tuple[Kind, ...]) -> int:
    return len({action.lead_id or action.source for action in actions if action.kind in kinds})


def number(count: int, thing: str) -> str:
    """Return how many there are of a thing."""
    return f"{count} {thing}{'s' * (count != 1)}"
