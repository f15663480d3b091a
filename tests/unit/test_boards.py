"""What the boards of the Prefect UI say, and what runs are called."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dealsync import boards, briefly
from dealsync.core.models import Money
from dealsync.core.plan import Action, DealChange, Drift, Kind, Outcome, Plan, Review
from dealsync.core.states import State
from dealsync.errors import Banned, ConfigError, DatabaseError, UnsafePlan
from dealsync.ledger.trends import Won
from dealsync.report import Report
from tests.builders import NOW

PRICE = Money(100, "USD")


def action(order_id: int, kind: Kind, lead_id: int | None = None, **changes: Any) -> Action:
    return Action(
        key=f"order:{order_id}:{kind}",
        kind=kind,
        source=f"order:{order_id}",
        lead_id=lead_id,
        reason="",
        evidence="",
        change=changes.get("change", DealChange()),
    )


def report(plan: Plan, *failed: str, applied: bool = True) -> Report:
    """Return the report of a run in which all was done but what is named."""
    outcomes = {
        a.key: Outcome(a.key, State.FAILED if a.key in failed else State.APPLIED, a.lead_id or 900)
        for a in plan.actions
    }
    return Report("run", NOW, NOW, {}, plan, applied, outcomes if applied else {}, kommo_url="https://acme.kommo.com")


CLOSED = tuple(action(n, Kind.CLOSE, n) for n in range(1, 13))
FLAGGED = action(1, Kind.TASK, 1)


def test_name__says_how_many_deals_were_closed_and_flagged() -> None:
    assert briefly.of_report(report(Plan((*CLOSED, FLAGGED)))) == "12 closed, 1 flagged"
    assert briefly.of_report(report(Plan())) == "nothing to do"
    assert briefly.of_report(report(Plan((action(1, Kind.FIELDS, 1), action(1, Kind.NOTE, 1))))) == "1 updated"


def test_name__of_a_plan_says_how_much_waits() -> None:
    assert briefly.of_report(report(Plan((*CLOSED, FLAGGED)), applied=False)) == "13 changes waiting"
    assert briefly.of_report(report(Plan((FLAGGED,)), applied=False)) == "1 change waiting"
    assert briefly.of_report(report(Plan(), applied=False)) == "nothing to do"


def test_name__says_what_failed_and_what_was_done_all_the_same() -> None:
    plan = Plan(CLOSED)
    assert briefly.of_report(report(plan, CLOSED[0].key, CLOSED[1].key)) == "failed, 2 writes; 10 closed"
    assert briefly.of_report(report(plan, *(a.key for a in CLOSED))) == "failed, 12 writes"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UnsafePlan("x"), "failed, the plan is too large"),
        (ConfigError("x"), "failed, the settings are wrong"),
        (DatabaseError("x"), "failed, the database is away"),
        (Banned("x"), "failed, blocked by an API"),
        (ValueError("x"), "failed"),
    ],
)
def test_name__of_a_failed_run_says_in_short_why(error: Exception, words: str) -> None:
    assert briefly.of_failure(error) == words


def test_drift__tells_for_each_class_how_old_it_is_and_what_the_run_has_mended() -> None:
    drifts = (
        Drift("paid_no_deal", "order:50", None, NOW - timedelta(hours=3)),
        *(Drift("paid_not_won", f"order:{n}", n, NOW - timedelta(days=n)) for n in (1, 2)),
        Drift("stuck", "lead:31", 31, NOW - timedelta(days=9, hours=5)),
    )
    made = action(50, Kind.CREATE_DEAL)
    board = boards.drift(report(Plan((CLOSED[0], made), drifts=drifts)))
    assert isinstance(board.content, list)
    rows = {row["class"]: row for row in board.content}
    assert list(rows) == ["paid_not_won", "paid_no_deal", "stuck"]
    assert (rows["paid_not_won"]["how many"], rows["paid_not_won"]["mended"]) == (2, 1)
    assert (rows["paid_not_won"]["age"], rows["paid_no_deal"]["age"]) == ("2 days", "under a day")
    assert rows["paid_no_deal"]["mended"] == 1
    assert rows["stuck"]["oldest since"] == "2026-05-23 07:00"
    assert rows["stuck"]["deals"] == "[31](https://acme.kommo.com/leads/detail/31)"
    assert board.headline == "2 things out of step; 2 mended by this run"


def test_drift__what_failed_or_was_only_planned_mends_nothing() -> None:
    plan = Plan((CLOSED[0],), drifts=(Drift("paid_not_won", "order:1", 1, NOW),))
    for one in (report(plan, CLOSED[0].key), report(plan, applied=False)):
        board = boards.drift(one)
        assert board.headline == "1 thing out of step"
    assert boards.drift(report(Plan())).is_empty


def test_drift__names_twenty_deals_and_counts_the_others() -> None:
    drifts = tuple(Drift("stuck", f"lead:{n}", n, NOW) for n in range(25))
    board = boards.drift(report(Plan(drifts=drifts)))
    assert isinstance(board.content, list)
    (row,) = board.content
    assert row["deals"].count("leads/detail/") == 20
    assert row["deals"].endswith(" and 5 more")


def test_summary__has_the_figures_and_links_of_both_sides() -> None:
    review = Review("77", (31, 32), "two deals fit")
    text = str(boards.summary(report(Plan((CLOSED[0],), reviews=(review,)))).content)
    assert text.startswith("# Done: 1 deals closed as won, 1 waiting for a person\n")
    assert "| deals closed as won | 1 |" in text
    assert "(https://acme.kommo.com/leads/detail/1)" in text
    assert "(https://app.lemonsqueezy.com/orders/1)" in text
    assert "(https://app.lemonsqueezy.com/orders/77)" in text


def won(minutes_ago: float, took_s: float, job: str) -> Won:
    won_at = NOW - timedelta(minutes=minutes_ago)
    return Won(won_at - timedelta(seconds=took_s), won_at, job)


def test_latency__is_told_by_window_and_by_the_way_a_payment_was_noticed() -> None:
    fast = [won(n, 1.0 + n / 100, "drain") for n in range(100)]
    slow = [won(60 * 48, 1800, "reconcile"), won(60 * 49, 3600 * 3, "deep-sweep")]
    board = boards.latency([*fast, *slow], NOW)
    assert isinstance(board.content, list)
    rows = {(row["last"], row["noticed by"]): row for row in board.content}
    assert set(rows) == {("24 hours", "webhook"), ("7 days", "webhook"), ("7 days", "poll")}
    assert (rows["24 hours", "webhook"]["p50"], rows["24 hours", "webhook"]["p95"]) == ("1.5 s", "1.9 s")
    assert (rows["7 days", "poll"]["payments"], rows["7 days", "poll"]["p50"]) == (2, "30 min")
    assert rows["7 days", "poll"]["p95"] == "3 h"
    assert boards.latency([won(60 * 24 * 8, 1, "drain")], NOW).is_empty


def test_percentile__is_the_nearest_rank() -> None:
    assert boards.percentile([5], 95) == 5
    assert boards.percentile(range(1, 101), 95) == 95
    assert boards.percentile(range(1, 101), 50) == 50
    assert boards.percentile([1, 2], 50) == 1


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.94, "0.9 s"), (59, "59 s"), (119, "119 s"), (600, "10 min"), (7200, "2 h"), (3 * 86_400, "3 days")],
)
def test_duration__reads_as_people_say_it(seconds: float, words: str) -> None:
    assert boards.duration(seconds) == words
