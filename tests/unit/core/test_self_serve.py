"""Deals for payments that nobody in Kommo is known for: contact, owner, name, tags, fields."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from dealsync.core.owners import Owners, RotaUser
from dealsync.core.plan import Kind, NewCompany, NewContact, NewDeal, Plan, Unfinished
from dealsync.core.planner import make_plan
from dealsync.core.policy import Funnel
from dealsync.core.products import ProductRule
from tests.builders import NOW, PARTNERS, SALES, World, contact, deal, order, policy, webhook

FIRST_CARD, SECOND_CARD = contact(81), contact(82)


def planned(world: World, unfinished: Unfinished | None = None, **changes: Any) -> Plan:
    return make_plan(world.tables(), policy(**changes), NOW, unfinished)


def deal_of(plan: Plan, order_id: str = "17") -> NewDeal:
    return next(a.change for a in plan.actions if a.key == f"order:{order_id}:deal" and isinstance(a.change, NewDeal))


def reason_of(plan: Plan) -> str:
    return next(a.reason for a in plan.actions if isinstance(a.change, NewDeal))


def test_contact__of_several_with_the_email_the_one_with_the_newest_deal_is_reused_and_it_is_said() -> None:
    old = deal(31, contacts=(82,), created_at=NOW - timedelta(days=400), updated_at=NOW - timedelta(days=300))
    new = replace(old, lead_id=32, contact_ids=(81,), created_at=NOW - timedelta(days=350))
    plan = planned(World((order(),), (old, new), (FIRST_CARD, SECOND_CARD)))
    assert deal_of(plan).contact_id == 81
    assert "contacts 81, 82 have the buyer's e-mail; 81 has the newest deal" in reason_of(plan)


def test_contact__a_deleted_deal_does_not_make_its_contact_the_newest() -> None:
    gone = deal(33, contacts=(82,), is_deleted=True)
    assert deal_of(planned(World((order(),), (gone,), (FIRST_CARD, SECOND_CARD)))).contact_id == 81


def test_contact__a_buyer_without_an_email_gets_a_deal_without_one() -> None:
    plan = planned(World((order(user_email=" "),)))
    assert (deal_of(plan).contact_id, deal_of(plan).contact_key) == (None, None)
    assert not [a for a in plan.actions if isinstance(a.change, NewContact)]


def test_custom_data__fills_the_configured_fields_and_nothing_else() -> None:
    told = {"utm_source": " news ", "utm_term": " ", "secret": "x"}
    world = World((order(),), hints=(webhook(None, custom=told),))
    plan = planned(world, custom_fields={"utm_source": 901, "utm_term": 902, "plan": 903})
    assert deal_of(plan).custom == {901: "news"}


def test_custom_data__of_a_later_webhook_wins() -> None:
    hints = tuple(webhook(None, custom={"plan": plan}, at=NOW - timedelta(hours=h)) for h, plan in ((1, "b"), (2, "a")))
    plan = planned(World((order(),), hints=hints), custom_fields={"plan": 903})
    assert deal_of(plan).custom == {903: "b"}


def test_custom_data__a_text_for_a_number_is_left_out_and_reported() -> None:
    world = World((order(),), hints=(webhook(None, custom={"seats": "many", "size": "12.5"}),))
    plan = planned(world, custom_fields={"seats": 901, "size": 902}, numeric_fields=frozenset({901, 902}))
    assert deal_of(plan).custom == {902: "12.5"}
    assert [o.reason for o in plan.oddities] == ["its custom data seats is no number, so the deal's field stays empty"]


def test_product__decides_pipeline_tag_and_name() -> None:
    rules = (ProductRule(variant_id="31", pipeline_id=PARTNERS, tag="pro", name="{{ product }} for {{ buyer }}"),)
    funnels = (Funnel(SALES, 1, 2), Funnel(PARTNERS, 3, 4))
    made = deal_of(planned(World((order(),)), products=rules, funnels=funnels))
    assert (made.pipeline_id, made.tags) == (PARTNERS, ("ls:self-serve", "pro"))
    assert made.name == "Pro for Ann Example"


def test_owner__by_zone_of_the_country_waits_until_the_country_is_known() -> None:
    owners = Owners("zone", users=(RotaUser(501),), zones={"de": (RotaUser(502), RotaUser(503))})
    buyers = World(tuple(order(i, customer_id=f"c{i}", user_email=f"b{i}@example.com") for i in range(4)))
    plan = planned(buyers, owners=owners)
    assert (plan.actions, set(plan.questions.customer_ids)) == ((), {"c0", "c1", "c2", "c3"})
    known = replace(buyers, customers=(("c0", "DE"), ("c1", "FR"), ("c2", "de"), ("c3", "")))
    plan = planned(known, owners=owners)
    assert [deal_of(plan, str(i)).responsible_user_id for i in range(4)] == [502, 501, 503, 501]
    assert [deal_of(plan, str(i)).rota for i in range(4)] == ["de", "", "de", ""]


def test_owner__by_zone_of_the_custom_data_and_each_zone_goes_on_where_it_stopped() -> None:
    owners = Owners("zone", zone_by="region", zones={"north": (RotaUser(501), RotaUser(502))})
    world = World((order(),), hints=(webhook(None, custom={"region": " North "}),))
    assert (
        deal_of(planned(world, Unfinished(rota_positions={"north": 1, "": 6}), owners=owners)).responsible_user_id
        == 502
    )


def test_owner__who_is_away_is_passed_over_and_nobody_is_owner_when_all_are() -> None:
    today = ((date(2026, 6, 1), date(2026, 6, 1)),)
    away = Owners(users=(RotaUser(501, absences=today), RotaUser(502)))
    assert deal_of(planned(World((order(),)), owners=away)).responsible_user_id == 502
    assert (
        deal_of(planned(World((order(),)), owners=Owners(users=(RotaUser(501, absences=today),)))).responsible_user_id
        is None
    )


def test_company__is_looked_for_then_made_once_and_shared_by_those_who_name_it() -> None:
    told = {"company": " Acme  GmbH "}
    world = World(
        tuple(order(i, user_email=f"b{i}@example.com") for i in (17, 18)),
        hints=(webhook(None, custom=told), webhook(None, order_id="18", custom={"company": "ACME gmbh"})),
    )
    assert planned(world).questions.company_names == {"acme gmbh"}
    plan = planned(replace(world, companies=(("acme gmbh", None),)))
    assert [a.change for a in plan.actions if a.kind is Kind.CREATE_COMPANY] == [NewCompany("Acme GmbH", 501)]
    assert {deal_of(plan, i).company_key for i in ("17", "18")} == {"order:17:company"}


def test_company__that_is_there_is_reused() -> None:
    world = World((order(),), hints=(webhook(None, custom={"company": "Acme"}),), companies=(("acme", 4711),))
    plan = planned(world)
    assert (deal_of(plan).company_id, deal_of(plan).company_key) == (4711, None)
    assert not [a for a in plan.actions if a.kind is Kind.CREATE_COMPANY]


def test_company__is_none_where_nobody_named_one_or_nobody_wants_one() -> None:
    world = World((order(),), hints=(webhook(None, custom={"company": " "}),))
    assert planned(world).questions.company_names == frozenset()
    named = World((order(),), hints=(webhook(None, custom={"company": "Acme"}),))
    assert planned(named, company_key="").questions.company_names == frozenset()


def test_contact__that_was_made_and_no_list_shows_yet_is_not_planned_again() -> None:
    """Kommo's lists lag: the ledger knows the contact, and the deal takes it from there."""
    world = World(orders=(order(),), states=(("order:17:contact", "applied"),))
    plan = make_plan(world.tables(), policy(), NOW)
    assert [action.kind for action in plan.actions if action.kind is Kind.CREATE_CONTACT] == []
    (made,) = [action.change for action in plan.actions if isinstance(action.change, NewDeal)]
    assert made.contact_key == "order:17:contact"
