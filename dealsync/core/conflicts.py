"""The conflict rules: what dealsync never does to a deal. Each gives the reason why it refuses, or None.

"A person changed it" is told from what dealsync last wrote, or saw to be right (`Deal.written`): whatever differs
from that since, somebody changed. Who moved a deal, and when, is read from Kommo's events.
"""

from __future__ import annotations

from dealsync.core.facts import REFUNDS, Fact
from dealsync.core.mapping import FIELD_KEYS
from dealsync.core.models import LOST_STATUS_ID, WON_STATUS_ID, Deal


def person_moved_it(deal: Deal, part: str, stored: str) -> str | None:
    """Refuse to touch a part of a deal (`status_id`, `price` or an LS field) that a person changed since."""
    if deal.written.get(part, stored) == stored:
        return None
    if part == "status_id":
        return f"a person moved the deal since dealsync saw to its status{deal.moved_by}"
    what = part if part == "price" else f"LS field {part}"
    return f"the {what} was as it should be, and a person changed it since"


def never_backwards(deal: Deal, fact: Fact, status_id: int) -> str | None:
    """Refuse to move a deal anywhere but to won, except for a refund or fraud."""
    if status_id == WON_STATUS_ID or fact in REFUNDS:
        return None
    return f"{fact} moves no deal from status {deal.status_id} to {status_id}"


def closed_lost_stays(deal: Deal, *, reopens: bool) -> str | None:
    """Refuse to open a deal that a person marked lost, unless the account wants it."""
    if deal.status_id != LOST_STATUS_ID or reopens:
        return None
    return "the deal is marked lost"


def null_never_overwrites(stored: str, value: str) -> str | None:
    """Refuse to empty a field of which Lemon Squeezy has nothing to say any more."""
    return "Lemon Squeezy has no value for it any more; the last one stays" if stored and not value else None


def not_our_field(part: str) -> str | None:
    """Refuse to write a field that is not one of the LS fields."""
    return None if part in FIELD_KEYS else f"{part} is no field of dealsync"
