"""A deal that waits for payment: what is known of it, and what is decided about it. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dealsync.core.cases import Alarm, Ground
from dealsync.core.evidence import IssuedCheckout
from dealsync.core.models import Contact, Deal
from dealsync.core.plan import Action, Change, Kind, Refusal
from dealsync.core.policy import Policy


@dataclass(frozen=True, slots=True)
class Payment:
    """An order that brought money for a deal."""

    number: int
    is_kept: bool  # not given back


@dataclass(frozen=True, slots=True)
class Awaiting:
    """A deal, and what a checkout for it is made from."""

    deal: Deal
    contact: Contact | None = None  # the main one
    checkouts: tuple[IssuedCheckout, ...] = ()  # that dealsync opened for it, oldest first
    payments: tuple[Payment, ...] = ()
    is_subscribed: bool = False  # its sale started a subscription that goes on, a trial perhaps
    told_at: Mapping[str, datetime] = field(default_factory=dict)  # when what was done about it was done, by key
    refused: Mapping[str, str] = field(default_factory=dict)  # what the other side would not take, by key: its words


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a deal stands: its live checkout, or why it has none. No personal data."""

    lead_id: int
    state: str  # to-open, live, flagged, paid, elsewhere
    words: str = ""
    url: str = ""


class Waiting:
    """One deal and the sheet on which its plan is written."""

    def __init__(self, one: Awaiting, ground: Ground, payments_seen_at: datetime | None) -> None:
        self.known = one
        self.deal = one.deal
        self.ground = ground
        self.payments_seen_at = payments_seen_at
        self.source = f"lead:{one.deal.lead_id}"
        self.actions: list[Action] = []
        self.alarms: list[Alarm] = []
        self.refusals: list[Refusal] = []
        self.verdict = Verdict(one.deal.lead_id, "elsewhere", "it is not in the invoice stage")
        self.asks_since_when = False  # it matters since when the deal is in its status

    @property
    def policy(self) -> Policy:
        """What the account's people decided."""
        return self.ground.policy

    @property
    def mine(self) -> list[IssuedCheckout]:
        """The deal's checkouts of this mode, oldest first."""
        return [c for c in self.known.checkouts if c.test_mode == self.policy.test_mode]

    @property
    def is_in_stage(self) -> bool:
        """Whether the deal is in the invoice stage."""
        return (self.deal.pipeline_id, self.deal.status_id) in self.policy.invoice_statuses

    @property
    def is_away(self) -> bool:
        """Whether the deal is open and not in the invoice stage."""
        return self.deal.is_open and not self.deal.is_deleted and not self.is_in_stage

    @property
    def is_news(self) -> bool:
        """Whether the deal came into its status late enough for notes, tasks and e-mails."""
        return self.policy.notifies(self.deal.entered_at or self.deal.updated_at)

    @property
    def is_unsure(self) -> bool:
        """Whether it matters when the deal came into its status, and nobody has asked yet."""
        if self.deal.entered_at is not None:
            return False
        since = self.policy.notify_since
        is_told = since is not None and self.deal.updated_at >= since and bool(self.actions or self.alarms)
        return is_told or self.asks_since_when

    def key(self, effect: str) -> str:
        """Return the idempotency key of an effect."""
        return f"{self.source}:{effect}"

    def act(self, effect: str, kind: Kind, reason: str, change: Change) -> None:
        """Do something, unless it was done."""
        key, lead_id = self.key(effect), self.deal.lead_id
        if key not in self.ground.states:
            evidence = "the deal is in the invoice stage"
            self.actions.append(Action(key, kind, self.source, lead_id, reason, evidence, change))

    def conclude(self, state: str, words: str = "", url: str = "") -> None:
        """Say how the deal stands."""
        self.verdict = Verdict(self.deal.lead_id, state, words, url)

    def flag(self, name: str, why: str, *, mark: str = "", **values: Any) -> None:
        """Say that there is no checkout, and that a person has to mend something."""
        self.conclude("flagged", why)
        self.alarm(name, why, mark=mark, **values)

    def alarm(self, name: str, why: str, *, mark: str = "", **values: Any) -> None:
        """Say that something calls for the owner; old facts are silent."""
        stem = self.key(f"flag:{name}:{mark}" if mark else f"flag:{name}")
        if stem not in self.ground.episodes and not self.is_news:
            return
        owner, evidence = self.policy.owner_of(self.deal), "the deal as it stands in Kommo"
        self.alarms.append(
            Alarm(stem, f"flag:{name}", self.source, "", self.deal.lead_id, values, evidence, why, owner)
        )

    def refuse(self, rule: str, why: str, part: str) -> None:
        """Leave a part of the deal alone."""
        self.refusals.append(Refusal(self.source, self.deal.lead_id, rule, why, part))
