"""SQL rows -> pandas frames whose column types do not depend on the rows, so that an empty table merges too.

Rows come as the driver gives them and are turned into columns as they come, a slice at a time: a table of a million
rows is never there twice, and each column is converted at once instead of value by value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import BigInteger, Boolean, Column, Connection, Engine, Select, select
from sqlalchemy.orm import DeclarativeBase

from dealsync.ledger.tables import UtcTime
from dealsync.ledger.upsert import table_of

SLICE = 2000
"""Rows that are taken from the driver at once: few enough to be read from the processor's cache again."""
FEW = 10
"""Texts of a column are kept once each, if each stands that often in a slice."""


def stored(engine: Engine, model: type[DeclarativeBase], columns: Sequence[str], *where: Any) -> pd.DataFrame:
    """Return columns of a stored table as a frame, in the order of its key; rows that fit, if conditions are given."""
    table = table_of(model)
    wanted = [table.c[name] for name in columns]
    with engine.connect() as db:
        return frame(db, wanted, select(*wanted).where(*where).order_by(*table.primary_key.columns))


def frame(db: Connection, columns: Sequence[Column[Any]], *queries: Select[Any]) -> pd.DataFrame:
    """Return the rows of queries, one after the other, as a frame with the names and types of `columns`.

    Text as str, ids int64 (Int64 where null is allowed), times in UTC.
    """
    gathered = [_Gathered() for _ in columns]
    for query in queries:
        result = db.execute(query)
        while rows := result.cursor.fetchmany(SLICE):
            for column, values in zip(gathered, zip(*rows, strict=True), strict=True):
                column.add(values)
        result.close()
    return pd.DataFrame({c.name: _series(c, found.values) for c, found in zip(columns, gathered, strict=True)})


class _Gathered:
    """The values of a column so far."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._known: dict[Any, Any] | None = None

    def add(self, values: Sequence[Any]) -> None:
        if not self.values and isinstance(values[0], str) and len(set(values)) * FEW <= len(values):
            self._known = {}
        if (known := self._known) is not None:
            self.values.extend([known.setdefault(value, value) for value in values])
        else:
            self.values.extend(values)


def _series(column: Column[Any], values: list[Any]) -> pd.Series:
    if isinstance(column.type, UtcTime):
        return _times(values)
    if isinstance(column.type, Boolean):
        return pd.Series(np.array(values, dtype="bool"))
    if isinstance(column.type, BigInteger):
        return pd.Series(values, dtype="Int64" if column.nullable else "int64")
    return pd.Series(values, dtype="str")


def _times(values: list[Any]) -> pd.Series:
    """PostgreSQL's are datetimes, SQLite's texts in UTC without a zone."""
    if any(isinstance(value, str) for value in values):
        return pd.Series(np.array(values, dtype="datetime64[us]")).dt.tz_localize("UTC")
    return pd.Series(pd.to_datetime(pd.Series(values, dtype="object"), utc=True)).dt.as_unit("us")
