"""Real processes that start at once: a server that has imported everything forks one for each `dealsync` asked for.

`python -m tests.chaos.zygote` reads orders from standard input, a JSON object a line, and tells there of every process
that it started and that ended. It has no threads, so a fork is a clean copy. When its input ends, it kills what it
started that still runs, each by its own id, and ends.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from dealsync.cli import main as dealsync
from tests.chaos.child import SABOTAGES, Death, scale_time

LAZY = (
    "dealsync.ledger.upgrade",
    "anyio._backends._asyncio",
    "dealsync.drain",
    "dealsync.issuing",
    "dealsync.ledger.migrations.env",
    "dealsync.receiver.serve",
    "dealsync.reconcile",
    "dealsync.setup",
    "dealsync.terminal",
    "h2.connection",
    "httpcore",
    "pandas.core.methods.to_dict",
    "psycopg",
    "rich._emoji_codes",
    "rich.status",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.websockets.auto",
)
"""What the commands import only when they need it."""
ORDERS = 0
"""Standard input, read without a buffer: a line that waits in one would not wake the selector."""
EXIT_BROKEN = 70
"""Of a process whose program raised what nothing caught."""


def main() -> None:
    """Serve until standard input ends."""
    for name in LAZY:
        with contextlib.suppress(ImportError, AttributeError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # else every child copies all pages at its first collection
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the harness closes our input
    _tell({"ready": os.getpid()})
    _serve(wake)


def _serve(wake: int) -> None:
    living: set[int] = set()
    with selectors.DefaultSelector() as selector:
        selector.register(ORDERS, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        rest = b""
        while True:
            for key, _ in selector.select():
                if key.fd == wake:
                    os.read(wake, 4096)
                    continue
                read = os.read(ORDERS, 65536)
                if not read:
                    _end(living)
                    return
                *lines, rest = (rest + read).split(b"\n")
                living.update(_start(json.loads(line)) for line in lines)
            _reap(living)


def _start(order: Mapping[str, Any]) -> int:
    pid = os.fork()
    if pid == 0:
        _become(order)
    _tell({"order": order["order"], "started": pid})
    return pid


def _reap(living: set[int]) -> None:
    for pid in tuple(living):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            living.discard(pid)
            _tell({"ended": pid, "status": os.waitstatus_to_exitcode(status)})


def _end(living: set[int]) -> None:
    for pid in living:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _tell(what: Mapping[str, Any]) -> None:
    sys.stdout.buffer.write(json.dumps(what).encode() + b"\n")
    sys.stdout.buffer.flush()


def _become(order: Mapping[str, Any]) -> None:
    """Never returns: this is the process of one program from here on."""
    code = EXIT_BROKEN
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _redirect(order["output"])
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["environment"])
        sys.argv = ["dealsync", *order["arguments"]]
        scale_time()
        SABOTAGES[order["sabotage"]]()
        if order["death"]:
            Death(**order["death"]).arm()
        dealsync()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else EXIT_BROKEN
    except BaseException:  # noqa: BLE001 - whatever it is, it is told, and the fork must not go on as the server
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _redirect(output: str) -> None:
    to = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (to, 1), (to, 2)):
        os.dup2(source, target)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


if __name__ == "__main__":
    main()
