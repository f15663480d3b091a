"""What benchmarks are played on: simulated accounts with latency and limits, and dealsync beside them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.processes import run
from dealsync.ledger.database import open_database
from dealsync.ledger.inbox import Inbox

LATENCY_MS = 150


@dataclass(frozen=True, slots=True)
class Measured:
    """A program that ran to its end."""

    seconds: float
    cpu_s: float
    peak_mb: float
    requests: Counter[str]  # that reached the APIs, by "API METHOD route"
    most_in_a_second: int  # of those to Kommo
    refused: int  # by HTTP 429
    printed: str


@dataclass(frozen=True, slots=True)
class Stage:
    """The simulated accounts, and dealsync set up beside them in `folder`."""

    url: str
    environment: dict[str, str]
    folder: Path

    def control(self, route: str, **body: Any) -> dict[str, Any]:
        """Do what a person or a buyer does."""
        return dict(httpx.post(f"{self.url}/control/{route}", json=body, timeout=60).raise_for_status().json())

    def look(self, route: str) -> dict[str, Any]:
        """Return what the simulator tells of itself."""
        return dict(httpx.get(f"{self.url}/control/{route}", timeout=600).raise_for_status().json())

    def dealsync(self, *arguments: str) -> str:
        """Run a command to its end; return what it printed."""
        command = [sys.executable, "-m", "dealsync", *arguments]
        done = subprocess.run(  # noqa: S603 - our own interpreter and our own package
            command, env=os.environ | self.environment, cwd=self.folder, check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout

    def measured(self, *command: str) -> Measured:
        """Run a program to its end, and tell what it took and what it asked of both APIs meanwhile."""
        httpx.post(f"{self.url}/control/requests/reset", timeout=60).raise_for_status()
        ran = run(*command, environment=self.environment, folder=self.folder)
        told = self.look("requests")
        return Measured(
            ran.wall_s,
            ran.cpu_s,
            ran.peak_mb,
            Counter(told["counts"]),
            told["kommo_max_per_second"],
            sum(told["refused_429"].values()),
            ran.output,
        )

    @property
    def inbox(self) -> Inbox:
        """What the receiver stored."""
        return Inbox(open_database(self.environment["DEALSYNC_DATABASE_URL"]))


@contextmanager
def program(*arguments: str, environment: dict[str, str], folder: Path) -> Iterator[str]:
    """Run a Python program that prints its address in its first line; yield the address."""
    command = [sys.executable, "-u", "-m", *arguments]
    process = subprocess.Popen(  # noqa: S603 - the same
        command, env=os.environ | environment, cwd=folder, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        found = re.search(r"http://[^\s\"']+", process.stdout.readline())
        if found is None:
            raise RuntimeError(f"{arguments} did not start")
        yield found.group().rstrip(",")
    finally:
        process.kill()  # nothing of it is needed any more
        process.wait()


@contextmanager
def stage(latency_ms: int = LATENCY_MS, *, orders: int = 0) -> Iterator[Stage]:
    """Yield two accounts, empty or with a seeded past, and dealsync set up on them, on SQLite."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        options = ("--port", "0", "--orders", str(orders), "--latency-ms", str(latency_ms), "--env-file")
        with program("dealsync", "simulate", *options, str(folder / ".env"), environment={}, folder=folder) as url:
            lines = (folder / ".env").read_text(encoding="utf-8").splitlines()
            own = {
                "DEALSYNC_DATABASE_URL": f"sqlite:///{folder / 'dealsync.db'}",
                "DEALSYNC_CONFIG": str(folder / "dealsync.toml"),
                "DEALSYNC_STATE_DIR": str(folder),
            }
            ready = Stage(url, dict(line.split("=", 1) for line in lines) | own, folder)
            ready.dealsync("init", "--yes")
            yield ready
