"""Every row of the declared table, against every state that a deal can be in before."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from dealsync.core.alarms import ALARMS
from dealsync.core.conflicts import (
    closed_lost_stays,
    never_backwards,
    not_our_field,
    null_never_overwrites,
    person_moved_it,
)
from dealsync.core.facts import Fact, Standing
from dealsync.core.models import Link, OrderStatus, Tier
from dealsync.core.plan import DealChange, Plan
from dealsync.core.planner import make_plan
from dealsync.core.rules import STATE_TABLE
from dealsync.core.texts import words
from tests.builders import (
    ATTENTION,
    INVOICE_SENT,
    LOST,
    NEW,
    NOW,
    WON,
    World,
    deal,
    invoice,
    order,
    policy,
    subscription,
)

LINKED = (Link("17", 31, Tier.EXPLICIT, "a webhook named it"),)
STATUSES = {Standing.OPEN: NEW, Standing.WON: WON, Standing.LOST: LOST}


def world_of(fact: Fact) -> World:
    """Return a world in which Lemon Squeezy says this about the sale of deal 31."""
    refunded = order(refunded=49000, status=OrderStatus.REFUNDED)
    orders = {
        Fact.PARTLY_REFUNDED: order(refunded=2500, status=OrderStatus.PARTIAL_REFUND),
        Fact.REFUNDED: refunded,
        Fact.FRAUDULENT: order(status=OrderStatus.FRAUDULENT),
        Fact.FAILED: order(status=OrderStatus.FAILED),
        Fact.NOTHING: order(status=OrderStatus.PENDING),
        Fact.TRIAL: order(total=0),
    }
    world = World(orders=(orders.get(fact, order()),), links=LINKED)
    statuses = {
        Fact.TRIAL: "on_trial", Fact.ACTIVE: "active", Fact.PAUSED: "paused", Fact.PAST_DUE: "past_due",
        Fact.UNPAID: "unpaid", Fact.CANCELLED: "cancelled", Fact.EXPIRED: "expired", Fact.UNKNOWN: "brand_new",
    }  # fmt: skip
    back = {Fact.RENEWED: 0, Fact.RENEWAL_PARTLY_REFUNDED: 2500, Fact.RENEWAL_REFUNDED: 49000}
    if fact in statuses or fact in back:
        ends_at = NOW + timedelta(days=9) if fact in (Fact.CANCELLED, Fact.EXPIRED) else None
        status = statuses.get(fact, "active")
        world = replace(world, subscriptions=(subscription(subscription_status=status, ends_at=ends_at, quantity=2),))
    if fact in back:
        world = replace(world, invoices=(invoice(refunded=back[fact]),))
    if fact is Fact.PAID_AGAIN:
        second = order(18, number=1001, created_at=NOW - timedelta(hours=2))
        world = replace(world, orders=(order(), second), links=(*LINKED, Link("18", 31, Tier.EXPLICIT, "named too")))
    beside = {
        Fact.REFUNDED_BESIDE: refunded,
        Fact.FRAUDULENT_BESIDE: order(status=OrderStatus.FRAUDULENT),
    }
    if fact in beside:
        counts = order(18, number=1001, created_at=NOW - timedelta(hours=2))
        links = (*LINKED, Link("18", 31, Tier.EXPLICIT, "named too"))
        world = replace(world, orders=(beside[fact], counts), links=links)
    if fact is Fact.NEVER_PAID:
        world = replace(world, orders=(order(98, status=OrderStatus.FAILED),), links=())
    if fact is Fact.STUCK:
        world = replace(world, orders=(), links=())
    return world


def plan_for(fact: Fact, standing: Standing) -> tuple[World, Plan]:
    status = INVOICE_SENT if fact is Fact.STUCK else STATUSES[standing]
    fields = {"order_id": "99"} if fact is Fact.NEVER_PAID else {}
    world = replace(world_of(fact), deals=(deal(31, status_id=status, fields=fields),))
    return world, make_plan(world.tables(), policy(), NOW)


# fact -> deal's status by standing, and the keys of what people read, whatever the standing.
SUB, ORD, INV = "subscription:9", "order:17", "invoice:44"
END = "2026-06-10T12:00:00Z"
WANTED: dict[Fact, tuple[tuple[int, int, int], set[str]]] = {
    Fact.PAID: ((WON, WON, LOST), {f"{ORD}:note:paid"}),
    Fact.PAID_AGAIN: ((WON, WON, LOST), {f"{ORD}:note:paid", "order:18:flag:paid-twice"}),
    Fact.PARTLY_REFUNDED: ((WON, WON, LOST), {f"{ORD}:refund:2500", f"{ORD}:note:refund:2500"}),
    Fact.REFUNDED: ((ATTENTION, ATTENTION, LOST), {f"{ORD}:refund:49000", f"{ORD}:note:refund:49000"}),
    Fact.FRAUDULENT: ((ATTENTION, ATTENTION, LOST), {f"{ORD}:fraud"}),
    Fact.REFUNDED_BESIDE: (
        (WON, WON, LOST),
        {"order:18:note:paid", f"{ORD}:refund:49000", f"{ORD}:note:refund:49000"},
    ),
    Fact.FRAUDULENT_BESIDE: ((WON, WON, LOST), {"order:18:note:paid", f"{ORD}:fraud"}),
    Fact.FAILED: ((NEW, WON, LOST), {f"{ORD}:note:failed"}),
    Fact.NOTHING: ((NEW, WON, LOST), set()),
    Fact.TRIAL: ((NEW, WON, LOST), {f"{SUB}:note:started"}),
    Fact.ACTIVE: ((WON, WON, LOST), {f"{ORD}:note:paid"}),
    Fact.PAUSED: ((WON, WON, LOST), {f"{ORD}:note:paid", f"{SUB}:paused:note"}),
    Fact.PAST_DUE: ((WON, WON, LOST), {f"{ORD}:note:paid", f"{SUB}:dunning"}),
    Fact.UNPAID: ((WON, WON, LOST), {f"{ORD}:note:paid", f"{SUB}:dunning", f"{SUB}:dunning:escalated"}),
    Fact.CANCELLED: ((WON, WON, LOST), {f"{ORD}:note:paid", f"{SUB}:cancelled:{END}"}),
    Fact.EXPIRED: ((WON, WON, LOST), {f"{ORD}:note:paid", f"{SUB}:cancelled:{END}"}),
    Fact.UNKNOWN: ((WON, WON, LOST), {f"{ORD}:note:paid"}),
    Fact.RENEWED: ((WON, WON, LOST), {f"{ORD}:note:paid", f"{INV}:renewal"}),
    Fact.RENEWAL_PARTLY_REFUNDED: (
        (WON, WON, LOST),
        {f"{ORD}:note:paid", f"{INV}:renewal", f"{INV}:refund:2500", f"{INV}:note:refund:2500"},
    ),
    Fact.RENEWAL_REFUNDED: (
        (ATTENTION, ATTENTION, LOST),
        {f"{ORD}:note:paid", f"{INV}:renewal", f"{INV}:refund:49000", f"{INV}:note:refund:49000"},
    ),
    Fact.NEVER_PAID: ((NEW, WON, LOST), {"lead:31:flag:won-never-paid"}),
    Fact.STUCK: ((INVOICE_SENT, INVOICE_SENT, INVOICE_SENT), {"lead:31:flag:stuck"}),
}
TAGS = {
    Fact.PAUSED: {"ls:paused"}, Fact.PAST_DUE: {"ls:dunning"}, Fact.UNPAID: {"ls:dunning"},
    Fact.CANCELLED: {"ls:cancelled"}, Fact.EXPIRED: {"ls:cancelled", "churned"}, Fact.PAID_AGAIN: {"ls:paid-twice"},
    Fact.NEVER_PAID: {"ls:won-never-paid"}, Fact.STUCK: {"ls:stuck"},
}  # fmt: skip
CASES = [(fact, standing) for row in STATE_TABLE for fact in row.facts for standing in sorted(row.standings)]


def test_table__has_every_fact_in_every_standing_once() -> None:
    assert len(CASES) == len(set(CASES))
    lone = {Fact.NEVER_PAID: {Standing.WON}, Fact.STUCK: {Standing.OPEN}}
    assert set(CASES) == {(fact, standing) for fact in Fact for standing in lone.get(fact, set(Standing))}


@pytest.mark.parametrize(("fact", "standing"), CASES)
def test_row__does_what_it_says_once_and_comes_to_rest(fact: Fact, standing: Standing) -> None:
    world, plan = plan_for(fact, standing)
    statuses, told = WANTED[fact]
    after = world.after(plan)
    # A renewal that was given back in full moves the deal in the run after it was won: one status a request.
    rested = after.after(make_plan(after.tables(), policy(), NOW))
    assert rested.deal(31).status_id == statuses[list(Standing).index(standing)]
    lost = standing is Standing.LOST and fact in PAID_WHILE_LOST
    counts = "order:18" if fact in (Fact.REFUNDED_BESIDE, Fact.FRAUDULENT_BESIDE) else ORD
    wanted = told | ({f"{counts}:flag:paid-lost"} if lost else set())
    tags = TAGS.get(fact, set()) | ({"ls:paid-lost"} if lost else set())
    if fact is Fact.PARTLY_REFUNDED and standing is not Standing.LOST:
        wanted |= {f"{ORD}:note:paid"}
    if (fact, standing) == (Fact.TRIAL, Standing.WON):  # somebody won it, and no money came
        wanted, tags = wanted | {"lead:31:flag:won-never-paid"}, tags | {"ls:won-never-paid"}
    assert {a.key for a in rested.done if a.kind.value in ("note", "task", "change-task")} == wanted
    assert set(rested.deal(31).tags) == tags
    assert make_plan(rested.tables(), policy(), NOW).actions == ()


PAID_WHILE_LOST = set(WANTED) - {
    Fact.REFUNDED, Fact.FRAUDULENT, Fact.FAILED, Fact.NOTHING, Fact.TRIAL, Fact.NEVER_PAID, Fact.STUCK,
}  # fmt: skip


@pytest.mark.parametrize("standing", [Standing.OPEN, Standing.WON])
@pytest.mark.parametrize(
    "fact", [Fact.PAID, Fact.REFUNDED, Fact.FRAUDULENT, Fact.RENEWAL_REFUNDED, Fact.PARTLY_REFUNDED]
)
def test_row__leaves_a_deal_that_a_person_moved_where_it_is(fact: Fact, standing: Standing) -> None:
    elsewhere = 70012
    status = elsewhere if standing is Standing.OPEN else WON
    moved = deal(31, status_id=status, written={"status_id": str(ATTENTION if standing is Standing.WON else WON)})
    world = replace(world_of(fact), deals=(moved,))
    plan = make_plan(world.tables(), policy(), NOW)
    assert world.after(plan).deal(31).status_id == status
    if not (fact in (Fact.PAID, Fact.PARTLY_REFUNDED) and standing is Standing.WON):
        assert "person_moved_it" in {refusal.rule for refusal in plan.refusals}


def test_texts__every_alarm_and_effect_has_its_words_in_every_language() -> None:
    named = {t for k in ALARMS.values() for t in (k.task, k.note, k.result, k.closing_note, k.escalated) if t}
    assert named <= words("en").keys()
    assert words("de").keys() == words("en").keys()


# --- the conflict rules, each alone --------------------------------------------------------------------------


def test_conflict__person_moved_it() -> None:
    assert person_moved_it(deal(written={"status_id": "142"}), "status_id", "142") is None
    assert person_moved_it(deal(), "status_id", "142") is None
    assert "a person moved the deal" in str(person_moved_it(deal(written={"status_id": "142"}), "status_id", "70011"))
    known = deal(written={"status_id": "142"}, entered_at=NOW, entered_by=502)
    assert "(user 502, 2026-06-01 12:00 UTC)" in str(person_moved_it(known, "status_id", "70011"))
    assert "LS field plan" in str(person_moved_it(deal(written={"plan": "Pro"}), "plan", "Team"))


def test_conflict__never_backwards() -> None:
    assert never_backwards(deal(), Fact.PAID, WON) is None
    assert never_backwards(deal(), Fact.REFUNDED, ATTENTION) is None
    assert "moves no deal" in str(never_backwards(deal(status_id=WON), Fact.PAID, NEW))


def test_conflict__closed_lost_stays() -> None:
    assert closed_lost_stays(deal(), reopens=False) is None
    assert closed_lost_stays(deal(status_id=LOST), reopens=True) is None
    assert closed_lost_stays(deal(status_id=LOST), reopens=False) == "the deal is marked lost"


def test_conflict__null_never_overwrites_and_foreign_fields_are_not_ours() -> None:
    assert null_never_overwrites("2026", "") is not None
    assert null_never_overwrites("", "") is null_never_overwrites("2026", "2027") is None
    assert not_our_field("plan") is None
    assert "no field of dealsync" in str(not_our_field("budget"))


def test_null__a_resumed_subscription_keeps_its_old_end_and_says_so() -> None:
    gone = subscription(subscription_status="cancelled", ends_at=NOW + timedelta(days=9))
    world = World(orders=(order(),), deals=(deal(31),), subscriptions=(gone,), links=LINKED)
    world = world.after(make_plan(world.tables(), policy(), NOW))
    assert world.deal(31).fields["ends_at"] == END
    back = replace(gone, subscription_status="active", ends_at=None, updated_at=NOW)
    plan = make_plan(replace(world, subscriptions=(back,)).tables(), policy(), NOW)
    assert ("null_never_overwrites", "ends_at") in {(r.rule, r.part) for r in plan.refusals}
    assert not any("ends_at" in a.change.fields for a in plan.actions if isinstance(a.change, DealChange))


def test_fraud__that_is_found_after_init_is_urgent_however_old_the_payment() -> None:
    """A chargeback comes weeks after the payment; the payment's own time would hush it."""
    paid_long_ago = order(status=OrderStatus.FRAUDULENT, created_at=NOW - timedelta(days=9), updated_at=NOW)
    world = World(orders=(paid_long_ago,), deals=(deal(31, status_id=WON),), links=LINKED)
    plan = make_plan(world.tables(), policy(notify_since=NOW - timedelta(hours=2)), NOW)
    assert "order:17:fraud" in {action.key for action in plan.actions}
