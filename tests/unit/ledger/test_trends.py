"""How long payments took to close their deals, and what happened on which day."""

from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, insert

from dealsync.core.models import OrderStatus
from dealsync.core.plan import Kind
from dealsync.ledger.mirror import Mirror
from dealsync.ledger.tables import LedgerEntry, RunRow
from dealsync.ledger.trends import Trends, Won
from tests.builders import NOW, order

BEGIN = NOW - timedelta(days=10)


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def run(engine: Engine, run_id: str, job: str, **values: Any) -> None:
    row = {"job": job, "started_at": BEGIN, "ended_at": NOW, "outcome": "done", "summary": {}}
    with engine.begin() as db:
        db.execute(insert(RunRow).values({"run_id": run_id, **row, **values}))


def closed(engine: Engine, order_id: int, run_id: str, **values: Any) -> None:
    row = {
        "idempotency_key": f"order:{order_id}:{values.get('kind', 'won')}",
        "kind": Kind.CLOSE.value,
        "source": f"order:{order_id}",
        "order_id": str(order_id),
        "state": "applied",
        "action": {},
        "run_id": run_id,
        "planned_at": NOW,
        "closed_at": NOW,
    }
    with engine.begin() as db:
        db.execute(insert(LedgerEntry).values({**row, **values}))


def test_won__tells_of_each_payment_when_it_came_when_its_deal_was_won_and_by_which_job(engine: Engine) -> None:
    run(engine, "a", "drain")
    run(engine, "b", "reconcile")
    ages = {1: 1, 2: 30, 3: 60 * 24 * 20, 4: 5, 5: 5, 6: 5, 7: 60 * 24 * 11}
    free: dict[int, dict[str, Any]] = {6: {"total": 0}}
    orders = [order(n, created_at=NOW - minutes(age), **free.get(n, {})) for n, age in ages.items()]
    Mirror(engine).keep_orders(orders)
    closed(engine, 1, "a")
    closed(engine, 2, "b", kind=Kind.CREATE_DEAL.value)
    closed(engine, 3, "b")  # paid before dealsync first looked
    closed(engine, 4, "b", state="failed")
    closed(engine, 5, "b", kind=Kind.NOTE.value)
    closed(engine, 6, "b")  # no payment
    closed(engine, 7, "a", closed_at=NOW - timedelta(days=11))  # its webhook is why dealsync first looked
    first, *found = Trends(engine).won(NOW - timedelta(days=30))
    assert (first.job, first.took_s) == ("drain", 0)
    assert found == [Won(NOW - minutes(1), NOW, "drain"), Won(NOW - minutes(30), NOW, "reconcile")]
    assert [one.took_s for one in found] == [60, 1800]
    assert Trends(engine).won(NOW - minutes(10)) == found[:1]


def test_won__counts_what_was_paid_in_the_second_in_which_dealsync_first_looked(engine: Engine) -> None:
    run(engine, "a", "reconcile", started_at=BEGIN + timedelta(seconds=0.7))
    Mirror(engine).keep_orders([order(1, created_at=BEGIN), order(2, created_at=BEGIN - timedelta(seconds=1))])
    closed(engine, 1, "a")
    closed(engine, 2, "a")
    assert [one.paid_at for one in Trends(engine).won(BEGIN - timedelta(days=1))] == [BEGIN]


def test_days__count_payments_and_refunds_of_these_stores_and_this_mode(engine: Engine) -> None:
    def at(days: int, number: int, **changes: Any) -> Any:
        return order(number, created_at=NOW - timedelta(days=days), **changes)

    (store,) = {order(1).store_id}
    refunded = {"refunded_at": NOW - timedelta(days=1), "refunded": 500}
    Mirror(engine).keep_orders(
        [
            at(0, 1),
            at(0, 2),
            at(2, 3, status=OrderStatus.PARTIAL_REFUND, **refunded),
            at(0, 4, status=OrderStatus.PENDING),
            at(0, 5, test_mode=True),
            at(0, 6, store_id="another"),
            at(9, 7),
        ]
    )
    history, since = Trends(engine), NOW - timedelta(days=5)
    days = [(NOW - timedelta(days=n)).date() for n in range(3)]
    assert history.payments(since, {store}, test_mode=False) == {days[0]: 2, days[2]: 1}
    assert history.refunds(since, {store}, test_mode=False) == {days[1]: 1}
    assert history.payments(since, {store}, test_mode=True) == {days[0]: 1}


def test_drift__is_that_of_runs_over_all_deals(engine: Engine) -> None:
    run(engine, "old", "reconcile", started_at=NOW - timedelta(days=40), summary={"drift": {"stuck": 9}})
    run(engine, "night", "deep-sweep", started_at=NOW - timedelta(hours=1), summary={"drift": {"stuck": 2}})
    run(engine, "hour", "reconcile", started_at=NOW, summary={"drift": {"stuck": 1}})
    run(engine, "hook", "drain", started_at=NOW, summary={"drift": {"stuck": 0}})
    run(engine, "red", "reconcile", started_at=NOW, outcome="failed", summary={"drift": {"stuck": 5}})
    found = Trends(engine).drift(NOW - timedelta(days=30))
    assert found == [(NOW - timedelta(hours=1), {"stuck": 2}), (NOW, {"stuck": 1})]
