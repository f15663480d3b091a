"""Programs run as anybody would run them, and what they cost: seconds, seconds of the processor, and memory at most.

Memory is read where Linux tells it of one program alone (`VmHWM`): `ru_maxrss` of a child begins with its parent's.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

PROC = Path("/proc")
LOOK_EVERY_S = 0.05
LAUNCHER = """
import json, os, resource, sys, time
began = time.perf_counter()
done = os.waitstatus_to_exitcode(os.waitpid(os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ), 0)[1])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
cpu_s, peak = used.ru_utime + used.ru_stime, used.ru_maxrss
with open(sys.argv[1], "w") as out:
    json.dump({"wall_s": time.perf_counter() - began, "cpu_s": cpu_s, "peak": peak}, out)
sys.exit(done)
"""
"""A program so small that its own memory, with which that of its child begins, does not count."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a program printed and cost, with all that it started and waited for."""

    output: str
    wall_s: float
    cpu_s: float
    peak_mb: float


def run(*command: str, environment: Mapping[str, str] | None = None, folder: Path | None = None) -> Ran:
    """Run a program to its end. Raises CalledProcessError if it fails.

    Compiled bytecode is kept, as wherever dealsync is installed.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with TemporaryDirectory(prefix="benchmark-") as name:
        told = Path(name, "cost.json")
        done = subprocess.run(  # noqa: S603 - our own interpreter and our own programs
            [sys.executable, "-I", "-S", "-c", LAUNCHER, str(told), *command],
            env=inherited | dict(environment or {}), cwd=folder, check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        cost = json.loads(told.read_text(encoding="utf-8"))
    return Ran(done.stdout, cost["wall_s"], cost["cpu_s"], _mb(cost["peak"]))


def peak_mb(pid: int | str = "self") -> float:
    """Return the most memory that a process ever had; of another than this one on Linux alone."""
    status = PROC / str(pid) / "status"
    if not status.exists() and pid == "self":
        return _mb(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines() if ":" in line)
    return int(lines["VmHWM"].split()[0]) / 1024


def descendants(pid: int) -> Iterator[int]:
    """Yield the processes that a process started, and those that they started (Linux)."""
    for tasks in PROC.glob(f"{pid}/task/*/children"):
        try:
            children = tasks.read_text(encoding="utf-8").split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # a thread that has ended
        for child in map(int, children):
            yield child
            yield from descendants(child)


def started(*words: str) -> int:
    """Return the process with these words in its command line that this one started, or one that it started (Linux)."""
    for pid in descendants(os.getpid()):
        line = PROC.joinpath(str(pid), "cmdline").read_text(encoding="utf-8").replace("\0", " ")
        if all(word in line for word in words):
            return pid
    raise RuntimeError(f"no process with {words} is running")


@contextmanager
def watched(pid: int) -> Iterator[dict[int, float]]:
    """Yield the most memory of each process that a process starts meanwhile, as far as it was seen (Linux)."""
    seen: dict[int, float] = {}
    before, over = set(descendants(pid)), threading.Event()

    def look() -> None:
        while not over.wait(LOOK_EVERY_S):
            for child in set(descendants(pid)) - before:
                with suppress(FileNotFoundError, ProcessLookupError, KeyError):  # it has ended
                    seen[child] = max(seen.get(child, 0.0), peak_mb(child))

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield seen
    finally:
        over.set()
        looking.join()


def _mb(maxrss: int) -> float:
    return maxrss / 1024 if sys.platform != "darwin" else maxrss / 2**20
