"""The two things that every table here needs: insert-or-update, and statements of bounded size."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, TypeVar, cast

from sqlalchemy import ColumnElement, Connection, Table, literal_column
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase

CHUNK = 500
"""Rows in one statement: below SQLite's limit on bound values with our widest table."""
Item = TypeVar("Item")


def insert(db: Connection, table: Any) -> Any:
    """Return the INSERT of this database's dialect, which knows ON CONFLICT."""
    return insert_of(db.dialect.name, table)


def insert_of(dialect: str, table: Any) -> Any:
    """Return the INSERT of a dialect."""
    return (postgresql.insert if dialect == "postgresql" else sqlite.insert)(table)


def chunks(items: Iterable[Item]) -> Iterable[list[Item]]:
    """Yield lists of at most CHUNK items."""
    iterator = iter(items)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def table_of(model: type[DeclarativeBase]) -> Table:
    """Return the table behind a mapped class."""
    return cast("Table", model.__table__)


def here(name: str) -> ColumnElement[Any]:
    """Return a column ("links.lead_id") of the row that a statement is at, for a subselect in it.

    In an INSERT nothing ties a subselect to the row in conflict: a table that is named there is read anew, as a whole.
    """
    return literal_column(name)


def besides(column: Any) -> ColumnElement[str]:
    """Return a text column in a form that no index serves: what is asked besides is what finds the rows.

    Without statistics SQLite takes any "equals" for rare, and would walk through all that was ever applied.
    """
    found: ColumnElement[str] = column.concat("")
    return found
