"""What holds for every command there is, and for every one that will be: help, JSON, width, no traceback."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from dealsync import cli
from dealsync.errors import DealsyncError
from tests.accounts import Accounts, simulated
from tests.cli.test_commands import clean_environment

ANNOUNCE = {("receive",), ("serve",)}
"""They run until they are stopped, and print no data: a line or two about where they are."""
OWN_TESTS = {*ANNOUNCE, ("demo",), ("simulate",)}
"""They start servers, and have tests of their own."""
HEAVY = (
    "asyncio",
    "httpx",
    "matplotlib",
    "pandas",
    "prefect",
    "pydantic",
    "questionary",
    "rich",
    "sqlalchemy",
    "tomlkit",
)


def every_command(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield all commands and groups with the words that call them."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from every_command(inner, (*path, name))


COMMANDS = dict(every_command(get_command(cli.app)))
LEAVES = {path: command for path, command in COMMANDS.items() if getattr(command, "invoke_without_command", True)}
ALONE = [path for path, command in LEAVES.items() if path and not any(p.required for p in command.params)]
"""Commands that can be called by their name alone."""


@dataclass(frozen=True)
class Shown:
    """What a command did in this process."""

    text: str
    code: int = 0
    error: DealsyncError | None = None


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Shown]:
    """Run a command in this process, at a width. What it should not raise, it raises."""

    def run(width: int, *arguments: str) -> Shown:
        monkeypatch.setenv("COLUMNS", str(width))
        capsys.readouterr()
        code, error = 0, None
        try:
            code = cli.app(list(arguments), prog_name="dealsync", standalone_mode=False) or 0
        except DealsyncError as raised:
            code, error = raised.exit_code, raised
        return Shown(capsys.readouterr().out, code, error)

    return run


def too_long(text: str, width: int) -> list[str]:
    """Return lines beyond the width; addresses are left whole, to be clicked and copied."""
    return [line for line in text.splitlines() if len(line) > width and "://" not in line]


def test_walk__finds_commands_and_groups() -> None:
    assert {("init",), ("plan",), ("inbox",), ("inbox", "list"), ("reviews", "resolve")} <= set(COMMANDS)
    assert ("reviews",) in ALONE


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help__of_every_command_fits(show: Callable[..., Shown], path: Sequence[str], width: int) -> None:
    done = show(width, *path, "--help")
    assert done.text.startswith("Usage: ")
    assert too_long(done.text, width) == []


@pytest.mark.parametrize("path", [path for path in LEAVES if path and path not in ANNOUNCE], ids=" ".join)
def test_json__is_offered_by_every_command_that_prints_data(path: tuple[str, ...]) -> None:
    assert "--json" in {option for parameter in LEAVES[path].params for option in parameter.opts}


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounts]:
    """An account after a run, with something of everything: done, waiting for a person, out of step."""
    folder = tmp_path_factory.mktemp("lived-in")
    with pytest.MonkeyPatch.context() as patch, simulated(patch, folder, orders=60) as found:
        found.init()
        found.run()
        yield found


@pytest.mark.parametrize("path", [path for path in ALONE if path not in OWN_TESTS], ids=" ".join)
def test_output__is_json_on_demand_and_fits_a_narrow_terminal(
    lived_in: Accounts, show: Callable[..., Shown], path: tuple[str, ...]
) -> None:
    del lived_in
    done = show(80, *path, "--json")
    assert done.error is None or "\n" not in str(done.error)
    if done.text or done.error is None:
        assert isinstance(json.loads(done.text), dict), done.code
    for width in (60, 80):
        text = show(width, *path).text
        assert too_long(text, width) == []
        assert "…" not in text  # nothing is cut off
        assert "\x1b" not in text


def test_ledger__values_fold_beside_their_names(lived_in: Accounts, show: Callable[..., Shown]) -> None:
    del lived_in
    (entry,) = json.loads(show(80, "ledger", "list", "--limit", "1", "--json").text)["entries"]
    text = show(40, "ledger", "show", entry["key"]).text
    assert too_long(text, 40) == []
    assert entry["key"] in "".join(text.split())
    assert "".join(str(entry["reason"]).split()) in "".join(text.split())


def run_main(folder: Path, code: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, after `code`."""
    script = f"import sys\nfrom dealsync import cli\n{code}\nsys.argv = {['dealsync', *arguments]!r}\ncli.main()\n"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=folder, env=clean_environment({}), text=True, stderr=subprocess.PIPE, check=False, timeout=60,
        **{"stdout": subprocess.PIPE, **options},
    )  # fmt: skip


BROKEN = """
@cli.app.command()
def broken() -> None:
    from dealsync.core import mapping
    mapping.plain_amount(type("Money", (), {"major": property(lambda self: {}["buyer@example.com"])})())
"""


def test_unexpected__is_one_line_without_its_words_and_a_traceback_only_with_debug(tmp_path: Path) -> None:
    done = run_main(tmp_path, BROKEN, "broken")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("dealsync: unexpected KeyError in dealsync.core.mapping, line ")
    assert "run again with --debug and report it" in done.stderr
    assert (done.stderr.count("\n"), "@" in done.stderr) == (1, False)
    debugged = run_main(tmp_path, BROKEN, "--debug", "broken")
    assert "Traceback" in debugged.stderr


@pytest.mark.parametrize("lines", [1, 100_000])
def test_pipe__that_is_closed_ends_quietly(tmp_path: Path, lines: int) -> None:
    """`| head`: with little output the pipe breaks at the last flush, with much in the middle of it."""
    code = f"@cli.app.command()\ndef chatty() -> None:\n    for _ in range({lines}):\n        print('many words')\n"
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run_main(tmp_path, code, "chatty", stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_help__imports_nothing_heavy() -> None:
    code = (
        "import sys\nsys.argv = ['dealsync', '--help']\nfrom dealsync.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def completed(shell: str, *words: str) -> list[str]:
    """Return what a shell is offered after these words, and make sure that it cost no heavy import of ours."""
    # Typer itself reads the types of options with pydantic, and takes markup out of zsh's descriptions with rich.
    heavy = [name for name in HEAVY if name not in ("pydantic", "rich")]
    code = (
        "import sys\nfrom dealsync.cli import main\ntry:\n    main()\n"
        f"finally:\n    print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    line = " ".join(("dealsync", *words))
    asked = {
        "_DEALSYNC_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words)),
        "_TYPER_COMPLETE_ARGS": line,
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean_environment(asked), capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "[]"
    return done.stdout.split() if shell == "bash" else done.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("ini",), ["init"]),
        (("init", "--receiver"), ["--receiver-url"]),
        (("inbox", "list", "--state", "pa"), ["parked"]),
        (("ledger", "list", "--state", "unk"), ["unknown"]),
        (("ledger", "list", "--about", "sub"), ["subscription:"]),
        (("reviews", "resolve", "o"), ["order:"]),
    ],
    ids=" ".join,
)
def test_completion__offers_commands_options_and_values(words: tuple[str, ...], offered: list[str]) -> None:
    assert completed("bash", *words) == offered
    assert any(offered[0].split(":")[0] in line for line in completed("zsh", *words))


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion__can_be_installed(tmp_path: Path, shell: str) -> None:
    environment = clean_environment({"HOME": str(tmp_path), "SHELL": f"/bin/{shell}"})
    (tmp_path / shell).symlink_to("/bin/bash")  # the shell is known by its process's name
    done = subprocess.run(
        [str(tmp_path / shell), "-c", f"{sys.executable} -m dealsync --show-completion; true"],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "_DEALSYNC_COMPLETE" in done.stdout


def test_colour__none_with_no_color_and_none_in_a_pipe(lived_in: Accounts) -> None:
    def at_terminal(**environment: str) -> bytes:
        leader, follower = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "dealsync", "reviews"],
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", **environment},
            stdout=follower, stderr=follower, stdin=subprocess.DEVNULL, cwd=lived_in.folder,
        )  # fmt: skip
        os.close(follower)
        shown = b""
        try:
            while part := os.read(leader, 65536):
                shown += part
        except OSError:
            pass  # the other end is closed: all is read
        os.close(leader)
        assert process.wait(30) == 0
        return shown

    assert b"\x1b[1m" in at_terminal()
    assert b"\x1b[3" not in at_terminal(NO_COLOR="1")
