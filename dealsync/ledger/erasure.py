"""Forgetting a person: what the database holds of an e-mail address, erased for good. Ids and decisions stay."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from email_validator import EmailNotValidError, validate_email
from markupsafe import escape
from sqlalchemy import Connection, Engine, Row, delete, func, or_, select, update

from dealsync.core.evidence import LEAD_ID_KEY
from dealsync.core.letters import one_line
from dealsync.core.models import normal_email
from dealsync.core.plan import Kind
from dealsync.core.states import FINAL, IN_DOUBT, Step, sources, target
from dealsync.ledger.runs import utc_now
from dealsync.ledger.steps import keep_steps
from dealsync.ledger.tables import (
    CheckoutRow,
    ContactEmailRow,
    ContactRow,
    EventRow,
    LedgerEntry,
    OrderRow,
    StepRow,
    SubscriptionRow,
)

ERASED = "(erased)"
SHORTEST_NAME = 3
"""Characters of a name that is looked for in other texts: a shorter one is found in every word."""


FORGOTTEN = "given up: the person was forgotten"
PERSONAL: Mapping[str, tuple[str, ...]] = {
    "letter": ("to", "to_name", "subject", "text", "html"),
    "checkout": ("email", "name"),
    "new-contact": ("email", "name"),
}
"""What of a change is about the person whom it names by an address, by type."""
TO_PERSONS = (Kind.EMAIL.value, Kind.CHECKOUT.value)
"""Kinds that mean nothing without the person: what waits to be sent is given up."""


def erase_person(engine: Engine, email: str) -> dict[str, int]:
    """Erase an address and the names that came with it; return how many rows that were, by kind.

    E-mails and checkouts for the person that were not sent yet, or refused, are given up. What else is still to be
    sent keeps what it says until it is done. What Kommo and Lemon Squeezy hold stays there, and comes back with what
    is read from them.
    """
    forms = spellings(email)
    with engine.begin() as db:
        names = set(db.scalars(select(OrderRow.user_name).where(is_one_of(OrderRow.user_email, forms))))
        typed = or_(ContactEmailRow.email.in_(forms), is_one_of(ContactEmailRow.typed, forms))
        contacts = list(db.scalars(select(ContactEmailRow.contact_id).where(typed)))
        names |= set(db.scalars(select(ContactRow.name).where(ContactRow.contact_id.in_(contacts))))
        found = {"webhooks": _webhooks(db, forms), "actions": _actions(db, forms, names)}
        nobody = {"user_email": ""}
        plain: list[tuple[str, Any]] = [
            ("checkouts", update(CheckoutRow).where(is_one_of(CheckoutRow.email, forms)).values(email="", custom={})),
            ("orders", update(OrderRow).where(is_one_of(OrderRow.user_email, forms)).values(**nobody, user_name="")),
            (
                "subscriptions",
                update(SubscriptionRow).where(is_one_of(SubscriptionRow.user_email, forms)).values(nobody),
            ),
            ("contacts", update(ContactRow).where(ContactRow.contact_id.in_(contacts)).values(name=ERASED)),
            ("addresses", delete(ContactEmailRow).where(typed)),
        ]
        return found | {kind: db.execute(statement).rowcount for kind, statement in plain}


def spellings(email: str) -> frozenset[str]:
    """An address in every spelling that it may be stored in: its domain in ASCII (punycode) and in its own letters."""
    forms = {normal_email(email), email.strip().lower()}
    for form in tuple(forms):
        try:
            valid = validate_email(form, check_deliverability=False, test_environment=True)
        except (EmailNotValidError, UnicodeError):
            continue
        forms |= {normal_email(one) for one in (valid.normalized, valid.ascii_email) if one}
    return frozenset(forms - {""})


def is_one_of(column: Any, forms: Collection[str]) -> Any:
    """Return the condition that a column holds one of these spellings of an address."""
    return func.lower(func.trim(column)).in_(forms)


def _webhooks(db: Connection, forms: Collection[str]) -> int:
    """Empty the bodies that hold the address, and all custom data of theirs but the deal's id."""
    wanted = [
        written.lower().encode()
        for form in forms
        for written in {form, quote(form), quote_plus(form), json.dumps(form)[1:-1]}
    ]
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


def _actions(db: Connection, forms: Collection[str], names: Iterable[str]) -> int:
    """Empty what was meant for the person, and blot address and names out of all else that is done or refused.

    What was not sent is given up with that: nothing goes out with a part of it erased.
    """
    settled = or_(LedgerEntry.state.in_(FINAL), LedgerEntry.is_refused, LedgerEntry.kind.in_(TO_PERSONS))
    entries = select(LedgerEntry.idempotency_key, LedgerEntry.state, LedgerEntry.action, LedgerEntry.error)
    rows = db.execute(entries.where(settled, LedgerEntry.state.not_in(IN_DOUBT))).all()
    own = {row.idempotency_key for row in rows if _is_for(row.action["change"], forms)}
    # The contact may have another name by now, or be gone.
    known = {*names, *(name for row in rows if row.idempotency_key in own for name in _names_in(row.action["change"]))}
    pattern = _pattern([*forms, *(name for name in known if len(name) >= SHORTEST_NAME and name != ERASED)])
    count = sum(_erase(db, row, pattern, is_own=row.idempotency_key in own) for row in rows)
    _blot_steps(db, pattern)
    return count


def _blot_steps(db: Connection, pattern: re.Pattern[str]) -> None:
    """Blot the person out of what was said at each step."""
    columns = (StepRow.step_id, StepRow.words)
    for row in db.execute(select(*columns).where(StepRow.words.is_not(None))).all():
        if (words := _blotted(row.words, pattern)) != row.words:
            db.execute(update(StepRow).where(StepRow.step_id == row.step_id).values(words=words))


def _erase(db: Connection, row: Row[Any], pattern: re.Pattern[str], *, is_own: bool) -> bool:
    """Erase the person in one entry of the ledger; False if nothing of it changed."""
    if row.state not in FINAL and not is_own:
        return False  # what waits for somebody else says what it has to say
    change = _emptied(row.action["change"]) if is_own else row.action["change"]
    said = {"reason": row.action["reason"], "evidence": row.action["evidence"], "change": change}
    values = {"action": row.action | _blotted(said, pattern), "error": _blotted(row.error, pattern)}
    if (values["action"], values["error"]) == (row.action, row.error):
        return False
    if row.state in sources(Step.DISMISS):
        values |= {"state": target(Step.DISMISS), "error": values["error"] or FORGOTTEN, "closed_at": utc_now()}
    # As it was read: a run may have taken it up meanwhile.
    mine = (LedgerEntry.idempotency_key == row.idempotency_key, LedgerEntry.state == row.state)
    if "state" in values:
        keep_steps(db, Step.DISMISS, [{"words": FORGOTTEN}], values["closed_at"], *mine)
    return bool(db.execute(update(LedgerEntry).where(*mine).values(**values)).rowcount)


def _is_for(change: Mapping[str, Any], forms: Collection[str]) -> bool:
    """Whether a change names the person by one of the addresses."""
    address = str(change.get("to") or change.get("email") or "").strip()
    return change.get("type") in PERSONAL and (normal_email(address) in forms or address.lower() in forms)


def _names_in(change: Mapping[str, Any]) -> set[str]:
    return {name for part in ("to_name", "name") if (name := change.get(part))}


def _emptied(change: Mapping[str, Any]) -> dict[str, Any]:
    erased = {part: ERASED for part in PERSONAL[change["type"]] if change.get(part)}
    return {**change, **erased, **({"custom": {}} if "custom" in change else {})}


def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    """What finds words in texts, plain or as they stand in HTML and in Kommo; the longest first. Nothing finds none."""
    spelt = {plain for word in words for plain in (word.strip(), one_line(word))}
    forms = {form for plain in spelt for form in _written(plain) if form}
    alternatives = map(re.escape, sorted(forms, key=lambda form: (-len(form), form)))
    return re.compile("|".join(alternatives) or "(?!)", re.IGNORECASE)


def _written(word: str) -> tuple[str, ...]:
    return word, str(escape(word)), word.replace("<", "&lt;").replace(">", "&gt;")


def _blotted(value: Any, pattern: re.Pattern[str]) -> Any:
    if isinstance(value, dict):
        # Of what type a change is is nobody's name, whatever people are called.
        return {key: one if key == "type" else _blotted(one, pattern) for key, one in value.items()}
    if isinstance(value, list):
        return [_blotted(one, pattern) for one in value]
    return pattern.sub(ERASED, value) if isinstance(value, str) else value
