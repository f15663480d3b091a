"""The command line as a person types it, in a process of its own or, much quicker, in this one."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from dealsync.cli import main

Done = subprocess.CompletedProcess[str]
TIMEOUT_S = 120


def spawned(*arguments: str, folder: Path | None = None, environment: Mapping[str, str] | None = None) -> Done:
    """Run a command as a process: what proves that it starts, with nothing of the tests in it."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "dealsync", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=TIMEOUT_S,
        check=False,
    )


def typed(*arguments: str, folder: Path | None = None, environment: Mapping[str, str] | None = None) -> Done:
    """Run a command in this process: the same output and exit code, without the seconds that a start takes.

    Logs go to standard error, as they do where nobody listens to them.
    """
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, Path(os.devnull).open(encoding="utf-8") as nothing:
        if folder is not None:
            patch.chdir(folder)
        if environment is not None:
            for name in set(os.environ) - set(environment):
                patch.delenv(name)
            for name, value in environment.items():
                patch.setenv(name, value)
        if "COLUMNS" not in os.environ:
            patch.setenv("COLUMNS", "80")  # a pipe's; rich would ask the terminal in which the tests run
        patch.setattr(sys, "argv", ["dealsync", *arguments])
        patch.setattr(sys, "stdin", nothing)
        patch.setattr(logging.root, "handlers", [])
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
    said = [stream.buffer.getvalue().decode() for stream in (out, err)]
    return Done(["dealsync", *arguments], int(ended.value.code or 0), *said)
