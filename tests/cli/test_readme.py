"""README says what the commands print: run them, and hold the one against the other, numbers aside."""

import re
import subprocess
import sys
from pathlib import Path

from dealsync.cli import app
from tests.cli.test_commands import clean_environment

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def numbers_aside(text: str) -> list[str]:
    """Return the lines with every number masked and its padding folded."""
    return [re.sub(r"\s*\d[\d.]*", " #", line).strip() for line in text.strip().splitlines()]


def test_readme__the_demo_prints_what_it_says(tmp_path: Path) -> None:
    shown = README.split("$ make demo\n")[1].split("$ make test")[0]
    done = subprocess.run(
        [sys.executable, "-m", "dealsync", "demo"],
        cwd=tmp_path, env=clean_environment({}), capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert numbers_aside(done.stdout) == numbers_aside(shown)
    assert list(tmp_path.iterdir()) == []


def test_readme__names_every_command_and_no_other() -> None:
    named = set(re.findall(r"^\| `dealsync (\w+)", README, flags=re.MULTILINE))
    commands = {command.callback.__name__ for command in app.registered_commands if command.callback}
    assert named == commands | {str(group.name) for group in app.registered_groups}
