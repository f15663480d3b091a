"""A PostgreSQL server of our own for a test run, from the system's binaries, on a socket in a folder of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
MISSING = "PostgreSQL's server is not installed (Debian: apt-get install postgresql)"


def is_available() -> bool:
    """Whether a server can be started here; root needs the user `postgres`, as PostgreSQL refuses to run as root."""
    return bool(BINARIES) and (os.geteuid() != 0 or _has_user())


def _has_user() -> bool:
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        return False
    return True


@contextmanager
def running() -> Iterator[str]:
    """Yield the URL of an empty database; the server is stopped and its data removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    folder.chmod(0o700 if os.geteuid() else 0o755)
    data = folder / "data"
    try:
        _call("initdb", "-D", str(data), "-A", "trust", "-U", "dealsync")
        _start(folder)
        try:
            yield f"postgresql://dealsync@/postgres?host={folder}"
        finally:
            _stop(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def stopped(url: str) -> Iterator[None]:
    """Stop the server behind a URL of `running`, as a power cut does; start it again at the end."""
    folder = Path(url.rpartition("host=")[2])
    _stop(folder)
    try:
        yield
    finally:
        _start(folder)


def restart(url: str) -> None:
    """Restart the server behind a URL of `running`."""
    with stopped(url):
        pass


def _start(folder: Path) -> None:
    options = f"-c listen_addresses='' -k {folder}"
    _call("pg_ctl", "-D", str(folder / "data"), "-w", "-o", options, "-l", str(folder / "log"), "start")


def _stop(folder: Path) -> None:
    _call("pg_ctl", "-D", str(folder / "data"), "-m", "immediate", "stop")


def _call(program: str, *arguments: str) -> None:
    command = [str(BINARIES[-1] / program), *arguments]
    if os.geteuid() == 0:
        command = ["runuser", "-u", "postgres", "--", *command]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, cwd="/", timeout=60)
