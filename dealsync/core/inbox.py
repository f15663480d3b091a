"""What waits in the inbox: what each event says to look at, when a failed one is tried again, how it is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from dealsync.core.evidence import Event, Sender, lead_id_in

DISMISSED_BY = "dismissed by "
"""What became of an event that a person leaves alone; the person's name follows."""
LS_ID = re.compile("[0-9A-Za-z][0-9A-Za-z-]{0,63}")
"""Digits, or a UUID: nothing else is asked for."""


class InboxState(StrEnum):
    """Where an event stands."""

    WAITING = "waiting"  # for its first attempt, or for another one
    DONE = "done"
    PARKED = "parked"  # given up: a person has to look, and may let it be tried again


class Sight(StrEnum):
    """A kind of object that events say to look at."""

    ORDER = "order"
    SUBSCRIPTION = "subscription"
    INVOICE = "invoice"
    DEAL = "lead"


@dataclass(frozen=True, slots=True)
class Target:
    """An object to look at, by its id as text."""

    sight: Sight
    id: str

    def __str__(self) -> str:
        return f"{self.sight}:{self.id}"


@dataclass(frozen=True, slots=True)
class InboxItem:
    """An event as it is kept, without its body."""

    event: Event
    received_at: datetime
    state: InboxState
    attempts: int  # that failed
    next_try_at: datetime
    error: str | None  # why the last attempt failed
    result: str  # what became of it, in words
    done_at: datetime | None
    has_body: bool

    @property
    def about(self) -> str:
        """What it says to look at (`order:17`); empty if nothing."""
        target = spoken_of(self.event)
        return str(target) if target else ""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an event is not done. `is_its_own`: not for a reason that all events share, such as an outage."""

    reason: str
    is_its_own: bool = True


RETRY_DELAYS = tuple(timedelta(seconds=seconds) for seconds in (2, 5, 30, 120, 600, 3600))
"""How long after each failed attempt an event is tried again. The first two outwait an object that is not there yet."""
MOST_TAGS = 30
WEBHOOK = "webhook"
"""What a run over the inbox is called."""
LARGEST_BATCH = 250
"""Events that are handled together: as many deals as one write to Kommo takes."""
_SIGHTS = {"orders": Sight.ORDER, "subscriptions": Sight.SUBSCRIPTION, "subscription-invoices": Sight.INVOICE}


def next_try(attempts: int, failure: Failure, now: datetime) -> datetime | None:
    """Return when an event that failed once more is tried again; None: not by itself. `attempts`: those before."""
    if attempts < len(RETRY_DELAYS):
        return now + RETRY_DELAYS[attempts]
    return None if failure.is_its_own else now + RETRY_DELAYS[-1]


def batch_size(attempts: int) -> int:
    """Return how many events of so many failed attempts are handled together.

    Fewer each time: in the end one that lets a whole batch fail is alone.
    """
    return max(1, LARGEST_BATCH >> (2 * attempts))


def spoken_of(event: Event) -> Target | None:
    """Return what an event says to look at; None when that is nothing known."""
    if event.sender is Sender.KOMMO:
        is_deal = event.object_type == "leads" and lead_id_in(event.object_id) is not None
        return Target(Sight.DEAL, event.object_id) if is_deal else None
    sight = _SIGHTS.get(event.object_type)
    if sight and LS_ID.fullmatch(event.object_id):
        return Target(sight, event.object_id)
    if event.order_id and LS_ID.fullmatch(event.order_id):
        return Target(Sight.ORDER, event.order_id)  # a license key and others speak of their order
    return None


def reason_to_pass(event: Event, *, test_mode: bool, store_ids: frozenset[str]) -> str:
    """Return why an event changes nothing; empty when what it speaks of is to be looked at."""
    if spoken_of(event) is None:
        return "speaks of no order, subscription, invoice or deal"
    if event.sender is Sender.KOMMO:
        return ""
    if event.test_mode != test_mode:
        return f"is of {'test' if event.test_mode else 'live'} mode, and DEALSYNC_MODE is the other one"
    if event.store_id is not None and event.store_id not in store_ids:
        return f"is of store {event.store_id}, which is not watched"
    return ""


def is_echo(event: Event, updated_at: datetime | None, status_id: int | None) -> bool:
    """Whether the mirror is as young as what Kommo tells of a deal: it is our own write, or was read since."""
    told_status = event.custom.get("status_id")
    if event.object_updated_at is None or updated_at is None or event.event_name == "leads.delete":
        return False
    return updated_at >= event.object_updated_at and (told_status is None or told_status == str(status_id))


def most_by_list(pages: Sequence[int]) -> int:
    """Return how many of the newest objects are better read from their list than one by one.

    `pages`: the page of the newest-first list on which each object is expected, ascending. A page costs a request, and
    so does an object. Objects of their own are preferred where it is equal: they are read as they are this moment.
    """
    costs = {k: (pages[k - 1] if k else 0) + len(pages) - k for k in range(len(pages) + 1)}
    return min(costs, key=lambda k: (costs[k], k))


def tags_of(items: Iterable[InboxItem]) -> list[str]:
    """Return what a run over these events is tagged with: their names, and what they are about."""
    found = dict.fromkeys(tag for item in items for tag in (item.event.event_name, item.about) if tag)
    return list(found)[:MOST_TAGS]


def name_of(items: Iterable[InboxItem]) -> str:
    """Return what a run that is made for these events is called, until it is over and tells what it did."""
    first, *others = dict.fromkeys(item.event.event_name for item in items)
    return f"{WEBHOOK}: {first}{f' and {len(others)} more' if others else ''}"
