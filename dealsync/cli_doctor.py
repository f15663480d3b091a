"""`dealsync doctor`: one line and a stable code for each check, and the way out where one did not go well."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from dealsync.printed import print_json

if TYPE_CHECKING:
    from dealsync.checks.context import Context
    from dealsync.core.checkup import Checked


def doctor(
    offline: Annotated[bool, typer.Option("--offline", help="Only what needs no network.")] = False,
    url: Annotated[str, typer.Option(help="Where the receiver is reached. [default: receiver.url]")] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")
    ] = False,
) -> None:
    """Check accounts, database, Prefect, receiver and settings; changes nothing. Exits with 1 if a check failed."""
    import asyncio

    from dealsync.checks.context import Context
    from dealsync.core.checkup import Status

    context = Context(offline=offline, url=url)
    if as_json:
        found = asyncio.run(_examined(context, lambda _one: None))
        print_json({"checks": [one.as_json() for one in found]})
    else:
        from dealsync.terminal import print_check, print_checkup

        found = asyncio.run(_examined(context, print_check))
        print_checkup(found)
    if any(one.verdict.status is Status.FAILED for one in found):
        raise typer.Exit(1)


async def _examined(context: Context, tell: Callable[[Checked], None]) -> list[Checked]:
    from dealsync.checks.examine import examine

    found = []
    async for one in examine(context):
        tell(one)
        found.append(one)
    return found
