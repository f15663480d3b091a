"""APIs that have banned us: remembered until a person says that the ban is lifted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Engine, delete, select

from dealsync.ledger.runs import utc_now
from dealsync.ledger.tables import BlockRow
from dealsync.ledger.upsert import insert


class Blocks:
    """Blocks by name, e.g. "kommo https://acme.kommo.com"."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime] = utc_now) -> None:
        self._engine = engine
        self._clock = clock

    def add(self, name: str, reason: str) -> bool:
        """Remember a block; return whether it is new. The first reason stands."""
        with self._engine.begin() as db:
            statement = insert(db, BlockRow).values(name=name, blocked_at=self._clock(), reason=reason)
            statement = statement.on_conflict_do_nothing(index_elements=[BlockRow.name])
            return db.execute(statement.returning(BlockRow.name)).first() is not None

    def reason(self, name: str) -> str:
        """Return since when and why it is blocked; empty when it is not."""
        query = select(BlockRow.blocked_at, BlockRow.reason).where(BlockRow.name == name)
        with self._engine.connect() as db:
            row = db.execute(query).first()
        return f"{row.reason}, {row.blocked_at:%Y-%m-%d %H:%M} UTC" if row else ""

    def reasons(self) -> dict[str, str]:
        """Return since when and why each is blocked, by name."""
        with self._engine.connect() as db:
            names = sorted(db.scalars(select(BlockRow.name)))
        return {name: self.reason(name) for name in names}

    def lift(self) -> list[str]:
        """Forget all blocks; return their names."""
        with self._engine.begin() as db:
            return sorted(db.execute(delete(BlockRow).returning(BlockRow.name)).scalars())
