"""Forgetting a person: what the database holds of an e-mail address, erased for good. Ids and decisions stay."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any
from urllib.parse import quote, quote_plus

from sqlalchemy import Connection, Engine, delete, func, select, update

from dealsync.core.evidence import LEAD_ID_KEY
from dealsync.core.models import normal_email
from dealsync.core.states import FINAL
from dealsync.ledger.tables import (
    CheckoutRow,
    ContactEmailRow,
    ContactRow,
    EventRow,
    LedgerEntry,
    OrderRow,
    SubscriptionRow,
)

ERASED = "(erased)"
SHORTEST_NAME = 3
"""Characters of a name that is looked for in other texts: a shorter one is found in every word."""


def erase_person(engine: Engine, email: str) -> dict[str, int]:
    """Erase an address and the names that came with it; return how many rows that were, by kind.

    What is still to be sent keeps what it says until it is done. What Kommo and Lemon Squeezy hold stays there, and
    comes back with what is read from them.
    """
    address = normal_email(email)
    with engine.begin() as db:
        names = set(db.scalars(select(OrderRow.user_name).where(_is(OrderRow.user_email, address))))
        contacts = list(db.scalars(select(ContactEmailRow.contact_id).where(ContactEmailRow.email == address)))
        names |= set(db.scalars(select(ContactRow.name).where(ContactRow.contact_id.in_(contacts))))
        found = {
            "webhooks": _webhooks(db, address),
            "actions": _actions(db, {address, *(name for name in names if len(name) >= SHORTEST_NAME)}),
        }
        nobody = {"user_email": ""}
        plain: list[tuple[str, Any]] = [
            ("checkouts", update(CheckoutRow).where(CheckoutRow.email == address).values(email="", custom={})),
            ("orders", update(OrderRow).where(_is(OrderRow.user_email, address)).values(**nobody, user_name="")),
            ("subscriptions", update(SubscriptionRow).where(_is(SubscriptionRow.user_email, address)).values(nobody)),
            ("contacts", update(ContactRow).where(ContactRow.contact_id.in_(contacts)).values(name=ERASED)),
            ("addresses", delete(ContactEmailRow).where(ContactEmailRow.email == address)),
        ]
        return found | {kind: db.execute(statement).rowcount for kind, statement in plain}


def _is(column: Any, address: str) -> Any:
    return func.lower(func.trim(column)) == address


def _webhooks(db: Connection, address: str) -> int:
    """Empty the bodies that hold the address, and all custom data of theirs but the deal's id."""
    forms = {address, quote(address), quote_plus(address), json.dumps(address)[1:-1]}
    wanted = [form.lower().encode() for form in forms]
    bodies = select(EventRow.event_id, EventRow.body, EventRow.custom).where(func.length(EventRow.body) > 0)
    found = [
        (row.event_id, row.custom)
        for row in db.execute(bodies)
        if any(form in row.body.lower() or form.decode() in json.dumps(row.custom).lower() for form in wanted)
    ]
    for event_id, custom in found:
        kept = {key: value for key, value in custom.items() if key == LEAD_ID_KEY}
        db.execute(update(EventRow).where(EventRow.event_id == event_id).values(body=b"", custom=kept))
    return len(found)


def _actions(db: Connection, words: Collection[str]) -> int:
    """Blot the words out of what was sent."""
    actions = select(LedgerEntry.idempotency_key, LedgerEntry.action).where(LedgerEntry.state.in_(FINAL))
    changed = 0
    for row in db.execute(actions).all():
        blotted = _blotted(row.action, words)
        if blotted != row.action:
            mine = LedgerEntry.idempotency_key == row.idempotency_key
            db.execute(update(LedgerEntry).where(mine).values(action=blotted))
            changed += 1
    return changed


def _blotted(value: Any, words: Collection[str]) -> Any:
    if isinstance(value, dict):
        return {key: _blotted(one, words) for key, one in value.items()}
    if isinstance(value, list):
        return [_blotted(one, words) for one in value]
    if not isinstance(value, str):
        return value
    for word in sorted(words, key=len, reverse=True):
        place = value.lower().find(word.lower())
        while word and place >= 0:
            value = value[:place] + ERASED + value[place + len(word) :]
            place = value.lower().find(word.lower(), place + len(ERASED))
    return value
