"""Opens the database and brings its schema up to date."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import SQLAlchemyError

from dealsync.errors import DatabaseError
from dealsync.ledger import revisions
from dealsync.ledger.sqlite import pragmas

DRIVERS = ("sqlite", "postgresql+psycopg")
MIGRATION_LOCK = 4_230_917
"""Any number, as long as nobody else's: PostgreSQL's advisory locks are told apart by nothing else."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Which revision a schema is at, None where there is none, and which one this program needs."""

    present: str | None
    needed: str | None


def open_database(url: str) -> Engine:
    """Return an engine on the migrated database at `url` (SQLite, or PostgreSQL through psycopg).

    Raises DatabaseError with one line that never holds the password.
    """
    engine = connect(url)
    with _told_with_its_name(engine.url):
        _migrate(engine)
    return engine


def connect(url: str) -> Engine:
    """Return an engine on the database at `url` as it is. Raises DatabaseError for what is no such address."""
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError) as error:
        raise DatabaseError(
            "DEALSYNC_DATABASE_URL is not a database URL; write sqlite:///dealsync.db or "
            "postgresql://user:password@host/name"
        ) from error
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in DRIVERS:
        raise DatabaseError(
            f"DEALSYNC_DATABASE_URL names {parsed.drivername}, which is neither SQLite (sqlite://) nor PostgreSQL "
            "through psycopg (postgresql://)"
        )
    engine = create_engine(parsed, pool_pre_ping=True, hide_parameters=True)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", pragmas(synchronous="FULL"))
    return engine


def standing(engine: Engine) -> Standing:
    """Return how the schema stands, and change nothing. Raises DatabaseError when the database cannot be reached.

    A file that is not there is not made, as connecting to it would.
    """
    path = engine.url.database if engine.dialect.name == "sqlite" else None
    if path and path != ":memory:" and not Path(path).exists():
        raise DatabaseError(f"There is no file {path} yet")
    with _told_with_its_name(engine.url), engine.connect() as connection:
        return Standing(revisions.present(connection), revisions.newest())


@contextmanager
def _told_with_its_name(url: URL) -> Iterator[None]:
    shown = f"{url.get_backend_name()} {url.host or ''}/{url.database or ''}".replace(" /", " ")
    try:
        yield
    except (SQLAlchemyError, DatabaseError) as error:
        words = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise DatabaseError(f"The database {shown} cannot be used: {words}") from error


@contextmanager
def told_as_ours() -> Iterator[None]:
    """Turn what a database raises in mid-work into one line of ours. Raises DatabaseError."""
    try:
        yield
    except SQLAlchemyError as error:
        raise DatabaseError(
            f"The database failed in mid-work: {type(error).__name__}. What was recorded stays; run again"
        ) from error


def _migrate(engine: Engine) -> None:
    with engine.connect() as connection:
        if revisions.present(connection) == revisions.newest():
            return
    from dealsync.ledger.upgrade import upgrade  # most commands find the schema as it has to be

    with engine.begin() as connection:
        # One process makes the schema; another that starts at the same time waits, and finds it made.
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
        if revisions.present(connection) != revisions.newest():
            upgrade(connection)
