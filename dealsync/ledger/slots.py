"""Turns shared by every process of this machine and every worker on the same database.

A turn is reserved by one atomic statement on a row that holds the latest turn handed out. The machine's row lives in
a small SQLite file; on PostgreSQL there is a second row in the database itself, on the database's clock, for workers
on other machines. A block lives in the database only: it outlasts restarts, and a person lifts it.

Spacing alone does not keep a limit: a request can be slow to arrive and meet the next ones there. It arrives between
its departure and its answer, so it counts from the one until a second after the other, and no more than the API bears
count at any time.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    case,
    cast,
    create_engine,
    delete,
    event,
    extract,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.exc import SQLAlchemyError

from dealsync.core.turns import LONGEST_WAIT_S, RECOVERY_S, Turn
from dealsync.errors import DatabaseError
from dealsync.ledger.blocks import Blocks
from dealsync.ledger.tables import FlightRow, PaceRow
from dealsync.ledger.upsert import insert, table_of

SECOND = 1_000_000
"""Times in the rows are whole microseconds since 1970."""
URGENT = SECOND // 2
"""How long after an urgent turn others let urgent work pass."""
HORIZON = 30 * SECOND
"""No queue is longer than this: a turn further ahead was handed out before a clock was set back."""
LONGEST_FLIGHT = 30 * SECOND
"""Longer than any request lasts before it times out."""
LONGEST_HOLD = 3600 * SECOND
"""Likewise for what an API asked for."""


class SharedSlots:
    """Slots of one API at one origin, for `dealsync.apis.pace.Pace`."""

    def __init__(
        self, name: str, per_second: float, *, database: Engine, machine: Engine, most_in_a_second: int | None = None
    ) -> None:
        """`most_in_a_second` is what the API bears; None where the spacing keeps far enough from it."""
        self._name = name
        self._most = most_in_a_second
        self._blocks = Blocks(database)
        self._machine = _Row(machine, name, round(SECOND / per_second))
        self._shared = _Row(database, name, round(SECOND / per_second)) if _has_a_server(database) else None

    async def reserve(self, *, urgent: bool, yielding: bool) -> Turn:
        """Reserve the next turn; without one, tell what stands in the way."""
        return await asyncio.to_thread(self._reserve, urgent, yielding)

    async def take_off(self) -> Turn:
        """Take a reserved turn, unless a hold, a block or slow requests under way forbid it."""
        return await asyncio.to_thread(self._take_off)

    async def land(self, flight: str) -> None:
        """Tell that a request is over."""
        if flight:
            for row in self._rows():
                await asyncio.to_thread(row.land, flight)

    async def hold(self, wait_s: float) -> None:
        """Let nobody go for so many seconds; an earlier hold is never shortened."""
        for row in self._rows():
            await asyncio.to_thread(row.hold, round(wait_s * SECOND))

    async def slow_down(self) -> None:
        """Hand out turns at half the rate for RECOVERY_S once a hold is over."""
        for row in self._rows():
            await asyncio.to_thread(row.slow_down)

    async def block(self, reason: str) -> bool:
        """Let nobody go until `Blocks.lift`; return whether this is news."""
        return await asyncio.to_thread(self._blocks.add, self._name, reason)

    def _reserve(self, urgent: bool, yielding: bool) -> Turn:
        if blocked := self._blocks.reason(self._name):
            return Turn(granted=False, blocked=blocked)
        with self._machine.begin() as machine:
            if self._shared is None:
                return self._machine.reserve(machine, urgent=urgent, yielding=yielding)
            # The machine's row is taken meanwhile: its turns come in the order of the database's.
            self._machine.take(machine)
            with self._shared.begin() as shared:
                first = self._shared.reserve(shared, urgent=urgent, yielding=yielding)
                if not first.granted:
                    return first
                turn = self._machine.reserve(machine, urgent=urgent, yielding=False, not_before=first.wait_s)
                if turn.granted:
                    self._shared.postpone(shared, turn.wait_s)
                return turn

    def _rows(self) -> list[_Row]:
        return [self._machine, *([self._shared] if self._shared else [])]

    def _take_off(self) -> Turn:
        if blocked := self._blocks.reason(self._name):
            return Turn(granted=False, blocked=blocked)
        if left := max(row.held_for() for row in self._rows()):
            return Turn(left / SECOND, granted=False, held=True)
        if self._most is None:
            return Turn()
        flight = secrets.token_hex(16)
        with ExitStack() as transactions:
            open_rows = [(row, transactions.enter_context(row.begin())) for row in self._rows()]
            for row, db in open_rows:
                if wait := row.crowded_for(db, self._most):
                    return Turn(wait / SECOND, granted=False)
            for row, db in open_rows:
                row.take_off(db, flight)
        return Turn(flight=flight)


class _Row:
    """One row of turns. All times are microseconds, on the clock of where the row is."""

    def __init__(self, engine: Engine, name: str, spacing: int) -> None:
        self._engine, self._name, self._spacing = engine, name, spacing
        self._on_server = _has_a_server(engine)
        self._is_there = False
        # A statement's own clock: the transaction's would stand still while it waits for another's.
        self._greatest = func.greatest if self._on_server else func.max

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Open a transaction on a row that is there."""
        self._ensure()
        with self._engine.begin() as db:
            yield db

    def take(self, db: Connection) -> None:
        """Keep the row from everybody else until the transaction ends."""
        db.execute(update(PaceRow).where(PaceRow.name == self._name).values(name=self._name))

    def reserve(self, db: Connection, *, urgent: bool, yielding: bool, not_before: float = 0.0) -> Turn:
        """Hand out the first turn that is at least `not_before` seconds from now."""
        now, row = self._now(), PaceRow
        latest = case((row.last_turn <= now + HORIZON, row.last_turn), else_=0)
        hold = case((row.hold_until <= now + LONGEST_HOLD, row.hold_until), else_=0)
        spacing = case((row.slow_until > now, 2 * self._spacing), else_=self._spacing)
        turn = self._greatest(now + round(not_before * SECOND), hold, latest + spacing)
        statement = (
            update(row)
            .where(row.name == self._name, hold <= now + round(LONGEST_WAIT_S * SECOND))
            .where(or_(literal(not yielding or urgent), row.urgent_until <= now, row.urgent_until > now + HORIZON))
            .values(last_turn=turn, urgent_until=turn + URGENT if urgent else row.urgent_until)
            .returning(row.last_turn - self._now())
        )
        wait = db.scalar(statement)
        return self._refusal(db) if wait is None else Turn(max(wait, 0) / SECOND)

    def postpone(self, db: Connection, wait_s: float) -> None:
        """Move the latest turn to when it is really taken."""
        turn = self._greatest(PaceRow.last_turn, self._now() + round(wait_s * SECOND))
        db.execute(update(PaceRow).where(PaceRow.name == self._name).values(last_turn=turn))

    def crowded_for(self, db: Connection, most: int) -> int:
        """How long to wait before asking again, because as many requests as the API bears may count there now."""
        self.take(db)
        now, flight = self._now(), FlightRow
        gone = or_(flight.until <= now, flight.until > now + 2 * LONGEST_FLIGHT)
        db.execute(delete(flight).where(flight.name == self._name, gone))
        query = select(func.count(), func.min(flight.until) - now).where(flight.name == self._name)
        count, left = db.execute(query).one()
        return min(max(left, SECOND // 200), SECOND // 20) if count >= most else 0

    def take_off(self, db: Connection, flight: str) -> None:
        """Count a request until it lands; one whose process dies counts until it must be over."""
        values = {"flight": flight, "name": self._name, "until": self._now() + LONGEST_FLIGHT}
        db.execute(insert(db, FlightRow).values(values))

    def land(self, flight: str) -> None:
        """Count a request for one more second: it may have arrived at its very end."""
        with self._engine.begin() as db:
            db.execute(update(FlightRow).where(FlightRow.flight == flight).values(until=self._now() + SECOND))

    def held_for(self) -> int:
        """How long a hold still lasts, 0 without one."""
        with self._engine.connect() as db:
            return self._left(db, PaceRow.hold_until, LONGEST_HOLD)

    def hold(self, wait: int) -> None:
        """Hand out no turn for so long."""
        self._ensure()
        until = self._now() + wait
        still = case((PaceRow.hold_until <= self._now() + LONGEST_HOLD, PaceRow.hold_until), else_=0)
        self._set(hold_until=self._greatest(still, until))

    def slow_down(self) -> None:
        """Hand out turns at half the rate after the present hold."""
        self._ensure()
        start = self._greatest(self._now(), PaceRow.hold_until)
        self._set(slow_until=start + round(RECOVERY_S * SECOND))

    def _set(self, **values: Any) -> None:
        with self._engine.begin() as db:
            db.execute(update(PaceRow).where(PaceRow.name == self._name).values(**values))

    def _refusal(self, db: Connection) -> Turn:
        """Why the row gave no turn: a long hold, or urgent work."""
        held = self._left(db, PaceRow.hold_until, LONGEST_HOLD)
        left = held or self._left(db, PaceRow.urgent_until, HORIZON)
        return Turn(left / SECOND, granted=False, held=held > 0)

    def _left(self, db: Connection, until: Any, most: int) -> int:
        left = db.scalar(select(until - self._now()).where(PaceRow.name == self._name))
        return left if left is not None and 0 < left <= most else 0

    def _ensure(self) -> None:
        if self._is_there:
            return
        with self._engine.begin() as db:
            statement = insert(db, PaceRow).values(name=self._name)
            db.execute(statement.on_conflict_do_nothing(index_elements=[PaceRow.name]))
        self._is_there = True

    def _now(self) -> Any:
        if self._on_server:
            return cast(extract("epoch", func.clock_timestamp()) * SECOND, BigInteger)
        return literal(time.time_ns() // 1000, BigInteger)


def _has_a_server(engine: Engine) -> bool:
    return engine.dialect.name == "postgresql"


def open_machine(folder: Path) -> Engine:
    """Return the database of this machine's turns, made when it is missing. Raises DatabaseError.

    It holds nothing worth keeping: losing it in a power cut costs nothing, so it never waits for the disk.
    """
    path = folder / "turns.db"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        engine = create_engine(f"sqlite:///{path}")
        event.listen(engine, "connect", _set_pragmas)
        PaceRow.metadata.create_all(engine, [table_of(PaceRow), table_of(FlightRow)])
    except (OSError, SQLAlchemyError) as error:
        raise DatabaseError(
            f"{path} cannot be used ({type(error).__name__}); name a folder that can be written in DEALSYNC_STATE_DIR"
        ) from error
    return engine


def _set_pragmas(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=OFF", "busy_timeout=30000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
