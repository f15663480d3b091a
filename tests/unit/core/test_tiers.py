"""The tiers that rest on what somebody told or wrote down, and evidence that lies."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dealsync.core.match import Matches, match
from dealsync.core.models import Link, OrderStatus, Tier
from dealsync.core.plan import Question
from dealsync.core.sales import counted
from tests.builders import (
    LOST,
    NOW,
    PARTNERS,
    RECEIPT,
    STORE,
    WON,
    World,
    checkout,
    claim,
    contact,
    deal,
    order,
    policy,
    subscription,
    webhook,
)  # fmt: skip

STRANGER = "stranger@example.net"
ELSEWHERE = deal(40, contacts=(), price=7)  # a deal that nothing but an id leads to
YOUNG = NOW - timedelta(seconds=30)


def matched(world: World, **changes: Any) -> Matches:
    return match(counted(world.tables()), policy(**changes), NOW)


def link_of(matches: Matches, order_id: str = "17") -> tuple[int, Tier] | None:
    return next(((x.lead_id, x.tier) for x in matches.found if x.order_id == order_id), None)


def evidence_of(matches: Matches) -> str:
    return next(x.evidence for x in matches.found)


def doubts(matches: Matches) -> list[str]:
    return [f"{oddity.source}: {oddity.reason}" for oddity in matches.oddities]


# --- explicit -------------------------------------------------------------------------------------------------


def test_explicit__a_webhook_names_the_deal_against_all_weaker_evidence() -> None:
    fits_by_contact, marked = deal(31), deal(32, contacts=(), fields={"order_id": "17"})
    world = World((order(),), (fits_by_contact, marked, ELSEWHERE), (contact(),), hints=(webhook(40),))
    matches = matched(world)
    assert link_of(matches) == (40, Tier.EXPLICIT)
    assert "webhook order_created" in evidence_of(matches)
    assert "deal 40" in evidence_of(matches)


def test_explicit__an_event_of_the_subscription_speaks_of_its_first_order() -> None:
    world = World(
        (order(user_email=STRANGER),), (ELSEWHERE,), subscriptions=(subscription(9),),
        hints=(webhook(40, order_id=None, subscription_id="9"),),
    )  # fmt: skip
    assert link_of(matched(world)) == (40, Tier.EXPLICIT)


def test_explicit__a_young_order_need_not_settle() -> None:
    young = order(created_at=YOUNG, user_email=STRANGER)
    assert link_of(matched(World((young,), (ELSEWHERE,), hints=(webhook(40),)))) == (40, Tier.EXPLICIT)


def test_explicit__a_webhook_without_a_deal_ends_the_settling_all_the_same() -> None:
    young = order(created_at=YOUNG)
    world = World((young,), (deal(created_at=NOW - timedelta(days=3)),), (contact(),))
    assert matched(world).settling == ("17",)
    assert link_of(matched(replace(world, hints=(webhook(None),)))) == (31, Tier.CONTACT)


def test_explicit__webhooks_that_name_two_deals_are_a_tie() -> None:
    world = World((order(),), (deal(31), ELSEWHERE), (contact(),), hints=(webhook(31), webhook(40, at=NOW)))
    assert [(r.order_id, r.candidates) for r in matched(world).reviews] == [("17", (31, 40))]


def test_explicit__a_deal_of_an_unwatched_pipeline_is_trusted_and_reported() -> None:
    world = World((order(user_email=STRANGER),), (replace(ELSEWHERE, pipeline_id=PARTNERS),), hints=(webhook(40),))
    matches = matched(world)
    assert link_of(matches) == (40, Tier.EXPLICIT)
    assert "not watched" in doubts(matches)[0]


@pytest.mark.parametrize("lie", ["abc", "", "12 34", "1" + "0" * 30, "-31", "0", "31.0", "٣١", "99999"])
def test_explicit__an_id_that_lies_is_not_trusted_and_the_next_tier_decides(lie: str) -> None:
    world = World((order(),), (deal(31),), (contact(),), hints=(webhook(lie),))
    matches = matched(world)
    assert link_of(matches) == (31, Tier.CONTACT)
    assert [d.partition(":")[0] + ":" + d.split(":")[1] for d in doubts(matches)] == ["order:17"]


def test_explicit__a_text_that_may_be_personal_is_not_shown() -> None:
    matches = matched(World((order(),), (deal(31),), (contact(),), hints=(webhook("ann@example.com"),)))
    assert "a text of 15 characters" in doubts(matches)[0]


def test_explicit__an_unknown_id_is_asked_for_and_one_that_is_deleted_looked_for_among_the_merges() -> None:
    hints = (webhook(99), webhook(32, order_id="18"))
    world = World((order(17), order(18)), (deal(32, is_deleted=True),), hints=hints)
    asked = matched(world).questions
    assert (set(asked.lead_ids), set(asked.gone_lead_ids)) == ({99}, {32, 99})


def test_explicit__a_deal_that_was_merged_is_followed_to_the_survivor() -> None:
    gone = deal(32, is_deleted=True)
    world = World((order(),), (gone, ELSEWHERE), hints=(webhook(32),), merges=((32, 33), (33, 40)))
    matches = matched(world)
    assert link_of(matches) == (40, Tier.EXPLICIT)
    assert "merged into deal 40" in evidence_of(matches)


def test_explicit__merges_that_run_in_a_circle_lead_nowhere() -> None:
    world = World((order(user_email=STRANGER),), (ELSEWHERE,), hints=(webhook(32),), merges=((32, 33), (33, 32)))
    assert link_of(matched(world)) is None


def test_explicit__merges_that_were_looked_for_in_vain_are_not_looked_for_again() -> None:
    world = World((order(),), (deal(32, is_deleted=True),), hints=(webhook(32),), merges=((32, None),))
    assert matched(world).questions.gone_lead_ids == frozenset()


@pytest.mark.parametrize("status_id", [WON, LOST])
def test_explicit__a_closed_deal_is_named_as_well_as_an_open_one(status_id: int) -> None:
    world = World((order(user_email=STRANGER),), (replace(ELSEWHERE, status_id=status_id),), hints=(webhook(40),))
    assert link_of(matched(world)) == (40, Tier.EXPLICIT)


# --- what was decided before ---------------------------------------------------------------------------------


def test_ledger__a_webhook_that_comes_later_and_names_another_deal_is_for_a_person() -> None:
    world = World(
        (order(),), (deal(31, status_id=WON), ELSEWHERE), (contact(),), links=(Link("17", 31, Tier.CONTACT, "x"),),
        hints=(webhook(40),),
    )  # fmt: skip
    matches = matched(world)
    assert matches.found == ()
    assert [(r.order_id, r.candidates) for r in matches.reviews] == [("17", (31, 40))]
    assert "counted on deal 31" in matches.reviews[0].reason


@pytest.mark.parametrize(
    "decided",
    [{"links": (Link("17", 31, Tier.PERSON, "x"),)}, {"decisions": (("17", "dismissed"),)}, {"hints": (webhook(31),)}],
)
def test_ledger__a_contradiction_that_a_person_decided_is_not_asked_again(decided: dict[str, Any]) -> None:
    world = World(
        (order(),), (deal(31), ELSEWHERE), (contact(),), links=(Link("17", 31, Tier.CONTACT, "x"),),
        hints=(webhook(40),),
    )  # fmt: skip
    assert matched(replace(world, **decided)).reviews == ()


def test_ledger__the_link_of_a_merged_deal_follows_it() -> None:
    gone = deal(31, is_deleted=True)
    world = World((order(),), (gone, ELSEWHERE), links=(Link("17", 31, Tier.CLAIM, "came back"),), merges=((31, 40),))
    matches = matched(world)
    assert link_of(matches) == (40, Tier.CLAIM)
    assert evidence_of(matches) == "came back; deal 31, which was merged into deal 40"
    assert list(matches.links["lead_id"]) == [40]


def test_decision__a_deal_of_its_own_is_made_for_whom_a_person_says_so() -> None:
    tie = World((order(),), (deal(31), deal(32)), (contact(),), decisions=(("17", "new"),))
    assert ([o.id for o in matched(tie).self_serve], matched(tie).reviews) == (["17"], ())


def test_decision__what_a_person_dismissed_is_left_alone_for_good() -> None:
    tie = World((order(),), (deal(31), deal(32)), (contact(),), decisions=(("17", "dismissed"),))
    matches = matched(tie)
    assert (matches.found, matches.self_serve, matches.reviews) == ((), (), ())


# --- field ------------------------------------------------------------------------------------------------------


def test_field__the_subscription_id_names_the_deal_too() -> None:
    marked = deal(32, contacts=(), fields={"subscription_id": "9"})
    world = World((order(user_email=STRANGER),), (marked,), subscriptions=(subscription(9),))
    assert link_of(matched(world)) == (32, Tier.FIELD)


@pytest.mark.parametrize("typed", ["17", " 17 ", "#17", "# 17\n"])
def test_field__an_id_is_read_as_people_type_it(typed: str) -> None:
    world = World((order(user_email=STRANGER),), (deal(32, contacts=(), fields={"order_id": typed}),))
    assert link_of(matched(world)) == (32, Tier.FIELD)


@pytest.mark.parametrize("garbage", ["abc", "4711", "-"])
def test_field__garbage_does_not_keep_a_deal_from_its_payment_and_is_reported(garbage: str) -> None:
    matches = matched(World((order(),), (deal(fields={"order_id": garbage}),), (contact(),)))
    assert link_of(matches) == (31, Tier.CONTACT)
    assert doubts(matches)[0].startswith("lead:31: its field LS order id holds")


# --- claim ------------------------------------------------------------------------------------------------------


def test_claim__a_visit_that_knows_the_receipt_names_the_deal() -> None:
    buyer = order(identifier=RECEIPT, user_email=STRANGER, created_at=YOUNG)
    matches = matched(World((buyer,), (deal(31), ELSEWHERE), (contact(),), hints=(claim(40),)))
    assert link_of(matches) == (40, Tier.CLAIM)
    assert "claim link" in evidence_of(matches)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"identifier": "5f1a2b3c-0000-4000-8000-000000000018"}, "identifier"),
        ({"variant_id": "99"}, "variant 99"),
        ({"issued_at": NOW - timedelta(hours=3)}, "after the payment"),
        ({"lead_id": 77}, "no deal 77"),
    ],
)
def test_claim__a_visit_that_does_not_fit_the_order_claims_nothing(changes: dict[str, Any], word: str) -> None:
    buyer = order(identifier=RECEIPT)
    matches = matched(World((buyer,), (deal(31), ELSEWHERE), (contact(),), hints=(claim(**{"lead_id": 40} | changes),)))
    assert link_of(matches) == (31, Tier.CONTACT)
    assert word in doubts(matches)[0]


@pytest.mark.parametrize("changes", [{"variant_id": "99"}, {"issued_at": NOW - timedelta(hours=3)}])
def test_claim__that_knows_the_receipt_of_a_stranger_but_does_not_fit_is_for_a_person(changes: dict[str, Any]) -> None:
    buyer = order(identifier=RECEIPT, user_email=STRANGER)
    matches = matched(World((buyer,), (ELSEWHERE,), hints=(claim(40, **changes),)))
    assert (matches.self_serve, [r.candidates for r in matches.reviews]) == ((), [(40,)])


def test_claim__that_does_not_know_the_receipt_keeps_nobody_from_a_deal_of_his_own() -> None:
    buyer = order(identifier=RECEIPT, user_email=STRANGER)
    forged = claim(40, identifier="5f1a2b3c-0000-4000-8000-000000000018")
    assert [o.id for o in matched(World((buyer,), (ELSEWHERE,), hints=(forged,))).self_serve] == ["17"]


# --- checkout ---------------------------------------------------------------------------------------------------


def test_checkout__email_and_variant_of_the_one_open_checkout_name_the_deal() -> None:
    buyer = order(user_email=" STRANGER@example.net ")
    issued = (checkout(40, email=STRANGER), checkout(31, checkout_id="other"))
    matches = matched(World((buyer,), (deal(31), ELSEWHERE), (contact(),), checkouts=issued))
    assert link_of(matches) == (40, Tier.CHECKOUT)
    assert "checkout checkout-40" in evidence_of(matches)


def test_checkout__several_checkouts_of_one_deal_are_no_tie() -> None:
    issued = (checkout(40), checkout(40, checkout_id="second"))
    assert link_of(matched(World((order(),), (ELSEWHERE,), checkouts=issued))) == (40, Tier.CHECKOUT)


def test_checkout__open_ones_of_two_deals_are_a_tie() -> None:
    world = World((order(),), (deal(31, contacts=()), ELSEWHERE), checkouts=(checkout(31), checkout(40)))
    matches = matched(world)
    assert (matches.found, [r.candidates for r in matches.reviews]) == ((), [(31, 40)])


@pytest.mark.parametrize(
    "changes",
    [
        {"email": ""},
        {"variant_id": "99"},
        {"store_id": "4102"},
        {"test_mode": True},
        {"custom_price": 48999},
        {"created_at": NOW - timedelta(hours=3)},
        {"expires_at": NOW - timedelta(days=2)},
        {"lead_text": "abc"},
    ],
)
def test_checkout__one_that_differs_in_anything_names_nothing(changes: dict[str, Any]) -> None:
    matches = matched(World((order(),), (ELSEWHERE,), checkouts=(checkout(40, **changes),)))
    assert link_of(matches) is None


def test_checkout__its_price_is_compared_before_discount_and_tax() -> None:
    taxed = order(total=53900, subtotal_minor=50000, discount_minor=1000, tax_minor=4900)
    issued = (checkout(40, custom_price=50000),)
    matches = matched(World((taxed,), (ELSEWHERE,), checkouts=issued))
    assert link_of(matches) == (40, Tier.CHECKOUT)
    assert "$500.00" in evidence_of(matches)


def test_checkout__its_price_is_for_one_seat() -> None:
    seats = order(total=147000, quantity=3)
    assert link_of(matched(World((seats,), (ELSEWHERE,), checkouts=(checkout(40, custom_price=49000),)))) is not None


def test_checkout__a_second_payment_through_the_same_link_is_for_a_person() -> None:
    again = order(18, created_at=NOW - timedelta(hours=2))
    matches = matched(World((order(17), again), (ELSEWHERE,), checkouts=(checkout(40),)))
    assert link_of(matches, "17") == (40, Tier.CHECKOUT)
    assert [(r.order_id, r.candidates) for r in matches.reviews] == [("18", (40,))]
    assert "paid twice" in matches.reviews[0].reason


def test_checkout__a_young_order_waits_for_its_webhook() -> None:
    world = World((order(created_at=YOUNG),), (ELSEWHERE,), checkouts=(checkout(40),))
    assert (matched(world).found, matched(world).settling) == ((), ("17",))


@pytest.mark.parametrize(
    ("issued", "price"),
    [({"custom_price": 49000}, 7), ({}, 490), ({}, 9999)],
    ids=["its price", "deal's price", "neither"],
)
def test_unpaid_checkout__a_payment_that_it_waits_for_under_another_address_is_for_a_person(
    issued: dict[str, Any], price: int
) -> None:
    waiting = replace(ELSEWHERE, price=price)
    world = World((order(user_email=STRANGER),), (waiting,), checkouts=(checkout(40, **issued),))
    matches = matched(world)
    assert (matches.found, matches.self_serve) == ((), ())
    assert [(r.order_id, r.candidates) for r in matches.reviews] == [("17", (40,))]
    assert "under another address" in matches.reviews[0].reason


def test_unpaid_checkout__is_ignored_where_the_policy_says_so() -> None:
    world = World((order(user_email=STRANGER),), (replace(ELSEWHERE, price=490),), checkouts=(checkout(40),))
    assert [o.id for o in matched(world, asks_about_unpaid_checkouts=False).self_serve] == ["17"]


@pytest.mark.parametrize(
    "other",
    [
        World((), (replace(ELSEWHERE, price=490, status_id=WON),), checkouts=(checkout(40),)),
        World((), (replace(ELSEWHERE, price=490),), checkouts=(checkout(40, variant_id="99"),)),
        World((), (replace(ELSEWHERE, price=490),), checkouts=(checkout(40, created_at=NOW - timedelta(days=45)),)),
    ],
    ids=["won", "another product", "long ago"],
)
def test_unpaid_checkout__what_does_not_wait_for_this_payment_leaves_it_to_a_deal_of_its_own(other: World) -> None:
    world = replace(other, orders=(order(user_email=STRANGER),))
    assert [o.id for o in matched(world).self_serve] == ["17"]


# --- several stores ---------------------------------------------------------------------------------------------


def test_stores__orders_of_every_configured_store_are_placed_and_those_of_others_are_not() -> None:
    orders = tuple(order(i, store_id=store) for i, store in ((17, STORE), (18, "4102"), (19, "4103")))
    hints = tuple(webhook(40, order_id=str(i)) for i in (17, 18, 19))
    matches = matched(World(orders, (ELSEWHERE,), hints=hints), store_ids=frozenset({STORE, "4102"}))
    assert [x.order_id for x in matches.found] == ["17", "18"]


def test_checkout__a_payment_that_was_refunded_since_has_a_deal_all_the_same() -> None:
    refunded = order(status=OrderStatus.REFUNDED, refunded=49000)
    assert link_of(matched(World((refunded,), (ELSEWHERE,), checkouts=(checkout(40),)))) == (40, Tier.CHECKOUT)


# --- what comes late -------------------------------------------------------------------------------------------


COUNTED = World(
    (order(identifier=RECEIPT),), (deal(31, status_id=WON, fields={"order_id": "17"}), ELSEWHERE), (contact(),),
    links=(Link("17", 31, Tier.CONTACT, "x"),),
)  # fmt: skip


def test_ledger__a_claim_that_comes_later_and_names_another_deal_is_for_a_person() -> None:
    matches = matched(replace(COUNTED, hints=(claim(40),)))
    assert [(r.candidates, r.question) for r in matches.reviews] == [((31, 40), Question.CONTRADICTED)]


def test_ledger__a_late_claim_that_does_not_fit_the_order_contradicts_nothing_and_is_reported() -> None:
    matches = matched(replace(COUNTED, hints=(claim(40, variant_id="99"),)))
    assert (matches.reviews, "was not believed" in doubts(matches)[0]) == ((), True)


def test_ledger__a_late_webhook_that_names_an_unknown_deal_is_asked_about_and_reported() -> None:
    matches = matched(replace(COUNTED, hints=(webhook(99),)))
    assert (set(matches.questions.lead_ids), len(doubts(matches)), matches.reviews) == ({99}, 1, ())


def test_contradiction__is_settled_by_the_order_id_in_the_field_of_the_right_deal() -> None:
    right = replace(ELSEWHERE, fields={"order_id": "#17"})
    matches = matched(replace(COUNTED, deals=(COUNTED.deals[0], right), hints=(webhook(40),)))
    assert (link_of(matches), matches.reviews) == ((40, Tier.FIELD), ())
    assert list(matches.links["lead_id"]) == [40]


@pytest.mark.parametrize("decision", ["new", "dismissed"])
def test_decision__is_asked_again_when_the_deal_of_the_payment_was_deleted_since(decision: str) -> None:
    gone = World(
        (order(),), (deal(31, is_deleted=True),), links=(Link("17", 31, Tier.SELF_SERVE, "x"),),
        decisions=(("17", decision),),
    )  # fmt: skip
    assert [r.question for r in matched(gone).reviews] == [Question.DELETED]


@pytest.mark.parametrize("decision", ["new", "dismissed"])
def test_decision__a_person_who_writes_the_order_id_into_a_deal_has_the_last_word(decision: str) -> None:
    marked = deal(32, fields={"order_id": "17"})
    world = World((order(),), (deal(31), marked), (contact(),), decisions=(("17", decision),))
    assert (link_of(matched(world)), matched(world).self_serve) == ((32, Tier.FIELD), ())


def test_checkout__of_a_deal_that_was_closed_long_ago_is_for_a_person() -> None:
    over = replace(deal(40, contacts=(), status_id=WON), closed_at=NOW - timedelta(days=400))
    world = World((order(),), (over,), checkouts=(checkout(40, created_at=NOW - timedelta(days=410)),))
    assert "closed long before" in matched(world).reviews[0].reason


def test_merge__that_was_looked_for_too_early_is_looked_for_again() -> None:
    world = World((order(),), (deal(32, is_deleted=True),), hints=(webhook(32),), merges=((32, None),))
    tables = world.tables()
    early = replace(tables, merges=tables.merges.assign(is_settled=False))
    assert match(counted(early), policy(), NOW).questions.gone_lead_ids == {32}
    assert matched(world).questions.gone_lead_ids == frozenset()


def test_match__many_orders_and_many_checkouts_are_not_compared_one_by_one() -> None:
    """3,000 strangers buy what 1,000 open checkouts sell: pairs would be three million."""
    orders = tuple(order(i, user_email=f"s{i}@example.net", created_at=NOW - timedelta(hours=2)) for i in range(3000))
    deals = tuple(deal(10_000 + i, contacts=()) for i in range(1000))
    issued = tuple(checkout(10_000 + i, email=f"c{i}@example.com") for i in range(1000))
    matches = matched(World(orders, deals, checkouts=issued))
    assert len(matches.reviews) == 3000
    assert {len(review.candidates) for review in matches.reviews} == {10}
