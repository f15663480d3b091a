"""The two databases a trial runs on, what can happen to them, and what the ledger says afterwards."""

from __future__ import annotations

import shutil
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import psycopg
from sqlalchemy import Engine, create_engine, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from dealsync.core.inbox import InboxState
from dealsync.core.states import FINAL
from dealsync.ledger.runs import RUNNING
from dealsync.ledger.tables import EventRow, LedgerEntry, LockRow, RunRow
from tests import postgres

KINDS = ("sqlite", "postgresql")


class Database(ABC):
    """One trial's database."""

    url: str
    troubles: tuple[str, ...]

    @abstractmethod
    def trouble(self, kind: str) -> AbstractContextManager[None]:
        """Let something happen to it that lasts as long as the block."""

    def keys(self) -> list[str]:
        """Return all idempotency keys of the ledger."""
        with self._engine().connect() as db:
            return list(db.scalars(select(LedgerEntry.idempotency_key)))

    def complaints(self) -> list[str]:
        """Return what a sweep without faults must not leave behind."""
        with self._engine().connect() as db:
            open_entries = db.execute(
                select(LedgerEntry.idempotency_key, LedgerEntry.state, LedgerEntry.error)
                .where(LedgerEntry.state.not_in(FINAL))
                .order_by(LedgerEntry.idempotency_key)
            )
            found = [f"ledger: {key} is {state} ({error})" for key, state, error in open_entries]
            parked = db.execute(
                select(EventRow.event_name, EventRow.object_id, EventRow.error)
                .where(EventRow.state == InboxState.PARKED.value)
                .order_by(EventRow.received_at)
            )
            found += [f"inbox: {name} of {object_id} is parked ({error})" for name, object_id, error in parked]
            if db.scalar(select(func.count()).select_from(LockRow)):
                found.append("the run lock is still held")
            if db.scalar(select(func.count()).where(RunRow.outcome == RUNNING)):
                found.append("a run is said to be running")
        return found

    def _engine(self) -> Engine:
        url = make_url(self.url)
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        return create_engine(url, poolclass=NullPool)


class Sqlite(Database):
    """A file, of which others may hold the lock."""

    troubles = ("locked",)

    def __init__(self, path: Path) -> None:
        self._path = path
        self.url = f"sqlite:///{path}"

    @contextmanager
    def trouble(self, kind: str) -> Iterator[None]:
        """Let somebody else, such as a backup, hold the write lock."""
        holder = sqlite3.connect(self._path, timeout=1, isolation_level=None)
        try:
            with suppress(sqlite3.OperationalError):
                holder.execute("BEGIN IMMEDIATE")
            yield
        finally:
            holder.close()


class Postgres(Database):
    """A database of a server of our own."""

    troubles = ("terminated", "restarted")

    def __init__(self, server: str, name: str) -> None:
        self._server = server
        self.url = server.replace("/postgres?", f"/{name}?")

    @contextmanager
    def trouble(self, kind: str) -> Iterator[None]:
        """Drop all connections, or all of them with the server, which comes back at the end."""
        if kind == "restarted":
            with postgres.stopped(self._server):
                yield
            return
        with psycopg.connect(self._server, autocommit=True) as db:
            db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        yield


class Databases(ABC):
    """Makes databases, empty or as copies of another."""

    @abstractmethod
    def empty(self, name: str) -> Database:
        """Return a new database."""

    @abstractmethod
    def copy(self, original: Database, name: str) -> Database:
        """Return a copy of a database that nobody uses."""


class SqliteFiles(Databases):
    """Files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def empty(self, name: str) -> Database:
        """Return a file that is not there yet."""
        for path in self._folder.glob(f"{name}.db*"):
            path.unlink()
        return Sqlite(self._folder / f"{name}.db")

    def copy(self, original: Database, name: str) -> Database:
        """Copy the file, with what its journal holds."""
        copy = self.empty(name)
        source = Path(original.url.removeprefix("sqlite:///"))
        for path in source.parent.glob(f"{source.name}*"):
            shutil.copyfile(path, self._folder / path.name.replace(source.name, f"{name}.db"))
        return copy


class PostgresDatabases(Databases):
    """Databases of one server."""

    def __init__(self, server: str) -> None:
        self._server = server

    def empty(self, name: str) -> Database:
        """Return a database without tables."""
        return self._make(name, "template0")

    def copy(self, original: Database, name: str) -> Database:
        """Return a copy that the server makes."""
        return self._make(name, str(make_url(original.url).database))

    def _make(self, name: str, template: str) -> Database:
        with psycopg.connect(self._server, autocommit=True) as db:
            db.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            db.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return Postgres(self._server, name)


@contextmanager
def databases(kind: str, folder: Path) -> Iterator[Databases]:
    """Yield a maker of databases of this kind; what it made is gone at the end."""
    if kind == "sqlite":
        yield SqliteFiles(folder)
        return
    with postgres.running() as server:
        yield PostgresDatabases(server)
