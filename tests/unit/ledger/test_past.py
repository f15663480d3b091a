"""What objects were before they changed, on both databases."""

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Engine, text

from dealsync.core.figures import Facts
from dealsync.core.models import Link, Money, OrderStatus, Tier
from dealsync.core.plan import Drift, Plan, Review
from dealsync.ledger.accounts import Accounts
from dealsync.ledger.books import Books
from dealsync.ledger.database import open_database
from dealsync.ledger.findings import Findings
from dealsync.ledger.journal import Journal
from dealsync.ledger.mirror import Mirror
from dealsync.ledger.past import Past
from dealsync.ledger.sendings import Sendings
from tests.builders import NOW, STORE, deal, order, subscription

LATER, LAST = NOW + timedelta(hours=1), NOW + timedelta(hours=2)
ORIGIN = "https://acme.kommo.com"


def books(engine: Engine) -> Facts:
    return Books(engine).facts(store_ids=[STORE], test_mode=False, kommo_origin=ORIGIN)


def test_past__of_objects_is_what_they_were_until_their_api_says_otherwise(engine: Engine) -> None:
    mirror = Mirror(engine)
    paid = order(17, updated_at=NOW)
    part = replace(paid, refunded=Money(1000, "USD"), status=OrderStatus.PARTIAL_REFUND, updated_at=LATER)
    whole = replace(part, refunded=paid.total, status=OrderStatus.REFUNDED, refunded_at=LAST, updated_at=LAST)
    for version in (paid, paid, part, whole, part, whole):
        mirror.keep_orders([version])
    mirror.keep_deals([deal(31, updated_at=NOW)])
    mirror.keep_deals([deal(31, updated_at=LATER, responsible_user_id=None, name="Another name")])
    mirror.keep_subscriptions([subscription(9, updated_at=NOW, renews_at=LAST)])
    mirror.keep_subscriptions([subscription(9, updated_at=LATER, renews_at=None)])
    facts = books(engine)
    assert [(v.since, v.values["refunded_minor"]) for v in facts.orders["17"].versions] == [
        (None, 0), (LATER, 1000), (LAST, 49000),
    ]  # fmt: skip
    assert [(v.since, v.values["responsible_user_id"]) for v in facts.deals[31].versions] == [
        (None, 502),
        (LATER, None),
    ]
    assert [v.values["renews_at"] for v in facts.subscriptions["9"].versions] == [LAST, None]


def test_past__of_what_changed_without_a_new_time_ends_now(engine: Engine) -> None:
    Mirror(engine).keep_orders([order(17)])
    Mirror(engine).keep_orders([order(17, product_name="New name")])
    ((until, values),) = Past(engine).of("orders")["17"]
    assert until > NOW
    assert values["product_name"] == "Pro"


def test_past__of_links_reviews_findings_and_users(engine: Engine) -> None:
    Mirror(engine).keep_orders([order(17), order(18)])
    journal = Journal(engine)
    for at, lead_id, waiting in ((NOW, 31, [18]), (LATER, 31, []), (LAST, 32, [18])):
        found = (Link("17", lead_id, Tier.FIELD, "evidence"),)
        journal.record(Plan(links=found, reviews=tuple(Review(str(i), (), "why", ()) for i in waiting)), "run", at)
        drifts = tuple(Drift("stuck", "lead:31", 31, at - timedelta(days=1)) for _ in waiting)
        Findings(engine).keep(Plan(drifts=drifts), at)
    accounts = Accounts(engine)
    for at, users in ((NOW, {1: "Ann"}), (LATER, {1: "Ann"}), (LAST, {1: "Anna", 2: "Bob"})):
        accounts.keep(ORIGIN, {"users": [{"user_id": i, "name": name} for i, name in users.items()]}, at)
    facts = books(engine)
    links = [(v.since, v.values["lead_id"], v.values["linked_at"]) for v in facts.links["17"].versions]
    assert links == [(None, 31, NOW), (LAST, 32, LAST)]
    assert [(v.since, v.values["closed_at"]) for v in facts.reviews["18"].versions] == [(None, LATER), (LAST, None)]
    assert [(f.first_seen_at, f.ended_at, f.since) for f in facts.findings] == [
        (NOW, LATER, NOW - timedelta(days=1)), (LAST, None, LAST - timedelta(days=1)),
    ]  # fmt: skip
    assert [(v.since, v.values["name"]) for v in facts.users[1].versions] == [(None, "Ann"), (LAST, "Anna")]
    assert [(v.since, v.values["name"]) for v in facts.users[2].versions] == [(None, None), (LAST, "Bob")]


def test_sendings__of_two_processes_one_sends_until_it_failed(engine: Engine) -> None:
    sendings = Sendings(engine)
    assert [sendings.claim("2026-10 2026-10-02", NOW), sendings.claim("2026-10 2026-10-02", LATER)] == [True, False]
    assert sendings.sent_at("2026-10 2026-10-02") == NOW
    sendings.release("2026-10 2026-10-02")
    assert sendings.sent_at("2026-10 2026-10-02") is None
    assert sendings.claim("2026-10 2026-10-02", LATER)


def test_migration__what_was_refunded_before_it_was_paid_until_then(engine: Engine) -> None:
    refunded = order(17, refunded=49000, status=OrderStatus.REFUNDED, refunded_at=LATER, updated_at=LAST)
    Mirror(engine).keep_orders([refunded, order(18)])
    with engine.begin() as db:
        for statement in ("DROP TABLE past", "DROP TABLE sendings", "ALTER TABLE findings DROP COLUMN since"):
            db.execute(text(statement))
        db.execute(text("UPDATE alembic_version SET version_num = '0009'"))
    open_database(engine.url.render_as_string(hide_password=False)).dispose()
    assert {name: [until for until, _ in rows] for name, rows in Past(engine).of("orders").items()} == {"17": [LATER]}
    versions = books(engine).orders["17"].versions
    assert [(v.values["order_status"], v.values["refunded_minor"]) for v in versions] == [
        ("paid", 0),
        ("refunded", 49000),
    ]
