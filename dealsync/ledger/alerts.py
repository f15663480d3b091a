"""Which alerts were told and have not ended: whoever puts a row here, or takes it out, is the one who tells."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine, delete, select

from dealsync.ledger.tables import AlertRow
from dealsync.ledger.upsert import insert


class Alerts:
    """Alerts by name."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def standing(self) -> dict[str, datetime]:
        """Return since when each alert stands, by name."""
        with self._engine.connect() as db:
            return {row.name: row.since for row in db.execute(select(AlertRow.name, AlertRow.since))}

    def raise_(self, name: str, now: datetime) -> bool:
        """Note that an alert is told; False when another process was faster."""
        with self._engine.begin() as db:
            statement = insert(db, AlertRow).values(name=name, since=now)
            statement = statement.on_conflict_do_nothing(index_elements=[AlertRow.name])
            return db.execute(statement.returning(AlertRow.name)).first() is not None

    def lower(self, name: str) -> datetime | None:
        """Note that an end is told; return since when it stood, None when another process was faster."""
        with self._engine.begin() as db:
            return db.scalar(delete(AlertRow).where(AlertRow.name == name).returning(AlertRow.since))
