"""The figures of a month: what holds of all of them, and what each of them says."""

import csv
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

from hypothesis import given

from dealsync.core.figures import BY_WEBHOOK, Facts, Figures, Finding, Win, due, figures, percentile
from dealsync.core.history import History, history
from dealsync.core.models import Money
from dealsync.core.month_words import headline, summary
from dealsync.core.movements import Movement
from dealsync.core.sheet import FORMULA, sheet
from tests.unit.core.facts import OCTOBER, ZONE, facts, known_at

UNREFUNDED: dict[str, Any] = {"order_status": "paid", "refunded_minor": 0}
BEGUN = datetime(2026, 10, 1, 8, tzinfo=UTC)
NOVEMBER = replace(OCTOBER, month=11)


def on(day: int, hour: int = 12, month: int = 10) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=UTC)


def an_order(at: datetime, *formers: tuple[datetime, dict[str, Any]], **changes: Any) -> History:
    ordinary = {
        "created_at": at, "number": 1017, "order_status": "paid", "total_minor": 49000, "currency": "USD",
        "refunded_minor": 0, "refunded_at": None, "product_name": "Pro", "variant_name": "Yearly",
    }  # fmt: skip
    return history({**ordinary, **changes}, formers)


def an_invoice(at: datetime, *formers: tuple[datetime, dict[str, Any]], **changes: Any) -> History:
    ordinary = {
        "created_at": at, "subscription_id": "9", "billing_reason": "renewal", "invoice_status": "paid",
        "total_minor": 9900, "currency": "USD", "refunded_minor": 0, "refunded_at": None,
    }  # fmt: skip
    return history({**ordinary, **changes}, formers)


def a_subscription(at: datetime, *formers: tuple[datetime, dict[str, Any]], **changes: Any) -> History:
    ordinary = {
        "created_at": at, "order_id": "17", "subscription_status": "active", "is_cancelled": False,
        "renews_at": None, "ends_at": None, "product_name": "Pro", "variant_name": "Monthly",
    }  # fmt: skip
    return history({**ordinary, **changes}, formers)


def known(**changes: Any) -> Facts:
    empty: dict[str, Any] = {
        name: {} for name in ("orders", "invoices", "subscriptions", "deals", "links", "reviews", "users")
    }
    return Facts(**{**empty, "began_at": BEGUN, **changes})


def a_link(lead_id: int, at: datetime) -> History:
    return history({"lead_id": lead_id, "tier": "field", "linked_at": at})


def moved(found: Figures) -> list[tuple[Movement, int, int]]:
    return [(p.event.movement, p.event.amount.minor, p.event.at.day) for p in found.events]


def sums(rows: Any) -> Mapping[str, Counter[str]]:
    added: dict[str, Counter[str]] = {}
    for totals in rows:
        values = {name: getattr(totals, name) for name in totals.__slots__ if name != "currency"}
        added.setdefault(totals.currency, Counter()).update(values)
    return added


@given(everything=facts())
def test_figures__of_a_month_that_is_over_are_those_that_were_known_at_its_end(everything: Facts) -> None:
    """But for what was paid before dealsync came: that is placed within a day of its first run."""
    known_then = max(OCTOBER.end, (everything.began_at or OCTOBER.end) + timedelta(days=1))
    then = figures(known_at(everything, known_then), replace(OCTOBER, now=known_then))
    later = figures(everything, OCTOBER)
    assert later.as_json() == then.as_json()
    assert (later.sha256, sheet(later)) == (then.sha256, sheet(then))


@given(everything=facts())
def test_figures__by_product_and_by_owner_add_up_to_the_same_in_each_currency(everything: Facts) -> None:
    found = figures(everything, OCTOBER)
    wanted = sums(found.totals)
    assert sums(row.totals for row in found.by_product) == wanted
    assert sums(row.totals for row in found.by_owner) == wanted
    payments = [p.event for p in found.events if p.event.movement.is_payment]
    for totals in found.totals:
        mine = [event.amount.minor for event in payments if event.amount.currency == totals.currency]
        assert (sum(mine), len(mine)) == (totals.paid_minor, totals.sales + totals.renewals)
    assert sum(found.payments_by_day.values()) == len(payments)


@given(everything=facts())
def test_figures__all_months_together_hold_each_movement_once_and_give_back_no_more_than_came(
    everything: Facts,
) -> None:
    months = [replace(OCTOBER, month=month) for month in (9, 10, 11, 12)]
    events = [placed.event for month in months for placed in figures(everything, month).events]
    paid, back = Counter[str](), Counter[str]()
    for event in events:
        (paid if event.movement.is_payment else back)[event.source] += event.amount.minor
    assert all(count == 1 for count in Counter(e.source for e in events if e.movement.is_payment).values())
    assert all(back[source] <= paid[source] for source in back)


def test_figures__a_refund_is_of_the_month_in_which_it_was_given() -> None:
    order = an_order(
        on(3),
        (on(9), UNREFUNDED),
        (on(5, month=11), {"order_status": "partial_refund", "refunded_minor": 1000}),
        order_status="refunded",
        refunded_minor=49000,
    )
    found = known(orders={"17": order})
    assert moved(figures(found, OCTOBER)) == [(Movement.SALE, 49000, 3), (Movement.PART_REFUND, 1000, 9)]
    assert moved(figures(found, NOVEMBER)) == [(Movement.REFUND, 48000, 5)]
    (totals,) = figures(found, OCTOBER).totals
    assert (totals.sales, totals.part_refunds, totals.refunds, totals.kept_minor) == (1, 1, 0, 48000)


def test_figures__what_was_seen_unpaid_is_paid_when_it_was_and_fraud_takes_back_what_is_left() -> None:
    late = an_order(on(31), (on(2, month=11), {"order_status": "pending"}))
    fraud = an_order(
        on(4),
        (on(6), UNREFUNDED),
        (on(8), {"order_status": "partial_refund"}),
        order_status="fraudulent",
        refunded_minor=9000,
    )
    found = known(orders={"17": late, "18": fraud})
    assert moved(figures(found, OCTOBER)) == [
        (Movement.SALE, 49000, 4), (Movement.PART_REFUND, 9000, 6), (Movement.FRAUD, 40000, 8),
    ]  # fmt: skip
    assert moved(figures(found, NOVEMBER)) == [(Movement.SALE, 49000, 2)]


def test_figures__a_first_order_and_its_initial_invoice_are_one_sale_and_refund_once() -> None:
    order = an_order(on(3), (on(9), UNREFUNDED), order_status="partial_refund", refunded_minor=1000)
    initial = an_invoice(
        on(3), (on(10), {"refunded_minor": 0}), billing_reason="initial", total_minor=49000, refunded_minor=1000
    )
    renewal = an_invoice(on(20))
    found = known(
        orders={"17": order},
        invoices={"44": initial, "45": renewal},
        subscriptions={"9": a_subscription(on(3), (on(21), {"product_name": "Starter"}))},
    )
    told = figures(found, OCTOBER)
    assert moved(told) == [
        (Movement.SALE, 49000, 3), (Movement.PART_REFUND, 1000, 9), (Movement.RENEWAL, 9900, 20),
    ]  # fmt: skip
    assert {row.name: row.totals.paid_minor for row in told.by_product} == {
        "Pro (Yearly)": 49000,
        "Starter (Monthly)": 9900,  # the plan that it was when it renewed
    }


def test_figures__a_trial_is_sold_by_the_first_invoice_that_brought_money() -> None:
    found = known(
        orders={"17": an_order(on(1), total_minor=0)},
        invoices={"44": an_invoice(on(15)), "45": an_invoice(on(1), total_minor=0), "46": an_invoice(on(16))},
        subscriptions={"9": a_subscription(on(1))},
    )
    assert moved(figures(found, OCTOBER)) == [(Movement.SALE, 9900, 15), (Movement.RENEWAL, 9900, 16)]


def test_figures__days_and_months_begin_by_the_clock_of_the_account() -> None:
    late = {"17": an_order(on(31, 22)), "18": an_order(on(31, 23))}  # Berlin is an hour ahead since Oct 25
    found = figures(known(orders=late), OCTOBER)
    assert [(p.event.order_id) for p in found.events] == ["17"]
    assert (OCTOBER.start, OCTOBER.end) == (on(30, 22, month=9), on(31, 23))
    assert len(found.payments_by_day) == 31
    assert found.zone == ZONE


def test_figures__deals_and_owners_are_those_of_the_months_end() -> None:
    found = known(
        orders={"17": an_order(on(3)), "18": an_order(on(4)), "19": an_order(on(5))},
        links={"17": a_link(31, on(3)), "18": a_link(32, on(4, month=11))},
        deals={31: history({"responsible_user_id": 502}, [(on(7, month=11), {"responsible_user_id": 501})])},
        users={501: history({"name": "Nora New"}, [(on(2, month=11), {"name": "Nora Old"})])},
        reviews={"18": history({"first_seen_at": on(4), "closed_at": on(4, month=11)})},
    )
    told = figures(found, OCTOBER)
    assert [(row.name, row.user_id, row.totals.sales) for row in told.by_owner] == [
        ("no deal yet", None, 2), ("Nora Old", 501, 1),
    ]  # fmt: skip
    assert [(one.order_id, one.waits) for one in told.unplaced] == [("18", True), ("19", False)]
    assert told.reviews_waiting == 1
    assert "2 payments have no deal" in headline(told, "en_US")
    assert figures(found, NOVEMBER).reviews_waiting == 0


def test_figures__of_a_month_before_the_first_run_name_the_deals_that_it_found_within_a_day() -> None:
    found = known(
        orders={"17": an_order(on(3)), "18": an_order(on(3))},
        links={"17": a_link(31, on(9, 13, month=11)), "18": a_link(32, on(20, month=11))},
        began_at=on(9, month=11),
    )
    told = figures(found, OCTOBER)
    assert [placed.lead_id for placed in told.events] == [31, None]
    assert not told.is_watched
    assert figures(found, NOVEMBER).is_watched


def test_figures__time_to_won_is_told_by_the_way_and_leaves_out_who_paid_before_dealsync_came() -> None:
    orders = {"17": an_order(on(3)), "18": an_order(on(3)), "19": an_order(BEGUN - timedelta(days=9))}
    wins = [
        Win("order:17", "17", 31, on(3) + timedelta(seconds=2), BY_WEBHOOK),
        Win("order:18", "18", 32, on(3) - timedelta(seconds=9), BY_WEBHOOK),  # clocks differ
        Win("order:19", "19", 33, on(3), BY_WEBHOOK),
        Win("order:17", "17", 31, on(3, month=11), BY_WEBHOOK),
    ]
    told = figures(known(orders=orders, wins=tuple(wins)), OCTOBER)
    assert told.won == 3
    assert dict(told.seconds) == {"by webhook": (0, 2), "by poll": ()}
    assert [(way, s.deals, s.p50_s, s.p95_s) for way, s in told.speed.items()] == [("by webhook", 2, 0, 2)]


def test_percentile__is_a_value_that_was_measured() -> None:
    assert [percentile([1, 2, 3, 4], percent) for percent in (1, 50, 51, 95)] == [1, 2, 3, 4]
    assert percentile([7], 50) == 7


def test_figures__tell_what_was_stuck_then_for_how_long() -> None:
    spells = (
        Finding("stuck", "lead:31", 31, on(1), on(2), on(5, month=11)),
        Finding("stuck", "lead:32", 32, on(1), on(2), on(20)),
        Finding("stuck", "lead:32", 32, on(27), on(28), None),
        Finding("paid_no_deal", "order:17", None, on(29), on(29), None),
        Finding("stuck", "lead:33", 33, on(1, month=11), on(2, month=11), None),
    )
    told = figures(known(findings=spells), OCTOBER)
    assert [(one.lead_id, one.days) for one in told.stuck] == [(31, 30), (32, 4)]
    assert told.drift == {"paid_no_deal": 1, "stuck": 2}


def test_figures__tell_of_subscriptions_and_the_renewals_of_the_30_days_after() -> None:
    before, soon = on(15, month=9), on(14, month=11)
    running = {"subscription_status": "active", "is_cancelled": False}
    found = known(
        orders={"17": an_order(before), "18": an_order(on(5), total_minor=9900)},
        subscriptions={
            "1": a_subscription(before, renews_at=soon),
            "2": a_subscription(on(5), order_id="18", renews_at=on(5, month=11)),
            "3": a_subscription(before, (on(9), running), subscription_status="cancelled", is_cancelled=True),
            "4": a_subscription(before, (on(9), {"subscription_status": "cancelled"}), subscription_status="expired"),
            "5": a_subscription(before, (on(9, month=11), running), subscription_status="past_due", renews_at=soon),
            "6": a_subscription(on(9, month=11), renews_at=on(10, month=11)),
            "7": a_subscription(before, subscription_status="past_due", renews_at=on(20, month=12)),
        },
        invoices={"44": an_invoice(on(15), subscription_id="1", total_minor=5000)},
    )
    told = figures(found, OCTOBER)
    assert [(r.subscription_id, r.last_paid) for r in told.renewals_due] == [
        ("2", Money(9900, "USD")), ("1", Money(5000, "USD")), ("5", Money(49000, "USD")),
    ]  # fmt: skip
    assert due(told) == [Money(63900, "USD")]
    counts = told.subscriptions
    assert (counts.active, counts.dunning, counts.started) == (3, 1, 1)
    assert (counts.cancelled, counts.churned) == (1, 1)


def test_figures__drift_over_time_keeps_what_changed() -> None:
    runs = tuple((on(day), {"stuck": count}) for day, count in ((1, 2), (2, 2), (3, 2), (4, 1), (5, 1), (6, 1)))
    told = figures(known(drifts=(*runs, (on(1, month=11), {"stuck": 9}))), OCTOBER)
    assert [(at.day, counts["stuck"]) for at, counts in told.drift_runs] == [(1, 2), (4, 1), (6, 1)]


def test_figures__of_nothing_say_so() -> None:
    told = figures(known(), OCTOBER)
    assert headline(told, "en_US") == "No payments came."
    assert headline(figures(known(), replace(OCTOBER, now=on(9))), "en_US") == "No payments came so far."
    assert not told.totals
    assert sheet(told).decode("utf-8-sig").splitlines() == [
        ",".join(next(csv.reader([sheet(told).decode("utf-8-sig")])))
    ]


def test_summary__never_adds_up_currencies_and_writes_amounts_by_locale() -> None:
    orders = {"17": an_order(on(3)), "18": an_order(on(4), currency="EUR"), "19": an_order(on(5))}
    lines = list(summary(figures(known(orders=orders), OCTOBER), "de_DE"))
    assert "980,00\xa0$ and 490,00\xa0€ came in 3 payments" in lines[0]
    assert [line[:4] for line in lines[1:3]] == ["USD:", "EUR:"]


@given(everything=facts())
def test_sheet__has_a_row_for_each_event_and_no_cell_that_a_spreadsheet_would_run(everything: Facts) -> None:
    found = figures(everything, OCTOBER)
    head, *rows = csv.reader(StringIO(sheet(found).decode("utf-8-sig"), newline=""))
    assert len(rows) == len(found.events)
    assert all(not cell.startswith(FORMULA) for row in rows for cell in row)
    for row, placed in zip(rows, found.events, strict=True):
        cells = dict(zip(head, row, strict=True))
        amount = placed.event.amount
        assert (cells["amount_minor"], cells["amount"]) == (str(amount.minor), str(amount.major))
        assert cells["at_utc"].endswith("Z")
