"""The database is busy, full, cut off or restarted in mid-run: the run fails cleanly, and the next one goes on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import Engine, event

from dealsync import doubts, run
from dealsync.apis.transport import Transport
from dealsync.errors import DatabaseError
from dealsync.ledger import runs, sqlite
from tests import postgres
from tests.accounts import WON, Accounts, simulated

ANN = {"name": "Ann Example", "email": "ann@example.com"}
Trouble = Callable[[], object]


@pytest.fixture(autouse=True)
def _short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose database is away cannot give its lock back: the next one waits until its lease is over."""
    monkeypatch.setattr(doubts, "KOMMO_READ_LAG", timedelta(0))
    monkeypatch.setattr(runs, "LEASE", timedelta(seconds=1))
    monkeypatch.setattr(runs, "RENEWAL_S", 0.2)
    monkeypatch.setattr(run, "RETRY_S", 0.1)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    if not postgres.is_available():
        pytest.skip(postgres.MISSING)
    with postgres.running() as url:
        yield url


@pytest.fixture
def database(server: str) -> str:
    """An empty database of the server."""
    name = f"trouble_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as db:
        db.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    return server.replace("/postgres?", f"/{name}?")


@pytest.fixture
def on_postgres(database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Accounts]:
    monkeypatch.setenv("DEALSYNC_DATABASE_URL", database)
    with simulated(monkeypatch, tmp_path) as found:
        found.init()
        yield found


def sales(accounts: Accounts) -> int:
    """A payment for a deal, one of a stranger, and one that a person must place; return the first deal."""
    lead_id = int(accounts.control("leads", price=490, contact=ANN)["id"])
    accounts.control("orders", email=ANN["email"], total=49000)
    accounts.control("orders", email="new@example.com", total=9900)
    lost = accounts.control("leads", price=70, contact={"name": "Bob", "email": "bob@example.com"})["id"]
    accounts.control("orders", email="bob@example.com", total=7000)
    accounts.control(f"leads/{lost}/move", status_id=143)
    return lead_id


def strikes(monkeypatch: pytest.MonkeyPatch, trouble: Trouble, *, at: int, after: bool) -> None:
    """Let the database fail right before a write leaves, or once Kommo has carried it out.

    `at`: of contacts, deals, changes of deals, notes, tasks, from 0.
    """
    write, count = Transport.write, iter(range(10_000))

    async def struck(self: Transport, method: str, path: str, body: Any = None, **options: Any) -> Any:
        is_now = next(count) == at
        if is_now and not after:
            trouble()
        answer = await write(self, method, path, body, **options)
        if is_now and after:
            trouble()
        return answer

    monkeypatch.setattr(Transport, "write", struck)


def all_is_well(accounts: Accounts, lead_id: int) -> None:
    """Every effect is there, and once."""
    accounts.run()
    accounts.run().raise_if_failed()
    assert accounts.run(apply=False).plan.actions == ()
    kommo = accounts.kommo()
    assert accounts.lead(lead_id)["status_id"] == WON
    assert (len(kommo["leads"]), len(kommo["contacts"])) == (3, 3)
    assert sorted(len(accounts.texts(lead["id"])[0]) for lead in kommo["leads"]) == [0, 1, 1]
    tasks = [task["text"] for task in kommo["tasks"]]
    assert len(tasks) == len(set(tasks)) == 1


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", [0, 2, 4])
def test_sqlite__busy_for_too_long_fails_the_run_and_doubles_nothing(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch, at: int, after: bool
) -> None:
    lead_id = sales(accounts)
    accounts.run(apply=False)
    monkeypatch.setattr(sqlite, "BUSY_S", 0.1)
    with closing(sqlite3.connect(accounts.folder / "dealsync.db", isolation_level=None)) as other:
        with monkeypatch.context() as patch:
            strikes(patch, lambda: other.execute("BEGIN IMMEDIATE"), at=at, after=after)
            with pytest.raises(DatabaseError, match="run again"):
                accounts.run()
        other.execute("ROLLBACK")
    all_is_well(accounts, lead_id)


def test_sqlite__on_a_full_disk_fails_the_run_and_loses_nothing(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead_id = sales(accounts)
    accounts.run(apply=False)

    def little_room(connection: sqlite3.Connection, _record: object) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages}")

    accounts.control("orders", email="many@example.com", total=100)
    for number in range(60):
        accounts.control("leads", price=1, name=f"Deal {number}")
    event.listen(Engine, "connect", little_room)
    try:
        with pytest.raises(DatabaseError):
            accounts.run()
    finally:
        event.remove(Engine, "connect", little_room)
    accounts.run()
    accounts.run().raise_if_failed()
    assert accounts.lead(lead_id)["status_id"] == WON
    assert accounts.run(apply=False).plan.actions == ()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", [1, 3])
def test_postgresql__whose_connections_are_cut_doubles_nothing(
    on_postgres: Accounts, database: str, monkeypatch: pytest.MonkeyPatch, at: int, after: bool
) -> None:
    """A connection that was idle is replaced without a word, so the run may even go through."""
    lead_id = sales(on_postgres)
    on_postgres.run(apply=False)
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename IS NOT NULL"

    def trouble() -> None:
        with psycopg.connect(database) as db:
            db.execute(cut)

    with monkeypatch.context() as patch:
        strikes(patch, trouble, at=at, after=after)
        with suppress(DatabaseError):
            on_postgres.run()
    all_is_well(on_postgres, lead_id)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_postgresql__restarted_in_mid_run_doubles_nothing(
    on_postgres: Accounts, database: str, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    lead_id = sales(on_postgres)
    on_postgres.run(apply=False)
    with monkeypatch.context() as patch:
        strikes(patch, lambda: postgres.restart(database), at=2, after=after)
        with suppress(DatabaseError):
            on_postgres.run()
    all_is_well(on_postgres, lead_id)


def test_postgresql__that_is_away_is_one_clear_error(on_postgres: Accounts, database: str) -> None:
    lead_id = sales(on_postgres)
    with postgres.stopped(database), pytest.raises(DatabaseError, match="cannot be used"):
        on_postgres.run()
    all_is_well(on_postgres, lead_id)
