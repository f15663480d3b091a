"""A report of October made on the first of November, weeks of later events, and the same report again: equal bytes.

Everything comes in as runs bring it in, through the mirror, the journal and the findings, each at its time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from dealsync.core.models import Link, OrderStatus, Tier
from dealsync.core.plan import Action, DealChange, Decision, Drift, Kind, Outcome, Plan, Review
from dealsync.core.states import State
from dealsync.ledger.past import Past
from dealsync.ledger.runs import DONE, DRAIN, RECONCILE
from dealsync.ledger.tables import RunRow
from dealsync.monthly import Monthly, make_report, month_of_yesterday
from dealsync.settings import Settings, Store, build_store, load_settings
from tests.builders import STORE, WON, deal, invoice, order, subscription

CONFIG = '[kommo]\npipeline = "Sales"\ninvoice_status = "Invoice sent"\nattention_status = "Needs attention"\n'
FIRST_OF_NOVEMBER = datetime(2026, 11, 1, 5, tzinfo=UTC)
LATER = datetime(2026, 12, 20, 6, tzinfo=UTC)


def on(day: int, hour: int = 12, month: int = 10) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=UTC)


@dataclass
class Shop:
    """A database, and what runs write into it."""

    settings: Settings
    store: Store
    runs: int = 0

    def report(self, month: str, now: datetime) -> Monthly:
        return make_report(self.settings, self.store, month, now)

    def account(self, at: datetime, **names: str) -> None:
        users = [{"user_id": int(user_id[1:]), "name": name} for user_id, name in names.items()]
        view = {"account": {"time_zone": "Europe/Berlin"}, "users": users}
        self.store.accounts.keep(self.settings.environment.kommo_origin, view, at)

    def run(self, at: datetime, job: str = RECONCILE, **drift: int) -> str:
        """Record a run and what it found."""
        self.runs += 1
        run_id = f"run-{self.runs}"
        with Session(self.store.limits.database) as db, db.begin():
            db.add(RunRow(run_id=run_id, job=job, started_at=at, ended_at=at, outcome=DONE, summary={}))
        if job == RECONCILE:
            self.store.runs.summarise(run_id, {"drift": drift})
        return run_id

    def place(self, order_id: int, lead_id: int, at: datetime, tier: Tier = Tier.FIELD) -> None:
        self.store.journal.record(Plan(links=(Link(str(order_id), lead_id, tier, "evidence"),)), "run", at)

    def win(self, order_id: int, lead_id: int, at: datetime, run_id: str) -> None:
        key, change = f"order:{order_id}:won", DealChange(pipeline_id=1, status_id=WON)
        action = Action(key, Kind.CLOSE, f"order:{order_id}", lead_id, "paid", "evidence", change)
        self.store.journal.record(Plan(actions=(action,)), run_id, at - timedelta(seconds=1))
        self.store.journal.mark_sent({key: lead_id}, run_id, at - timedelta(seconds=1))
        self.store.journal.close([Outcome(key, State.APPLIED, lead_id)], [], at, run_id=run_id)

    def find(self, at: datetime, *stuck: int) -> None:
        """Record what a whole run found out of step."""
        drifts = tuple(Drift("stuck", f"lead:{lead_id}", lead_id, at - timedelta(days=3)) for lead_id in stuck)
        self.store.findings.keep(Plan(drifts=drifts), at)

    def ask(self, at: datetime, *order_ids: int) -> None:
        """Record which payments wait for a person."""
        self.store.journal.record(Plan(reviews=tuple(Review(str(i), (31,), "why", ()) for i in order_ids)), "run", at)


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Shop]:
    monkeypatch.chdir(tmp_path)
    environment = {
        "LEMON_SQUEEZY_API_KEY": "key", "LEMON_SQUEEZY_STORE_ID": STORE, "KOMMO_DOMAIN": "acme.kommo.com",
        "KOMMO_TOKEN": "token", "DEALSYNC_STATE_DIR": str(tmp_path),
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "dealsync.toml").write_text(CONFIG, encoding="utf-8")
    settings = load_settings()
    store = build_store(settings.environment)
    yield Shop(settings, store)
    store.close()


EUROS = order(18, created_at=on(5), total=9900, currency="EUR", number=1018)
FIRST = order(17, created_at=on(3), number=1017)
PARTLY = order(20, created_at=on(4), refunded=1000, status=OrderStatus.PARTIAL_REFUND, updated_at=on(10), number=1020)
PENDING = order(19, created_at=on(31, 20), status=OrderStatus.PENDING, number=1019)
UNREFUNDED = order(20, created_at=on(4), number=1020)
UNKNOWN = order(21, created_at=on(8), number=1021)
MONTHLY = subscription(9, order_id=17, created_at=on(3), updated_at=on(3), renews_at=on(3, month=11))
STARTED = invoice(44, created_at=on(3), billing_reason="initial")
RENEWED = invoice(45, created_at=on(20), total=9900)
FAILED = invoice(46, created_at=on(30), total=9900, invoice_status="pending")
DEALS = [deal(lead_id, updated_at=on(2), created_at=on(1)) for lead_id in (31, 32, 33)]


def october(shop: Shop) -> None:
    """A month as runs saw it."""
    shop.account(on(1), u501="Nora Seller", u502="Omar Seller")
    shop.run(on(1, 8), stuck=1, paid_not_won=2)
    mirror = shop.store.mirror
    mirror.keep_deals(DEALS)
    shop.find(on(1, 8), 33)
    shop.find(on(9), *())
    mirror.keep_orders([FIRST, EUROS, UNREFUNDED, UNKNOWN])
    mirror.keep_subscriptions([MONTHLY])
    mirror.keep_invoices([STARTED, RENEWED, FAILED])
    mirror.keep_orders([PARTLY, PENDING])
    shop.place(17, 31, on(3, 13))
    shop.place(18, 32, on(5, 13))
    shop.place(20, 31, on(4, 13), Tier.CONTACT)
    shop.win(17, 31, on(3, 13), shop.run(on(3, 12), DRAIN))
    shop.win(18, 32, on(5, 13), shop.run(on(5, 13), stuck=0, paid_not_won=1))
    shop.ask(on(8), 21)
    shop.find(on(20), 33)
    shop.run(on(31, 22), stuck=1)


def deal_edits(shop: Shop) -> None:
    """A deal gets another owner, one is deleted, a payment is placed anew, a user another name."""
    shop.store.mirror.keep_deals([replace(DEALS[0], responsible_user_id=501, updated_at=on(4, month=11))])
    shop.store.mirror.mark_deals_deleted([32])
    shop.place(20, 33, on(5, month=11), Tier.PERSON)
    shop.account(on(6, month=11), u501="Nora Married")


def refunds(shop: Shop) -> None:
    whole = replace(FIRST, refunded=FIRST.total, status=OrderStatus.REFUNDED, refunded_at=on(5, month=11))
    rest = replace(PARTLY, refunded=PARTLY.total, status=OrderStatus.REFUNDED, refunded_at=on(6, month=11))
    renewal = replace(RENEWED, refunded=replace(RENEWED.refunded, minor=500), updated_at=on(6, month=11))
    shop.store.mirror.keep_orders([replace(one, updated_at=on(7, month=11)) for one in (whole, rest)])
    shop.store.mirror.keep_orders([replace(EUROS, status=OrderStatus.FRAUDULENT, updated_at=on(8, month=11))])
    shop.store.mirror.keep_invoices([renewal])


def late_money(shop: Shop) -> None:
    """What was pending in October is paid in November."""
    paid = replace(PENDING, status=OrderStatus.PAID, updated_at=on(1, 10, month=11))
    shop.store.mirror.keep_orders([paid])
    shop.store.mirror.keep_invoices([replace(FAILED, invoice_status="paid", updated_at=on(2, month=11))])


def new_business(shop: Shop) -> None:
    shop.store.mirror.keep_orders([order(30, created_at=on(3, month=11)), order(31, created_at=on(9, month=11))])
    shop.store.mirror.keep_invoices([invoice(50, created_at=on(20, month=11))])
    run_id = shop.run(on(3, 14, month=11), stuck=7)
    shop.place(30, 33, on(3, 14, month=11))
    shop.win(30, 33, on(3, 14, month=11), run_id)


def end_of_a_subscription(shop: Shop) -> None:
    changed = replace(MONTHLY, product_name="Team", renews_at=on(3, month=12), updated_at=on(3, month=11))
    cancelled = replace(changed, subscription_status="cancelled", is_cancelled=True, updated_at=on(10, month=11))
    expired = replace(cancelled, subscription_status="expired", updated_at=on(3, month=12))
    for version in (changed, cancelled, expired):
        shop.store.mirror.keep_subscriptions([version])


def renamed_product(shop: Shop) -> None:
    """Also without a new time of change, as it would be if orders showed their product's present name."""
    shop.store.mirror.keep_orders([replace(UNKNOWN, product_name="Pro 2.0")])


def decisions(shop: Shop) -> None:
    """What waited is decided, settles itself and comes up again; what was stuck ends and begins anew."""
    shop.ask(on(9, month=11), 30)
    shop.ask(on(12, month=11), 21)
    shop.store.reviews.resolve("21", Decision.DISMISSED, decided_by="ann", now=on(13, month=11))
    shop.find(on(2, month=11), 31)
    shop.find(on(4, month=11), 31, 33)
    shop.find(on(9, month=11))


AFTERWARDS: list[Callable[[Shop], None]] = [
    deal_edits, refunds, late_money, new_business, end_of_a_subscription, renamed_product, decisions,
]  # fmt: skip


@pytest.mark.parametrize("events", [*([one] for one in AFTERWARDS), AFTERWARDS, AFTERWARDS[::-1]])
def test_report__of_a_month_that_is_over_is_the_same_whatever_happens_later(
    shop: Shop, events: list[Callable[[Shop], None]]
) -> None:
    october(shop)
    first = shop.report("2026-10", FIRST_OF_NOVEMBER)
    html, csv, sha256 = first.html, first.csv, first.figures.sha256
    for happen in events:
        happen(shop)
        again = shop.report("2026-10", LATER)
        assert again.as_json() == first.as_json()
        assert (again.html, again.csv, again.figures.sha256) == (html, csv, sha256)


def test_report__what_happened_later_is_in_the_month_in_which_it_happened(shop: Shop) -> None:
    october(shop)
    for happen in AFTERWARDS:
        happen(shop)
    months = {name: shop.report(name, LATER).figures for name in ("2026-10", "2026-11", "2026-12")}
    dollars, euros = months["2026-10"].totals
    assert (dollars.currency, euros.currency) == ("USD", "EUR")
    assert (dollars.sales, dollars.renewals, dollars.paid_minor) == (3, 1, 3 * 49000 + 9900)
    assert (dollars.part_refunds, dollars.refunded_minor, euros.frauds) == (1, 1000, 0)
    assert {row.name for row in months["2026-10"].by_owner} == {"Omar Seller", "no deal yet"}
    assert (months["2026-10"].won, months["2026-10"].reviews_waiting) == (2, 1)
    assert {way: speed.p50_s for way, speed in months["2026-10"].speed.items()} == {"by webhook": 3600, "by poll": 3600}
    assert [(one.lead_id, one.days) for one in months["2026-10"].stuck] == [(33, 14)]
    assert months["2026-10"].subscriptions.active == 1
    november = {totals.currency: totals for totals in months["2026-11"].totals}
    assert (november["USD"].refunds, november["USD"].part_refunds, november["USD"].refunded_minor) == (2, 1, 97500)
    assert (november["EUR"].frauds, november["EUR"].fraud_minor) == (1, 9900)
    assert (november["USD"].sales, november["USD"].renewals) == (3, 2)
    assert (months["2026-11"].subscriptions.cancelled, months["2026-12"].subscriptions.churned) == (1, 1)


def test_report__a_fact_of_october_that_is_read_late_changes_october_and_its_digest(shop: Shop) -> None:
    october(shop)
    before = shop.report("2026-10", FIRST_OF_NOVEMBER)
    shop.store.mirror.keep_orders([order(16, created_at=on(2), number=1016)])
    after = shop.report("2026-10", LATER)
    assert after.figures.sha256 != before.figures.sha256
    assert len(after.csv.splitlines()) == len(before.csv.splitlines()) + 1


def test_report__reads_other_stores_and_modes_not(shop: Shop) -> None:
    october(shop)
    before = shop.report("2026-10", LATER).html
    strange = [order(60, created_at=on(2), test_mode=True), order(61, created_at=on(2), store_id="999")]
    shop.store.mirror.keep_orders(strange)
    assert shop.report("2026-10", LATER).html == before


def test_report__of_each_morning_is_about_the_month_of_yesterday(shop: Shop) -> None:
    shop.account(on(1), u501="Nora Seller")

    def month(at: datetime) -> str:
        return month_of_yesterday(shop.settings, shop.store, at)

    assert [month(on(1, 6, month=11)), month(on(2, 6, month=11)), month(on(28))] == ["2026-10", "2026-11", "2026-10"]
    assert month(on(1, 22)) == "2026-10"  # the second in Berlin


def test_past__keeps_what_was_replaced_once_and_nothing_personal(shop: Shop) -> None:
    october(shop)
    refunds(shop)
    refunds(shop)
    past = Past(shop.store.limits.database)
    assert [until for until, _ in past.of("orders")["20"]] == [on(10), on(6, month=11)]
    assert [values["refunded_minor"] for _, values in past.of("orders")["20"]] == [0, 1000]
    kept = {name for what in ("orders", "invoices") for rows in past.of(what).values() for _, v in rows for name in v}
    assert not {name for name in kept if "user" in name or "email" in name}


def test_past__a_refund_that_is_seen_with_its_order_first_is_of_its_own_day(shop: Shop) -> None:
    shop.store.mirror.keep_orders([PARTLY])
    shop.store.mirror.keep_orders([replace(PARTLY, updated_at=on(20, month=11))])
    assert [placed.event.at for placed in shop.report("2026-10", LATER).figures.events] == [on(4), on(10)]
