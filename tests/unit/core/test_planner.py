from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dealsync.core.models import Link, Money, OrderStatus, Tier
from dealsync.core.owners import Owners, RotaUser
from dealsync.core.plan import Action, DealChange, Kind, NewContact, NewDeal, Note, Plan, Task, Unfinished
from dealsync.core.planner import make_plan
from dealsync.core.texts import reference
from dealsync.errors import UnsafePlan
from tests.builders import (
    ATTENTION,
    INVOICE_SENT,
    LOST,
    NEW,
    NOW,
    SALES,
    WON,
    World,
    contact,
    deal,
    order,
    policy,
    subscription,
)  # fmt: skip


def planned(world: World, unfinished: Unfinished | None = None, **changes: Any) -> Plan:
    return make_plan(world.tables(), policy(**changes), NOW, unfinished)


def keys(plan: Plan) -> dict[str, Action]:
    return {a.key: a for a in plan.actions}


ON_OPEN_DEAL = World((order(receipt_url="https://app.example.com/my-orders/1?signature=0"),), (deal(),), (contact(),))


def test_plan__paid_order_closes_its_open_deal_in_its_own_pipeline() -> None:
    plan = planned(ON_OPEN_DEAL)
    assert keys(plan)["order:17:won"].change == DealChange(pipeline_id=SALES, status_id=WON)
    assert keys(plan)["order:17:won"].lead_id == 31
    assert plan.drift["paid_not_won"] == 1
    assert [x.tier for x in plan.links] == [Tier.CONTACT]


def test_plan__the_closed_deal_carries_the_ls_fields_and_one_note() -> None:
    after = ON_OPEN_DEAL.after(planned(ON_OPEN_DEAL)).deal(31)
    assert after.fields == {
        "order_id": "17",
        "order_number": "1000",
        "status": "paid",
        "amount_paid": "490",
        "currency": "USD",
        "receipt_link": "https://app.example.com/my-orders/1",
        "lifetime_revenue": "490",
    }
    note = keys(planned(ON_OPEN_DEAL))["order:17:note:paid"].change
    assert note == Note(f"Paid: $490.00 for Pro (Yearly), Lemon Squeezy order #1000. {reference('order:17:note:paid')}")


def test_plan__price_becomes_what_was_paid_and_the_difference_is_flagged() -> None:
    world = World((order(total=51050),), (deal(),), (contact(),), links=(Link("17", 31, Tier.FIELD, "x"),))
    found = keys(planned(world))
    assert found["order:17:price"].change == DealChange(price=510)
    assert isinstance(found["order:17:flag:amount"].change, Task)
    assert "$490.00" in found["order:17:flag:amount"].change.text
    assert found["order:17:tag:amount"].change == DealChange(tags_to_add=("ls:amount",))


def test_plan__a_difference_within_the_tolerance_and_a_deal_without_a_price_are_not_flagged() -> None:
    links = (Link("17", 31, Tier.FIELD, "x"),)
    near = World((order(total=49100),), (deal(),), (contact(),), links=links)
    unpriced = World((order(),), (deal(price=0),), (contact(),), links=links)
    assert "order:17:flag:amount" not in keys(planned(near, amount_tolerance=100))
    assert keys(planned(unpriced))["order:17:price"].change == DealChange(price=490)
    assert "order:17:flag:amount" not in keys(planned(unpriced))


def test_plan__another_currency_closes_the_deal_and_leaves_its_price() -> None:
    world = World((order(currency="EUR"),), (deal(),), (contact(),), links=(Link("17", 31, Tier.FIELD, "x"),))
    after = world.after(planned(world)).deal(31)
    assert (after.status_id, after.price, after.fields["currency"]) == (WON, 490, "EUR")
    assert "order:17:flag:currency" in keys(planned(world))


def test_plan__a_deal_won_by_hand_gets_fields_and_note_but_no_status() -> None:
    found = keys(planned(World((order(),), (deal(status_id=WON),), (contact(),))))
    assert {a.kind for a in found.values()} == {Kind.FIELDS, Kind.NOTE}


def test_plan__paid_but_lost_is_flagged_and_stays_lost() -> None:
    world = World((order(),), (deal(status_id=LOST),), (contact(),), links=(Link("17", 31, Tier.FIELD, "x"),))
    plan = planned(world)
    assert world.after(plan).deal(31).status_id == LOST
    assert "order:17:flag:paid-lost" in keys(plan)
    assert [r.rule for r in plan.refusals] == ["closed_lost_stays"]


def test_plan__paid_but_lost_is_reopened_where_the_policy_says_so() -> None:
    world = World((order(),), (deal(status_id=LOST),), (contact(),), links=(Link("17", 31, Tier.FIELD, "x"),))
    assert world.after(planned(world, reopen_lost=True)).deal(31).status_id == WON


def test_plan__self_serve_makes_contact_deal_and_link() -> None:
    found = keys(planned(World((order(),), subscriptions=(subscription(),))))
    made = found["order:17:deal"].change
    assert found["order:17:contact"].change == NewContact("Ann Example", "ann@example.com", 501)
    assert isinstance(made, NewDeal)
    assert (made.status_id, made.pipeline_id, made.price, made.contact_key) == (WON, SALES, 490, "order:17:contact")
    assert (made.responsible_user_id, made.tags, made.fields["subscription_id"]) == (501, ("ls:self-serve",), "9")


def test_plan__self_serve_reuses_the_contact_that_has_the_email() -> None:
    found = keys(planned(World((order(),), contacts=(contact(82), contact(81)))))
    assert "order:17:contact" not in found
    assert isinstance(made := found["order:17:deal"].change, NewDeal)
    assert made.contact_id == 81


def test_plan__two_orders_of_one_new_buyer_share_a_contact() -> None:
    world = World((order(17), order(18, variant_id="99", created_at=NOW - timedelta(hours=20))))
    plan = planned(world)
    assert [a.key for a in plan.actions if a.kind is Kind.CREATE_CONTACT] == ["order:17:contact"]
    assert {d.contact_ids for d in world.after(plan).deals} == {(81,)}


def test_plan__owners_take_turns_where_the_last_run_stopped() -> None:
    orders = tuple(order(i, user_email=f"b{i}@example.com") for i in range(10, 15))
    plan = planned(World(orders), Unfinished(rota_positions={"": 2}))
    owners = [a.change.responsible_user_id for a in plan.actions if isinstance(a.change, NewDeal)]
    assert owners == [503, 501, 502, 503, 501]


def test_plan__an_order_that_failed_before_keeps_its_owner() -> None:
    world = World((order(),))
    first = keys(planned(world))["order:17:deal"]
    again = keys(planned(world, Unfinished((first,), {"": 1})))["order:17:deal"]
    assert isinstance(again.change, NewDeal)
    assert again.change.responsible_user_id == 501
    without = keys(planned(world, Unfinished((first,), {"": 1}), owners=Owners(users=(RotaUser(502), RotaUser(503)))))[
        "order:17:deal"
    ]
    assert isinstance(without.change, NewDeal)
    assert without.change.responsible_user_id == 503


def test_plan__full_refund_moves_the_deal_and_calls_a_person() -> None:
    refunded = order(status=OrderStatus.REFUNDED, refunded=49000, refunded_at=NOW)
    world = World((refunded,), (deal(status_id=WON),), (contact(),), links=(Link("17", 31, Tier.FIELD, "x"),))
    plan = planned(world)
    after = world.after(plan).deal(31)
    assert (after.status_id, after.fields["refunded"]) == (ATTENTION, "490")
    assert isinstance(task := keys(plan)["order:17:refund:49000"].change, Task)
    assert "Refunded in full: $490.00" in task.text
    assert task.responsible_user_id == 502
    assert keys(plan)["order:17:note:refund:49000"].kind is Kind.NOTE
    assert plan.drift["refunded_still_won"] == 1


def test_plan__first_seen_as_refunded_is_never_won() -> None:
    refunded = order(status=OrderStatus.REFUNDED, refunded=49000)
    world = World((refunded,), (deal(),), (contact(),))
    plan = planned(world)
    assert world.after(plan).deal(31).status_id == ATTENTION
    assert "order:17:won" not in keys(plan)
    assert "order:17:refund:49000" in keys(plan)


def test_plan__a_refunded_deal_that_a_person_moved_stays_and_gets_its_task() -> None:
    refunded = order(status=OrderStatus.REFUNDED, refunded=49000)
    moved = deal(status_id=NEW, written={"status_id": "142"})
    plan = planned(World((refunded,), (moved,), (contact(),), links=(Link("17", 31, Tier.FIELD, "x"),)))
    assert Kind.ATTENTION not in {a.kind for a in plan.actions}
    assert "order:17:refund:49000" in keys(plan)
    assert "person_moved_it" in [r.rule for r in plan.refusals]


def test_plan__each_further_partial_refund_is_told_once() -> None:
    first = World(
        (order(status=OrderStatus.PARTIAL_REFUND, refunded=1000),),
        (deal(status_id=WON),),
        (contact(),),
        links=(Link("17", 31, Tier.FIELD, "x"),),
    )
    rested = first.after(planned(first))
    assert rested.deal(31).status_id == WON
    assert planned(rested).actions == ()
    more = replace(rested, orders=(order(status=OrderStatus.PARTIAL_REFUND, refunded=2500),))
    assert {k for k in keys(planned(more)) if "refund" in k} == {"order:17:refund:2500", "order:17:note:refund:2500"}


def test_plan__a_second_payment_for_a_deal_is_flagged_once() -> None:
    world = World(
        (order(17), order(18, created_at=NOW - timedelta(hours=20))),
        (deal(),),
        (contact(),),
        links=(Link("17", 31, Tier.FIELD, "x"), Link("18", 31, Tier.FIELD, "x")),
    )
    plan = planned(world)
    assert {k for k in keys(plan) if k.startswith("order:18")} == {
        "order:18:flag:paid-twice",
        "order:18:flag:paid-twice:tag",
    }
    assert plan.drift["paid_twice"] == 1
    assert planned(world.after(plan)).actions == ()
    assert planned(world.after(plan)).drift["paid_twice"] == 1


def edited(world: World, **changes: Any) -> Plan:
    """Let a person change deal 31 once the world is at rest, and plan again."""
    rested = world.after(planned(world))
    assert planned(rested).actions == ()
    return planned(replace(rested, deals=(replace(rested.deal(31), **changes),)))


WON_BY_HAND = replace(ON_OPEN_DEAL, deals=(deal(status_id=WON),))
SELF_SERVE = World((order(),))


@pytest.mark.parametrize("world", [ON_OPEN_DEAL, WON_BY_HAND, SELF_SERVE], ids=["closed", "won by hand", "created"])
@pytest.mark.parametrize("change", [{"status_id": NEW}, {"price": 600}], ids=["reopened", "repriced"])
def test_plan__what_a_person_changed_after_it_was_right_is_left_alone(world: World, change: dict[str, Any]) -> None:
    plan = edited(world, **change)
    assert plan.actions == ()
    assert [r.rule for r in plan.refusals] == ["person_moved_it"]


@pytest.mark.parametrize("world", [ON_OPEN_DEAL, WON_BY_HAND, SELF_SERVE], ids=["closed", "won by hand", "created"])
def test_plan__a_deal_that_a_person_reopened_is_not_moved_when_refunded(world: World) -> None:
    rested = world.after(planned(world))
    refunded = (order(status=OrderStatus.REFUNDED, refunded=49000),)
    plan = planned(replace(rested, orders=refunded, deals=(replace(rested.deal(31), status_id=NEW),)))
    assert Kind.ATTENTION not in {a.kind for a in plan.actions}
    assert "order:17:refund:49000" in keys(plan)


def test_plan__a_field_that_a_person_changed_stays_so_and_the_others_follow_the_facts() -> None:
    rested = ON_OPEN_DEAL.after(planned(ON_OPEN_DEAL))
    own = {**rested.deal(31).fields, "order_number": "MY-1"}
    by_hand = replace(rested, deals=(replace(rested.deal(31), fields=own),))
    assert planned(by_hand).actions == ()
    assert ["order_number" in r.reason for r in planned(by_hand).refusals] == [True]
    later = replace(by_hand, orders=(order(status=OrderStatus.PARTIAL_REFUND, refunded=1000),))
    after = later.after(planned(later)).deal(31)
    assert (after.fields["order_number"], after.fields["refunded"]) == ("MY-1", "10")


def test_plan__an_order_of_nothing_wins_and_creates_nothing() -> None:
    free = World((order(total=0),), (deal(price=0),), (contact(),))
    assert planned(free).actions == ()
    assert planned(World((order(total=0),))).actions == ()


def test_plan__the_same_purchase_twice_in_one_run_makes_one_deal_and_a_review() -> None:
    plan = planned(World((order(17), order(18, created_at=NOW - timedelta(hours=20)))))
    assert [a.key for a in plan.actions if a.kind is Kind.CREATE_DEAL] == ["order:17:deal"]
    assert [r.order_id for r in plan.reviews] == ["18"]


def test_plan__old_facts_are_filed_without_notes_and_tasks() -> None:
    old = World(
        (order(17), order(18, status=OrderStatus.REFUNDED, refunded=49000, user_email="bob@example.com")),
        (deal(31), deal(32, contacts=(82,), status_id=WON)),
        (contact(), contact(82, "bob@example.com")),
    )
    plan = planned(old, notify_since=NOW)
    assert {a.kind for a in plan.actions} == {Kind.CLOSE, Kind.FIELDS, Kind.ATTENTION}


def test_plan__failed_payment_is_noted_once_and_nothing_more() -> None:
    world = World(
        (order(status=OrderStatus.FAILED),), (deal(),), (contact(),), links=(Link("17", 31, Tier.FIELD, "x"),)
    )
    assert [a.kind for a in planned(world).actions if a.kind is not Kind.FIELDS] == [Kind.NOTE]
    assert world.after(planned(world)).deal(31).status_id == NEW


def test_plan__other_mode_does_nothing_and_says_so() -> None:
    plan = planned(World((order(test_mode=True),), (deal(),), (contact(),)))
    assert (plan.actions, plan.reviews, plan.other_mode) == ((), (), 1)


def test_plan__a_tie_changes_no_deal_and_calls_one_person_once() -> None:
    world = World((order(),), (deal(31, price=400), deal(32, responsible_user_id=503)), (contact(),))
    plan = planned(world)
    (call,) = plan.actions
    assert (call.key, call.lead_id, plan.links) == ("order:17:review", 32, ())
    assert isinstance(call.change, Task)
    assert call.change.responsible_user_id == 503
    assert "several open deals. Possible deals: 32, 31. Write 17 into the field LS order id" in call.change.text
    assert [r.order_id for r in plan.reviews] == ["17"]
    again = planned(world.after(plan))
    assert (again.actions, [r.order_id for r in again.reviews]) == ((), ["17"])


def test_plan__a_payment_without_any_candidate_calls_the_default_owner() -> None:
    world = World((order(),), (deal(is_deleted=True),), (contact(),), links=(Link("17", 31, Tier.CONTACT, "x"),))
    (call,) = planned(world).actions
    assert isinstance(call.change, Task)
    assert (call.lead_id, call.change.on_deal, call.change.responsible_user_id) == (None, False, 501)


def test_plan__nobody_is_called_about_a_payment_of_long_ago() -> None:
    world = World((order(),), (deal(31), deal(32)), (contact(),))
    plan = planned(world, notify_since=NOW)
    assert (plan.actions, [r.order_id for r in plan.reviews]) == ((), ["17"])


def test_plan__a_task_that_was_not_sent_is_sent_by_a_later_run_unless_its_deal_is_gone() -> None:
    flagged = World((order(total=51000),), (deal(),), (contact(),), links=(Link("17", 31, Tier.FIELD, "x"),))
    task = keys(planned(flagged))["order:17:flag:amount"]
    rest = World(flagged.orders, (deal(status_id=WON, price=510),), flagged.contacts, links=flagged.links)
    assert keys(planned(rest, Unfinished((task,))))["order:17:flag:amount"] == task
    assert "order:17:flag:amount" not in keys(planned(rest))
    gone = replace(rest, deals=(replace(rest.deal(31), is_deleted=True),))
    assert list(keys(planned(gone, Unfinished((task,))))) == ["order:17:review:deleted"]


def test_plan__a_change_in_doubt_is_not_planned_again() -> None:
    world = World((order(),), states=(("order:17:deal", "unknown"),))
    assert "order:17:deal" not in keys(planned(world))


def test_plan__too_many_deals_are_refused() -> None:
    plan = planned(World(tuple(order(i, user_email=f"b{i}@example.com") for i in range(10, 15))))
    plan.ensure_within(5)
    with pytest.raises(UnsafePlan, match="touches 5 deals"):
        plan.ensure_within(4)


def test_plan__drift_counts_what_stands_out_of_step() -> None:
    stuck = deal(33, contacts=(), status_id=INVOICE_SENT, updated_at=NOW - timedelta(hours=25))
    unpaid = deal(34, contacts=(), status_id=WON, fields={"order_id": "99"})
    world = World((order(),), (stuck, unpaid), subscriptions=(subscription(order_id=55),))
    drift = planned(world).drift
    assert {name for name, count in drift.items() if count} == {
        "paid_no_deal", "stuck", "won_never_paid", "subscription_no_deal"
    }  # fmt: skip


def test_money__whole_units_are_floored_and_yen_has_no_cents() -> None:
    assert (Money(4999, "USD").whole, Money(4999, "JPY").whole) == (49, 4999)
