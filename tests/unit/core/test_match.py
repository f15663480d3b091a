from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dealsync.core.match import Matches, match
from dealsync.core.models import Link, OrderStatus, Tier
from dealsync.core.sales import counted
from tests.builders import ATTENTION, LOST, NOW, PARTNERS, WON, World, contact, deal, order, policy


def matched(world: World, **changes: Any) -> Matches:
    return match(counted(world.tables()), policy(**changes), NOW)


def link_of(matches: Matches, order_id: str = "17") -> tuple[int, Tier] | None:
    return next(((x.lead_id, x.tier) for x in matches.found if x.order_id == order_id), None)


def test_match__only_open_deal_of_the_buyer_at_that_price_is_taken() -> None:
    matches = matched(World((order(),), (deal(),), (contact(),)))
    assert link_of(matches) == (31, Tier.CONTACT)
    assert "490 USD" in matches.found[0].evidence


def test_match__emails_are_compared_trimmed_and_case_folded() -> None:
    buyer = order(user_email="  Ann@Example.COM ")
    assert link_of(matched(World((buyer,), (deal(),), (contact(),)))) == (31, Tier.CONTACT)


def test_match__a_stored_link_wins_over_everything() -> None:
    world = World((order(),), (deal(31), deal(32, contacts=())), (contact(),), links=(Link("17", 32, Tier.FIELD, "x"),))
    matches = matched(world)
    assert matches.found == ()
    assert list(zip(matches.links["order_id"], matches.links["lead_id"], strict=True)) == [("17", 32)]


def test_match__the_order_id_field_names_the_deal_even_in_an_unwatched_pipeline() -> None:
    marked = deal(32, contacts=(), pipeline_id=PARTNERS, fields={"order_id": "17"})
    assert link_of(matched(World((order(),), (deal(31), marked), (contact(),)))) == (32, Tier.FIELD)


def test_match__two_deals_with_the_same_order_id_are_a_tie() -> None:
    world = World((order(),), (deal(31, fields={"order_id": "17"}), deal(32, fields={"order_id": "17"})), (contact(),))
    assert [(r.order_id, r.candidates) for r in matched(world).reviews] == [("17", (31, 32))]


def test_match__two_open_deals_are_a_tie_and_nothing_is_linked_or_created() -> None:
    matches = matched(World((order(),), (deal(31), deal(32)), (contact(),)))
    assert (matches.found, matches.self_serve) == ((), ())
    assert [r.candidates for r in matches.reviews] == [(31, 32)]


def test_match__deals_of_two_contacts_with_the_same_email_are_a_tie() -> None:
    world = World((order(),), (deal(31, contacts=(81,)), deal(32, contacts=(82,))), (contact(81), contact(82)))
    assert [r.candidates for r in matched(world).reviews] == [(31, 32)]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"total": 49100}, "asks 490"),
        ({"currency": "EUR"}, "EUR"),
    ],
)
def test_match__another_amount_or_currency_goes_to_review(changes: dict[str, Any], word: str) -> None:
    matches = matched(World((order(**changes),), (deal(),), (contact(),)))
    assert matches.found == ()
    assert word in matches.reviews[0].reason


def test_match__cents_above_the_whole_price_are_no_difference() -> None:
    assert link_of(matched(World((order(total=49099),), (deal(),), (contact(),)))) == (31, Tier.CONTACT)


def test_match__an_amount_above_the_limit_goes_to_review() -> None:
    world = World((order(),), (deal(),), (contact(),))
    assert link_of(matched(world, max_auto_amount=49000)) == (31, Tier.CONTACT)
    assert "max_auto_amount" in matched(world, max_auto_amount=48999).reviews[0].reason


def test_match__a_deal_made_after_the_payment_goes_to_review() -> None:
    young = deal(created_at=NOW - timedelta(hours=1), updated_at=NOW)
    assert "after the payment" in matched(World((order(),), (young,), (contact(),))).reviews[0].reason


def test_match__a_deal_outside_the_window_is_no_candidate() -> None:
    stale = deal(created_at=NOW - timedelta(days=90), updated_at=NOW - timedelta(days=40))
    matches = matched(World((order(),), (stale,), (contact(),)))
    assert [o.id for o in matches.self_serve] == ["17"]


def test_match__a_deal_in_an_unwatched_pipeline_is_no_candidate() -> None:
    matches = matched(World((order(),), (deal(pipeline_id=PARTNERS),), (contact(),)))
    assert [o.id for o in matches.self_serve] == ["17"]


def test_match__a_deal_won_by_hand_around_the_payment_is_linked() -> None:
    assert link_of(matched(World((order(),), (deal(status_id=WON),), (contact(),)))) == (31, Tier.CONTACT)


def test_match__a_deal_won_long_before_the_payment_is_another_sale() -> None:
    earlier = replace(deal(status_id=WON), closed_at=NOW - timedelta(days=3))
    matches = matched(World((order(),), (earlier,), (contact(),)))
    assert [o.id for o in matches.self_serve] == ["17"]


def test_match__a_deal_that_was_marked_lost_goes_to_review() -> None:
    matches = matched(World((order(),), (deal(status_id=LOST),), (contact(),)))
    assert "marked lost" in matches.reviews[0].reason


def test_match__the_earlier_of_two_orders_takes_the_deal_and_the_same_purchase_again_goes_to_review() -> None:
    again = order(18, created_at=NOW - timedelta(hours=20))
    matches = matched(World((again, order(17)), (deal(),), (contact(),)))
    assert link_of(matches, "17") == (31, Tier.CONTACT)
    assert [(r.order_id, r.candidates) for r in matches.reviews] == [("18", (31,))]


def test_match__another_product_for_the_same_buyer_is_a_sale_of_its_own() -> None:
    other = order(18, variant_id="99", created_at=NOW - timedelta(hours=20))
    matches = matched(World((order(17), other), (deal(),), (contact(),)))
    assert [o.id for o in matches.self_serve] == ["18"]


def test_match__what_one_run_leaves_undecided_the_next_does_not_decide() -> None:
    """A buyer with two won deals: placing the second order leaves the first one choice, in the same run."""
    first, second = order(17, total=99000), order(18, total=49000, created_at=NOW - timedelta(hours=23))
    deals = (deal(31, status_id=WON, price=990), deal(32, status_id=WON, price=490))
    matches = matched(World((first, second), deals, (contact(),)))
    assert {x.order_id: x.lead_id for x in matches.found} == {"17": 31, "18": 32}


def test_match__young_orders_wait_for_their_webhook() -> None:
    young = order(created_at=NOW - timedelta(minutes=4))
    matches = matched(World((young,), (deal(),), (contact(),)))
    assert (matches.settling, matches.found, matches.self_serve) == (("17",), (), ())


def test_match__a_young_order_named_by_a_field_does_not_wait() -> None:
    world = World((order(created_at=NOW),), (deal(fields={"order_id": "17"}),), (contact(),))
    assert link_of(matched(world)) == (31, Tier.FIELD)


def test_match__a_deleted_deal_is_never_made_again_by_the_machine() -> None:
    world = World((order(),), (deal(is_deleted=True),), (contact(),), links=(Link("17", 31, Tier.CONTACT, "x"),))
    matches = matched(world)
    assert matches.self_serve == ()
    assert "deleted" in matches.reviews[0].reason


@pytest.mark.parametrize("status", [OrderStatus.PENDING, OrderStatus.FAILED, OrderStatus.UNKNOWN])
def test_match__orders_without_money_are_not_placed(status: OrderStatus) -> None:
    matches = matched(World((order(status=status),), (deal(),), (contact(),)))
    assert (matches.found, matches.self_serve, matches.reviews) == ((), (), ())


def test_match__a_refunded_order_of_nobody_makes_no_deal() -> None:
    assert matched(World((order(status=OrderStatus.REFUNDED, refunded=49000),))).self_serve == ()


@pytest.mark.parametrize("changes", [{"test_mode": True}, {"store_id": "9"}])
def test_match__other_mode_and_other_store_are_left_alone(changes: dict[str, Any]) -> None:
    matches = matched(World((order(**changes),), (deal(),), (contact(),)))
    assert (matches.found, matches.self_serve, matches.reviews) == ((), (), ())


def test_match__a_deal_in_the_attention_status_is_open() -> None:
    assert link_of(matched(World((order(),), (deal(status_id=ATTENTION),), (contact(),)))) == (31, Tier.CONTACT)


def test_match__a_test_purchase_holds_no_deal_against_a_real_payment() -> None:
    """After a time in test mode on the same database."""
    trial = order(16, test_mode=True)
    world = World(
        orders=(trial, order(17)),
        deals=(deal(31),),
        contacts=(contact(81),),
        links=(Link("16", 31, Tier.EXPLICIT, "in test mode"),),
    )
    found = matched(world)
    assert [(link.order_id, link.lead_id) for link in found.found] == [("17", 31)]
