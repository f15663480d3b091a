"""What is on record about a deal, an order and what belongs to them: the input of the timeline. No personal data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dealsync.core.sightings import How
from dealsync.core.states import State


@dataclass(frozen=True, slots=True)
class WebhookRecord:
    """A verified webhook, and what became of it."""

    event_id: str
    sender: str
    event_name: str
    about: str  # "order:17"; empty if it speaks of nothing known
    received_at: datetime
    state: str  # of `inbox.InboxState`
    result: str
    error: str | None
    attempts: int  # that failed
    done_at: datetime | None
    lead_text: str | None = None  # what it gives as the deal's id
    object_updated_at: datetime | None = None
    told: Mapping[str, str] = field(default_factory=dict)  # of a Kommo webhook: statuses and who


@dataclass(frozen=True, slots=True)
class SightingRecord:
    """An object was seen first, or differed from before. See `core.sightings`."""

    about: str
    at: datetime
    run_id: str
    how: How
    is_first: bool
    is_own: bool
    changed_at: datetime | None
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ClaimRecord:
    """A buyer came back through the claim link of a checkout."""

    order_id: str
    lead_id: int
    claimed_at: datetime


@dataclass(frozen=True, slots=True)
class CheckoutRecord:
    """A checkout that names the deal."""

    checkout_id: str
    lead_text: str
    created_at: datetime
    is_ours: bool


@dataclass(frozen=True, slots=True)
class PlacingRecord:
    """An order was found to belong to a deal."""

    order_id: str
    lead_id: int
    tier: str
    evidence: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ReviewRecord:
    """A person was asked to which deal a payment belongs."""

    order_id: str
    candidates: tuple[int, ...]
    reason: str
    state: str  # of `reviews.ReviewState`
    first_seen_at: datetime
    last_seen_at: datetime
    decision: str | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step of an action through its states."""

    step: str  # of `states.Step`, or `states.CAME_BACK`
    at: datetime
    was: State | None = None
    run_id: str | None = None
    attempt: int = 0
    by_reading: bool = False
    lead_id: int | None = None
    result_id: int | None = None
    words: str | None = None


@dataclass(frozen=True, slots=True)
class ActionRecord:
    """An action of the ledger, and its steps in their order."""

    key: str
    kind: str
    source: str
    order_id: str
    lead_id: int | None
    evidence: str
    steps: tuple[StepRecord, ...]
    writes: Mapping[str, str] = field(default_factory=dict)  # parts of a deal, as in `plan.Seen`; no links


@dataclass(frozen=True, slots=True)
class FindingRecord:
    """Something out of step, or a change that a conflict rule refused."""

    kind: str  # a drift class, or "refusal"
    rule: str  # of a refusal
    source: str
    lead_id: int | None
    reason: str
    first_seen_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class MergeRecord:
    """A deal is gone; into which one it was merged, if that is known."""

    gone_id: int
    lead_id: int | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Records:
    """Everything on record about some objects."""

    webhooks: tuple[WebhookRecord, ...] = ()
    sightings: tuple[SightingRecord, ...] = ()
    claims: tuple[ClaimRecord, ...] = ()
    checkouts: tuple[CheckoutRecord, ...] = ()
    placings: tuple[PlacingRecord, ...] = ()
    reviews: tuple[ReviewRecord, ...] = ()
    actions: tuple[ActionRecord, ...] = ()
    findings: tuple[FindingRecord, ...] = ()
    merges: tuple[MergeRecord, ...] = ()
    jobs: Mapping[str, str] = field(default_factory=dict)  # what each run was for, by its id
    statuses: Mapping[int, str] = field(default_factory=dict)  # names of Kommo's statuses, as last read
    drifts: Mapping[str, str] = field(default_factory=dict)  # drift classes in words

    def __bool__(self) -> bool:
        return any((self.webhooks, self.sightings, self.claims, self.checkouts, self.placings, self.reviews,
                    self.actions, self.findings, self.merges))  # fmt: skip
