"""Rows that were just read, against those that are stored. Most are the same, and what is the same is not written.

The stored rows are compared as the driver gives them: to make Python's values of thousands of times and JSON texts
costs more than all the rest, and is done for those rows alone that differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import JSON, Column, Connection, Dialect, Select, Table, bindparam, select, type_coerce
from sqlalchemy.types import NULLTYPE

from dealsync.core.mapping import stable_link
from dealsync.ledger.tables import UtcTime

Values = Mapping[str, Any]
SIGNED = frozenset({"receipt_url", "portal_url"})
"""Links whose signature is new in every answer: what is before it tells whether it is another link."""

MOST = 32
"""Tables and dialects that are known at once: a process that opens one database after another forgets the first."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison found, by key."""

    same: frozenset[Any]  # stored just so
    before: Mapping[Any, Values]  # as it is stored now what differs and is not new


def compared(db: Connection, table: Table, rows: Mapping[Any, Values]) -> Compared:
    """Compare rows, which all name the same columns, with what is stored of them."""
    if not rows:
        return Compared(frozenset(), {})
    names = tuple(next(iter(rows.values())))
    key = names.index(next(iter(table.primary_key.columns)).name)
    values_of, read, sent = itemgetter(*names), _alike(table, names, None), _alike(table, names, db.dialect)
    same, before = set(), dict[Any, Values]()
    for found in db.execute(_query(table, names), {"keys": list(rows)}):
        object_id = found[key]
        now = values_of(rows[object_id])
        if _converted(found, read) == _converted(now, sent):
            same.add(object_id)
        else:
            before[object_id] = _as_values(table, names, found, db.dialect)
    return Compared(frozenset(same), before)


@cache
def _query(table: Table, names: Sequence[str]) -> Select[Any]:
    (key,) = table.primary_key.columns
    columns = (type_coerce(table.c[name], NULLTYPE).label(name) for name in names)
    return select(*columns).where(key.in_(bindparam("keys", expanding=True)))


Converters = Sequence[tuple[int, Callable[[Any], Any]]]


@lru_cache(maxsize=MOST)
def _alike(table: Table, names: Sequence[str], dialect: Dialect | None) -> Converters:
    """What makes stored values, or those about to be sent by a dialect, comparable: by their places."""
    found = ((place, _converter(table.c[name], dialect)) for place, name in enumerate(names))
    return [(place, convert) for place, convert in found if convert is not None]


def _converter(column: Column[Any], dialect: Dialect | None) -> Callable[[Any], Any] | None:
    if column.name in SIGNED:
        return _stable
    # SQLite has neither times nor JSON, only their texts; what psycopg gives and takes is the same.
    if dialect is not None and dialect.name == "sqlite" and isinstance(column.type, UtcTime | JSON):
        return column.type.dialect_impl(dialect).bind_processor(dialect)
    return None


def _stable(url: str | None) -> str | None:
    return url and stable_link(url)


def _converted(values: Sequence[Any], converters: Converters) -> Sequence[Any]:
    if not converters:
        return tuple(values)
    made = list(values)
    for place, convert in converters:
        made[place] = convert(made[place])
    return tuple(made)


def _as_values(table: Table, names: Sequence[str], found: Sequence[Any], dialect: Dialect) -> Values:
    """What the driver gave, as Python's values."""
    return {
        name: value if process is None else process(value)
        for name, process, value in zip(names, _processors(table, names, dialect), found, strict=True)
    }


@lru_cache(maxsize=MOST)
def _processors(table: Table, names: Sequence[str], dialect: Dialect) -> Sequence[Callable[[Any], Any] | None]:
    kinds = (table.c[name].type for name in names)
    return [kind.dialect_impl(dialect).result_processor(dialect, None) for kind in kinds]
