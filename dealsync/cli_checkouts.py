"""`dealsync checkouts`: a link for every deal that waits for payment."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from dealsync.core.evidence import GREATEST_LEAD_ID
from dealsync.errors import ConfigError, UnknownDeal
from dealsync.printed import print_json

if TYPE_CHECKING:
    from dealsync.issued import Issued

LARGEST_REPORT = 10_000_000
"""Bytes of a returned e-mail that are read."""


def checkouts(
    lead: Annotated[
        list[int] | None, typer.Option(min=1, max=GREATEST_LEAD_ID, help="Only this deal, by its id; can be repeated.")
    ] = None,
    reissue: Annotated[
        bool, typer.Option("--reissue", help="Open a new one where the last has expired. Needs --lead.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done; send nothing.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")
    ] = False,
) -> None:
    """Give each deal in the invoice stage one live checkout; pass its link on. Exits with 1 if a --lead has none."""
    from dealsync.issuing import issue_checkouts
    from dealsync.terminal import print_issued, with_progress

    if reissue and not lead:
        raise ConfigError("--reissue needs --lead: name the deals whose expired checkouts are to be opened anew")
    wanted = lead or []
    issued = with_progress(
        lambda progress: issue_checkouts(lead_ids=wanted, reissue=reissue, dry_run=dry_run, progress=progress)
    )
    if missing := sorted(set(wanted) - issued.verdicts.keys()):
        raise UnknownDeal(f"Kommo has no deal {', '.join(map(str, missing))}: nothing was done about it")
    if as_json:
        print_json(issued.as_json())
    else:
        print_issued(issued)
    issued.raise_if_failed()
    if _lacks_a_link(issued, dry_run=dry_run):
        raise typer.Exit(1)


def bounce(
    report: Annotated[
        typer.FileBinaryRead, typer.Argument(help="A returned e-mail, as a file; - reads it from standard input.")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")
    ] = False,
) -> None:
    """Take in an e-mail that came back: its deal's owner gets a task with the next run. Other mail changes nothing."""
    from dealsync.ledger.database import told_as_ours
    from dealsync.mail.bounce import read_bounce
    from dealsync.settings import build_store, load_environment

    found = read_bounce(report.read(LARGEST_REPORT))
    with told_as_ours():
        is_ours = found is not None and build_store(load_environment()).journal.refuse(found.key, found.words)
    if as_json:
        typer.echo(json.dumps({"bounced": found.key if found and is_ours else None}))
    elif found and is_ours:
        from dealsync.terminal import print_lines

        print_lines([f"{found.key} did not arrive: {found.words}. The next run sets a task"])
    else:
        typer.echo("No e-mail of dealsync was returned in this message: nothing to do")


def _lacks_a_link(issued: Issued, *, dry_run: bool) -> bool:
    fine = {"live", "to-open"} if dry_run else {"live"}
    return any(issued.verdicts[lead_id].state not in fine for lead_id in issued.lead_ids)
