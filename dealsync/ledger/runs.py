"""Runs, the lock that lets one of them write at a time, and how far each list was polled."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Engine, delete, exists, func, or_, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import aliased

from dealsync.core.assumptions import CLOCK_SKEW
from dealsync.errors import ConfigError, RunInProgress
from dealsync.ledger.tables import IdentityRow, LockRow, RunRow, WatermarkRow
from dealsync.ledger.upsert import insert

LEASE = timedelta(seconds=20)
"""How long a killed run keeps the lock."""
RENEWAL_S = 4.0
"""How often a run renews its lease: it loses the lock only after several renewals in a row failed."""
STUCK_AFTER_S = 900.0
"""A run that has done nothing for so long is stuck: its lock is let go, and a person is told."""
RETRY_S = 2.0
"""How often a waiting run tries to take the lock."""
LOCK = "run"
RECONCILE, DEEP_SWEEP = "reconcile", "deep-sweep"
DRAIN = "drain"
"""The job that webhooks start."""
APPLYING_JOBS = (RECONCILE, DEEP_SWEEP)
"""Jobs that bring all deals in line; the second is the first and more."""
RUNNING, DONE, FAILED, STUCK, ABANDONED = "running", "done", "failed", "stuck", "abandoned"
"""How a run ended. Abandoned: it was killed, and another one found its lock free."""
KOMMO_ACCOUNT = "Kommo account"
"""The name under which the database is bound to one account, see `Runs.bind`."""


log = logging.getLogger("dealsync.runs")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run that is over."""

    run_id: str
    job: str
    started_at: datetime
    ended_at: datetime | None


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

    def __init__(self, engine: Engine, clock: Callable[[], datetime] | None = None) -> None:
        """`clock`: of the lock. Without one it is the database's, so that machines whose clocks differ share one."""
        self._engine = engine
        self._clock = clock or (utc_now if engine.dialect.name == "sqlite" else self._database_time)

    @asynccontextmanager
    async def exclusive(
        self,
        job: str,
        *,
        patience: timedelta = timedelta(0),
        retry_s: float = RETRY_S,
        pulse: Callable[[], object] = object,
    ) -> AsyncIterator[str]:
        """Hold the lock for a run and keep it alive; yield the run's id. Raises RunInProgress after `patience`.

        A run that is killed loses the lock when its lease ends, within LEASE; so does one whose `pulse` has given the
        same value for STUCK_AFTER_S.
        """
        run_id = f"{utc_now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        await self._acquire(run_id, patience, retry_s)
        done = threading.Event()
        renewing = threading.Thread(
            target=self._keep_renewing, args=(run_id, done, pulse), name="run lock", daemon=True
        )
        renewing.start()
        outcome = FAILED
        try:
            self._begin(run_id, job)
            yield run_id
            outcome = DONE
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

    def done_since(self, jobs: Collection[str], at: datetime) -> str | None:
        """Return a run of one of these jobs that began at or after `at` and went through; None if there is none."""
        query = select(RunRow.run_id).where(RunRow.job.in_(jobs), RunRow.outcome == DONE, RunRow.started_at >= at)
        with self._engine.connect() as db:
            return db.scalar(query.order_by(RunRow.started_at.desc()).limit(1))

    def latest(self, jobs: Collection[str], outcomes: Collection[str]) -> RunRecord | None:
        """Return the latest run of these jobs that ended in one of these ways."""
        query = select(RunRow.run_id, RunRow.job, RunRow.started_at, RunRow.ended_at)
        query = query.where(RunRow.job.in_(jobs), RunRow.outcome.in_(outcomes))
        with self._engine.connect() as db:
            row = db.execute(query.order_by(RunRow.started_at.desc()).limit(1)).first()
        return RunRecord(*row) if row else None

    def stuck(self) -> RunRecord | None:
        """Return the latest run that got stuck, as long as no run of its job has gone through since."""
        later = aliased(RunRow)
        made_up = exists().where(later.job == RunRow.job, later.outcome == DONE, later.started_at > RunRow.started_at)
        query = select(RunRow.run_id, RunRow.job, RunRow.started_at, RunRow.ended_at)
        query = query.where(RunRow.outcome == STUCK, ~made_up).order_by(RunRow.started_at.desc()).limit(1)
        with self._engine.connect() as db:
            row = db.execute(query).first()
        return RunRecord(*row) if row else None

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

    def rebind(self, name: str, value: str) -> None:
        """Remember what this database was last read for."""
        with self._engine.begin() as db:
            statement = insert(db, IdentityRow).values(name=name, value=value)
            db.execute(statement.on_conflict_do_update(index_elements=[IdentityRow.name], set_={"value": value}))

    def bound(self, name: str) -> str | None:
        """Return whose data this database holds; None as long as it holds nobody's."""
        with self._engine.connect() as db:
            return db.scalar(select(IdentityRow.value).where(IdentityRow.name == name))

    def watermark(self, name: str) -> Watermark | None:
        """Return how far a list was polled; None when it never was to its end.

        One that lies ahead was set by a clock that was wrong: nobody knows how far it was, so all is read again.
        """
        columns = select(WatermarkRow.polled_at, WatermarkRow.next_page)
        with self._engine.connect() as db:
            row = db.execute(columns.where(WatermarkRow.name == name)).first()
        if row is None or row.polled_at > utc_now() + CLOCK_SKEW:
            return None
        return Watermark(row.polled_at, row.next_page)

    def set_watermark(self, name: str, watermark: Watermark) -> None:
        """Remember how far a list was polled. Call it after what was polled is stored."""
        values = {"polled_at": watermark.polled_at, "next_page": watermark.next_page}
        with self._engine.begin() as db:
            statement = insert(db, WatermarkRow).values(name=name, **values)
            db.execute(statement.on_conflict_do_update(index_elements=[WatermarkRow.name], set_=values))

    async def _acquire(self, run_id: str, patience: timedelta, retry_s: float) -> None:
        deadline = time.monotonic() + patience.total_seconds()  # a clock that is set must not make it wait for ever
        while holder := self._held_by_another(run_id):
            if time.monotonic() >= deadline:
                raise RunInProgress(
                    f"Run {holder} is at work. Wait for it to end; if it was killed, its lock frees itself within "
                    f"{LEASE.seconds} s"
                )
            await asyncio.sleep(retry_s)

    def _held_by_another(self, run_id: str) -> str | None:
        """Try to take the lock, in one atomic statement; return who holds it, None when it is ours.

        A lease that ends later than any can was given before the clock was set back: it counts as over. Whoever had it
        asks before each write and stops.
        """
        now = self._clock()
        with self._engine.begin() as db:
            statement = insert(db, LockRow).values(name=LOCK, holder=run_id, expires_at=now + LEASE)
            statement = statement.on_conflict_do_update(
                index_elements=[LockRow.name],
                set_={"holder": run_id, "expires_at": now + LEASE},
                where=or_(LockRow.expires_at <= now, LockRow.expires_at > now + 2 * LEASE),
            )
            if db.execute(statement.returning(LockRow.holder)).first():
                return None
            return db.scalar(select(LockRow.holder).where(LockRow.name == LOCK)) or "another"

    def _keep_renewing(self, run_id: str, done: threading.Event, pulse: Callable[[], object]) -> None:
        """Renew until done, in a thread of its own: a long comparison must not cost the lock. A stuck run loses it."""
        felt, beat_s = pulse(), time.monotonic()
        while not done.wait(RENEWAL_S):
            if (now_felt := pulse()) != felt:
                felt, beat_s = now_felt, time.monotonic()
            elif time.monotonic() - beat_s > STUCK_AFTER_S:
                self._give_up(run_id)
                return
            # Whether the lock was lost is asked again before every write; a busy database may pass.
            with suppress(RunInProgress, SQLAlchemyError):
                self.ensure_held(run_id)

    def _give_up(self, run_id: str) -> None:
        """Let the lock of a stuck run go, and leave word of it; should it wake, it may send nothing more."""
        log.critical("run %s has done nothing for %.0f s: its lock is let go", run_id, STUCK_AFTER_S)
        with suppress(SQLAlchemyError):
            self._end(run_id, STUCK)

    def _begin(self, run_id: str, job: str) -> None:
        row = {"run_id": run_id, "job": job, "started_at": utc_now(), "outcome": RUNNING, "summary": {}}
        with self._engine.begin() as db:
            # Whoever has the lock is alone: what is said to be running was killed.
            killed = update(RunRow).where(RunRow.outcome == RUNNING)
            db.execute(killed.values(outcome=ABANDONED, ended_at=utc_now()))
            db.execute(insert(db, RunRow).values(row))

    def _end(self, run_id: str, outcome: str) -> None:
        with self._engine.begin() as db:
            mine = update(RunRow).where(RunRow.run_id == run_id, RunRow.outcome != STUCK)
            db.execute(mine.values(ended_at=utc_now(), outcome=outcome))
            db.execute(delete(LockRow).where(LockRow.name == LOCK, LockRow.holder == run_id))

    def _database_time(self) -> datetime:
        with self._engine.connect() as db:
            found = db.scalar(select(func.clock_timestamp()))
        return found.astimezone(UTC) if isinstance(found, datetime) else utc_now()
