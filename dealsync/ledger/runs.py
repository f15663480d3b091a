"""Runs, the lock that lets one of them write at a time, and how far each list was polled."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Engine, delete, exists, select, update
from sqlalchemy.exc import SQLAlchemyError

from dealsync.errors import ConfigError, RunInProgress
from dealsync.ledger.tables import IdentityRow, LockRow, RunRow, WatermarkRow
from dealsync.ledger.upsert import insert

LEASE = timedelta(seconds=20)
"""How long a killed run keeps the lock."""
RENEWAL_S = 4.0
"""How often a run renews its lease: it loses the lock only after several renewals in a row failed."""
RETRY_S = 2.0
"""How often a waiting run tries to take the lock."""
LOCK = "run"
KOMMO_ACCOUNT = "Kommo account"
"""The name under which the database is bound to one account, see `Runs.bind`."""


@dataclass(frozen=True, slots=True)
class Watermark:
    """How far a list was polled, and the next page of its rolling re-read."""

    polled_at: datetime
    next_page: int


def utc_now() -> datetime:
    """Return the present time, aware UTC."""
    return datetime.now(UTC)


def is_held_by(run_id: str) -> ColumnElement[bool]:
    """Return the condition that a run holds the lock, for statements that only its holder may carry out."""
    return exists().where(LockRow.name == LOCK, LockRow.holder == run_id)


class Runs:
    """Run records, run lock, watermarks."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime] = utc_now) -> None:
        self._engine = engine
        self._clock = clock

    @asynccontextmanager
    async def exclusive(
        self, job: str, *, patience: timedelta = timedelta(0), retry_s: float = RETRY_S
    ) -> AsyncIterator[str]:
        """Hold the lock for a run and keep it alive; yield the run's id. Raises RunInProgress after `patience`.

        A run that is killed loses the lock when its lease ends, within LEASE.
        """
        run_id = f"{self._clock():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        await self._acquire(run_id, self._clock() + patience, retry_s)
        done = threading.Event()
        renewing = threading.Thread(target=self._keep_renewing, args=(run_id, done), name="run lock", daemon=True)
        renewing.start()
        outcome = "failed"
        try:
            self._begin(run_id, job)
            yield run_id
            outcome = "done"
        finally:
            done.set()
            renewing.join()
            self._end(run_id, outcome)

    def ensure_held(self, run_id: str) -> None:
        """Renew the lock, or raise RunInProgress when the run stalled so long that another took it over."""
        with self._engine.begin() as db:
            held = db.execute(
                update(LockRow)
                .where(LockRow.name == LOCK, LockRow.holder == run_id)
                .values(expires_at=self._clock() + LEASE)
            ).rowcount
        if not held:
            raise RunInProgress(f"Run {run_id} stalled and lost its lock to another run; it sends nothing more")

    def summarise(self, run_id: str, summary: dict[str, Any]) -> None:
        """Keep the figures of a run."""
        with self._engine.begin() as db:
            db.execute(update(RunRow).where(RunRow.run_id == run_id).values(summary=summary))

    def last_summary(self) -> dict[str, Any]:
        """Return the figures of the latest run; empty before the first."""
        query = select(RunRow.summary).order_by(RunRow.started_at.desc()).limit(1)
        with self._engine.connect() as db:
            return db.scalar(query) or {}

    def bind(self, name: str, value: str) -> None:
        """Remember whose data this database holds. Raises ConfigError when it holds another's."""
        with self._engine.begin() as db:
            statement = insert(db, IdentityRow).values(name=name, value=value)
            db.execute(statement.on_conflict_do_nothing(index_elements=[IdentityRow.name]))
            held = db.scalar(select(IdentityRow.value).where(IdentityRow.name == name))
        if held != value:
            raise ConfigError(
                f"This database belongs to {name} {held}, but the settings name {value}. "
                "Set DEALSYNC_DATABASE_URL to a database of its own"
            )

    def bound(self, name: str) -> str | None:
        """Return whose data this database holds; None as long as it holds nobody's."""
        with self._engine.connect() as db:
            return db.scalar(select(IdentityRow.value).where(IdentityRow.name == name))

    def watermark(self, name: str) -> Watermark | None:
        """Return how far a list was polled; None when it never was to its end."""
        columns = select(WatermarkRow.polled_at, WatermarkRow.next_page)
        with self._engine.connect() as db:
            row = db.execute(columns.where(WatermarkRow.name == name)).first()
        return Watermark(row.polled_at, row.next_page) if row else None

    def set_watermark(self, name: str, watermark: Watermark) -> None:
        """Remember how far a list was polled. Call it after what was polled is stored."""
        values = {"polled_at": watermark.polled_at, "next_page": watermark.next_page}
        with self._engine.begin() as db:
            statement = insert(db, WatermarkRow).values(name=name, **values)
            db.execute(statement.on_conflict_do_update(index_elements=[WatermarkRow.name], set_=values))

    async def _acquire(self, run_id: str, deadline: datetime, retry_s: float) -> None:
        while holder := self._held_by_another(run_id):
            if self._clock() >= deadline:
                raise RunInProgress(
                    f"Run {holder} is at work. Wait for it to end; if it was killed, its lock frees itself within "
                    f"{LEASE.seconds} s"
                )
            await asyncio.sleep(retry_s)

    def _held_by_another(self, run_id: str) -> str | None:
        """Try to take the lock, in one atomic statement; return who holds it, None when it is ours."""
        now = self._clock()
        with self._engine.begin() as db:
            statement = insert(db, LockRow).values(name=LOCK, holder=run_id, expires_at=now + LEASE)
            statement = statement.on_conflict_do_update(
                index_elements=[LockRow.name],
                set_={"holder": run_id, "expires_at": now + LEASE},
                where=LockRow.expires_at <= now,
            )
            if db.execute(statement.returning(LockRow.holder)).first():
                return None
            return db.scalar(select(LockRow.holder).where(LockRow.name == LOCK)) or "another"

    def _keep_renewing(self, run_id: str, done: threading.Event) -> None:
        """Renew until done, in a thread of its own: a long comparison must not cost the lock."""
        while not done.wait(RENEWAL_S):
            # Whether the lock was lost is asked again before every write; a busy database may pass.
            with suppress(RunInProgress, SQLAlchemyError):
                self.ensure_held(run_id)

    def _begin(self, run_id: str, job: str) -> None:
        with self._engine.begin() as db:
            row = {"run_id": run_id, "job": job, "started_at": self._clock(), "outcome": "running", "summary": {}}
            db.execute(insert(db, RunRow).values(row))

    def _end(self, run_id: str, outcome: str) -> None:
        with self._engine.begin() as db:
            db.execute(update(RunRow).where(RunRow.run_id == run_id).values(ended_at=self._clock(), outcome=outcome))
            db.execute(delete(LockRow).where(LockRow.name == LOCK, LockRow.holder == run_id))
