"""Which revision a schema is at, and which one this program needs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sqlalchemy import Connection, String, column, inspect, select, table

from dealsync.errors import DatabaseError

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION = "alembic_version"


@cache
def newest() -> str:
    """Return the revision that this program needs: each file of a revision begins with its number."""
    steps = [path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py")]
    if not steps:
        raise DatabaseError(
            f"the steps of the schema are not where dealsync was installed ({MIGRATIONS}); install it anew"
        )
    return max(steps)


def present(connection: Connection) -> str | None:
    """Return the revision that the schema is at, None where there is none. Raises DatabaseError for several."""
    if not inspect(connection).has_table(VERSION):
        return None
    found = connection.scalars(select(column("version_num", String)).select_from(table(VERSION))).all()
    if len(found) > 1:
        raise DatabaseError(f"its table {VERSION} names several revisions, {', '.join(sorted(found))}; one is true")
    return found[0] if found else None
