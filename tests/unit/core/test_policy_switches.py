"""What an account may decide about the rules, switch by switch."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from dealsync.core.models import Link, Tier
from dealsync.core.plan import Action, DealChange, NewDeal, Task
from dealsync.core.planner import make_plan
from dealsync.core.texts import Texts
from tests.builders import LOST, NEW, NOW, WON, World, contact, deal, invoice, order, policy, subscription

LINKED = (Link("17", 31, Tier.EXPLICIT, "a webhook named it"),)
PAID = World(orders=(order(),), deals=(deal(31),), contacts=(contact(81),), links=LINKED)


def planned(world: World, **changes: Any) -> dict[str, Action]:
    plan = make_plan(world.tables(), policy(**changes), NOW)
    return {action.key: action for action in plan.actions}


def price_in(actions: dict[str, Action]) -> int | None:
    change = actions["order:17:price"].change
    assert isinstance(change, DealChange)
    return change.price


def test_reopen_lost__wins_a_deal_that_was_marked_lost_and_raises_no_flag() -> None:
    lost = replace(PAID, deals=(deal(31, status_id=LOST),))
    assert "order:17:won" not in planned(lost)
    actions = planned(lost, reopen_lost=True)
    assert actions["order:17:won"].change == DealChange(pipeline_id=7001, status_id=WON)
    assert not any("flag" in key for key in actions)


def test_price__is_gross_or_net_of_tax() -> None:
    taxed = replace(PAID, orders=(order(total=59000, tax_minor=10000),))
    assert price_in(planned(taxed)) == 590
    assert "order:17:price" not in planned(taxed, price_is_net=True)


def test_price__has_decimals_where_the_account_has_them() -> None:
    odd = replace(PAID, orders=(order(total=49050),))
    assert "order:17:price" not in planned(odd)
    with_cents = replace(odd, deals=(deal(31, price=49000),))
    assert price_in(planned(with_cents, price_digits=2)) == 49050


def test_zero_decimal__is_flagged_once_unless_it_is_trusted() -> None:
    yen = replace(PAID, orders=(order(total=49000, currency="JPY"),))
    rules = {"account_currency": "JPY"}
    assert "order:17:flag:zero-decimal" in planned(yen, **rules)
    assert "order:17:flag:zero-decimal" not in planned(yen, **rules, flags_zero_decimal=False)
    after = yen.after(make_plan(yen.tables(), policy(**rules), NOW))
    assert planned(after, **rules) == {}


def test_trial_wins__closes_and_makes_deals_of_trials() -> None:
    trial = subscription(subscription_status="on_trial")
    waiting = replace(PAID, orders=(order(total=0),), subscriptions=(trial,))
    assert not any(isinstance(a.change, DealChange) and a.change.status_id for a in planned(waiting).values())
    assert planned(waiting, trial_wins=True)["subscription:9:won"].change == DealChange(pipeline_id=7001, status_id=WON)
    alone = World(orders=(order(total=0),), subscriptions=(trial,))
    assert planned(alone) == {}
    assert isinstance(planned(alone, trial_wins=True)["order:17:deal"].change, NewDeal)


def test_subscription_in_use__without_money_or_deal_gets_a_deal_of_its_own() -> None:
    alone = World(orders=(order(total=0),), subscriptions=(subscription(),))
    plan = make_plan(alone.tables(), policy(), NOW)
    assert plan.drift["subscription_no_deal"] == 1
    after = alone.after(plan)
    assert [d.status_id for d in after.deals] == [WON]
    assert after.notes == ["Subscription 9 to Pro (Yearly) started without a payment, order #1000."]
    rested = after.after(make_plan(after.tables(), policy(), NOW))
    assert make_plan(rested.tables(), policy(), NOW).actions == ()
    assert make_plan(rested.tables(), policy(), NOW).drift["won_never_paid"] == 0


def test_renewal_deals__are_made_beside_the_note_and_belong_to_no_order() -> None:
    renewed = replace(PAID, subscriptions=(subscription(),), invoices=(invoice(44),))
    assert "invoice:44:deal" not in planned(renewed)
    actions = planned(renewed, renewal_deals=True)
    made = actions["invoice:44:deal"]
    assert made.lead_id is None
    assert isinstance(made.change, NewDeal)
    assert (made.change.price, made.change.contact_id, made.change.fields["invoice_id"]) == (490, 81, "44")
    assert "order_id" not in made.change.fields
    assert "invoice:44:renewal" in actions


def test_reminder__comes_before_annual_plans_only_and_once_a_period() -> None:
    soon = NOW + timedelta(days=10)
    annual = subscription(created_at=NOW - timedelta(days=355), renews_at=soon)
    monthly = subscription(created_at=NOW - timedelta(days=20), renews_at=soon)
    key = "subscription:9:renews:2026-06-11T12:00:00Z"
    world = replace(PAID, subscriptions=(annual,))
    assert key in planned(world, reminder=timedelta(days=14))
    assert key not in planned(world)
    assert key not in planned(world, reminder=timedelta(days=5))
    assert key not in planned(replace(PAID, subscriptions=(monthly,)), reminder=timedelta(days=14))


def test_tasks__go_to_the_default_owner_when_the_deals_is_not_active() -> None:
    refunded = replace(PAID, subscriptions=(subscription(subscription_status="past_due"),))

    def owner(**changes: Any) -> int | None:
        task = planned(refunded, **changes)["subscription:9:dunning"].change
        assert isinstance(task, Task)
        return task.responsible_user_id

    assert owner() == owner(active_users=frozenset({501, 502})) == 502
    assert owner(active_users=frozenset({501})) == 501


def test_texts__are_in_the_language_of_the_account() -> None:
    note = planned(PAID, texts=Texts("de", "de_DE"))["order:17:note:paid"].change
    assert "Bezahlt: 490,00\xa0$ für Pro (Yearly)" in str(getattr(note, "text", ""))


def test_old_facts__are_filed_silently_and_stay_silent_when_something_else_changes() -> None:
    """A subscription cancelled long ago, then touched: that is no news. Its end is, when it comes."""
    old = subscription(
        subscription_status="cancelled", ends_at=NOW + timedelta(days=9), updated_at=NOW - timedelta(days=9)
    )
    rules = {"notify_since": NOW - timedelta(days=2)}
    world = replace(PAID, subscriptions=(old,))
    world = world.after(make_plan(world.tables(), policy(**rules), NOW))
    assert world.open_tasks == []
    touched = replace(world, subscriptions=(replace(old, updated_at=NOW),))
    assert not any("cancelled" in key for key in planned(touched, **rules))
    gone = replace(touched, subscriptions=(replace(old, subscription_status="expired", updated_at=NOW),))
    assert set(planned(gone, **rules)) >= {"subscription:9:churned:2026-06-10T12:00:00Z:tag"}


def test_plan__is_won_by_money_alone_whatever_the_deal_was_named_by() -> None:
    waiting = replace(PAID, orders=(order(total=0),), subscriptions=(subscription(),))
    after = waiting.after(make_plan(waiting.tables(), policy(), NOW))
    assert after.deal(31).status_id == NEW
    paid = replace(after, invoices=(invoice(44),))
    won = paid.after(make_plan(paid.tables(), policy(), NOW))
    assert won.deal(31).status_id == WON
    assert [n.partition(":")[0] for n in won.notes][-1] == "Paid"
