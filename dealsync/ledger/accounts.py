"""What the Kommo account looked like when it was last read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, select

from dealsync.ledger.past import Former, keep_past
from dealsync.ledger.tables import AccountRow
from dealsync.ledger.upsert import insert


class Accounts:
    """Views of accounts by origin, as plain values."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def keep(self, origin: str, view: dict[str, Any], now: datetime) -> None:
        """Store what was just read."""
        values = {"view": view, "read_at": now}
        with self._engine.begin() as db:
            before = db.scalar(select(AccountRow.view).where(AccountRow.name == origin))
            if before is not None:
                keep_past(db, _renamed(_names(before), _names(view), now))
            statement = insert(db, AccountRow).values(name=origin, **values)
            db.execute(statement.on_conflict_do_update(index_elements=[AccountRow.name], set_=values))

    def read_since(self, origin: str, since: datetime) -> dict[str, Any] | None:
        """Return what was read at or after a time; None if that is longer ago, or never was."""
        query = select(AccountRow.view).where(AccountRow.name == origin, AccountRow.read_at >= since)
        with self._engine.connect() as db:
            found: dict[str, Any] | None = db.scalar(query)
            return found


def _names(view: dict[str, Any]) -> dict[int, str]:
    return {user["user_id"]: user["name"] for user in view["users"]}


def _renamed(before: dict[int, str], after: dict[int, str], now: datetime) -> Iterator[Former]:
    """What users were called until now; nothing, for those who are new."""
    for user_id in before.keys() | after.keys():
        if before.get(user_id) != after.get(user_id):
            yield Former("users", str(user_id), now, {"name": before.get(user_id)})
