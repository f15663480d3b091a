"""The table that benchmarks share, and the command that fills it. Nothing here is timed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import peer
from benchmarks.__main__ import MODULES, in_own_process, main, measured
from benchmarks.figures import HEADS, WIDTH, Figure, document, markdown, print_table, put_between_markers

QUICK_ENOUGH = Figure("plan", 1.5, "s", bound=1.0, goal=2.0, peer="other", peer_value=30.0)
TOO_SLOW = Figure("webhook | p99", 61.0, "ms", goal=50.0)
TOO_FEW = Figure("payments", 12.0, "/s", goal=20.0)


def printed(*figures: Figure) -> list[str]:
    out = StringIO()
    print_table(figures, "2026-06-01, `make bench`", Console(file=out, width=WIDTH, no_color=True))
    return out.getvalue().splitlines()


def one_module(name: str, _quick: bool) -> Iterator[Figure]:
    yield Figure(f"{name}: first", 1.0, "s")
    if name == "planning":
        raise RuntimeError("no memory left")
    yield Figure(f"{name}: second", 2.0, "s", goal=1.0 if name == "webhooks" else None)


@pytest.mark.parametrize(
    ("figure", "met"),
    [
        (QUICK_ENOUGH, True),
        (TOO_SLOW, False),
        (TOO_FEW, False),
        (Figure("payments", 20.0, "/s", goal=20.0), True),
        (Figure("times quicker", 49.0, "x", goal=50.0), False),
        (Figure("refused", 0.0, "requests", goal=0.0), True),
        (Figure("no goal", 1.0, "s"), None),
    ],
    ids=lambda value: value.what if isinstance(value, Figure) else str(value),
)
def test_figure__meets_its_goal_as_its_unit_says(figure: Figure, met: bool | None) -> None:
    assert figure.met is met


def test_figure__stands_beside_its_bound_and_its_peer() -> None:
    assert QUICK_ENOUGH.cells() == ("plan", "1.50 s", "1", "1.5", "≤ 2", "yes", "other: 30", "0.05")


def test_table__shows_a_missed_goal_and_fits_its_width() -> None:
    lines = printed(QUICK_ENOUGH, TOO_SLOW, Figure("a figure with a long name " * 8, 123456.0, "MB", note="why " * 30))
    assert max(map(len, lines[1:])) <= WIDTH
    assert [line for line in lines if "MISSED" in line] == [line for line in lines if line.startswith("webhook")]


def test_markdown__is_a_table_that_shows_a_missed_goal() -> None:
    head, blank, *rows = markdown([QUICK_ENOUGH, TOO_SLOW], "2026-06-01, `make bench`").splitlines()
    assert (head, blank) == ("2026-06-01, `make bench`:", "")
    assert rows == [
        f"| {' | '.join(HEADS)} |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| plan | 1.50 s | 1 | 1.5 | ≤ 2 | yes | other: 30 | 0.05 |",
        "| webhook \\| p99 | 61 ms |  |  | ≤ 50 | **MISSED** |  |  |",
    ]


def test_json__tells_what_follows_from_the_figures() -> None:
    (row,) = json.loads(document([QUICK_ENOUGH], "today"))["figures"]
    assert (row["what"], row["value"], row["met"], row["ratio"], row["ratio_to_peer"]) == ("plan", 1.5, True, 1.5, 0.05)


def test_markers__keep_what_is_around_them() -> None:
    text = "before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n"
    assert put_between_markers(text, "new") == "before\n<!-- bench -->\nnew\n<!-- /bench -->\nafter\n"


@pytest.mark.parametrize("text", ["", "<!-- bench -->\n", "<!-- /bench -->\n<!-- bench -->\n"])
def test_markers__that_are_missing_are_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="missing"):
        put_between_markers(text, "new")


def test_run__a_module_that_fails_loses_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    figures, failed = measured(["startup", "planning", "keeping"], one_module, quick=True)
    assert failed == ["planning"]
    assert [figure.what for figure in figures] == [
        "startup: first", "startup: second", "planning: first", "keeping: first", "keeping: second",
    ]  # fmt: skip
    assert "planning failed: RuntimeError: no memory left" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--only", "startup"], 0),
        (["--only", "startup", "--only", "planning"], 1),
        (["--only", "webhooks"], 0),
        (["--only", "webhooks", "--strict"], 1),
        (["--only", "startup", "--strict"], 0),
    ],
    ids=["fine", "one fails", "a goal is missed", "a goal is missed, and counts", "no goal, and goals count"],
)
def test_run__says_by_its_status_what_failed(arguments: list[str], status: int) -> None:
    assert main(arguments, one_module) == status


def test_run__puts_its_table_into_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "README.md"
    page.write_text("# Title\n<!-- bench -->\n<!-- /bench -->\n", encoding="utf-8")
    assert main(["--only", "webhooks", "--called", "make bench", "--markdown", str(page)], one_module) == 0
    text = page.read_text(encoding="utf-8")
    assert "| webhooks: second | 2 s |  |  | ≤ 1 | **MISSED** |  |  |" in text
    assert "`make bench`" in text
    told = capsys.readouterr()
    assert "MISSED" in told.out
    assert "goal missed: webhooks: second" in told.err


def test_run__refuses_a_file_without_markers_before_it_measures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--markdown", str(tmp_path / "README.md")], one_module)
    assert "<!-- bench -->" in capsys.readouterr().err


def test_module__in_a_process_of_its_own_tells_nothing_when_there_is_no_time() -> None:
    assert list(in_own_process("orchestration", True)) == []


def test_module__whose_process_fails_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="ended with 2"):
        list(in_own_process("no-such-module", True))


@pytest.mark.parametrize("name", MODULES)
def test_module__is_there(name: str) -> None:
    assert (Path(peer.ROOT) / "benchmarks" / f"{name}.py").is_file()


def test_peer__that_is_not_installed_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peer, "PYTHON", tmp_path / "python")
    assert peer.compare("compare_tables.py") is None
    assert "make peers" in capsys.readouterr().err
