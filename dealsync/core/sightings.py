"""What was seen of an object, and when it differed from before: values without personal data, as plain JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from dealsync.core.mapping import FIELD_KEYS, FIELDS

Values = Mapping[str, Any]
Changes = dict[str, list[Any]]
"""By name: what it was, and what it is now."""


class How(StrEnum):
    """What let dealsync see an object. The values are part of the interface."""

    POLL = "poll"
    WEBHOOK = "webhook"  # one that said to look at it
    CHECK = "check"  # a plan rested on it, so it was read once more
    LOOK_UP = "look-up"  # of a write whose answer was lost
    WRITE = "write"  # our own, that was accepted
    EVENTS = "events"  # Kommo's, which tell who moved a deal


@dataclass(frozen=True, slots=True)
class SeenBy:
    """The run that sees, and what lets it look."""

    run_id: str = ""
    how: How = How.POLL


@dataclass(frozen=True, slots=True)
class Sighting:
    """An object was seen for the first time, or differed from how it was seen before."""

    about: str  # "order:17", "lead:31"
    changes: Changes  # of a first sight: all values that it had, None before
    is_first: bool = False
    is_own: bool = False  # dealsync had written these values itself
    changed_at: datetime | None = None  # by the object itself


@dataclass(frozen=True, slots=True)
class Watched:
    """A type of object: what it is called, and of which of its columns changes are kept."""

    kind: str
    columns: tuple[str, ...]


WATCHED: dict[str, Watched] = {
    "orders": Watched("order", ("order_status", "total_minor", "refunded_minor", "currency", "refunded_at")),
    "subscriptions": Watched(
        "subscription",
        (
            "order_id", "subscription_status", "variant_id", "quantity", "renews_at", "ends_at", "trial_ends_at",
            "resumes_at",
        ),
    ),
    "invoices": Watched(
        "invoice",
        ("subscription_id", "billing_reason", "invoice_status", "total_minor", "refunded_minor", "currency",
         "refunded_at"),
    ),
    "deals": Watched(
        "lead",
        ("pipeline_id", "status_id", "price", "responsible_user_id", "is_deleted",
         *(f"ls_{key}" for key in FIELD_KEYS)),
    ),
}  # fmt: skip
"""By table."""
CONTACTS = "contact_ids"
LINKS = frozenset(f"ls_{field.key}" for field in FIELDS if field.field_type == "url")
"""Columns whose values open something for whoever has them: only that they changed is kept."""
A_LINK, ANOTHER_LINK = "a link", "another link"
ENTERED_AT, ENTERED_BY = "entered_at", "entered_by"


def first_sight(watched: Watched, about: str, row: Values, *, is_own: bool = False) -> Sighting:
    """Return what is kept of an object that was never seen before."""
    changes = {
        name: [None, A_LINK if name in LINKS else _plain(value)]
        for name in watched.columns
        if (value := row[name]) is not None and value is not False
    }
    return Sighting(about, changes, is_first=True, is_own=is_own, changed_at=row["updated_at"])


def changed(watched: Watched, about: str, before: Values, row: Values, own: Values) -> list[Sighting]:
    """Return what differs from before: what dealsync wrote itself (`own`, see `plan.Seen`) apart from the rest."""
    differing = {name for name in watched.columns if before[name] != row[name] and not _is_filled_in(name, before)}
    ours = {name for name in differing if _is_own(name, row, own)}
    found = []
    for part, is_own in ((ours, True), (differing - ours, False)):
        changes = {name: _pair(name, before[name], row[name]) for name in watched.columns if name in part}
        if changes:
            found.append(Sighting(about, changes, is_own=is_own, changed_at=row["updated_at"]))
    return found


def _is_filled_in(name: str, before: Values) -> bool:
    """Whether Kommo itself gave a new deal its owner: nobody edited it."""
    return name == "responsible_user_id" and before[name] is None


def _is_own(name: str, row: Values, own: Values) -> bool:
    if name == "pipeline_id":  # travels with the status
        return own.get("status_id") == str(row["status_id"])
    part = name.removeprefix("ls_")
    return part in own and own[part] == str(row[name])


def _pair(name: str, before: Any, now: Any) -> list[Any]:
    if name in LINKS:
        return [before and A_LINK, now and (ANOTHER_LINK if before else A_LINK)]
    return [_plain(before), _plain(now)]


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
