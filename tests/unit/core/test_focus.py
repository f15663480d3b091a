"""A plan on a narrower scope is a part of the whole plan: schedule and webhook cannot disagree."""

from dataclasses import replace

from hypothesis import given

from dealsync.core.focus import Focus
from dealsync.core.models import Link, Tier
from dealsync.core.plan import NewDeal, Plan
from dealsync.core.planner import make_plan
from tests.builders import NEW, NOW, World, contact, deal, order, policy, webhook
from tests.effort import costly
from tests.unit.core.test_planner_properties import worlds


def plan_of(world: World, focus: Focus | None = None) -> Plan:
    return make_plan(world.tables(), policy(), NOW, focus=focus)


@costly(6, thorough=200)
@given(worlds())
def test_focus__all_orders_and_deals_one_by_one_give_the_whole_plan(world: World) -> None:
    whole = plan_of(world)
    parts = [plan_of(world, Focus(order_ids=frozenset({o.id}))) for o in world.orders]
    parts += [plan_of(world, Focus(lead_ids=frozenset({d.lead_id}))) for d in world.deals]
    for part in parts:
        assert [a for a in part.actions if a not in whole.actions] == []
        assert set(part.links) <= set(whole.links)
    assert {a.key for part in parts for a in part.actions} == {a.key for a in whole.actions}
    assert {link for part in parts for link in part.links} == set(whole.links)
    assert {r.order_id for part in parts for r in part.reviews} == {r.order_id for r in whole.reviews}


@costly(6, thorough=200)
@given(worlds())
def test_focus__on_an_order_touches_its_own_deal_only(world: World) -> None:
    for o in world.orders:
        part = plan_of(world, Focus(order_ids=frozenset({o.id})))
        mine = {link.lead_id for link in part.links if link.order_id == o.id}
        asked = {lead_id for review in part.reviews for lead_id in review.candidates}
        assert {a.lead_id for a in part.actions if a.lead_id is not None} <= mine | asked


def test_focus__is_a_payment_that_waits_beside_another_one() -> None:
    two = World(
        orders=(order(17), order(18, user_email="bob@example.com")),
        deals=(deal(31, contacts=(81,)), deal(32, contacts=(82,))),
        contacts=(contact(81), contact(82, "bob@example.com")),
        hints=(webhook(31, order_id="17"), webhook(32, order_id="18")),
    )
    part = plan_of(two, Focus(order_ids=frozenset({"18"})))
    assert {a.lead_id for a in part.actions} == {32}
    assert [link.order_id for link in part.links] == ["18"]
    assert part.scope is not None
    assert part.scope.order_ids == frozenset({"18"})


def test_focus__sees_the_other_payment_of_the_same_deal() -> None:
    """The second payment of a deal is flagged whichever of the two an event is about."""
    links = (Link("17", 31, Tier.EXPLICIT, "named"), Link("18", 31, Tier.EXPLICIT, "named"))
    world = World(orders=(order(17), order(18)), deals=(deal(31, status_id=NEW),), links=links)
    keys = {a.key for a in plan_of(world).actions}
    assert any("paid-twice" in key for key in keys)
    for focus in (Focus(frozenset({"17"})), Focus(frozenset({"18"})), Focus(lead_ids=frozenset({31}))):
        assert {a.key for a in plan_of(world, focus).actions} == keys


def test_focus__takes_along_the_contact_and_company_that_a_new_deal_needs() -> None:
    """A new buyer pays twice; the contact goes by the first payment, whichever of the two an event is about."""
    orders = tuple(order(n, user_email="new@example.com", variant_id=str(n)) for n in (17, 18))
    told = tuple(webhook(None, order_id=str(n), custom={"company": "Acme"}) for n in (17, 18))
    world = World(orders=orders, hints=told, companies=(("acme", None),))
    for order_id in ("17", "18"):
        made = plan_of(world, Focus(order_ids=frozenset({order_id}))).actions
        deals = [a.change for a in made if isinstance(a.change, NewDeal)]
        needed = {key for one in deals for key in (one.contact_key, one.company_key) if key}
        assert len(deals) == 1
        assert len(needed) == 2
        assert needed <= {a.key for a in made}


def test_focus__asks_for_the_lists_unless_the_deal_is_named() -> None:
    """Who has no link could have a deal that was made since the lists were read."""
    named = World(orders=(order(17),), deals=(deal(31),), contacts=(contact(81),), hints=(webhook(31),))
    guessed = replace(named, hints=())
    nobodys = replace(guessed, deals=())
    focus = Focus(order_ids=frozenset({"17"}))
    asked = [plan_of(world, focus).questions.lists for world in (named, guessed, nobodys)]
    assert asked == [False, True, True]
