"""What follows from what: one declared table from (what Lemon Squeezy says, how the deal stands) to effects.

Each effect is a small function of a `Case`; it gives actions, the refusal of a conflict rule, what was seen to be
right, or nothing. An effect whose key the ledger holds is never given again; a part of a deal that differs from what
dealsync wrote, or once saw to be right, is a person's, and left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from dealsync.core import texts
from dealsync.core.mapping import deal_fields, fields_digest
from dealsync.core.models import (
    LOST_STATUS_ID,
    WON_STATUS_ID,
    Deal,
    Money,
    Order,
    OrderStatus,
    Subscription,
    minor_digits,
)
from dealsync.core.plan import Action, Change, DealChange, Kind, Note, Refusal, Seen, Task
from dealsync.core.policy import Policy
from dealsync.core.products import rule_for


class Fact(StrEnum):
    """What Lemon Squeezy says about an order, from its current state and never from the name of an event."""

    PAID = "paid"
    PARTLY_REFUNDED = "refunded in part"
    REFUNDED = "refunded in full"
    FRAUDULENT = "fraudulent"
    FAILED = "failed"
    NOTHING = "no money yet"


class Standing(StrEnum):
    """How the deal stands in Kommo."""

    OPEN = "open"
    WON = "won"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Case:
    """One order, its deal, and all that the rules may look at."""

    order: Order
    deal: Deal
    subscription: Subscription | None
    evidence: str
    first_order_id: str  # the order that the deal counts for
    states: Mapping[str, str]  # ledger state by idempotency key; a key that is absent is still owed
    policy: Policy
    now: datetime

    def key(self, effect: str) -> str:
        """Return the idempotency key of an effect of this order."""
        return f"order:{self.order.id}:{effect}"

    @property
    def fact_at(self) -> datetime:
        """When the latest fact about this order came true."""
        if self.order.refunded.minor:
            return self.order.refunded_at or self.order.updated_at
        return self.order.created_at


Outcome = Action | Refusal | Seen
Effect = Callable[[Case], list[Outcome]]


def fact_of(order: Order) -> Fact:
    """Read an order's fact off its status and amounts; a partial refund may still call itself paid."""
    if order.total.minor <= 0:
        return Fact.NOTHING
    if order.status in (OrderStatus.PAID, OrderStatus.PARTIAL_REFUND):
        return Fact.PARTLY_REFUNDED if order.refunded.minor else Fact.PAID
    return {
        OrderStatus.REFUNDED: Fact.REFUNDED,
        OrderStatus.FRAUDULENT: Fact.FRAUDULENT,
        OrderStatus.FAILED: Fact.FAILED,
    }.get(order.status, Fact.NOTHING)


def standing_of(deal: Deal) -> Standing:
    """Return how a deal stands; 142 and 143 mean the same in every pipeline."""
    return {WON_STATUS_ID: Standing.WON, LOST_STATUS_ID: Standing.LOST}.get(deal.status_id, Standing.OPEN)


def decide(case: Case) -> list[Outcome]:
    """Return what follows for one order and its deal, in the order of the table."""
    if case.order.id != case.first_order_id:
        effects = PAID_TWICE if fact_of(case.order) in (Fact.PAID, Fact.PARTLY_REFUNDED) else ()
    else:
        effects = STATE_TABLE.get((fact_of(case.order), standing_of(case.deal)), ())
    return [outcome for effect in effects for outcome in effect(case)]


# --- effects on the deal -------------------------------------------------------------------------------------


def close(case: Case) -> list[Outcome]:
    """Won, in the deal's own pipeline."""
    if _person_changed(case, "status_id", str(case.deal.status_id)):
        return [_refusal(case, "person_changed_it", "the deal was won, and a person moved it since")]
    change = DealChange(pipeline_id=case.deal.pipeline_id, status_id=WON_STATUS_ID)
    return _act(case, "won", Kind.CLOSE, "the order is paid and the deal is open", change)


def won_already(case: Case) -> list[Outcome]:
    """The deal is won: remember it, so that a later move is known to be a person's."""
    return _seen(case, {"status_id": str(WON_STATUS_ID)})


def price(case: Case) -> list[Outcome]:
    """The price becomes what was paid, in whole units; another currency leaves it alone."""
    total, asked = case.order.total, case.deal.price
    if total.currency != case.policy.account_currency:
        return []
    if asked == total.whole:
        return _seen(case, {"price": str(asked)})
    if _person_changed(case, "price", str(asked)):
        return [_refusal(case, "person_changed_it", f"the price was {total.whole}, and a person made it {asked} since")]
    reason = f"{total.major} {total.currency} was paid, the deal asked {asked}"
    return _act(case, "price", Kind.PRICE, reason, DealChange(price=total.whole))


def fill(case: Case) -> list[Outcome]:
    """The LS fields, as far as they differ from what the deal holds, but none that a person changed."""
    stored = case.deal.fields
    outcomes: list[Outcome] = []
    differing: dict[str, str] = {}
    for key, value in deal_fields(case.order, case.subscription).items():
        if stored.get(key) == value:
            outcomes += _seen(case, {key: value})
        elif _person_changed(case, key, stored.get(key, "")):
            reason = f"the LS field {key} was right, and a person changed it since"
            outcomes.append(_refusal(case, "person_changed_it", reason))
        else:
            differing[key] = value
    if not differing:
        return outcomes
    steps = {key: f"{stored.get(key, '')} -> {value}" for key, value in differing.items()}
    reason = f"LS fields differ: {', '.join(sorted(differing))}"
    change = DealChange(fields=differing)
    return [*outcomes, *_act(case, f"fields:{fields_digest(steps)}", Kind.FIELDS, reason, change)]


def attention(case: Case) -> list[Outcome]:
    """To the attention status: the one move backwards that is allowed."""
    pipeline_id, status_id = _attention(case)
    if case.deal.status_id == status_id:
        return []
    if _person_changed(case, "status_id", str(case.deal.status_id)):
        return [_refusal(case, "person_changed_it", "a person moved the deal since dealsync saw to its status")]
    change = DealChange(pipeline_id=pipeline_id, status_id=status_id)
    return _act(case, "attention", Kind.ATTENTION, f"the order is {fact_of(case.order)}", change)


def _attention(case: Case) -> tuple[int, int]:
    """Pipeline and status for deals that a person must look at: the product's, the pipeline's own, the home one's."""
    special = rule_for(case.order, case.policy.products)
    if special.attention_status_id is not None and special.pipeline_id == case.deal.pipeline_id:
        return special.pipeline_id, special.attention_status_id
    funnel = case.policy.funnel(case.deal.pipeline_id)
    return funnel.pipeline_id, funnel.attention_status_id


# --- notes, tasks, flags -------------------------------------------------------------------------------------


def payment_note(case: Case) -> list[Outcome]:
    """One note a payment: amount, product, order number."""
    return _note(case, "note:paid", "paid", "the payment is not noted on the deal yet", case.order.created_at)


def failed_note(case: Case) -> list[Outcome]:
    """One note on a payment that failed."""
    return _note(case, "note:failed", "payment_failed", "the payment failed", case.order.created_at)


def refund_task_and_note(case: Case) -> list[Outcome]:
    """One task and one note for each further refunded amount."""
    minor = case.order.refunded.minor
    name = "refunded" if fact_of(case.order) is Fact.REFUNDED else "partly_refunded"
    reason = f"the order is {fact_of(case.order)}"
    return [
        *_task(case, f"refund:{minor}", f"task_{name}", reason),
        *_note(case, f"note:refund:{minor}", name, reason, case.fact_at),
    ]


def fraud_task(case: Case) -> list[Outcome]:
    """An urgent task, due at once."""
    return _task(case, "fraud", "task_fraudulent", "the order is marked fraudulent", due_at=case.now)


def flag_lost(case: Case) -> list[Outcome]:
    """Paid but marked lost: a person decides; the deal is reopened only by policy."""
    if case.policy.reopen_lost:
        return close(case)
    return [
        _refusal(case, "closed_lost_stays", "the order is paid, the deal is marked lost"),
        *_flag(case, "paid-lost", "task_paid_but_lost", "paid but marked lost"),
    ]


def flag_amount(case: Case) -> list[Outcome]:
    """Paid another amount than asked, beyond the tolerance. A deal without a price asked for nothing."""
    total, asked = case.order.total, case.deal.price
    if total.currency != case.policy.account_currency or asked in (0, total.whole) or "price" in case.deal.written:
        return []
    asked_minor = asked * 10 ** minor_digits(total.currency)
    if abs(asked_minor - total.minor) <= case.policy.amount_tolerance:
        return []
    text = texts.format_money(Money(asked_minor, total.currency), case.policy.locale)
    return _flag(case, "amount", "task_amount_differs", "the amount paid is not the deal's price", asked=text)


def flag_currency(case: Case) -> list[Outcome]:
    """Paid in another currency: the price cannot be compared or set."""
    if case.order.total.currency == case.policy.account_currency:
        return []
    return _flag(case, "currency", "task_other_currency", "paid in another currency than the account's")


def flag_paid_twice(case: Case) -> list[Outcome]:
    """A second payment for a deal that another order paid."""
    reason = f"deal {case.deal.lead_id} was paid by order {case.first_order_id} already"
    return _flag(case, "paid-twice", "task_paid_twice", reason, other=case.first_order_id)


# --- conflict rules ------------------------------------------------------------------------------------------


def _person_changed(case: Case, part: str, stored: str) -> bool:
    """Whether a part of the deal is no longer as dealsync wrote it, or as it was when first seen right."""
    return case.deal.written.get(part, stored) != stored


# --- the table -----------------------------------------------------------------------------------------------

MONEY = (flag_amount, price, flag_currency)
PAID_TWICE: tuple[Effect, ...] = (flag_paid_twice,)
STATE_TABLE: dict[tuple[Fact, Standing], tuple[Effect, ...]] = {
    (Fact.PAID, Standing.OPEN): (close, *MONEY, fill, payment_note),
    (Fact.PAID, Standing.WON): (won_already, *MONEY, fill, payment_note),
    (Fact.PAID, Standing.LOST): (flag_lost, fill, payment_note),
    (Fact.PARTLY_REFUNDED, Standing.OPEN): (close, *MONEY, fill, payment_note, refund_task_and_note),
    (Fact.PARTLY_REFUNDED, Standing.WON): (won_already, *MONEY, fill, payment_note, refund_task_and_note),
    (Fact.PARTLY_REFUNDED, Standing.LOST): (flag_lost, fill, refund_task_and_note),
    (Fact.REFUNDED, Standing.OPEN): (attention, fill, refund_task_and_note),
    (Fact.REFUNDED, Standing.WON): (attention, fill, refund_task_and_note),
    (Fact.REFUNDED, Standing.LOST): (fill, refund_task_and_note),
    (Fact.FRAUDULENT, Standing.OPEN): (attention, fill, fraud_task),
    (Fact.FRAUDULENT, Standing.WON): (attention, fill, fraud_task),
    (Fact.FRAUDULENT, Standing.LOST): (fill, fraud_task),
    (Fact.FAILED, Standing.OPEN): (failed_note,),
    (Fact.FAILED, Standing.WON): (failed_note,),
    (Fact.FAILED, Standing.LOST): (failed_note,),
}


# --- how an effect becomes an action -------------------------------------------------------------------------


def _act(case: Case, effect: str, kind: Kind, reason: str, change: Change) -> list[Outcome]:
    key = case.key(effect)
    if key in case.states:
        return []
    source = f"order:{case.order.id}"
    return [Action(key, kind, source, case.deal.lead_id, reason, case.evidence, change)]


def _note(case: Case, effect: str, template: str, reason: str, fact_at: datetime) -> list[Outcome]:
    if not case.policy.notifies(fact_at):
        return []
    text = texts.render(template, case.key(effect), case.order, locale=case.policy.locale)
    return _act(case, effect, Kind.NOTE, reason, Note(text))


def _task(
    case: Case, effect: str, template: str, reason: str, due_at: datetime | None = None, **extra: str
) -> list[Outcome]:
    if not case.policy.notifies(case.fact_at):
        return []
    text = texts.render(template, case.key(effect), case.order, locale=case.policy.locale, **extra)
    due = due_at or case.now + case.policy.task_due
    return _act(case, effect, Kind.TASK, reason, Task(text, due, case.deal.responsible_user_id))


def _flag(case: Case, name: str, template: str, reason: str, **extra: str) -> list[Outcome]:
    """A flag is a task for the owner and a tag on the deal, raised once per fact."""
    if not case.policy.notifies(case.fact_at):
        return []
    return [
        *_task(case, f"flag:{name}", template, reason, None, **extra),
        *_act(case, f"tag:{name}", Kind.TAG, reason, DealChange(tags_to_add=(f"ls:{name}",))),
    ]


def _seen(case: Case, values: Mapping[str, str]) -> list[Outcome]:
    return [] if values.items() <= case.deal.written.items() else [Seen(case.deal.lead_id, values)]


def _refusal(case: Case, rule: str, reason: str) -> Refusal:
    return Refusal(f"order:{case.order.id}", case.deal.lead_id, rule, reason)
