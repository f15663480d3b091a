"""`dealsync alerts`: whether dealsync itself is well, and whether its messages arrive."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from dealsync.errors import ConfigError
from dealsync.printed import print_json


def alerts(
    test: Annotated[
        bool, typer.Option("--test", help="Send a message to every address of DEALSYNC_ALERT_URLS.")
    ] = False,
    tell: Annotated[
        bool, typer.Option("--tell", help="Tell DEALSYNC_ALERT_URLS what changed, as runs do: for cron.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")
    ] = False,
) -> None:
    """Show what is wrong with dealsync itself, if anything; exits with 1 then, or if a test message did not arrive."""
    import asyncio

    from dealsync.alerting import conditions, shown, watch
    from dealsync.ledger.database import told_as_ours
    from dealsync.ledger.runs import utc_now
    from dealsync.settings import build_store, load_settings

    settings = load_settings()
    if test:
        _test(settings.environment.alert_urls, as_json=as_json)
        return
    store = build_store(settings.environment)
    if tell:
        asyncio.run(watch(settings, store))
    with told_as_ours():
        found = list(conditions(settings, store, utc_now()))
    if as_json:
        print_json({"alerts": shown(found)})
    else:
        from dealsync.terminal import print_lines

        print_lines([f"{one.name}: {one.words}" for one in found] or ["All is well."])
    if found:
        raise typer.Exit(1)


def _test(urls: tuple[str, ...], *, as_json: bool) -> None:
    import asyncio

    from dealsync.core.alerts import Message
    from dealsync.notify import bell, notify

    if not urls:
        raise ConfigError("DEALSYNC_ALERT_URLS is empty: nobody is told of anything")
    bell(urls)
    message = Message("test", "This is a test: alerts of dealsync arrive here.", is_trouble=False)
    if not asyncio.run(notify(urls, [message])):
        raise ConfigError("Not every address of DEALSYNC_ALERT_URLS took the test message")
    if as_json:
        typer.echo(json.dumps({"sent": len(urls)}))
        return
    typer.echo(f"Sent to {len(urls)} address{'es' * (len(urls) != 1)}")
