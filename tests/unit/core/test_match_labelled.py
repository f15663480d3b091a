"""`match` against orders whose truth is known: it may miss a deal, never take a wrong one."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import fields

import pandas as pd
import pytest

from benchmarks.matching import AUTOMATIC, Outcome, score, table
from benchmarks.matching_data import BEYOND_THE_RULES, SCENES, generate
from benchmarks.matching_evidence import EVIDENCE_SCENES
from benchmarks.matching_scene import Answer, Labelled
from dealsync.core.match import Matches, match
from dealsync.core.models import Link, Tier, normal_email
from dealsync.core.policy import Policy
from dealsync.core.sales import counted
from dealsync.core.tables import Tables
from tests.builders import NOW, policy

SEEDS = (1, 2, 3)
LEAST_ORDERS = 2_000


def outcomes_of(labelled: Labelled, rules: Policy | None = None) -> tuple[Outcome, ...]:
    return score(labelled, match(counted(labelled.world.tables()), rules or policy(), NOW))


def false_situations(outcomes: Iterable[Outcome]) -> set[str]:
    return {o.label.situation for o in outcomes if o.false_link}


def linking(labelled: Labelled, *links: Link) -> Matches:
    """Return what a matcher would hand back that makes these links and does nothing else."""
    rows = [(link.order_id, link.lead_id, link.tier.value, link.evidence) for link in links]
    frame = pd.DataFrame(rows, columns=labelled.world.tables().links.columns)
    return Matches(frame, links, (), (), ())


def shuffled(tables: Tables, seed: int) -> Tables:
    frames = {f.name: getattr(tables, f.name) for f in fields(tables)}
    return Tables(**{name: frame.sample(frac=1, random_state=seed) for name, frame in frames.items()})


@pytest.fixture(scope="module")
def accounts() -> list[Labelled]:
    return [generate(LEAST_ORDERS // len(SEEDS) + 1, seed) for seed in SEEDS]


@pytest.fixture(scope="module")
def outcomes(accounts: list[Labelled]) -> list[Outcome]:
    return [outcome for labelled in accounts for outcome in outcomes_of(labelled)]


def test_match__makes_no_false_link_at_an_automatic_tier(outcomes: list[Outcome]) -> None:
    assert len(outcomes) >= LEAST_ORDERS
    assert [o for o in outcomes if o.false_link] == []
    assert min(Counter(o.tier for o in outcomes)[tier] for tier in AUTOMATIC) >= 20


def test_match__gives_every_payment_to_its_deal_by_the_strongest_evidence_there_is(outcomes: list[Outcome]) -> None:
    assert {(o.label.tier, o.tier) for o in outcomes if o.label.tier} == {(tier, tier) for tier in AUTOMATIC}


def test_match__asks_a_person_whatever_a_person_must_decide(outcomes: list[Outcome]) -> None:
    asked = [o for o in outcomes if o.label.truth is Answer.PERSON]
    assert len(asked) > LEAST_ORDERS / 4
    assert {o.label.situation: o.got for o in asked if o.got is not Answer.PERSON} == {}


def test_match__misses_only_what_no_rule_can_find(outcomes: list[Outcome]) -> None:
    """Everywhere else the rules leave one answer, so the recall of every situation is whole."""
    missed = defaultdict(set)
    for outcome in outcomes:
        if not outcome.right:
            missed[outcome.label.situation].add(outcome.got)
    assert missed == {
        "typo in the e-mail": {Answer.SELF_SERVE},
        "e-mail that nobody knows": {Answer.SELF_SERVE},
        "colleague's e-mail": {Answer.PERSON},
        "checkout, changed e-mail and product": {Answer.SELF_SERVE},
    }
    assert set(missed) == BEYOND_THE_RULES


def test_match__does_not_depend_on_the_order_of_any_row(accounts: list[Labelled]) -> None:
    tables = accounts[0].world.tables()
    straight, *mixed = (match(counted(t), policy(), NOW) for t in (tables, shuffled(tables, 1), shuffled(tables, 2)))
    for other in mixed:
        assert (other.found, other.self_serve) == (straight.found, straight.self_serve)
        assert (other.reviews, other.settling) == (straight.reviews, straight.settling)
        assert set(other.links.itertuples(index=False)) == set(straight.links.itertuples(index=False))


def test_labelled_account__is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert generate(100, 5) == generate(100, 5)
    assert generate(100, 5).world != generate(100, 6).world


def test_labelled_account__knows_the_truth_about_every_order_in_every_situation(accounts: list[Labelled]) -> None:
    for labelled in accounts:
        assert {o.id for o in labelled.world.orders} == set(labelled.labels)
        truths = {label.truth for label in labelled.labels.values()} - set(Answer)
        assert truths <= {d.lead_id for d in labelled.world.deals if not d.is_deleted}
    assert len({label.situation for label in accounts[0].labels.values()}) >= len((*SCENES, *EVIDENCE_SCENES))


def test_score__finds_fault_with_a_matcher_that_links_nothing(accounts: list[Labelled]) -> None:
    scored = score(accounts[0], linking(accounts[0]))
    assert not any(o.right or o.false_link for o in scored)


def test_score__finds_fault_with_a_matcher_that_links_by_email_alone(accounts: list[Labelled]) -> None:
    world = accounts[0].world
    deals = {contact_id: deal.lead_id for deal in world.deals for contact_id in deal.contact_ids}
    known = {e: deals[c.contact_id] for c in world.contacts if c.contact_id in deals for e in c.emails}
    buyers = [(o.id, known.get(normal_email(o.user_email))) for o in world.orders]
    links = [Link(order_id, lead_id, Tier.CONTACT, "e-mail") for order_id, lead_id in buyers if lead_id]
    scored = score(accounts[0], linking(accounts[0], *links))
    assert sum(o.right for o in scored) > len(scored) / 4
    assert false_situations(scored) >= {
        "another amount",
        "another currency",
        "another product later",
        "colleague's e-mail",
        "deal made after the payment",
        "lost deal",
        "old deal",
        "order id in the deal's field",
        "same plan twice: again",
        "shared mailbox, two deals",
        "two open deals, one price",
        "unwatched pipeline",
        "won long before",
    }


@pytest.mark.parametrize(
    ("rules", "caught"),
    [
        (policy(max_auto_amount=10**9), "above max_auto_amount"),
        (policy(window=policy().window * 100), "old deal"),
    ],
)
def test_score__notices_rules_that_are_laxer_than_the_labels(
    accounts: list[Labelled], rules: Policy, caught: str
) -> None:
    wrong = {o.label.situation for o in outcomes_of(accounts[0], rules) if not o.right} - BEYOND_THE_RULES
    assert caught in wrong


def test_benchmark__prints_every_situation_and_the_false_links_last(outcomes: list[Outcome]) -> None:
    lines = list(table(outcomes))
    assert all(any(line.startswith(o.label.situation) for line in lines) for o in outcomes)
    assert lines[-1].endswith("false links at automatic tiers: 0 (goal 0)")
