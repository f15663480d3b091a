"""What a person is told of without looking: conditions of dealsync itself, when they begin and when they end.

Deals have flags and tasks of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MENDED_BY_US = ("paid_not_won", "paid_no_deal", "refunded_still_won", "subscription_no_deal")
"""The classes of what is out of step that dealsync puts right. About the others people have tasks: a deal may wait
for its payment for days without being an alarm."""
WELL_AGAIN: Mapping[str, str] = {
    "ban": "Requests are sent again.",
    "parked-writes": "No write waits for a person any more.",
    "parked-events": "No webhook waits for a person any more.",
    "stuck-run": "A run of the same job went through.",
    "approval": "No plan waits for approval any more.",
    "late-run": "A run of reconcile went through.",
    "old-drift": "Nothing has been out of step for long any more.",
    "silent-receiver": "Webhooks come in again.",
    "expiring-token": "Kommo's token lasts long enough again.",
}
"""What is said when a condition has ended, by its name; the names are part of the interface."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is wrong now: what, how much of it, and what to do. No personal data."""

    name: str  # of WELL_AGAIN
    words: str


@dataclass(frozen=True, slots=True)
class Message:
    """What is told: that something is wrong, or that it is well again."""

    name: str
    words: str
    is_trouble: bool

    @property
    def title(self) -> str:
        """One line for a lock screen."""
        return f"dealsync: {self.name}" if self.is_trouble else f"dealsync: {self.name} is over"


def messages(now: Iterable[Condition], told: Iterable[str]) -> tuple[Message, ...]:
    """Return what is to be told: each condition that nobody was told of, and each end of one that was."""
    standing, known = {condition.name: condition.words for condition in now}, set(told)
    begun = [Message(name, words, is_trouble=True) for name, words in standing.items() if name not in known]
    ended = [Message(name, WELL_AGAIN.get(name, ""), is_trouble=False) for name in sorted(known - standing.keys())]
    return (*begun, *ended)
