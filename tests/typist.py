"""A person at the terminal, typed out beforehand."""

from __future__ import annotations

import asyncio
from pathlib import Path

from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from dealsync.setup import SILENT, SetUp, Wishes, begin
from dealsync.setup.dialogue import Dialogue

ENTER, DOWN, SPACE, STOP = "\r", "\x1b[B", " ", "\x03"


def guided(*keys: str, wishes: Wishes | None = None) -> SetUp:
    """Run `init` with these keys pressed, one answer after the other."""
    with create_pipe_input() as keyboard, create_app_session(input=keyboard, output=DummyOutput()):
        keyboard.send_text("".join(keys))
        return asyncio.run(asyncio.wait_for(begin(wishes or Wishes(), Dialogue()), 30))


def dotenv(folder: Path) -> dict[str, str]:
    """Return what `.env` sets."""
    lines = (folder / ".env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def unattended(wishes: Wishes | None = None) -> SetUp:
    """Run `init --yes`."""
    return asyncio.run(begin(wishes or Wishes(), SILENT))
