"""Questions at a terminal. Ctrl-C at any of them raises KeyboardInterrupt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import questionary
import typer
from questionary import Choice

from dealsync.setup.questions import Check, Option

MANY = 10
"""With more options than this, typing narrows them down."""


class Dialogue:
    """A person answers, by arrow keys and typing. Of what is secret only asterisks are shown."""

    guided = True

    def tell(self, line: str) -> None:
        """Print a line."""
        typer.echo(line)

    async def choose(self, question: str, options: Sequence[Option], proposed: Any) -> Any:
        """Let one be picked; the arrow stands on what is proposed."""
        choices = [Choice(option.title, value=option.value) for option in options]
        first = next((choice for choice in choices if choice.value == proposed), None)
        many = len(choices) > MANY
        return await questionary.select(
            question, choices=choices, default=first, use_search_filter=many, use_jk_keys=not many
        ).unsafe_ask_async()

    async def choose_several(self, question: str, options: Sequence[Option]) -> list[Any]:
        """Let some be picked; all are ticked."""
        choices = [Choice(option.title, value=option.value, checked=True) for option in options]
        return list(await questionary.checkbox(question, choices=choices).unsafe_ask_async())

    async def confirm(self, question: str, *, proposed: bool) -> bool:
        """Ask for y or n."""
        return bool(await questionary.confirm(question, default=proposed).unsafe_ask_async())

    async def text(self, question: str, *, check: Check, proposed: str = "") -> str:
        """Let a line be typed."""
        typed = await questionary.text(question, default=proposed, validate=_validator(check)).unsafe_ask_async()
        return str(typed).strip()

    async def secret(self, question: str, *, check: Check) -> str:
        """Let a line be typed or pasted, unseen."""
        return str(await questionary.password(question, validate=_validator(check)).unsafe_ask_async()).strip()


def _validator(check: Check) -> Callable[[str], bool | str]:
    return lambda typed: check(typed.strip()) or True
