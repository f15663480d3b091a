"""SQL rows -> pandas frames whose column types do not depend on the rows, so that an empty table merges too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from sqlalchemy import BigInteger, Boolean, Column, Engine, Row, Table, select
from sqlalchemy.orm import DeclarativeBase

from dealsync.ledger.tables import UtcTime
from dealsync.ledger.upsert import table_of


def stored(engine: Engine, model: type[DeclarativeBase], columns: Sequence[str], *where: Any) -> pd.DataFrame:
    """Return columns of a stored table as a frame, in the order of its key; rows that fit, if conditions are given."""
    table = table_of(model)
    query = select(*(table.c[name] for name in columns)).where(*where).order_by(*table.primary_key.columns)
    with engine.connect() as db:
        return frame(table, columns, db.execute(query).all())


def frame(table: Table, columns: Sequence[str], rows: Sequence[Row[Any]]) -> pd.DataFrame:
    """Return rows of `table` as a frame: text as str, ids int64 (Int64 where null is allowed), times in UTC."""
    values: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    typed = {name: _series(table.c[name], column) for name, column in zip(columns, values, strict=True)}
    return pd.DataFrame(typed, columns=list(columns))


def _series(column: Column[Any], values: Sequence[Any]) -> pd.Series:
    if isinstance(column.type, UtcTime):
        return pd.Series(pd.to_datetime(pd.Series(values, dtype="object"), utc=True))
    if isinstance(column.type, Boolean):
        return pd.Series(values, dtype="bool")
    if isinstance(column.type, BigInteger):
        return pd.Series(values, dtype="Int64" if column.nullable else "int64")
    return pd.Series(values, dtype="str")
