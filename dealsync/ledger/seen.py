"""What was seen of objects, written down beside the mirror and in its transaction. Nothing where nothing changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, select

from dealsync.core.sightings import WATCHED, SeenBy, Sighting, Values, changed, first_sight
from dealsync.ledger.runs import utc_now
from dealsync.ledger.tables import SightingRow
from dealsync.ledger.upsert import table_of

Own = Callable[[Any], Mapping[str, str]]
"""What dealsync is known to have written on an object, by its key."""


def stored_values(db: Connection, table: Table, keys: Sequence[Any]) -> dict[Any, Values]:
    """Return the watched columns of rows as they are stored, by key."""
    (key,) = table.primary_key.columns
    columns = [table.c[name] for name in WATCHED[table.name].columns]
    rows = db.execute(select(key, *columns).where(key.in_(keys)))
    return {row[0]: dict(zip(WATCHED[table.name].columns, row[1:], strict=True)) for row in rows}


def sightings_of(table: Table, before: Mapping[Any, Values], rows: Iterable[Values], own: Own) -> list[Sighting]:
    """Return what rows that were just stored tell of their objects that was not known."""
    (key,) = table.primary_key.columns
    watched, found = WATCHED[table.name], list[Sighting]()
    for row in rows:
        object_id = row[key.name]
        about, written = f"{watched.kind}:{object_id}", own(object_id)
        if (old := before.get(object_id)) is None:
            found.append(first_sight(watched, about, row, is_own=bool(written)))
        else:
            found += changed(watched, about, old, row, written)
    return found


def keep_sightings(db: Connection, by: SeenBy, sightings: Iterable[Sighting]) -> None:
    """Write sightings down."""
    now = utc_now()
    rows = [
        {
            "about": one.about,
            "at": now,
            "run_id": by.run_id,
            "how": by.how.value,
            "is_first": one.is_first,
            "is_own": one.is_own,
            "changed_at": one.changed_at,
            "changes": one.changes,
        }
        for one in sightings
    ]
    if rows:
        db.execute(table_of(SightingRow).insert(), rows)
