"""The values and kinds of a timeline in words that people use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dealsync.core.mapping import FIELDS
from dealsync.core.models import LOST_STATUS_ID, WON_STATUS_ID, Money
from dealsync.core.records import Records, SightingRecord
from dealsync.core.sightings import CONTACTS, How

ACTION_WORDS = {
    "checkout": "open a checkout",
    "create-company": "create a company",
    "create-contact": "create a contact",
    "create-deal": "create a deal",
    "close": "close the deal as won",
    "attention": "move the deal to attention",
    "price": "set the price to what was paid",
    "fields": "fill LS fields",
    "tag": "tag the deal",
    "untag": "take a tag off",
    "note": "write a note",
    "task": "set a task",
    "email": "send an e-mail",
    "change-task": "change a task",
    "complete": "tick a task off",
}
DECISION_WORDS = {"new": "a deal of its own", "dismissed": "left alone"}
HOW_WORDS = {
    How.POLL: " (seen by a poll)",
    How.WEBHOOK: " (seen after a webhook)",
    How.CHECK: " (seen when it was read once more)",
    How.LOOK_UP: " (seen while a lost answer was looked up)",
    How.WRITE: "",
    How.EVENTS: "",
}
AMOUNTS = ("total_minor", "refunded_minor")
NAMES = {
    "order_status": "status",
    "subscription_status": "status",
    "invoice_status": "status",
    "status_id": "status",
    "pipeline_id": "pipeline",
    "responsible_user_id": "owner",
    "refunded_at": "refunded at",
    "total_minor": "total",
    "refunded_minor": "refunded",
    "variant_id": "variant",
    "quantity": "seats",
    "subscription_id": "subscription",
    "order_id": "order",
    "billing_reason": "reason",
    "is_deleted": "deleted",
    CONTACTS: "contacts",
    **{f"ls_{field.key}": field.name for field in FIELDS},
}
DULL = ("currency",)
"""Said with the amounts."""


@dataclass(frozen=True, slots=True)
class Values:
    """What is needed to put values into words: currencies by object, statuses by id."""

    currencies: Mapping[str, str]
    statuses: Mapping[int, str]

    @classmethod
    def of(cls, records: Records) -> Values:
        """Gather both from what is on record."""
        currencies = {
            seen.about: str(seen.changes["currency"][1]) for seen in records.sightings if "currency" in seen.changes
        }
        return cls(currencies, {WON_STATUS_ID: "won", LOST_STATUS_ID: "lost", **records.statuses})

    def changes(self, seen: SightingRecord) -> str:
        """Return what a sighting tells: "status paid, total 490.00 USD", or "status paid -> refunded"."""
        parts = []
        for name, (before, now) in seen.changes.items():
            if name in DULL:
                continue
            told = self._told(seen.about, name, now)
            if not seen.is_first:
                told = f"{self._told(seen.about, name, before)} -> {told}"
            parts.append(f"{NAMES.get(name, name.removesuffix('_at').replace('_', ' '))} {told}")
        return ", ".join(parts) or "nothing that is kept"

    def time(self, at: datetime | None) -> str:
        """Return a time to the minute."""
        return f"{at:%Y-%m-%d %H:%M} UTC" if at else "an unknown time"

    def _told(self, about: str, name: str, value: Any) -> str:
        if value in (None, "", []):
            return "none"
        if isinstance(value, bool):
            return "yes" if value else "no"
        if name in AMOUNTS and (currency := self.currencies.get(about)):
            return f"{Money(int(value), currency).major} {currency}"
        if name == "status_id":
            return self.statuses.get(int(value), str(value))
        if name == "responsible_user_id":
            return f"user {value}"
        if name.endswith("_at") and isinstance(value, str) and len(value) >= len("2026-06-01T12:00"):
            return value[:16].replace("T", " ")
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
