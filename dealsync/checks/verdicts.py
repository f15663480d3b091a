"""How a check says what it found."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from dealsync.core.checkup import Status, Verdict

if TYPE_CHECKING:
    from dealsync.checks.context import Context

Check = Callable[["Context"], Awaitable[Verdict]]


class Skip(Exception):
    """A check would say nothing: its words tell why."""


def ok(words: str) -> Verdict:
    """All is well."""
    return Verdict(Status.OK, words)


def warning(words: str) -> Verdict:
    """It works, but less well or not for long."""
    return Verdict(Status.WARNING, words)


def failed(words: str) -> Verdict:
    """It does not work."""
    return Verdict(Status.FAILED, words)


def skipped(words: str) -> Verdict:
    """Nothing can be said."""
    return Verdict(Status.SKIPPED, words)
