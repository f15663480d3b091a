"""Which part of a plan a person must approve before it is sent, and why. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from dealsync.core.plan import Action, Change, ChangeTask, Kind, Plan, Task

WEIGHTY = frozenset(
    {Kind.CREATE_COMPANY, Kind.CREATE_CONTACT, Kind.CREATE_DEAL, Kind.CLOSE, Kind.ATTENTION, Kind.PRICE, Kind.EMAIL}
)
"""Kinds whose first time is worth a question. Notes, tasks, tags and LS fields change nothing that people decided."""
IRREVERSIBLE = frozenset({Kind.CREATE_COMPANY, Kind.CREATE_CONTACT, Kind.CREATE_DEAL, Kind.EMAIL, Kind.CHECKOUT})
"""Kinds of which no undo leaves nothing behind: neither API deletes what was made."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Answer(StrEnum):
    """What became of a question."""

    ALL = "all"
    SOME = "some"
    REJECTED = "rejected"
    UNANSWERED = "unanswered"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A plan in two parts: what may be sent at once, and what waits for a person, with the reasons in words."""

    free: tuple[Action, ...]
    held: tuple[Action, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Caution:
    """What an account wants to be asked about. `done`: kinds that were ever carried out; None: not asked about."""

    max_changes: int | None = None
    careful: bool = False
    done: frozenset[Kind] | None = None


def weigh(plan: Plan, caution: Caution) -> Verdict:
    """Return which actions wait for a person. What belongs to one sale or deal goes or waits as a whole."""
    if caution.max_changes is not None and plan.deals_touched > caution.max_changes:
        deals = f"{plan.deals_touched} deal{'s' * (plan.deals_touched != 1)}"
        reason = f"it touches {deals}, more than max_changes = {caution.max_changes}"
        return Verdict((), plan.actions, (reason,))
    reasons, kinds = list[str](), set[Kind]()
    for words, found in _asked_about(plan.actions, caution):
        reasons.append(words)
        kinds |= found
    groups = {_group(action) for action in plan.actions if action.kind in kinds}
    held = tuple(action for action in plan.actions if _group(action) in groups)
    free = tuple(action for action in plan.actions if _group(action) not in groups)
    return Verdict(free, held, tuple(reasons))


def approved(held: Sequence[Action], answer: Answer, kinds: Collection[Kind]) -> tuple[Action, ...]:
    """Return the actions that an answer lets go."""
    if answer is Answer.ALL:
        return tuple(held)
    return tuple(action for action in held if answer is Answer.SOME and action.kind in kinds)


def still_due(wanted: Iterable[Action], fresh: Iterable[Action]) -> dict[str, Action]:
    """Return, by key, those of the wanted actions that a newer plan holds, as it holds them: equal but for deadlines.

    LS fields are equal by what they would hold: their keys tell the times of the payment's objects, too.
    """
    candidates: dict[tuple[Kind, str, int | None], list[Action]] = {}
    for action in fresh:
        candidates.setdefault((action.kind, action.source, action.lead_id), []).append(action)
    found: dict[str, Action] = {}
    for action in wanted:
        for other in candidates.get((action.kind, action.source, action.lead_id), ()):
            is_same = action.key == other.key or action.kind is Kind.FIELDS
            if is_same and _timeless(action.change) == _timeless(other.change):
                found[action.key] = other
    return found


def kinds_of(actions: Iterable[Action]) -> dict[str, int]:
    """Return how many actions there are of each kind, in the order of `Kind`."""
    return Plan(actions=tuple(actions)).counts()


def _asked_about(actions: Sequence[Action], caution: Caution) -> Iterator[tuple[str, set[Kind]]]:
    present = {action.kind for action in actions}
    if caution.done:  # before anything was done at all, everything is new: `max_changes` alone watches the first run
        new = (present & WEIGHTY) - caution.done
        if new:
            yield f"it does for the first time: {_named(new)}", new
    if caution.careful and (final := present & IRREVERSIBLE):
        yield f"it cannot be taken back: {_named(final)}", final


def _named(kinds: Collection[Kind]) -> str:
    return ", ".join(kind.value for kind in Kind if kind in kinds)


def _group(action: Action) -> str:
    return f"order:{action.order_id}" if action.order_id else action.source


def _timeless(change: Change) -> Change:
    return replace(change, due_at=EPOCH) if isinstance(change, Task | ChangeTask) else change
