"""The reverse diff: planted drift is counted exactly, listed with its age, flagged once and lowered when it ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from dealsync.core.models import Link, OrderStatus, Tier
from dealsync.core.plan import DRIFT_CLASSES, Plan
from dealsync.core.planner import make_plan
from tests.builders import INVOICE_SENT, LOST, NEW, NOW, WON, World, contact, deal, order, policy, subscription

PLANTED = {name: number for number, name in enumerate(DRIFT_CLASSES, 2)}


def planted() -> World:
    """Return a world with `PLANTED` drifts of each class and as many sound sales, told class by class."""
    world = World()
    number = 100
    for drift, count in PLANTED.items():
        for _ in range(count):
            number += 1
            world = _with(world, drift, number)
    for number in range(900, 920):
        world = _with(world, "sound", number)
    return world


def _with(world: World, drift: str, number: int) -> World:
    email = f"buyer{number}@example.com"
    ours = {"status_id": str(WON)}
    sold = order(number, number=number, user_email=email, created_at=NOW - timedelta(days=2))
    made = deal(number, contacts=(number,), status_id=WON, price=490)
    if drift == "paid_not_won":  # a person opened it again
        made = replace(made, status_id=NEW, written=ours)
    if drift == "refunded_still_won":
        sold = replace(sold, status=OrderStatus.REFUNDED, refunded=sold.total)
        made = replace(made, written={"status_id": "70014"})
    if drift == "won_never_paid":
        sold = replace(sold, status=OrderStatus.FAILED)
        made = replace(made, fields={"order_id": str(number)})
    if drift == "amount_differs":
        made = replace(made, price=500, written={"price": "490"})
    if drift == "subscription_no_deal":  # a trial: no deal is made before money came
        trial = subscription(number, order_id=number, subscription_status="on_trial")
        free = order(number, total=0, number=number, user_email=email)
        return replace(world, orders=(*world.orders, free), subscriptions=(*world.subscriptions, trial))
    if drift == "paid_no_deal":
        return replace(world, orders=(*world.orders, sold))
    if drift == "stuck":
        lonely = deal(number, contacts=(), status_id=INVOICE_SENT, updated_at=NOW - timedelta(days=2))
        return replace(world, deals=(*world.deals, lonely))
    world = replace(
        world,
        orders=(*world.orders, sold),
        deals=(*world.deals, made),
        contacts=(*world.contacts, contact(number, email)),
        links=(*world.links, Link(str(number), number, Tier.EXPLICIT, "a webhook named it")),
    )
    if drift == "paid_twice":
        again = order(f"{number}0", number=number, created_at=NOW - timedelta(hours=9), user_email=email)
        link = Link(again.id, number, Tier.EXPLICIT, "a webhook named it")
        world = replace(world, orders=(*world.orders, again), links=(*world.links, link))
    return world


def plan_of(world: World, now: datetime = NOW) -> Plan:
    return make_plan(world.tables(), policy(), now)


def test_drift__counts_exactly_what_was_planted() -> None:
    plan = plan_of(planted())
    assert plan.drift == PLANTED
    assert len(plan.drifts) == sum(PLANTED.values()) == len({row.key for row in plan.drifts})


def test_drift__is_listed_with_its_object_and_since_when() -> None:
    rows = {row.drift: row for row in plan_of(planted()).drifts}
    assert rows["stuck"].source.startswith("lead:")
    assert rows["stuck"].since == NOW - timedelta(days=2)
    assert rows["subscription_no_deal"].lead_id is None
    assert rows["paid_twice"].since == NOW - timedelta(hours=9)
    assert all(row.since < NOW for row in rows.values())


def test_flags__are_raised_once_for_each_fact() -> None:
    world = planted()
    after = world.after(plan_of(world))
    flags = [key.partition(":flag:")[2] for key in after.open_tasks if ":flag:" in key]
    assert {name: flags.count(name) for name in set(flags)} == {
        "paid-twice": PLANTED["paid_twice"],
        "won-never-paid": PLANTED["won_never_paid"],
        "stuck": PLANTED["stuck"],
    }
    assert plan_of(after).actions == ()
    assert plan_of(after).drift["stuck"] == PLANTED["stuck"]


def test_flags__are_lowered_when_their_fact_ends_and_raised_anew_when_it_returns() -> None:
    world = World(deals=(deal(31, status_id=INVOICE_SENT),))
    flagged = world.after(plan_of(world))
    assert flagged.open_tasks == ["lead:31:flag:stuck"]
    assert flagged.deal(31).tags == ("ls:stuck",)
    moved = replace(flagged, deals=(replace(flagged.deal(31), status_id=NEW, entered_at=None),))
    lowered = moved.after(plan_of(moved))
    assert (lowered.open_tasks, lowered.deal(31).tags) == ([], ())
    assert plan_of(lowered).actions == ()
    long_ago = NOW - timedelta(days=3)
    back = replace(lowered.deal(31), status_id=INVOICE_SENT, entered_at=long_ago, updated_at=long_ago)
    again = replace(lowered, deals=(back,))
    raised = again.after(plan_of(again))
    assert raised.open_tasks == ["lead:31:flag:stuck#2"]
    assert raised.deal(31).tags == ("ls:stuck",)


def test_stuck__is_counted_from_the_move_and_not_from_the_last_edit() -> None:
    """Somebody edits the deal every day: Kommo's events tell that it did not move."""
    edited = deal(31, status_id=INVOICE_SENT, updated_at=NOW - timedelta(hours=1))
    plan = plan_of(World(deals=(edited,)))
    assert plan.drift["stuck"] == 0
    assert plan.questions.entered_lead_ids == {31}
    known = replace(edited, entered_at=NOW - timedelta(hours=30), entered_by=502)
    plan = plan_of(World(deals=(known,)))
    assert plan.drift["stuck"] == 1
    assert plan.questions.entered_lead_ids == frozenset()
    assert "Invoice sent May 31, 2026" in str(plan.actions[-1].change)
    assert plan_of(World(deals=(replace(known, entered_at=NOW - timedelta(hours=3)),))).drift["stuck"] == 0


def test_flag__of_a_payment_on_a_lost_deal_ends_when_a_person_reopens_it() -> None:
    link = (Link("17", 31, Tier.EXPLICIT, "named"),)
    world = World(orders=(order(),), deals=(deal(31, status_id=LOST),), links=link)
    flagged = world.after(plan_of(world))
    assert flagged.open_tasks == ["order:17:flag:paid-lost"]
    opened = replace(flagged, deals=(replace(flagged.deal(31), status_id=NEW),))
    done = opened.after(plan_of(opened))
    assert done.open_tasks == []
    assert done.deal(31).status_id == WON
    assert "ls:paid-lost" not in done.deal(31).tags
    assert plan_of(done).actions == ()


def test_never_paid__is_no_reproach_where_the_payment_may_be_older_than_all_that_was_read() -> None:
    """A run with --since knows nothing of older orders; in test mode nothing is known of real payments."""
    won = deal(31, status_id=WON, fields={"order_id": "16"})
    world = World(orders=(order(17, user_email=""),), deals=(won,), links=())
    assert plan_of(world).drift["won_never_paid"] == 1
    assert not any("never-paid" in a.key for a in plan_of(world).actions)
    newer = replace(world, deals=(replace(won, fields={"order_id": "99"}),))
    assert "lead:31:flag:won-never-paid" in {a.key for a in plan_of(newer).actions}
    in_test = make_plan(newer.tables(), policy(test_mode=True), NOW)
    assert not any(a.source.startswith("lead:") for a in in_test.actions)


def test_alarm__is_taken_back_whole_even_if_half_of_it_failed_before() -> None:
    """The tag could not be taken off when the fact ended: the next run does it."""
    past_due = subscription(subscription_status="past_due")
    world = World(orders=(order(),), deals=(deal(31),), subscriptions=(past_due,), links=LINK)
    world = world.after(plan_of(world))
    recovered = replace(world, subscriptions=(subscription(updated_at=NOW),))
    plan = plan_of(recovered)
    half = replace(plan, actions=tuple(a for a in plan.actions if a.kind.value != "untag"))
    after = recovered.after(half)
    assert after.deal(31).tags == ("ls:dunning",)
    assert after.after(plan_of(after)).deal(31).tags == ()


LINK = (Link("17", 31, Tier.EXPLICIT, "a webhook named it"),)


def test_won_never_paid__a_payment_in_test_mode_paid_for_nothing() -> None:
    sold = deal(31, status_id=WON, fields={"order_id": "18"})
    world = World(orders=(order(17), order(18, test_mode=True)), deals=(sold,), links=())
    plan = make_plan(world.tables(), policy(), NOW)
    assert plan.drift["won_never_paid"] == 1
    assert any(action.key == "lead:31:flag:won-never-paid" for action in plan.actions)


def test_never_paid__is_not_said_of_a_trial_that_dealsync_won_by_policy() -> None:
    by_policy = policy(trial_wins=True)
    trial = subscription(subscription_status="on_trial", trial_ends_at=NOW + timedelta(days=7))
    world = World(
        orders=(order(total=0),),
        deals=(deal(31, status_id=NEW),),
        subscriptions=(trial,),
        links=(Link("17", 31, Tier.EXPLICIT, "named"),),
    )
    world = world.after(make_plan(world.tables(), by_policy, NOW))
    assert world.deal(31).status_id == WON
    over = replace(trial, subscription_status="expired", ends_at=NOW, updated_at=NOW)
    plan = make_plan(replace(world, subscriptions=(over,)).tables(), by_policy, NOW)
    assert plan.drift["won_never_paid"] == 0
    assert not any("won-never-paid" in action.key for action in plan.actions)
