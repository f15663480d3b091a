"""What `init` may ask, and who answers: a person at a terminal, or nobody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Check = Callable[[str], str]
"""Says what is wrong with an answer; empty if nothing is."""


@dataclass(frozen=True, slots=True)
class Option:
    """One of several answers: what a person reads, and what it means."""

    title: str
    value: Any


class Questions(Protocol):
    """Asks. What is asked for in vain is left as it is proposed."""

    @property
    def guided(self) -> bool:
        """Whether there is anybody to ask."""

    def tell(self, line: str) -> None:
        """Say something between two questions."""

    async def choose(self, question: str, options: Sequence[Option], proposed: Any) -> Any:
        """Return the value of one option."""

    async def choose_several(self, question: str, options: Sequence[Option]) -> list[Any]:
        """Return the values of some options; all of them are proposed."""

    async def confirm(self, question: str, *, proposed: bool) -> bool:
        """Return yes or no."""

    async def text(self, question: str, *, check: Check, proposed: str = "") -> str:
        """Return what was typed, once it is right."""

    async def secret(self, question: str, *, check: Check) -> str:
        """Return what was typed unseen, once it is right."""


class Nobody:
    """There is nobody to ask: everything is as proposed."""

    guided = False

    def tell(self, line: str) -> None:
        """Nobody listens; what matters is in the summary."""

    async def choose(self, question: str, options: Sequence[Option], proposed: Any) -> Any:
        """Return what is proposed."""
        del question, options
        return proposed

    async def choose_several(self, question: str, options: Sequence[Option]) -> list[Any]:
        """Return everything."""
        del question
        return [option.value for option in options]

    async def confirm(self, question: str, *, proposed: bool) -> bool:
        """Return what is proposed."""
        del question
        return proposed

    async def text(self, question: str, *, check: Check, proposed: str = "") -> str:
        """Return what is proposed."""
        del question, check
        return proposed

    async def secret(self, question: str, *, check: Check) -> str:
        """Return nothing."""
        del question, check
        return ""


SILENT: Questions = Nobody()
