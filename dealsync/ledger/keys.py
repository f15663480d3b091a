"""The key that signs claim links: made once, kept in the database, so that all processes know it and nobody else."""

from __future__ import annotations

import secrets

from sqlalchemy import Engine, select

from dealsync.ledger.tables import IdentityRow
from dealsync.ledger.upsert import insert

CLAIM_KEY = "claim key"
KEY_BYTES = 32


def claim_key(engine: Engine) -> bytes:
    """Return the key; the first who asks makes it."""
    with engine.begin() as db:
        statement = insert(db, IdentityRow).values(name=CLAIM_KEY, value=secrets.token_hex(KEY_BYTES))
        db.execute(statement.on_conflict_do_nothing(index_elements=[IdentityRow.name]))
        return bytes.fromhex(db.execute(select(IdentityRow.value).where(IdentityRow.name == CLAIM_KEY)).scalar_one())
