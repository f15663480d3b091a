"""`dealsync report`: the figures of a month."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dealsync.printed import print_json


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
    import asyncio

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
        print_json(shown)
        return
    from dealsync.terminal import print_lines

    told = [f"{made.title} ({made.figures.zone})", *(f"  {line}" for line in made.lines()), *map(str, files)]
    print_lines([*told, f"Report: {sent}"] if sent else told)
