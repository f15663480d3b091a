"""Which secret each webhook of Lemon Squeezy was given by us: nobody can read it there, so only we can remember it."""

from __future__ import annotations

import hashlib
import hmac

from sqlalchemy import Engine, select

from dealsync.ledger.tables import IdentityRow
from dealsync.ledger.upsert import insert

NAME = "LS webhook "
COST = 2**14
"""A secret that a person made up is not to be found by trying all words."""


class SentSecrets:
    """Digests of secrets, by webhook."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def has(self, webhook_id: str, secret: str) -> bool:
        """Whether this is the secret that the webhook was given last."""
        with self._engine.connect() as db:
            kept = db.scalar(select(IdentityRow.value).where(IdentityRow.name == _name(webhook_id)))
        return kept is not None and hmac.compare_digest(kept, _digest(webhook_id, secret))

    def keep(self, webhook_id: str, secret: str) -> None:
        """Remember what the webhook was given."""
        value = _digest(webhook_id, secret)
        with self._engine.begin() as db:
            statement = insert(db, IdentityRow).values(name=_name(webhook_id), value=value)
            db.execute(statement.on_conflict_do_update(index_elements=[IdentityRow.name], set_={"value": value}))


def _name(webhook_id: str) -> str:
    return f"{NAME}{webhook_id}"[:40]


def _digest(webhook_id: str, secret: str) -> str:
    return hashlib.scrypt(secret.encode(), salt=webhook_id.encode(), n=COST, r=8, p=1).hex()
