"""The review queue: what waits, what settled itself, and what a person decided, on both databases."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, select, update

from dealsync.core.models import Link, Tier
from dealsync.core.plan import Action, Candidate, Decision, Kind, NewDeal, Outcome, Plan, Review, Scope
from dealsync.core.states import State
from dealsync.core.tables import DECISION_COLUMNS
from dealsync.errors import AlreadyDecided, AlreadyPlaced, UnknownReview
from dealsync.ledger.journal import Journal
from dealsync.ledger.mirror import Mirror
from dealsync.ledger.reviews import ReviewItem, Reviews, ReviewState
from dealsync.ledger.tables import LedgerEntry, ReviewRow
from tests.builders import NOW, STORE, WON, deal, order
from tests.unit.ledger.locks import hold_lock

LATER = NOW + timedelta(hours=1)
MUCH_LATER = NOW + timedelta(days=1)


def review(order_id: int | str = 17, *lead_ids: int, reason: str = "several deals fit") -> Review:
    """Return a review; the last deal named fits best."""
    details = tuple(Candidate(lead_id, 50 + n, (f"reason {n}",)) for n, lead_id in enumerate(lead_ids))[::-1]
    return Review(str(order_id), tuple(sorted(lead_ids)), reason, details)


def record(engine: Engine, *reviews: Review, links: Iterable[Link] = (), at: datetime = NOW) -> None:
    Journal(engine).record(Plan(reviews=reviews, links=tuple(links)), "run-1", at)


def states(engine: Engine) -> dict[str, ReviewState]:
    return {item.order_id: item.state for item in Reviews(engine).listed()}


def links(engine: Engine) -> list[tuple[str, int, str]]:
    return [tuple(row) for row in Journal(engine).links()[["order_id", "lead_id", "tier"]].values.tolist()]


def resolve(engine: Engine, wanted: int | Decision, order_id: str = "17") -> ReviewItem:
    return Reviews(engine).resolve(order_id, wanted, decided_by="ann", now=LATER)


def test_reviews__of_a_plan_are_listed_with_what_speaks_for_each_deal(engine: Engine) -> None:
    record(engine, review(17, 31, 32))
    (item,) = Reviews(engine).listed(ReviewState.OPEN)
    assert item == ReviewItem(
        order_id="17",
        state=ReviewState.OPEN,
        reason="several deals fit",
        details=(Candidate(32, 51, ("reason 1",)), Candidate(31, 50, ("reason 0",))),
        first_seen_at=NOW,
    )


def test_reviews__those_that_wait_longest_come_first(engine: Engine) -> None:
    record(engine, review(18))
    record(engine, review(17), review(18), at=LATER)
    assert [item.order_id for item in Reviews(engine).listed()] == ["18", "17"]


def test_reviews__a_later_plan_may_know_better_and_waiting_goes_on(engine: Engine) -> None:
    record(engine, review(17, 31, reason="one fits badly"))
    record(engine, review(17, 31, 32), at=LATER)
    (item,) = Reviews(engine).listed()
    assert (item.reason, [c.lead_id for c in item.details]) == ("several deals fit", [32, 31])
    assert item.first_seen_at == NOW


def test_reviews__one_that_no_plan_asks_any_more_settled_itself_and_can_come_back(engine: Engine) -> None:
    record(engine, review(17), review(18))
    record(engine, review(18), at=LATER)
    assert states(engine) == {"17": ReviewState.SETTLED, "18": ReviewState.OPEN}
    record(engine, review(17), review(18), at=MUCH_LATER)
    assert states(engine) == {"17": ReviewState.OPEN, "18": ReviewState.OPEN}


@pytest.mark.parametrize("plan", [(review(17, 31, 32),), ()], ids=["asked again", "not asked again"])
@pytest.mark.parametrize("wanted", [31, Decision.NEW, Decision.DISMISSED], ids=str)
def test_reviews__what_a_person_decided_stays_decided_whatever_a_plan_says(
    engine: Engine, wanted: int | Decision, plan: tuple[Review, ...]
) -> None:
    record(engine, review(17, 31, 32))
    decided = resolve(engine, wanted)
    record(engine, *plan, at=MUCH_LATER)
    assert Reviews(engine).listed() == [decided]
    assert Reviews(engine).listed(ReviewState.OPEN) == []


def test_resolve__a_deal_becomes_the_link_of_the_order_and_says_that_a_person_made_it(engine: Engine) -> None:
    record(engine, review(17, 31, 32))
    item = resolve(engine, 99)  # not even a candidate: the person knows better
    assert (item.state, item.decision, item.decided_by, item.decided_at) == (
        ReviewState.RESOLVED,
        "lead:99",
        "ann",
        LATER,
    )
    assert links(engine) == [("17", 99, "person")]
    assert Reviews(engine).decisions().empty


def test_resolve__the_evidence_of_a_link_names_no_person_for_reports_show_it(engine: Engine) -> None:
    record(engine, review(17, 31, 32))
    Reviews(engine).resolve("17", 31, decided_by="ann@example.com", now=LATER)
    (evidence,) = Journal(engine).links()["evidence"]
    assert "a person" in evidence
    assert "ann" not in evidence


@pytest.mark.parametrize("wanted", list(Decision))
def test_resolve__without_a_deal_it_is_told_to_the_matcher_and_links_nothing(engine: Engine, wanted: Decision) -> None:
    record(engine, review(17, 31), review(18, 31))
    resolve(engine, wanted)
    decisions = Reviews(engine).decisions()
    assert list(decisions.columns) == DECISION_COLUMNS
    assert decisions.values.tolist() == [["17", wanted.value]]
    assert links(engine) == []
    assert states(engine)["18"] is ReviewState.OPEN


def test_decisions__of_an_empty_queue_merge_like_those_of_a_full_one(engine: Engine) -> None:
    empty = Reviews(engine).decisions()
    record(engine, review(17))
    resolve(engine, Decision.NEW)
    assert list(empty.dtypes) == list(Reviews(engine).decisions().dtypes)


def test_resolve__a_payment_counted_elsewhere_goes_to_the_deal_that_a_person_names(engine: Engine) -> None:
    counted = Link("17", 31, Tier.CONTACT, "e-mail")
    record(engine, review(17, 31, 32), links=[counted])
    resolve(engine, 32)
    assert links(engine) == [("17", 32, "person")]


def test_resolve__a_dismissed_contradiction_leaves_the_payment_where_it_is(engine: Engine) -> None:
    record(engine, review(17, 31, 32), links=[Link("17", 31, Tier.CONTACT, "e-mail")])
    resolve(engine, Decision.DISMISSED)
    assert links(engine) == [("17", 31, "contact")]


@pytest.mark.parametrize("wanted", [31, Decision.NEW, Decision.DISMISSED], ids=str)
def test_resolve__the_same_again_changes_nothing(engine: Engine, wanted: int | Decision) -> None:
    record(engine, review(17, 31, 32))
    first = resolve(engine, wanted)
    again = Reviews(engine).resolve("17", wanted, decided_by="bob", now=MUCH_LATER)
    assert again == first


@pytest.mark.parametrize("other", [32, Decision.NEW, Decision.DISMISSED], ids=str)
def test_resolve__differently_is_refused_with_what_was_decided(engine: Engine, other: int | Decision) -> None:
    record(engine, review(17, 31, 32))
    first = resolve(engine, 31)
    with pytest.raises(AlreadyDecided, match=r"order:17 .* lead:31"):
        resolve(engine, other)
    assert Reviews(engine).listed() == [first]
    assert links(engine) == [("17", 31, "person")]


def test_resolve__an_unknown_one_names_those_that_wait(engine: Engine) -> None:
    record(engine, *(review(number) for number in range(100, 112)))
    with pytest.raises(UnknownReview, match=r"order:17 .*order:100, .*order:109 and 2 more.* dealsync reviews"):
        resolve(engine, 31)
    assert links(engine) == []
    with pytest.raises(UnknownReview) as refused:
        resolve(engine, 31)
    assert "order:110" not in str(refused.value)


def test_resolve__one_that_settled_itself_waits_for_nobody(engine: Engine) -> None:
    record(engine, review(17, 31, 32))
    record(engine, links=[Link("17", 32, Tier.FIELD, "field")], at=LATER)
    with pytest.raises(UnknownReview, match="settled itself"):
        resolve(engine, 31)
    assert links(engine) == [("17", 32, "field")]


def test_resolve__of_two_persons_at_once_one_is_told_what_the_other_decided(engine: Engine) -> None:
    for number in range(8):
        record(engine, *(review(n, 31, 32) for n in range(number + 1)))
        outcomes = at_once(
            lambda n=number: resolve(engine, 31, str(n)).decision,  # type: ignore[misc]
            lambda n=number: resolve(engine, Decision.NEW, str(n)).decision,  # type: ignore[misc]
        )
        (refused,) = [o for o in outcomes if isinstance(o, AlreadyDecided)]
        (decision,) = [o for o in outcomes if isinstance(o, str)]
        assert decision in str(refused)
        linked = [lead_id for order_id, lead_id, _ in links(engine) if order_id == str(number)]
        assert linked == ([31] if decision == "lead:31" else [])


def test_resolve__beside_a_run_loses_nothing(engine: Engine) -> None:
    """Whoever comes first: a decision is there, link and all, or it was refused because the review is gone."""
    for number in range(8):
        mine = review(number, 31, 32)
        record(engine, mine)
        plan = [mine] if number % 2 else []
        outcomes = at_once(
            lambda n=number: resolve(engine, 31, str(n)),  # type: ignore[misc]
            lambda p=tuple(plan): record(engine, *p, at=LATER),  # type: ignore[misc]
        )
        linked = [lead_id for order_id, lead_id, _ in links(engine) if order_id == str(number)]
        if isinstance(outcomes[0], ReviewItem):
            assert (states(engine)[str(number)], linked) == (ReviewState.RESOLVED, [31])
        else:
            assert isinstance(outcomes[0], UnknownReview)
            assert (states(engine)[str(number)], linked) == (ReviewState.SETTLED, [])


def test_run__follows_a_deal_that_a_person_chose_and_that_is_gone(engine: Engine) -> None:
    mirror = Mirror(engine)
    mirror.keep_deals([deal(31), deal(32)])
    record(engine, review(17, 31, 32))
    resolve(engine, 31)
    mirror.mark_deals_deleted({31})
    record(engine, links=[Link("17", 32, Tier.FIELD, "field")], at=MUCH_LATER)
    assert links(engine) == [("17", 32, "field")]


def test_resolve__a_new_deal_for_a_payment_that_has_one_is_refused(engine: Engine) -> None:
    """The matcher never looks again at an order that has its deal: the decision would do nothing."""
    Mirror(engine).keep_deals([deal(31), deal(32)])
    record(engine, review(17, 31, 32), links=[Link("17", 31, Tier.CONTACT, "e-mail")])
    with pytest.raises(AlreadyPlaced, match=r"deal 31.*--lead.*--dismiss"):
        resolve(engine, Decision.NEW)
    assert states(engine) == {"17": ReviewState.OPEN}
    Mirror(engine).mark_deals_deleted({31})
    assert resolve(engine, Decision.NEW).decision == "new"


def test_resolve__a_new_deal_is_not_made_twice_even_if_the_first_was_deleted(engine: Engine) -> None:
    """Its key is used up: no run would make it."""
    journal = Journal(engine)
    made = NewDeal("n", 1, 142, None, 501, {})
    action = Action("order:17:deal", Kind.CREATE_DEAL, "order:17", None, "because", "evidence", made)
    journal.record(Plan(actions=(action,), reviews=(review(17),)), "run-1", NOW)
    made_it = Outcome(action.key, State.APPLIED, 40, 40)
    journal.close([made_it], [Link("17", 40, Tier.SELF_SERVE, "made")], NOW, run_id="run-1")
    with pytest.raises(AlreadyPlaced, match=r"order:17 .*\(40\).*--lead.*--dismiss"):
        resolve(engine, Decision.NEW)


def test_resolve__a_new_deal_that_failed_before_is_made_after_all(engine: Engine) -> None:
    journal, made = Journal(engine), NewDeal("n", 1, 142, None, 501, {})
    action = Action("order:17:deal", Kind.CREATE_DEAL, "order:17", None, "because", "evidence", made)
    journal.record(Plan(actions=(action,), reviews=(review(17),)), "run-1", NOW)
    hold_lock(engine, "run-1")
    journal.close([Outcome(action.key, State.FAILED, error="no")], [], NOW, run_id="run-1")
    assert resolve(engine, Decision.NEW).decision == "new"


def test_reviews__written_before_details_were_kept_still_name_their_deals(engine: Engine) -> None:
    record(engine, review(17, 31, 32))
    with engine.begin() as db:
        db.execute(update(ReviewRow).values(details=[]))
    (item,) = Reviews(engine).listed()
    assert [candidate.lead_id for candidate in item.details] == [31, 32]


def test_unfinished__counts_the_deals_that_each_rota_gave_out(engine: Engine) -> None:
    def given(number: int, rota: str) -> Action:
        made = NewDeal("n", 1, 142, None, 501, {}, rota=rota)
        return Action(f"order:{number}:deal", Kind.CREATE_DEAL, f"order:{number}", None, "because", "evidence", made)

    journal = Journal(engine)
    assert journal.unfinished().rota_positions == {}
    journal.record(Plan(actions=tuple(given(n, rota) for n, rota in enumerate(("", "", "de", "", "fr")))), "r", NOW)
    assert journal.unfinished().rota_positions == {"": 3, "de": 1, "fr": 1}


def test_unfinished__deals_of_before_there_were_zones_count_for_the_common_rota(engine: Engine) -> None:
    journal = Journal(engine)
    made = NewDeal("n", 1, 142, None, 501, {})
    action = Action("order:17:deal", Kind.CREATE_DEAL, "order:17", None, "because", "evidence", made)
    journal.record(Plan(actions=(action,)), "run-1", NOW)
    with engine.begin() as db:
        old = dict(db.scalars(select(LedgerEntry.action)).one())
        del old["change"]["rota"]
        db.execute(update(LedgerEntry).values(action=old))
    assert journal.unfinished().rota_positions == {"": 1}


def at_once(*works: Callable[[], object]) -> list[object]:
    """Run works in threads that start together; return their results, or the errors of ours that they raised."""
    barrier = threading.Barrier(len(works))
    outcomes: list[object] = [None] * len(works)

    def do(place: int, work: Callable[[], object]) -> None:
        barrier.wait()
        try:
            outcomes[place] = work()
        except (AlreadyDecided, UnknownReview) as error:
            outcomes[place] = error

    threads = [threading.Thread(target=do, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return outcomes


def test_reviews__one_whose_deal_was_deleted_since_it_was_decided_is_asked_again(engine: Engine) -> None:
    Mirror(engine).keep_deals([deal(32)])
    record(engine, review(17, 31, 32))
    Reviews(engine).resolve("17", 32, decided_by="ann", now=LATER)
    record(engine, review(17), at=LATER)
    assert states(engine) == {"17": ReviewState.RESOLVED}
    Mirror(engine).mark_deals_deleted([32])
    record(engine, review(17), at=MUCH_LATER)
    (item,) = Reviews(engine).listed(ReviewState.OPEN)
    assert (item.decision, item.decided_by) == (None, None)


def test_links__a_run_that_planned_before_does_not_undo_what_a_person_decided(engine: Engine) -> None:
    Mirror(engine).keep_deals([deal(31), deal(32)])
    record(engine, review(17, 31, 32))
    Reviews(engine).resolve("17", 32, decided_by="ann", now=LATER)
    planned_before = [Link("17", 31, Tier.CONTACT, "x")]
    record(engine, links=planned_before, at=LATER)
    assert links(engine) == [("17", 32, "person")]
    Mirror(engine).mark_deals_deleted([32])
    record(engine, links=planned_before, at=MUCH_LATER)
    assert links(engine) == [("17", 31, "contact")]


def test_links__a_live_deal_of_another_order_protects_no_decision_whose_deal_is_gone(engine: Engine) -> None:
    Mirror(engine).keep_deals([deal(31), deal(32)])
    record(engine, review(17, 31, 32), links=[Link("18", 31, Tier.EXPLICIT, "x")])
    Reviews(engine).resolve("17", 32, decided_by="ann", now=LATER)
    Mirror(engine).mark_deals_deleted([32])
    record(engine, links=[Link("17", 31, Tier.CONTACT, "x")], at=MUCH_LATER)
    assert links(engine) == [("17", 31, "contact"), ("18", 31, "explicit")]


def test_reviews__a_deal_of_another_order_that_is_gone_opens_no_question_again(engine: Engine) -> None:
    Mirror(engine).keep_deals([deal(31), deal(32)])
    record(engine, review(17, 31, 32), review(18, 31), links=[Link("18", 31, Tier.EXPLICIT, "x")])
    decided = Reviews(engine).resolve("17", 32, decided_by="ann", now=LATER)
    Mirror(engine).mark_deals_deleted([31])
    record(engine, review(17, 31, 32), review(18, 31), at=MUCH_LATER)
    assert Reviews(engine).listed(ReviewState.RESOLVED) == [decided]


def test_reviews__a_plan_settles_only_those_that_it_looked_at(engine: Engine) -> None:
    Mirror(engine).keep_orders([order(17), order(18, test_mode=True), order(19, store_id="4102")])
    record(engine, review(17), review(18), review(19))
    live = Plan(scope=Scope(frozenset({STORE}), test_mode=False))
    Journal(engine).record(live, "run-2", LATER)
    assert states(engine) == {"17": ReviewState.SETTLED, "18": ReviewState.OPEN, "19": ReviewState.OPEN}


def test_record__leaves_out_what_was_planned_before_a_person_decided(engine: Engine) -> None:
    Mirror(engine).keep_deals([deal(31), deal(32)])
    record(engine, review(17, 31, 32))
    Reviews(engine).resolve("17", 32, decided_by="ann", now=LATER)
    made = Action("order:17:deal", Kind.CREATE_DEAL, "order:17", None, "r", "e", NewDeal("x", 1, WON, None, None, {}))
    other = replace(made, key="order:18:deal", source="order:18")
    plan = Plan(actions=(made, other), links=(Link("17", 31, Tier.CONTACT, "x"),))
    sent = Journal(engine).record(plan, "run-2", MUCH_LATER, since=NOW)
    assert [action.key for action in sent] == ["order:18:deal"]
    assert links(engine) == [("17", 32, "person")]
