"""What follows from what: one declared table, from what Lemon Squeezy says and how the deal stands to effects.

README's table is made from this one (`dealsync.rulebook`). Each effect is a small function of a case; it gives
actions, alarms, the refusal of a conflict rule, what was seen to be right, or nothing. An effect whose key the ledger
holds is never given again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dealsync.core.cases import Case, Outcome, alarm
from dealsync.core.effects import deal, order, subscription
from dealsync.core.facts import ANY, BESIDE, Fact, Standing

Effect = Callable[[Case], list[Outcome]]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table. `does` says in words what the effects do, `policy` which settings change it."""

    facts: tuple[Fact, ...]
    standings: frozenset[Standing]
    does: str
    effects: tuple[Effect, ...]
    policy: tuple[str, ...] = ()


def flag_never_paid(case: Case) -> list[Outcome]:
    """Won, and the order that the deal names brought no money."""
    return alarm(case, "flag:won-never-paid", str(case.fact), order_id=case.deal.fields.get("order_id", ""))


def flag_stuck(case: Case) -> list[Outcome]:
    """In the invoice stage for too long, once per stay."""
    return alarm(case, "flag:stuck", str(case.fact), since=case.deal.entered_at or case.deal.updated_at)


OPEN, WON, LOST = (frozenset({standing}) for standing in Standing)
# The LS fields of a sale are filled with its order, whatever object brought the news: one write a deal.
MONEY = (
    order.flag_amount,
    deal.price,
    order.flag_currency,
    order.flag_zero_decimal,
    order.flag_older_link,
)
PRICE_POLICY = ("policy.amount_tolerance", "policy.price", "policy.zero_decimal", "kommo.minor_units")
SUBSCRIBED = (subscription.started_note, subscription.changed_note, subscription.reminder)
STATE_TABLE: tuple[Row, ...] = (
    Row(
        (Fact.PAID,),
        OPEN,
        "won in the deal's own pipeline, price, LS fields, one payment note; flags for another amount or currency, "
        "an older checkout link",
        (deal.close, *MONEY, deal.fill, order.payment_note),
        PRICE_POLICY,
    ),
    Row(
        (Fact.PAID,),
        WON,
        "missing LS fields and the note; status untouched; flags as above",
        (deal.won_already, *MONEY, deal.fill, order.payment_note),
        PRICE_POLICY,
    ),
    Row(
        (Fact.PAID,),
        LOST,
        "flag *paid but marked lost*, LS fields, payment note; reopened only by policy",
        (deal.close_if_reopened, order.flag_lost, deal.fill, order.payment_note),
        ("policy.reopen_lost",),
    ),
    Row(
        (Fact.PAID_AGAIN,),
        ANY,
        "the first counts; flag *paid twice*; a task and a note for each amount given back",
        (order.flag_paid_twice, order.refund_task_and_note),
    ),
    Row((Fact.REFUNDED_BESIDE,), ANY, "task and note; the deal stays", (order.refund_task_and_note,)),
    Row((Fact.FRAUDULENT_BESIDE,), ANY, "urgent task; the deal stays", (order.fraud_task,)),
    Row(
        (Fact.PARTLY_REFUNDED,),
        OPEN,
        "as paid; a task and a note for each further amount",
        (deal.close, *MONEY, deal.fill, order.payment_note, order.refund_task_and_note),
        PRICE_POLICY,
    ),
    Row(
        (Fact.PARTLY_REFUNDED,),
        WON,
        "deal stays; LS fields; a task and a note for each further amount",
        (deal.won_already, *MONEY, deal.fill, order.payment_note, order.refund_task_and_note),
        PRICE_POLICY,
    ),
    Row(
        (Fact.PARTLY_REFUNDED,),
        LOST,
        "as paid and lost; a task and a note for each further amount",
        (deal.close_if_reopened, order.flag_lost, deal.fill, order.refund_task_and_note),
        ("policy.reopen_lost",),
    ),
    Row(
        (Fact.REFUNDED,),
        OPEN | WON,
        "to the attention status unless a person moved it since, task with details, note, LS fields",
        (deal.attention, deal.fill, order.refund_task_and_note),
    ),
    Row((Fact.REFUNDED,), LOST, "task, note, LS fields; the deal stays", (deal.fill, order.refund_task_and_note)),
    Row(
        (Fact.FRAUDULENT,),
        OPEN | WON,
        "to the attention status, urgent task",
        (deal.attention, deal.fill, order.fraud_task),
    ),
    Row((Fact.FRAUDULENT,), LOST, "urgent task; the deal stays", (deal.fill, order.fraud_task)),
    Row((Fact.FAILED,), ANY, "a note", (order.failed_note,)),
    Row((Fact.NOTHING,), ANY, "nothing; LS fields if it started a subscription", (deal.fill,)),
    Row(
        (Fact.TRIAL,),
        ANY,
        "LS fields and a note; won only when money came",
        (deal.close_trial, *SUBSCRIBED),
        ("policy.trial_wins", "policy.renewal_reminder_days"),
    ),
    Row(
        (Fact.ACTIVE,),
        ANY,
        "LS fields; note on a changed plan or seats; dunning, cancellation and pause end with a result or note",
        SUBSCRIBED,
        ("policy.renewal_reminder_days",),
    ),
    Row((Fact.PAUSED,), ANY, "note, tag", (*SUBSCRIBED, subscription.paused)),
    Row((Fact.PAST_DUE,), ANY, "one dunning task, tag", (*SUBSCRIBED, subscription.dunning)),
    Row((Fact.UNPAID,), ANY, "the dunning task becomes urgent", (*SUBSCRIBED, subscription.dunning)),
    Row((Fact.CANCELLED,), ANY, "one task naming the end, tag", (*SUBSCRIBED, subscription.cancelled)),
    Row(
        (Fact.EXPIRED,),
        ANY,
        "tag `churned`; the task of the cancellation, unless there was one",
        (*SUBSCRIBED, subscription.churned),
    ),
    Row((Fact.UNKNOWN,), ANY, "LS fields", ()),
    Row(
        (Fact.RENEWED,),
        ANY,
        "note, LS fields (renews at, lifetime revenue)",
        (subscription.renewal_note, subscription.renewal_deal),
        ("policy.renewal_deals",),
    ),
    Row(
        (Fact.RENEWAL_PARTLY_REFUNDED,),
        ANY,
        "note of the renewal; a task and a note for each further amount; the deal stays",
        (subscription.renewal_note, subscription.renewal_refund),
    ),
    Row(
        (Fact.RENEWAL_REFUNDED,),
        OPEN | WON,
        "as an order refunded in full",
        (deal.attention, subscription.renewal_note, subscription.renewal_refund),
    ),
    Row(
        (Fact.RENEWAL_REFUNDED,),
        LOST,
        "task, note, LS fields; the deal stays",
        (subscription.renewal_note, subscription.renewal_refund),
    ),
    Row((Fact.NEVER_PAID,), WON, "flag *won but never paid*", (flag_never_paid,)),
    Row((Fact.STUCK,), OPEN, "flag *stuck*, once per stay", (flag_stuck,), ("policy.stuck_after_hours",)),
)
_EFFECTS: dict[tuple[Fact, Standing], tuple[Effect, ...]] = {
    (fact, standing): row.effects for row in STATE_TABLE for fact in row.facts for standing in row.standings
}


def decide(case: Case) -> list[Outcome]:
    """Return what follows for one case, in the order of the table."""
    if case.subscription is None and case.order is not None and not case.is_first and case.fact not in BESIDE.values():
        return []  # a second order of the deal without money of its own
    return [outcome for effect in _EFFECTS.get((case.fact, case.standing), ()) for outcome in effect(case)]
