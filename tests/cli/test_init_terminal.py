"""`dealsync init` on a real terminal: guided, unseen where it is secret, stopped by Ctrl-C."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dealsync.simulator.server import Simulator
from tests.cli.test_commands import clean_environment

COLOUR = re.compile(r"\x1b\[(?:[0-9;]*;)?3[0-8][0-9;]*m")


@dataclass
class Terminal:
    """A process and the terminal that it talks to."""

    process: subprocess.Popen[bytes]
    leader: int
    seen: str = ""

    def wait_for(self, words: str) -> None:
        """Read until the words are on the screen."""
        while words not in self.seen:
            self.read()

    def read(self) -> bool:
        """Read what there is; False at the end."""
        try:
            part = os.read(self.leader, 65536)
        except OSError:  # the other end is closed
            return False
        self.seen += part.decode(errors="replace")
        return bool(part)

    def type(self, keys: str) -> None:
        os.write(self.leader, keys.encode())

    def end(self) -> int:
        """Read to the end; return the exit code."""
        while self.read():
            pass
        return self.process.wait(30)


@contextmanager
def terminal(folder: Path, simulator: Simulator, **environment: str) -> Iterator[Terminal]:
    given = simulator.environment()
    own = {name: given[name] for name in ("LEMON_SQUEEZY_API_URL", "KOMMO_API_URL")}
    own |= {"DEALSYNC_STATE_DIR": str(folder), "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "dealsync", "init"], cwd=folder, env=clean_environment(own | environment),
        stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
    )  # fmt: skip
    os.close(follower)
    try:
        yield Terminal(process, leader)
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def test_init__on_a_terminal_asks_shows_no_secret_and_is_stopped_by_ctrl_c(tmp_path: Path) -> None:
    with Simulator.running(seed=1, orders=0) as simulator, terminal(tmp_path, simulator, NO_COLOR="1") as screen:
        screen.wait_for("Lemon Squeezy API key")
        screen.type(simulator.environment()["LEMON_SQUEEZY_API_KEY"] + "\r")
        screen.wait_for("Address of the Kommo account")
        screen.type("\x03")
        assert screen.end() == 130
        assert "The Lemon Squeezy key works" in screen.seen
        assert "dealsync: stopped; no file was written" in screen.seen
        assert "Traceback" not in screen.seen
        assert simulator.environment()["LEMON_SQUEEZY_API_KEY"] not in screen.seen
        assert COLOUR.search(screen.seen) is None
    assert not {".env", "dealsync.toml"} & {path.name for path in tmp_path.iterdir()}


def test_init__has_colours_unless_told_otherwise(tmp_path: Path) -> None:
    with Simulator.running(seed=1, orders=0) as simulator, terminal(tmp_path, simulator) as screen:
        screen.wait_for("Lemon Squeezy API key")
        screen.type("\x03")
        screen.end()
        assert COLOUR.search(screen.seen) is not None
