"""One object of Lemon Squeezy (or a deal alone), the deal it is about, and all that the rules may look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from sys import intern
from typing import Any

from dealsync.core import texts
from dealsync.core.facts import (
    BESIDE,
    Fact,
    Standing,
    fact_of_order,
    fact_of_renewal,
    fact_of_subscription,
    standing_of,
)
from dealsync.core.models import Deal, Invoice, Order, OrderStatus, Subscription
from dealsync.core.plan import Action, Change, DealChange, Kind, Note, Refusal, Seen, Task
from dealsync.core.policy import Policy

TAKEN_BACK_BY = {"task": "done", "tag": "untag"}
"""What ends each part of an alarm; its note stays."""
ENDS = frozenset({"done", "untag", "ended"})
"""What is written when an alarm ends; `ended` is its closing note."""


@dataclass(frozen=True, slots=True)
class Episode:
    """The latest time that an alarm was raised: which of its parts were, and which were taken back."""

    stem: str
    number: int  # from 1
    source: str
    sale: str
    lead_id: int | None
    parts: frozenset[str]  # task, tag, note, and of `ENDS`

    @property
    def name(self) -> str:
        """The alarm's name: what stands between the source and the mark, in its stem."""
        rest = self.stem.removeprefix(f"{self.source}:")
        return ":".join(rest.split(":")[:2]) if rest.startswith("flag:") else rest.partition(":")[0]

    @property
    def id(self) -> str:
        """The key of the task, and the beginning of those of the other parts."""
        return self.stem if self.number == 1 else f"{self.stem}#{self.number}"

    @property
    def is_closed(self) -> bool:
        """Whether everything that can be taken back was: until then it is tried again."""
        return all(end in self.parts for part, end in TAKEN_BACK_BY.items() if part in self.parts)

    @property
    def is_over(self) -> bool:
        """Whether any part was taken back: what is raised after that is raised anew."""
        return not self.parts.isdisjoint(ENDS)


@dataclass(frozen=True, slots=True)
class Alarm:
    """A fact that calls for somebody, and that may end. `stem` is its idempotency key; see `core.alarms`."""

    stem: str
    name: str  # of `alarms.ALARMS`
    source: str
    sale: str
    lead_id: int
    values: Mapping[str, Any]
    evidence: str
    reason: str
    owner: int | None
    urgent: bool = False


Outcome = Action | Refusal | Seen | Alarm


@dataclass(frozen=True, slots=True)
class Ground:
    """What is the same for every case of a plan."""

    policy: Policy
    now: datetime
    states: Mapping[str, str]  # ledger state by idempotency key; a key that is absent is still owed
    episodes: Mapping[str, Episode] = field(default_factory=dict)  # alarms that were raised, by stem, the latest each
    taken_back: frozenset[int] = frozenset()  # deals on which a person has undone what a run had done
    elsewhere: frozenset[str] = frozenset()  # keys used for a deal to which the payment does not belong any more

    def alarms_of(self, source: str) -> list[tuple[str, str]]:
        """Return stem and name of the alarms of an object that were raised and have not ended."""
        return [(e.stem, e.name) for e in self.episodes.values() if e.source == source and not e.is_over]


@dataclass(frozen=True, slots=True)
class Case:
    """What the rules decide about: a subscription or an invoice where there is one, else the order, else the deal."""

    ground: Ground
    deal: Deal
    evidence: str
    order: Order | None = None  # of the sale
    first_order_id: str = ""  # the order that the deal counts for
    subscription: Subscription | None = None
    invoice: Invoice | None = None
    wanted: Mapping[str, str] = field(default_factory=dict)  # LS fields of the sale by key; "" is nothing to say
    changed_at: datetime | None = None  # the latest change of any object of the sale
    last_paid_at: datetime | None = None  # when the subscription's latest money came
    lone_fact: Fact | None = None  # of a deal without a sale
    through_older_link: bool = False  # see `core.paid_links`

    @property
    def policy(self) -> Policy:
        """What the account's people decided."""
        return self.ground.policy

    @property
    def now(self) -> datetime:
        """When the plan is made."""
        return self.ground.now

    @property
    def source(self) -> str:
        """The object this is about, as in `Action.source`."""
        if self.invoice is not None:
            return f"invoice:{self.invoice.id}"
        if self.subscription is not None:
            return f"subscription:{self.subscription.id}"
        return f"order:{self.order.id}" if self.order is not None else f"lead:{self.deal.lead_id}"

    @property
    def sale(self) -> str:
        """The order of the sale; empty where there is none."""
        return self.order.id if self.order is not None else ""

    @property
    def is_first(self) -> bool:
        """Whether this is about the sale that the deal counts for."""
        return self.sale == self.first_order_id

    @property
    def fact(self) -> Fact:
        """What Lemon Squeezy says."""
        if self.lone_fact is not None:
            return self.lone_fact
        if self.invoice is not None:
            return fact_of_renewal(self.invoice)
        if self.subscription is not None:
            return fact_of_subscription(self.subscription)
        if self.order is None:
            raise ValueError("a case is about something")
        fact = fact_of_order(self.order)
        return fact if self.is_first else BESIDE.get(fact, fact)

    @property
    def standing(self) -> Standing:
        """How the deal stands."""
        return standing_of(self.deal)

    @property
    def fact_at(self) -> datetime:
        """When the latest fact came true, as far as the objects tell."""
        if self.lone_fact is Fact.STUCK:
            return (self.deal.entered_at or self.deal.updated_at) + self.policy.stuck_after
        if self.invoice is not None:
            return (self.invoice.refunded_at if self.invoice.refunded.minor else None) or self.invoice.updated_at
        if self.subscription is not None:
            return self.subscription.updated_at
        if self.order is not None and (self.order.refunded.minor or self.order.status is OrderStatus.FRAUDULENT):
            return self.order.refunded_at or self.order.updated_at
        return self.paid_at

    @property
    def paid_at(self) -> datetime:
        """When the sale's money came."""
        if self.order is None:
            return self.deal.closed_at or self.deal.updated_at
        return self.order.paid_at or self.order.created_at

    @property
    def values(self) -> dict[str, Any]:
        """What texts may say."""
        found: dict[str, Any] = {}
        if self.order is not None:
            found |= texts.order_values(self.order)
        if self.subscription is not None:
            found |= texts.subscription_values(self.subscription)
        if self.invoice is not None:
            found |= texts.invoice_values(self.invoice)
        return found

    def key(self, effect: str) -> str:
        """Return the idempotency key of an effect of this object.

        What was done on a deal that the payment does not belong to any more is due again, on this one.
        """
        plain = f"{self.source}:{effect}"
        return f"{plain}:on:{self.deal.lead_id}" if plain in self.ground.elsewhere else plain


# --- how an effect becomes an action -------------------------------------------------------------------------


def act(case: Case, effect: str, kind: Kind, reason: str, change: Change) -> list[Outcome]:
    """Return one action, unless its key was used."""
    key = case.key(effect)
    if key in case.ground.states:
        return []
    # Thousands have the same reason, and keep one text.
    return [Action(key, kind, case.source, case.deal.lead_id, intern(reason), case.evidence, change, case.sale)]


def note(
    case: Case, effect: str, template: str, reason: str, fact_at: datetime | None = None, **more: Any
) -> list[Outcome]:
    """Return a note, unless the fact is too old to be told."""
    if not case.policy.notifies(fact_at or case.fact_at):
        return []
    text = case.policy.texts.render(template, case.key(effect), {**case.values, **more})
    return act(case, effect, Kind.NOTE, reason, Note(text))


def task(
    case: Case,
    effect: str,
    template: str,
    reason: str,
    *,
    urgent: bool = False,
    fact_at: datetime | None = None,
    **more: Any,
) -> list[Outcome]:
    """Return a task for the deal's owner, unless the fact is too old; an urgent one is due at once."""
    if not case.policy.notifies(fact_at or case.fact_at):
        return []
    text = case.policy.texts.render(template, case.key(effect), {**case.values, **more})
    due = case.now if urgent else case.policy.deadline.after(case.now)
    owner = case.policy.owner_of(case.deal)
    return act(case, effect, Kind.TASK, reason, Task(text, due, owner, task_type_id=case.policy.task_type_id))


def flag(case: Case, name: str, template: str, reason: str, **more: Any) -> list[Outcome]:
    """Return a task and a tag about something that happened once and does not end by itself."""
    if not case.policy.notifies(case.fact_at):
        return []
    return [
        *task(case, f"flag:{name}", template, reason, **more),
        *act(case, f"tag:{name}", Kind.TAG, reason, DealChange(tags_to_add=(f"ls:{name}",))),
    ]


def alarm(case: Case, name: str, reason: str, *, mark: str = "", urgent: bool = False, **more: Any) -> list[Outcome]:
    """Say that an alarm holds. One whose fact was old when first seen is remembered, and stays silent."""
    stem = case.key(f"{name}:{mark}" if mark else name)
    hushed = f"old:{stem}"
    raised = stem in case.ground.episodes
    if not raised and hushed in case.deal.written:
        return []
    if not raised and not case.policy.notifies(case.fact_at):
        # Without a mark the next time cannot be told from this one, so it is not hushed for good.
        return seen(case, {hushed: "1"}) if mark else []
    values, owner = {**case.values, **more}, case.policy.owner_of(case.deal)
    return [Alarm(stem, name, case.source, case.sale, case.deal.lead_id, values, case.evidence, reason, owner, urgent)]


def seen(case: Case, values: Mapping[str, str]) -> list[Outcome]:
    """Return parts of the deal to be remembered as right, those that are not yet."""
    return [] if values.items() <= case.deal.written.items() else [Seen(case.deal.lead_id, values)]


def refuse(case: Case, rule: str, reason: str, part: str = "") -> list[Outcome]:
    """Return the refusal of a conflict rule."""
    return [Refusal(case.source, case.deal.lead_id, rule, reason, part)]
