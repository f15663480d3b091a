"""Databases whose schema is there already: making it takes longer than most tests."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from dealsync.ledger.database import open_database


def place_sqlite(path: Path) -> str:
    """Put an empty database with the newest schema at `path`; return its URL."""
    path.write_bytes(_migrated())
    return f"sqlite:///{path}"


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "migrated.db"
        open_database(f"sqlite:///{path}").dispose()
        return path.read_bytes()
