"""Turns shared by every process of this machine and every worker on the same database.

A turn is reserved by one atomic statement on a row that holds the latest turn handed out. The machine's row lives in
a small SQLite file; on PostgreSQL there is a second row in the database itself, on the database's clock, for workers
on other machines. A block is kept in both, outlasts restarts, and is lifted by a person; that of a simulator on this
machine is kept in the database only, so that a new simulator at the same address is not taken for the banned one.

Spacing alone does not keep a limit: a request can be slow to arrive and meet the next ones there. It arrives between
its departure and its answer, so it counts from the one until a window of the limit after the other, and no more than
the API bears count at any time. That also keeps the limit where turns that nobody took are given out together.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    and_,
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
from sqlalchemy.schema import CreateIndex, CreateTable

from dealsync.core.turns import LONGEST_WAIT_S, RECOVERY_S, Rate, Turn
from dealsync.errors import DatabaseError
from dealsync.ledger.blocks import Blocks
from dealsync.ledger.sqlite import pragmas
from dealsync.ledger.tables import BlockRow, FlightRow, PaceRow
from dealsync.ledger.upsert import insert, table_of

log = logging.getLogger(__name__)
T = TypeVar("T")
LOOPBACK = ("localhost", "::1")
SECOND = 1_000_000
"""Times in the rows are whole microseconds since 1970."""
URGENT = SECOND // 2
"""How long after an urgent turn others let urgent work pass."""
LONGEST_QUEUE = 40
"""More turns than are ever reserved ahead: one further ahead was handed out before a clock was set back."""
LONGEST_FLIGHT = 30 * SECOND
"""Longer than any request lasts before it times out."""
SURELY_OVER = 20 * SECOND
"""What left so long ago and was not told to have landed was its process's last: a request is given up before."""
LONGEST_HOLD = 3600 * SECOND
"""More than an API can have asked for: a hold further ahead was noted before a clock was set back."""


class SharedSlots:
    """Slots of one API at one origin, for `dealsync.apis.pace.Pace`."""

    def __init__(self, name: str, rate: Rate, *, database: Engine, machine: Engine) -> None:
        self._name = name
        self._rate = rate
        self._blocks = [Blocks(database)] if _is_local(name) else [Blocks(machine), Blocks(database)]
        self._machine = _Row(machine, name, rate)
        self._shared = _Row(database, name, rate) if _has_a_server(database) else None

    async def reserve(self, *, urgent: bool, yielding: bool) -> Turn:
        """Reserve the next turn; without one, tell what stands in the way."""
        return await asyncio.to_thread(self._reserve, urgent, yielding)

    async def take_off(self, *, urgent: bool) -> Turn:
        """Take a reserved turn, unless a hold, a block or as many requests as the API bears forbid it."""
        return await asyncio.to_thread(self._take_off, urgent)

    async def land(self, flight: str) -> None:
        """Tell that a request is over."""
        for row in self._rows() if flight else ():
            await self._noted(row.land, flight)

    async def hold(self, wait_s: float) -> None:
        """Let nobody go for so many seconds; an earlier hold is never shortened."""
        for row in self._rows():
            await self._noted(row.hold, round(wait_s * SECOND))

    async def slow_down(self) -> None:
        """Hand out turns at half the rate for RECOVERY_S once a hold is over."""
        for row in self._rows():
            await self._noted(row.slow_down)

    async def block(self, reason: str) -> bool:
        """Let nobody go until `Blocks.lift`; return whether this is news."""
        news = [await self._noted(blocks.add, self._name, reason) for blocks in self._blocks]
        return any(one is not False for one in news)  # what could not be noted is told rather than kept

    async def _noted(self, note: Callable[..., T], *values: Any) -> T | None:
        """Note what an answer told. The answer itself counts, whatever becomes of the note."""
        try:
            return await asyncio.to_thread(note, *values)
        except SQLAlchemyError as error:
            log.warning("%s: its pace could not be noted (%s)", self._name, type(error).__name__)
            return None

    def _reserve(self, urgent: bool, yielding: bool) -> Turn:
        if blocked := self._blocked():
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

    def _blocked(self) -> str:
        return next(filter(None, (blocks.reason(self._name) for blocks in self._blocks)), "")

    def _rows(self) -> list[_Row]:
        return [self._machine, *([self._shared] if self._shared else [])]

    def _take_off(self, urgent: bool) -> Turn:
        if blocked := self._blocked():
            return Turn(granted=False, blocked=blocked)
        if left := max(row.held_for() for row in self._rows()):
            return Turn(left / SECOND, granted=False, held=True)
        most = self._rate.most_for(urgent=urgent)
        if most is None:
            return Turn()
        flight = secrets.token_hex(16)
        with ExitStack() as transactions:
            open_rows = [(row, transactions.enter_context(row.begin())) for row in self._rows()]
            for row, db in open_rows:
                if wait := row.crowded_for(db, most, None if urgent else self._rate.in_the_air):
                    return Turn(wait / SECOND, granted=False)
            for row, db in open_rows:
                row.take_off(db, flight)
        return Turn(flight=flight)


class _Row:
    """One row of turns. All times are microseconds, on the clock of where the row is."""

    def __init__(self, engine: Engine, name: str, rate: Rate) -> None:
        self._engine, self._name = engine, name
        self._spacing = spacing = round(SECOND / rate.per_second)
        self._saved = (rate.at_once - 1) * spacing
        self._window = round(rate.window_s * SECOND)
        self._on_server = _has_a_server(engine)
        self._is_there = False
        self._horizon = round(LONGEST_WAIT_S * SECOND) + LONGEST_QUEUE * spacing
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
        hold = self._hold()
        latest = case((row.last_turn <= self._greatest(now, hold) + self._horizon, row.last_turn), else_=0)
        is_slow = and_(row.slow_until > now, row.slow_until <= now + LONGEST_HOLD + round(RECOVERY_S * SECOND))
        spacing = case((is_slow, 2 * self._spacing), else_=self._spacing)
        # Turns that passed unused are given out later, but not after a 429, nor by a row that follows another's time.
        earliest = now + round(not_before * SECOND) if not_before else now - case((is_slow, 0), else_=self._saved)
        turn = self._greatest(earliest, hold, latest + spacing)
        statement = (
            update(row)
            .where(row.name == self._name, hold <= now + round(LONGEST_WAIT_S * SECOND))
            .where(
                or_(literal(not yielding or urgent), row.urgent_until <= now, row.urgent_until > now + self._horizon)
            )
            .values(last_turn=turn, urgent_until=self._greatest(turn, now) + URGENT if urgent else row.urgent_until)
            .returning(row.last_turn - self._now())
        )
        wait = db.scalar(statement)
        return self._refusal(db) if wait is None else Turn(max(wait, 0) / SECOND)

    def postpone(self, db: Connection, wait_s: float) -> None:
        """Move the latest turn to when it is really taken."""
        if not wait_s:
            return
        turn = self._greatest(PaceRow.last_turn, self._now() + round(wait_s * SECOND))
        db.execute(update(PaceRow).where(PaceRow.name == self._name).values(last_turn=turn))

    def crowded_for(self, db: Connection, most: int, in_the_air: int | None) -> int:
        """How long to wait before asking again, because as many requests as the API bears may count there now, or as
        many as may be are under way."""
        self.take(db)
        now, flight = self._now(), FlightRow
        gone = or_(flight.until <= now, flight.until > now + 2 * (LONGEST_FLIGHT + self._window))
        db.execute(delete(flight).where(flight.name == self._name, gone))
        landing = now + LONGEST_FLIGHT + self._window
        under_way = func.sum(case((flight.until.between(landing - SURELY_OVER, landing), 1), else_=0))
        query = select(func.count(), under_way, func.min(flight.until) - now).where(flight.name == self._name)
        count, flying, left = db.execute(query).one()
        if count >= most:
            return int(min(max(left, SECOND // 200), self._window // 20))
        return SECOND // 50 if in_the_air is not None and (flying or 0) >= in_the_air else 0

    def take_off(self, db: Connection, flight: str) -> None:
        """Count a request until it lands; one whose process dies counts until it must be over."""
        values = {"flight": flight, "name": self._name, "until": self._now() + LONGEST_FLIGHT + self._window}
        db.execute(insert(db, FlightRow).values(values))

    def land(self, flight: str) -> None:
        """Count a request for one more window: it may have arrived at its very end."""
        with self._engine.begin() as db:
            db.execute(update(FlightRow).where(FlightRow.flight == flight).values(until=self._now() + self._window))

    def held_for(self) -> int:
        """How long a hold still lasts, 0 without one."""
        with self._engine.connect() as db:
            return self._left(db, PaceRow.hold_until, LONGEST_HOLD)

    def slow_for(self) -> int:
        """How long turns still come at half the rate, 0 if they come as usual."""
        with self._engine.connect() as db:
            return self._left(db, PaceRow.slow_until, LONGEST_HOLD + round(RECOVERY_S * SECOND))

    def hold(self, wait: int) -> None:
        """Hand out no turn for so long."""
        self._ensure()
        until = self._now() + wait
        self._set(hold_until=self._greatest(self._hold(), until))

    def slow_down(self) -> None:
        """Hand out turns at half the rate after the present hold."""
        self._ensure()
        start = self._greatest(self._now(), self._hold())
        self._set(slow_until=start + round(RECOVERY_S * SECOND))

    def _hold(self) -> Any:
        """Until when the API asked everybody to wait, as far as that can be true."""
        return case((PaceRow.hold_until <= self._now() + LONGEST_HOLD, PaceRow.hold_until), else_=0)

    def _set(self, **values: Any) -> None:
        with self._engine.begin() as db:
            db.execute(update(PaceRow).where(PaceRow.name == self._name).values(**values))

    def _refusal(self, db: Connection) -> Turn:
        """Why the row gave no turn: a long hold, urgent work, or it is gone and has to be made again."""
        self._is_there = False
        held = self._left(db, PaceRow.hold_until, LONGEST_HOLD)
        left = held or self._left(db, PaceRow.urgent_until, self._horizon)
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


ANY_RATE = Rate(1.0)
"""Who only looks hands out no turns."""


@dataclass(frozen=True, slots=True)
class PaceState:
    """What stands in the way of the next request: a ban, a wait that was asked for, half the rate."""

    blocked: str  # since when and why
    held_s: float
    slow_s: float


def pace_state(name: str, *, database: Engine, machine: Engine) -> PaceState:
    """Return the state of a limit, and change nothing."""
    engines = [machine, *([database] if _has_a_server(database) else [])]
    rows = [_Row(engine, name, ANY_RATE) for engine in engines]
    blocked = (Blocks(engine).reason(name) for engine in (machine, database))
    held, slow = max(row.held_for() for row in rows), max(row.slow_for() for row in rows)
    return PaceState(next(filter(None, blocked), ""), held / SECOND, slow / SECOND)


def limit_name(api: str, origin: str) -> str:
    """Name the limit that requests to an origin count against.

    Both services count by our address, whichever account is asked; a simulator on this machine counts for itself.
    """
    url = urlsplit(origin)
    host = (url.hostname or "").lower()
    if host in LOOPBACK or host.startswith("127."):
        return f"{api} 127.0.0.1:{url.port}"
    return api


def _is_local(name: str) -> bool:
    return " " in name


def _has_a_server(engine: Engine) -> bool:
    return engine.dialect.name == "postgresql"


def open_machine(folder: Path) -> Engine:
    """Return the database of this machine's turns, made when it is missing. Raises DatabaseError.

    It holds nothing worth keeping: losing it in a power cut costs nothing, so it never waits for the disk.
    """
    path = folder / "turns.db"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        engine = create_engine(f"sqlite:///{path}", hide_parameters=True)
        event.listen(engine, "connect", pragmas(synchronous="OFF"))
        with engine.begin() as db:
            for table in map(table_of, (PaceRow, FlightRow, BlockRow)):
                db.execute(CreateTable(table, if_not_exists=True))
                for index in table.indexes:
                    db.execute(CreateIndex(index, if_not_exists=True))
    except (OSError, SQLAlchemyError) as error:
        raise DatabaseError(
            f"{path} cannot be used ({type(error).__name__}); name a folder that can be written in DEALSYNC_STATE_DIR"
        ) from error
    return engine
