"""`dealsync init`: guided on a terminal, without questions with `--yes` or in a pipe."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from dealsync.errors import ConfigError, Stopped
from dealsync.printed import print_json

if TYPE_CHECKING:
    from dealsync.config import NameOrId
    from dealsync.setup import Questions, SetUp


def init(
    pipeline: Annotated[str | None, typer.Option(help="Pipeline to watch: name or id. [default: the main one]")] = None,
    invoice_status: Annotated[str | None, typer.Option(help="Status of deals that wait for payment.")] = None,
    attention_status: Annotated[str | None, typer.Option(help="Status of deals that a person must look at.")] = None,
    receiver_url: Annotated[
        str | None, typer.Option(help="Where both accounts reach the receiver; registers their webhooks.")
    ] = None,
    create_stages: Annotated[
        bool, typer.Option("--create-stages", help="Make statuses that are missing, without asking.")
    ] = False,
    renew_webhooks: Annotated[
        bool, typer.Option("--renew-webhooks", help="Set events and secret again, even if they seem right.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; take the defaults.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for programs instead of text for people. Asks nothing.")
    ] = False,
) -> None:
    """Set up both accounts, .env and dealsync.toml: asks on a terminal, tries keys first. Safe to repeat."""
    import asyncio

    from dealsync.setup import Wishes, begin

    wishes = Wishes(
        _name_or_id(pipeline),
        _name_or_id(invoice_status),
        _name_or_id(attention_status),
        receiver_url,
        create_stages,
        renew_webhooks,
    )
    at_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    ask = _questions(guided=at_terminal and not yes and not as_json)
    try:
        done = asyncio.run(begin(wishes, ask))
    except KeyboardInterrupt as error:
        raise Stopped("stopped; no file was written. Run it again when you like: dealsync init") from error
    if as_json:
        print_json(done.as_json())
    else:
        _print(done)
    if done.unfinished:
        raise ConfigError("init is not finished: " + "; ".join(done.unfinished))


def _questions(*, guided: bool) -> Questions:
    if not guided:
        from dealsync.setup import SILENT

        return SILENT
    from dealsync.setup.dialogue import Dialogue

    return Dialogue()


def _print(done: SetUp) -> None:
    from dealsync.terminal import print_lines

    lines = [f"Lemon Squeezy store: {done.store}", f"Kommo account: {done.account}, pipeline {done.pipeline}"]
    lines += [f"  {role.replace('_', ' ')}: {status}" for role, status in done.statuses.items()]
    lines += [f"Owners of self-serve deals, in turn: {', '.join(done.users.values()) or 'nobody'}"]
    lines += [f"Stages made: {', '.join(done.stages_made)}"] * bool(done.stages_made)
    lines += [f"LS fields made: {', '.join(done.fields_made) or 'none, all there'}", *done.webhooks, *done.remarks]
    lines += [f".env written: {', '.join(done.env_names)}"] * bool(done.env_names)
    lines += [f"{done.config} {'written' if done.changed else 'was right already'}.", "", "Next:"]
    lines += [f"  {number}. {step}" for number, step in enumerate(done.next_steps, 1)]
    print_lines(lines)


def _name_or_id(text: str | None) -> NameOrId | None:
    return int(text) if text is not None and text.isdecimal() else text
