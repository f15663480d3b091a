"""The present OAuth tokens, and the right to renew them: one process at a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, func, or_, select, update

from dealsync.core.tokens import StoredTokens, TokenPair
from dealsync.ledger.runs import utc_now
from dealsync.ledger.tables import TokenRow
from dealsync.ledger.upsert import insert


class Tokens:
    """Tokens of one integration in one account. Every method is one atomic statement."""

    def __init__(self, engine: Engine, name: str, clock: Callable[[], datetime] = utc_now) -> None:
        self._engine = engine
        self._name = name
        self._clock = clock

    def load(self) -> StoredTokens | None:
        """Return what is stored; None before the first exchange began."""
        with self._engine.connect() as db:
            row = db.execute(select(TokenRow.__table__).where(TokenRow.name == self._name)).first()
        if row is None:
            return None
        pair = TokenPair(row.access_token, row.refresh_token, row.expires_at) if row.refresh_token else None
        return StoredTokens(pair, frozenset(row.codes.split()), row.renewing_since)

    def claim_code(self, digest: str, *, lost_after: timedelta) -> bool:
        """Take the right to exchange an authorisation code that was never sent; False if another has it.

        A renewal of the present pair that is under way for less than `lost_after` goes first.
        """
        now = self._clock()
        values = {"access_token": "", "refresh_token": "", "expires_at": now, "codes": digest, "renewing_since": now}
        idle = or_(TokenRow.renewing_since.is_(None), TokenRow.renewing_since <= now - lost_after)
        with self._engine.begin() as db:
            statement = insert(db, TokenRow).values(name=self._name, **values)
            statement = statement.on_conflict_do_update(
                index_elements=[TokenRow.name],
                set_={"renewing_since": now, "codes": TokenRow.codes + " " + digest},
                where=idle & TokenRow.codes.not_like(f"%{digest}%"),
            )
            return db.execute(statement.returning(TokenRow.name)).first() is not None

    def claim_renewal(self, refresh_token: str) -> bool:
        """Take the right to renew this pair; False when another has it, or has renewed it already."""
        statement = (
            update(TokenRow)
            .where(TokenRow.name == self._name, TokenRow.refresh_token == refresh_token)
            .where(TokenRow.renewing_since.is_(None))
            .values(renewing_since=self._clock())
        )
        with self._engine.begin() as db:
            return db.execute(statement).rowcount == 1

    def release(self, unsent_code: str = "") -> None:
        """Give the right back: it is sure that nothing was renewed. A code that was not even sent can be sent again."""
        values: dict[str, Any] = {"renewing_since": None}
        if unsent_code:
            values["codes"] = func.replace(TokenRow.codes, unsent_code, "")
        with self._engine.begin() as db:
            db.execute(update(TokenRow).where(TokenRow.name == self._name).values(values))

    def store(self, pair: TokenPair) -> None:
        """Replace the pair; from now on others use it."""
        values = {
            "access_token": pair.access_token,
            "refresh_token": pair.refresh_token,
            "expires_at": pair.expires_at,
            "renewing_since": None,
        }
        with self._engine.begin() as db:
            db.execute(update(TokenRow).where(TokenRow.name == self._name).values(values))
