"""How long a command takes to answer: `python -m benchmarks.startup`. Best of five, with compiled bytecode."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from benchmarks.figures import Figure, report
from benchmarks.processes import run
from dealsync.cli import app

HELP_GOAL_S = 0.3
TIMES, QUICK_TIMES = 5, 1
OFFLINE = {
    "LEMON_SQUEEZY_API_KEY": "none", "LEMON_SQUEEZY_STORE_ID": "1", "KOMMO_DOMAIN": "none.kommo.com",
    "KOMMO_TOKEN": "none",
}  # fmt: skip
"""Enough for a command that only looks into its database."""


def figures(quick: bool) -> Iterator[Figure]:
    """Yield the time of `--help` (also the slowest of all commands'), and of a command that reads an empty database."""
    times = QUICK_TIMES if quick else TIMES
    yield Figure("dealsync --help", best("--help", times=times), "s", goal=HELP_GOAL_S)
    helps = {" ".join(command): best(*command, "--help", times=times) for command in commands()}
    slowest = max(helps, key=lambda name: helps[name])
    what = f"slowest --help of {len(helps)} commands"
    yield Figure(what, helps[slowest], "s", goal=HELP_GOAL_S, note=slowest)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        own = OFFLINE | {"DEALSYNC_DATABASE_URL": f"sqlite:///{Path(name) / 'dealsync.db'}", "DEALSYNC_STATE_DIR": name}
        seconds = best("ledger", "list", times=times, environment=own, folder=Path(name))
        yield Figure("dealsync ledger list, nothing in it", seconds, "s")


def best(*command: str, times: int, environment: dict[str, str] | None = None, folder: Path | None = None) -> float:
    """Return the seconds of the quickest run; one before it compiles what is not compiled yet."""
    program = (sys.executable, "-m", "dealsync", *command)
    return min(run(*program, environment=environment, folder=folder).wall_s for _ in range(times + 1))


def commands() -> Iterator[tuple[str, ...]]:
    """Yield every command, those of groups in two words."""
    yield from _below(typer.main.get_command(app), ())


def _below(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    parts: dict[str, Any] = getattr(command, "commands", {})  # of a group
    if not parts:
        yield words
    for name, part in parts.items():
        yield from _below(part, (*words, name))


if __name__ == "__main__":
    report(figures("--quick" in sys.argv))
