"""A timeline for people at a terminal: readable at 80 columns and in a pipe, times in UTC, the newest last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from textwrap import wrap

from rich.console import Console

from dealsync.core.timeline import Happening, Moment
from dealsync.explain import Explanation

STYLES = {
    Happening.EDITED: "bold",
    Happening.MOVED_BY: "bold",
    Happening.DECIDED: "bold",
    Happening.FAILED: "red",
    Happening.UNKNOWN: "red",
    Happening.CAME_BACK: "red",
    Happening.LEFT_ALONE: "yellow",
    Happening.REVIEW: "yellow",
    Happening.DRIFT: "yellow",
}
INDENT = len("  12:00:00  ")
NARROWEST = 20
SENT = "sent the request to "


def print_explanation(explanation: Explanation) -> None:
    """Print the objects with their addresses, then day by day what happened."""
    console = Console(highlight=False, markup=False, emoji=False)
    console.print(explanation.about, style="bold")
    for name, url in explanation.links().items():
        console.print(f"  {name}  {url}", style="dim", soft_wrap=True)
    for day, moments in explanation.by_day():
        console.print(f"\n{day} (UTC)", style="bold")
        _print_day(console, moments)


def _print_day(console: Console, moments: Sequence[Moment]) -> None:
    """Print moments one below the other; a run is named where its part begins, evidence where it is new."""
    run = evidence = ""
    for moment, words in _together(moments):
        if moment.run_id not in ("", run):
            run = moment.run_id
            console.print(f"  run {run}{f' ({moment.job})' if moment.job else ''}", style="dim")
        _print_beside(console, f"  {moment.at:%H:%M:%S}  ", words, STYLES.get(moment.what, ""))
        if moment.what is Happening.PLANNED:
            _print_beside(console, "", moment.key, "dim")
            if moment.details["evidence"] not in ("", evidence):
                evidence = moment.details["evidence"]
                _print_beside(console, "", f"evidence: {evidence}", "dim")


def _together(moments: Sequence[Moment]) -> Iterator[tuple[Moment, str]]:
    """Yield each moment with its words; what left in one request is told as one."""
    for (_, what), part in groupby(moments, key=lambda moment: (moment.at, moment.what)):
        group = list(part)
        if what is Happening.SENT and len(group) > 1:
            yield group[0], "sent together: " + "; ".join(moment.words.removeprefix(SENT) for moment in group)
        elif what is Happening.DECIDED:
            yield from ((moment, f"{moment.words} ({moment.who or 'nobody knows who'})") for moment in group)
        else:
            yield from ((moment, moment.words) for moment in group)


def _print_beside(console: Console, beginning: str, words: str, style: str) -> None:
    """Print a text in lines that begin at the same column, however long it is."""
    for line in wrap(words, max(console.width - INDENT, NARROWEST)):
        console.print(f"{beginning:<{INDENT}}", end="", soft_wrap=True)
        console.print(line, style=style, soft_wrap=True)
        beginning = ""
