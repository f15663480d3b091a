"""What every SQLite connection of ours is told when it is opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random

BUSY_S = 30.0
"""How long one waits for another who writes."""


def pragmas(*, synchronous: str) -> Callable[[Any, object], None]:
    """Return a listener for SQLAlchemy's `connect`: readers and one writer work together (WAL), and wait.

    `synchronous`: FULL survives a power cut, OFF never waits for the disk.
    """

    def tell(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_S * 1000:.0f}")
        # Of several who turn a new database to WAL at once, all but one are refused without having waited.
        for attempt in Retrying(
            retry=retry_if_exception_type(sqlite3.OperationalError),
            stop=stop_after_delay(BUSY_S),
            wait=wait_random(0.005, 0.05),
            reraise=True,
        ):
            with attempt:
                cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={synchronous}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    return tell
