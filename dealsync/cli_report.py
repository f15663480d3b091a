"""`dealsync report`: the figures of a month."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from textwrap import fill
from typing import Annotated

import typer

WIDTH = 80


def report(
    month: Annotated[
        str | None, typer.Option(metavar="YYYY-MM", help="Which month. [default: the present one so far]")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the files.", file_okay=False)] = Path(),
    send: Annotated[
        bool, typer.Option("--send", help="Send it to the addresses of DEALSYNC_REPORT_URLS, once a day.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")
    ] = False,
) -> None:
    """Write the figures of a month as page (HTML) and table (CSV), from the database alone."""
    from dealsync import monthly
    from dealsync.ledger.database import told_as_ours
    from dealsync.ledger.runs import utc_now
    from dealsync.settings import build_store, load_settings

    settings = load_settings()
    with told_as_ours():
        store = build_store(settings.environment)
        made = monthly.make_report(settings, store, month, utc_now())
        files = made.write(out)
        sent = asyncio.run(monthly.send(settings, store, made)).value if send else ""
    if as_json:
        shown = {**made.as_json(), "files": [str(path) for path in files], "sent": sent}
        typer.echo(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    typer.echo(f"{made.title} ({made.figures.zone})")
    for line in made.lines():
        typer.echo(fill(line, WIDTH, initial_indent="  ", subsequent_indent="    "))
    for path in files:
        typer.echo(str(path))
    if sent:
        typer.echo(f"Report: {sent}")
