"""The life of an action in the ledger: every state, every step between two of them, in one table.

    planned -> sent -> applied | failed | unknown        unknown -> applied | failed, by reading

What is planned or failed may be taken up by any run; what is sent or unknown is looked up by the next run before
anything else is sent. The statements of `ledger.journal` are made from this table, so nothing goes another way.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where an action stands. Only applied and dismissed are final, unless a person says otherwise."""

    PLANNED = "planned"
    SENT = "sent"
    APPLIED = "applied"
    FAILED = "failed"
    UNKNOWN = "unknown"
    DISMISSED = "dismissed"


class Step(StrEnum):
    """What happens to an action."""

    CLAIM = "claim"  # a run takes it up, before anything is sent
    SEND = "send"  # its request is about to leave
    CONFIRM = "confirm"  # it has happened: an answer or a reading says so, or nothing was left to do
    REJECT = "reject"  # it has surely not happened: refused, never left, or reading does not show it
    LOSE = "lose"  # its answer was lost
    DISMISS = "dismiss"  # a person gives it up
    RETRY = "retry"  # a person wants it after all


TABLE: dict[tuple[State, Step], State] = {
    (State.PLANNED, Step.CLAIM): State.PLANNED,  # by another run: the one that planned it is gone
    (State.FAILED, Step.CLAIM): State.PLANNED,
    (State.PLANNED, Step.SEND): State.SENT,
    (State.PLANNED, Step.CONFIRM): State.APPLIED,
    (State.PLANNED, Step.REJECT): State.FAILED,
    (State.SENT, Step.CONFIRM): State.APPLIED,
    (State.SENT, Step.REJECT): State.FAILED,
    (State.SENT, Step.LOSE): State.UNKNOWN,
    (State.UNKNOWN, Step.CONFIRM): State.APPLIED,
    (State.UNKNOWN, Step.REJECT): State.FAILED,
    (State.UNKNOWN, Step.LOSE): State.UNKNOWN,
    (State.FAILED, Step.CONFIRM): State.APPLIED,  # an answer that came after it was given up
    (State.PLANNED, Step.DISMISS): State.DISMISSED,
    (State.FAILED, Step.DISMISS): State.DISMISSED,
    (State.FAILED, Step.RETRY): State.FAILED,
    (State.DISMISSED, Step.RETRY): State.FAILED,
}
CAME_BACK = "refuse"
"""What was believed to be done was not taken after all: no step between states, but told among the steps."""
STEP_TO: dict[State, Step] = {
    State.APPLIED: Step.CONFIRM,
    State.FAILED: Step.REJECT,
    State.UNKNOWN: Step.LOSE,
}
"""The step by which what became of an action is recorded."""


def sources(step: Step) -> tuple[str, ...]:
    """Return the states in which a step can be taken, as they are stored."""
    return tuple(state.value for (state, found) in TABLE if found is step)


def target(step: Step) -> str:
    """Return the state to which a step leads, as it is stored: the same from wherever it is taken."""
    (found,) = {to for (_, one), to in TABLE.items() if one is step}
    return found.value


AGAIN = sources(Step.CLAIM)
"""States from which a run may take an action up; all others hold its key."""
IN_DOUBT = (State.SENT.value, State.UNKNOWN.value)
"""States of what may have happened: settled by reading."""
FINAL = (State.APPLIED.value, State.DISMISSED.value)
