"""Which revision a schema is at, and which one this program needs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sqlalchemy import Connection, column, inspect, select, table

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION = "alembic_version"


@cache
def newest() -> str:
    """Return the revision that this program needs: each file of a revision begins with its number."""
    return max(path.name.split("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def present(connection: Connection) -> str | None:
    """Return the revision that the schema is at, None where there is none."""
    if not inspect(connection).has_table(VERSION):
        return None
    revision: str | None = connection.scalar(select(column("version_num")).select_from(table(VERSION)))
    return revision
