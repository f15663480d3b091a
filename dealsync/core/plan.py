"""Actions and the plan: what is to be done, why, and by what right. Equal inputs give equal plans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Literal

from dealsync.core.models import Link, Money
from dealsync.core.states import State
from dealsync.errors import UnsafePlan


class Kind(StrEnum):
    """What an action does. The order is that in which things are done."""

    CHECKOUT = "checkout"
    CREATE_COMPANY = "create-company"
    CREATE_CONTACT = "create-contact"
    CREATE_DEAL = "create-deal"
    CLOSE = "close"
    ATTENTION = "attention"
    PRICE = "price"
    FIELDS = "fields"
    TAG = "tag"
    UNTAG = "untag"
    RESTORE = "restore"
    NOTE = "note"
    CHANGE_NOTE = "change-note"
    TASK = "task"
    EMAIL = "email"
    CHANGE_TASK = "change-task"
    COMPLETE = "complete"
    REOPEN = "reopen"


ORDER_OF_KINDS = {kind: place for place, kind in enumerate(Kind)}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutWish:
    """A checkout to be opened for one deal. `custom` is more custom data, which comes back in webhooks as text."""

    lead_id: int
    store_id: str
    variant_id: str
    mark: str = ""  # what it is asked for, in short: it comes back with the payment
    email: str = ""
    name: str = ""
    quantity: int = 1
    custom_price: Money | None = None  # of one, in the store's currency
    discount_code: str = ""
    expires_at: datetime | None = None
    custom: Mapping[str, str] = field(default_factory=dict, hash=False)
    type: Literal["checkout"] = "checkout"


@dataclass(frozen=True, slots=True)
class DealChange:
    """Parts of a deal to change; what is None or empty stays. All changes of one deal travel in one request."""

    type: Literal["deal-change"] = "deal-change"
    pipeline_id: int | None = None
    status_id: int | None = None
    price: int | None = None  # in the account's price units
    fields: Mapping[str, str] = field(default_factory=dict)  # by key of `mapping.FIELDS`; an empty text empties it
    tags_to_add: tuple[str, ...] = ()
    tags_to_delete: tuple[str, ...] = ()

    def as_written(self) -> dict[str, str]:
        """Return what this writes, by the names of `Seen.values`."""
        status = {} if self.status_id is None else {"status_id": str(self.status_id)}
        price = {} if self.price is None else {"price": str(self.price)}
        return {**status, **price, **self.fields}


def merged(changes: Iterable[DealChange]) -> DealChange:
    """Return what changes of one deal come to when they travel together: the last one to say something counts."""
    found = DealChange()
    for change in changes:
        added = (*found.tags_to_add, *change.tags_to_add)
        found = DealChange(
            pipeline_id=found.pipeline_id if change.pipeline_id is None else change.pipeline_id,
            status_id=found.status_id if change.status_id is None else change.status_id,
            price=found.price if change.price is None else change.price,
            fields={**found.fields, **change.fields},
            tags_to_add=tuple(dict.fromkeys(added)),
            tags_to_delete=tuple(dict.fromkeys((*found.tags_to_delete, *change.tags_to_delete))),
        )
    return replace(found, tags_to_delete=tuple(tag for tag in found.tags_to_delete if tag not in found.tags_to_add))


@dataclass(frozen=True, slots=True)
class NewContact:
    """A contact to create for a buyer whom Kommo does not know."""

    name: str
    email: str
    responsible_user_id: int | None
    type: Literal["new-contact"] = "new-contact"


@dataclass(frozen=True, slots=True)
class NewCompany:
    """A company to create, that a buyer named and Kommo does not know."""

    name: str
    responsible_user_id: int | None
    type: Literal["new-company"] = "new-company"


@dataclass(frozen=True, slots=True)
class NewDeal:
    """A deal to create. Its contact is known by id, or made by the action `contact_key`; so is its company."""

    name: str
    pipeline_id: int
    status_id: int
    price: int | None  # in the account's price units; None in a currency that is not the account's
    responsible_user_id: int | None
    fields: Mapping[str, str]
    tags: tuple[str, ...] = ()
    contact_id: int | None = None
    contact_key: str | None = None
    company_id: int | None = None
    company_key: str | None = None
    custom: Mapping[int, str] = field(default_factory=dict)  # other fields of deals by field id: UTM, plan
    rota: str = ""  # whose turn it was, see `core.owners`
    type: Literal["new-deal"] = "new-deal"

    def as_written(self) -> dict[str, str]:
        """Return what this writes, by the names of `Seen.values`."""
        price = {} if self.price is None else {"price": str(self.price)}
        return {"status_id": str(self.status_id), **price, **self.fields}


@dataclass(frozen=True, slots=True)
class Note:
    """A note on a deal."""

    text: str
    type: Literal["note"] = "note"


@dataclass(frozen=True, slots=True)
class Task:
    """A task for a deal's owner; without an owner, for the user whose token we hold."""

    text: str
    due_at: datetime
    responsible_user_id: int | None
    on_deal: bool = True  # else it hangs on nothing: no deal is known
    task_type_id: int = 1
    type: Literal["task"] = "task"


@dataclass(frozen=True, slots=True)
class CompleteTask:
    """A task of ours that is not needed any more: what it asked for has happened."""

    task_key: str  # the idempotency key under which it was set
    result: str
    type: Literal["complete-task"] = "complete-task"


@dataclass(frozen=True, slots=True)
class ChangeTask:
    """A task of ours that has become more pressing. The text ends in the task's own reference."""

    task_key: str
    text: str
    due_at: datetime
    type: Literal["change-task"] = "change-task"


@dataclass(frozen=True, slots=True)
class ReopenTask:
    """A task of ours that was ticked off, and is to be done after all."""

    task_key: str
    type: Literal["reopen-task"] = "reopen-task"


@dataclass(frozen=True, slots=True)
class ChangeNote:
    """A note of ours that is to say something else. The text ends in the note's own reference."""

    note_key: str  # the idempotency key under which it was written
    text: str
    type: Literal["change-note"] = "change-note"


@dataclass(frozen=True, slots=True)
class Letter:
    """An e-mail to a client."""

    to: str
    to_name: str
    subject: str
    text: str
    html: str
    type: Literal["letter"] = "letter"


Change = (
    Letter
    | CheckoutWish
    | DealChange
    | NewCompany
    | NewContact
    | NewDeal
    | Note
    | ChangeNote
    | Task
    | ChangeTask
    | CompleteTask
    | ReopenTask
)


@dataclass(frozen=True, slots=True)
class Action:
    """One effect. `key` is its idempotency key: the ledger lets each key take effect once."""

    key: str
    kind: Kind
    source: str  # "order:17", "subscription:9", "invoice:44", "lead:31"
    lead_id: int | None  # None while the deal is still to be created
    reason: str
    evidence: str
    change: Change
    sale: str = ""  # the order of the sale, where the source is not that order
    alarm: str = ""  # the alarm that this raises or ends, see `core.alarms`

    @property
    def order_id(self) -> str:
        """The order of the sale that this action is about; empty where there is none."""
        kind, _, object_id = self.source.partition(":")
        return object_id if kind == "order" else self.sale


def in_order(actions: Iterable[Action]) -> list[Action]:
    """Return actions in the order in which they are done."""
    return sorted(actions, key=lambda a: (ORDER_OF_KINDS[a.kind], a.source, a.key))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an action."""

    key: str
    state: State
    lead_id: int | None = None  # of the deal it was about, or that it made
    result_id: int | None = None  # of the lead, contact, note or task that was made
    error: str | None = None  # the API's own words
    is_refused: bool = False  # for a reason of its own, which time alone will not mend
    by_reading: bool = False  # no answer told so: it was looked up


@dataclass(frozen=True, slots=True)
class Doubt:
    """An action that was sent and whose answer is not known: it may have happened."""

    action: Action
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What earlier runs meant and did not do (planned or failed), and how far the rota of owners has come."""

    actions: tuple[Action, ...] = ()
    rota_positions: Mapping[str, int] = field(default_factory=dict)  # deals given out so far, by rota


@dataclass(frozen=True, slots=True)
class Candidate:
    """A deal that a payment may be for, and what speaks for it and against it, in plain words."""

    lead_id: int
    score: int  # 0 to 100; only an order among candidates, never a reason to act
    reasons: tuple[str, ...]


REVIEW_EFFECT = "review"


class Question(StrEnum):
    """What a person is asked about a payment."""

    WHICH = "which"
    DELETED = "deleted"  # its deal is gone
    CONTRADICTED = "contradicted"  # it was counted on one deal, and evidence that came later names another


@dataclass(frozen=True, slots=True)
class Scope:
    """The orders that a plan looked at: reviews of others are not its business."""

    store_ids: frozenset[str]
    test_mode: bool
    order_ids: frozenset[str] | None = None  # these alone; None: all of them


@dataclass(frozen=True, slots=True)
class Review:
    """A payment that a person must place: the machine never decides a tie."""

    order_id: str
    candidates: tuple[int, ...]  # lead ids, ascending
    reason: str
    details: tuple[Candidate, ...] = ()  # the same deals, best first
    question: Question = Question.WHICH

    @property
    def key(self) -> str:
        """The idempotency key of its task: one a question."""
        suffix = "" if self.question is Question.WHICH else f":{self.question}"
        return f"order:{self.order_id}:{REVIEW_EFFECT}{suffix}"


class Decision(StrEnum):
    """What a person decided in a review, besides naming a deal (which is a link)."""

    NEW = "new"
    DISMISSED = "dismissed"


@dataclass(frozen=True, slots=True)
class Oddity:
    """Evidence that was not believed, and why: an id of no deal, a claim that does not fit its order."""

    source: str  # "order:17"
    reason: str


@dataclass(frozen=True, slots=True)
class Questions:
    """What the plan would have to know and the mirror does not hold: to be read, and planned again."""

    lead_ids: frozenset[int] = frozenset()  # named by evidence, never seen
    gone_lead_ids: frozenset[int] = frozenset()  # named by evidence, deleted: merged into another one?
    customer_ids: frozenset[str] = frozenset()  # whose country decides about an owner
    company_names: frozenset[str] = frozenset()  # normalised (`models.normal_name`)
    entered_lead_ids: frozenset[int] = frozenset()  # in the invoice stage, since when is not known
    moved_lead_ids: frozenset[int] = frozenset()  # no longer in the status that dealsync wrote: who moved them?
    lists: bool = False  # it rests on which deals and contacts there are, and not only on deals that are named


@dataclass(frozen=True, slots=True)
class Refusal:
    """A change that a conflict rule forbade."""

    source: str
    lead_id: int | None
    rule: str
    reason: str
    part: str = ""  # of the deal that was left alone

    @property
    def key(self) -> str:
        """What makes it the same refusal in every run."""
        return f"{self.rule}:{self.source}:{self.lead_id}:{self.part}"


@dataclass(frozen=True, slots=True)
class Drift:
    """Something that is out of step now: one row of the reverse diff."""

    drift: str  # of `DRIFT_CLASSES`
    source: str  # "order:17", "subscription:9", "lead:31"
    lead_id: int | None
    since: datetime  # when it came about, by the objects' own times

    @property
    def key(self) -> str:
        """What makes it the same in every run."""
        return f"{self.drift}:{self.source}"


@dataclass(frozen=True, slots=True)
class Seen:
    """Parts of a deal that are as they should be: `status_id`, `price`, and LS fields by key, as text.

    Kept with what dealsync wrote itself: whatever differs from that later, a person changed.
    """

    lead_id: int
    values: Mapping[str, str]


DRIFT_CLASSES = (
    "paid_not_won",
    "paid_no_deal",
    "refunded_still_won",
    "won_never_paid",
    "paid_twice",
    "amount_differs",
    "subscription_no_deal",
    "stuck",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in the order in which it is done, and everything that was seen but is left alone."""

    actions: tuple[Action, ...] = ()
    links: tuple[Link, ...] = ()  # found now, to be stored with the plan
    reviews: tuple[Review, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    drifts: tuple[Drift, ...] = ()
    settling: tuple[str, ...] = ()  # order ids too young to be decided without their webhook
    other_mode: int = 0  # orders of the other mode (test or live), left alone
    seen: tuple[Seen, ...] = ()  # found right for the first time, to be stored with the plan
    oddities: tuple[Oddity, ...] = ()
    scope: Scope | None = None  # None: all orders
    questions: Questions = field(default_factory=Questions)

    @property
    def drift(self) -> dict[str, int]:
        """How many things are out of step now, by class."""
        found = Counter(row.drift for row in self.drifts)
        return {name: found[name] for name in DRIFT_CLASSES}

    @property
    def deals_touched(self) -> int:
        """How many deals the plan changes or creates."""
        return len({a.lead_id or a.source for a in self.actions})

    def only(self, actions: Iterable[Action]) -> Plan:
        """Return the same plan with these actions, and with all that was seen."""
        return replace(self, actions=tuple(actions))

    def ensure_within(self, max_changes: int) -> None:
        """Raise UnsafePlan when more than `max_changes` deals would be touched."""
        if self.deals_touched > max_changes:
            raise UnsafePlan(
                f"The plan touches {self.deals_touched} deals, more than max_changes = {max_changes}. "
                "Nothing was sent. Read the plan; if it is right, run again with a higher --max-changes."
            )

    def counts(self) -> dict[str, int]:
        """Return how many actions there are of each kind, in the order of `Kind`."""
        found = Counter(a.kind for a in self.actions)
        return {kind.value: found[kind] for kind in Kind if found[kind]}
