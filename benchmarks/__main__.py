"""Every figure in one table: `python -m benchmarks [--quick] [--only NAME] [--markdown FILE] [--json] [--strict]`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from benchmarks.figures import Figure, document, heading, markdown, print_table, put_between_markers

MODULES = (
    "startup", "planning", "ledger", "keeping", "memory", "orchestration", "checkouts", "webhooks", "booking",
    "reconciling",
)  # fmt: skip
"""Each has `figures(quick)`; the quick ones first."""
Measure = Callable[[str, bool], Iterator[Figure]]


def measured(names: Iterable[str], measure: Measure, *, quick: bool) -> tuple[list[Figure], list[str]]:
    """Return the figures of these modules, and the names of those that failed; what they had told till then counts."""
    figures: list[Figure] = []
    failed: list[str] = []
    for name in names:
        began = time.monotonic()
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            for figure in measure(name, quick):
                figures.append(figure)
                print(f"  {figure.what}: {figure.cells()[1]}", file=sys.stderr, flush=True)
        except Exception as error:  # noqa: BLE001 - whatever one of them meets, the others are measured
            failed.append(name)
            print(f"{name} failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return figures, failed


def in_own_process(name: str, quick: bool) -> Iterator[Figure]:
    """Yield the figures of a module that runs in a process of its own. Raises RuntimeError if it fails."""
    command = [sys.executable, "-m", "benchmarks", "--module", name, *(["--quick"] if quick else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ourselves
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        for line in process.stdout:
            yield Figure(**json.loads(line))
    if process.returncode:
        raise RuntimeError(f"its process ended with {process.returncode}")


def tell(name: str, *, quick: bool) -> None:
    """Print the figures of a module as JSON, one a line; whatever else it prints goes to standard error."""
    out, sys.stdout = sys.stdout, sys.stderr
    for figure in import_module(f"benchmarks.{name}").figures(quick):
        print(json.dumps(asdict(figure)), file=out, flush=True)


def main(arguments: Sequence[str] | None = None, measure: Measure = in_own_process) -> int:
    """Measure and print; return the exit status."""
    wanted = _arguments(arguments)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # whoever starts anew each time would measure the compiler
    if wanted.module:
        tell(wanted.module, quick=wanted.quick)
        return 0
    figures, failed = measured(wanted.only or MODULES, measure, quick=wanted.quick)
    head = heading(wanted.called or _command(wanted))
    if wanted.markdown:
        text = wanted.markdown.read_text(encoding="utf-8")
        wanted.markdown.write_text(put_between_markers(text, markdown(figures, head)), encoding="utf-8")
    if wanted.json:
        print(document(figures, head))
    else:
        print_table(figures, head)
    missed = [figure for figure in figures if figure.met is False]
    for words in (*(f"failed: {name}" for name in failed), *(f"goal missed: {figure.what}" for figure in missed)):
        print(words, file=sys.stderr)
    return int(bool(failed) or (wanted.strict and bool(missed)))


def _marked(name: str) -> Path:
    """Refuse a file that cannot take the table before an hour is spent on it."""
    path = Path(name)
    try:
        put_between_markers(path.read_text(encoding="utf-8") if path.exists() else "", "")
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{name}: {error}") from error
    return path


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measure dealsync, and print one table.")
    parser.add_argument("--quick", action="store_true", help="leave out what is long: under three minutes in all")
    parser.add_argument("--only", action="append", choices=MODULES, help="this one alone; may be given more than once")
    parser.add_argument(
        "--markdown", type=_marked, metavar="FILE", help="put the table between the file's markers, too"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a goal is missed")
    parser.add_argument("--called", help=argparse.SUPPRESS)  # what was typed, where it was not this
    parser.add_argument("--module", choices=MODULES, help=argparse.SUPPRESS)  # of the process that measures
    return parser.parse_args(arguments)


def _command(wanted: argparse.Namespace) -> str:
    quick = ["--quick"] if wanted.quick else []
    return " ".join(["python -m benchmarks", *quick, *(f"--only {name}" for name in wanted.only or ())])


if __name__ == "__main__":
    sys.exit(main())
