"""Processes of `dealsync`, started through a zygote and known by their pid."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.child import Death

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 60.0


@dataclass(eq=False)
class Process:
    """One program: `status` is its exit code once `ended` is set, negative for a signal."""

    arguments: tuple[str, ...]
    output: Path
    pid: int = 0
    status: int | None = None
    ended: threading.Event = field(default_factory=threading.Event)
    started: threading.Event = field(default_factory=threading.Event)

    @property
    def is_running(self) -> bool:
        return not self.ended.is_set()

    @property
    def was_killed(self) -> bool:
        return self.status == -signal.SIGKILL

    def wait(self, timeout_s: float) -> int | None:
        """Return the exit status, None while it still runs."""
        self.ended.wait(timeout_s)
        return self.status

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self.is_running:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.ended.wait(START_TIMEOUT_S)

    def said(self) -> str:
        """Return what it printed."""
        return self.output.read_text(encoding="utf-8", errors="replace") if self.output.exists() else ""


class Zygote:
    """The harness's end of `tests.chaos.zygote`."""

    def __init__(self, server: subprocess.Popen[bytes]) -> None:
        self._server = server
        self._orders: list[Process] = []
        self._by_pid: dict[int, Process] = {}
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, name="zygote", daemon=True)
        self._reader.start()

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Zygote]:
        """Start one; at the end it and all that it started are gone."""
        # One thread for numbers: a library's own threads would not survive the fork.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "tests.chaos.zygote"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment
        ) as server:
            zygote = cls(server)
            try:
                if not zygote._ready.wait(START_TIMEOUT_S) or server.poll() is not None:
                    raise RuntimeError("the zygote did not start")
                yield zygote
            finally:
                assert server.stdin is not None
                server.stdin.close()
                zygote._reader.join(START_TIMEOUT_S)

    def start(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        output: Path,
        death: Death | None = None,
        sabotage: str = "",
    ) -> Process:
        """Start a program."""
        process = Process(tuple(arguments), output)
        self._orders.append(process)
        order = {
            "order": len(self._orders) - 1,
            "arguments": list(arguments),
            "environment": dict(environment),
            "folder": str(folder),
            "output": str(output),
            "death": None if death is None else asdict(death),
            "sabotage": sabotage,
        }
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(order).encode() + b"\n")
        self._server.stdin.flush()
        if not process.started.wait(START_TIMEOUT_S):
            raise RuntimeError(f"{' '.join(arguments)} did not start")
        return process

    def _read(self) -> None:
        assert self._server.stdout is not None
        for line in self._server.stdout:
            self._note(json.loads(line))
        self._ready.set()
        for process in self._by_pid.values():
            process.ended.set()

    def _note(self, told: Mapping[str, Any]) -> None:
        if "ready" in told:
            self._ready.set()
        elif "started" in told:
            process = self._orders[told["order"]]
            process.pid = told["started"]
            self._by_pid[process.pid] = process
            process.started.set()
        else:
            process = self._by_pid.pop(told["ended"])
            process.status = told["status"]
            process.ended.set()
