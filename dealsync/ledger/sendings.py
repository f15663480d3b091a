"""Which reports were sent: whoever puts a row here is the one who sends."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine, delete, select

from dealsync.ledger.tables import SendingRow
from dealsync.ledger.upsert import insert


class Sendings:
    """Reports by name."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def claim(self, name: str, now: datetime) -> bool:
        """Take it upon oneself to send; False when it is done or another process is at it."""
        with self._engine.begin() as db:
            statement = insert(db, SendingRow).values(name=name, sent_at=now)
            statement = statement.on_conflict_do_nothing(index_elements=[SendingRow.name])
            return db.execute(statement.returning(SendingRow.name)).first() is not None

    def release(self, name: str) -> None:
        """Let it be tried again: it was not sent."""
        with self._engine.begin() as db:
            db.execute(delete(SendingRow).where(SendingRow.name == name))

    def sent_at(self, name: str) -> datetime | None:
        """Return when it was sent; None if it was not."""
        with self._engine.connect() as db:
            return db.scalar(select(SendingRow.sent_at).where(SendingRow.name == name))
