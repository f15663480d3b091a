"""`dealsync plan`, `apply` and `undo`: a plan is read by a person first, and carried out as it stands."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dealsync.printed import print_json

if TYPE_CHECKING:
    from dealsync.report import Report

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")]
ExitCode = Annotated[bool, typer.Option("--exit-code", help="Exit with 2 when deals are out of step.")]
Deep = Annotated[bool, typer.Option("--deep", help="Read every page again, not only what is new.")]
Since = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Read orders made since then (UTC)."),
]
Out = Annotated[Path | None, typer.Option("--out", dir_okay=False, help="Write the plan there, for `dealsync apply`.")]
EXIT_DIFFERENCES = 2


def plan(
    deep: Deep = False,
    since: Since = None,
    out: Out = None,
    as_json: Json = False,
    exit_code: ExitCode = False,
) -> None:
    """Show what would be done, and why. Sends nothing to Kommo."""
    from dealsync.poll import Reach
    from dealsync.reconcile import reconcile
    from dealsync.terminal import with_progress

    reach = Reach(deep, since.replace(tzinfo=UTC) if since else None)
    report = with_progress(lambda progress: reconcile(reach=reach, out=out, progress=progress))
    tell(report, as_json=as_json, exit_code=exit_code)


def apply(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="A file that `dealsync plan --out` wrote.")],
    as_json: Json = False,
) -> None:
    """Carry out exactly the plan in a file; nothing of it if it was changed, or if a deal in it has moved."""
    from dealsync.carrying import carry_out
    from dealsync.plan_files import read_plan
    from dealsync.terminal import with_progress

    wanted = read_plan(file)
    tell(with_progress(lambda progress: carry_out(wanted, progress=progress)), as_json=as_json)


def undo(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Id of the run, as every report gives it.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the way back; change nothing.")] = False,
    out: Out = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask at a terminal.")] = False,
    as_json: Json = False,
) -> None:
    """Take a run back where nobody has changed anything since. With --out or --dry-run it is only planned."""
    from dealsync.terminal import with_progress
    from dealsync.undoing import undo as take_back

    only_plan = dry_run or out is not None
    asks = not (only_plan or yes or as_json) and sys.stdin.isatty() and sys.stdout.isatty()
    if only_plan or asks:
        tell(with_progress(lambda p: take_back(run, apply=False, out=out, progress=p)), as_json=as_json)
    if asks:
        typer.confirm("Take this run back?", abort=True)
    if not only_plan:
        tell(with_progress(lambda p: take_back(run, apply=True, progress=p)), as_json=as_json)


def tell(report: Report, *, as_json: bool, exit_code: bool = False) -> None:
    """Print a report, and end as it says: with an error if something could not be written."""
    if as_json:
        print_json(report.as_json())
    else:
        from dealsync.terminal import print_report

        print_report(report)
    report.raise_if_failed()
    if exit_code and (report.plan.actions or report.plan.reviews):
        raise typer.Exit(EXIT_DIFFERENCES)
