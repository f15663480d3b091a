"""The main job against both simulated APIs, judged by Kommo's final state."""

import pytest

from dealsync.errors import UnsafePlan
from dealsync.ledger.runs import DEEP_SWEEP, RECONCILE, utc_now
from dealsync.reconcile import made_up_for
from dealsync.settings import load_environment
from tests.accounts import ATTENTION, NEW, QUALIFIED, SALES, WON, Accounts

ANN = {"name": "Ann Example", "email": "ann@example.com"}


def open_deal(accounts: Accounts, price: int = 490, **extra: object) -> int:
    return int(accounts.control("leads", price=price, contact=ANN, **extra)["id"])


def pay(accounts: Accounts, total: int = 49000, email: str = "ann@example.com", **extra: object) -> str:
    answer = accounts.control("orders", email=email, total=total, **extra)
    return str(answer["data"]["id"] if "data" in answer else answer["id"])


def test_reconcile__a_paid_order_closes_its_deal_with_fields_and_one_note(accounts: Accounts) -> None:
    lead_id = open_deal(accounts, age_days=3)
    order_id = pay(accounts, email="  ANN@example.com ", age_minutes=30)
    accounts.run().raise_if_failed()
    lead, (notes, tasks) = accounts.lead(lead_id), accounts.texts(lead_id)
    assert (lead["status_id"], lead["pipeline_id"], lead["price"]) == (WON, SALES, 490)
    assert accounts.fields(lead_id)["LS order id"] == order_id
    assert accounts.fields(lead_id)["LS amount paid"] == "490"
    assert len(notes) == 1
    assert notes[0].startswith("Paid: $490.00 for ")
    assert tasks == []


def test_reconcile__a_second_run_finds_nothing_and_writes_nothing(accounts: Accounts) -> None:
    open_deal(accounts)
    pay(accounts)
    accounts.run().raise_if_failed()
    accounts.control("requests/reset")
    again = accounts.run()
    assert again.plan.actions == ()
    assert [name for name in accounts.requests()["counts"] if "GET" not in name] == []


def test_reconcile__without_apply_nothing_is_sent(accounts: Accounts) -> None:
    lead_id = open_deal(accounts)
    pay(accounts)
    accounts.control("requests/reset")
    report = accounts.run(apply=False)
    assert {a.key.rpartition(":")[2] for a in report.plan.actions} >= {"won", "paid"}
    assert [name for name in accounts.requests()["counts"] if "GET" not in name] == []
    assert accounts.lead(lead_id)["status_id"] == NEW


def test_reconcile__self_serve_buyers_get_a_deal_a_contact_and_an_owner_in_turn(accounts: Accounts) -> None:
    for number in range(4):
        pay(accounts, email=f"buyer{number}@example.com")
    accounts.run().raise_if_failed()
    kommo = accounts.kommo()
    assert [lead["responsible_user_id"] for lead in kommo["leads"]] == [501, 502, 503, 501]
    assert {lead["status_id"] for lead in kommo["leads"]} == {WON}
    linked = [lead["_embedded"]["contacts"][0]["id"] for lead in kommo["leads"]]
    assert len(set(linked)) == 4
    assert accounts.run().plan.actions == ()


def test_reconcile__a_known_contact_is_reused(accounts: Accounts) -> None:
    open_deal(accounts)
    pay(accounts)
    accounts.run().raise_if_failed()
    pay(accounts, total=9900)
    accounts.run().raise_if_failed()
    kommo = accounts.kommo()
    assert len(kommo["leads"]) == 2
    assert len(kommo["contacts"]) == 1
    assert {lead["_embedded"]["contacts"][0]["id"] for lead in kommo["leads"]} == {kommo["contacts"][0]["id"]}


def test_reconcile__a_full_refund_moves_the_deal_and_calls_its_owner(accounts: Accounts) -> None:
    lead_id = open_deal(accounts)
    order_id = pay(accounts)
    accounts.run().raise_if_failed()
    accounts.control(f"orders/{order_id}/refund")
    accounts.run().raise_if_failed()
    notes, tasks = accounts.texts(lead_id)
    assert accounts.lead(lead_id)["status_id"] == ATTENTION
    assert accounts.fields(lead_id)["LS refunded"] == "490"
    assert [len(notes), len(tasks)] == [2, 1]
    assert "Refunded in full: $490.00" in tasks[0]
    assert accounts.run().plan.actions == ()


def test_reconcile__a_deal_that_a_person_moved_after_the_sale_stays_when_refunded(accounts: Accounts) -> None:
    lead_id = open_deal(accounts)
    order_id = pay(accounts)
    accounts.run().raise_if_failed()
    accounts.control(f"leads/{lead_id}/move", status_id=QUALIFIED, user_id=502)
    accounts.control(f"orders/{order_id}/refund")
    accounts.run().raise_if_failed()
    assert accounts.lead(lead_id)["status_id"] == QUALIFIED
    assert len(accounts.texts(lead_id)[1]) == 1


def test_reconcile__refunds_in_part_are_told_one_by_one_and_the_deal_stays_won(accounts: Accounts) -> None:
    lead_id = open_deal(accounts)
    order_id = pay(accounts)
    accounts.run().raise_if_failed()
    for _ in range(2):
        accounts.control(f"orders/{order_id}/refund", amount=1000)
        accounts.run().raise_if_failed()
        accounts.run().raise_if_failed()
    notes, tasks = accounts.texts(lead_id)
    assert accounts.lead(lead_id)["status_id"] == WON
    assert accounts.fields(lead_id)["LS refunded"] == "20"
    assert [len(notes), len(tasks)] == [3, 2]


def test_reconcile__a_tie_changes_no_deal_and_calls_a_person_once(accounts: Accounts) -> None:
    first = open_deal(accounts)
    second = open_deal(accounts)
    pay(accounts)
    accounts.control("requests/reset")
    report = accounts.run()
    assert [review.candidates for review in report.plan.reviews] == [(first, second)]
    assert [name for name in accounts.requests()["counts"] if "GET" not in name] == ["kommo POST /api/v4/tasks"]
    assert [len(accounts.texts(lead_id)[1]) for lead_id in (first, second)] == [1, 0]
    assert {accounts.lead(lead_id)["status_id"] for lead_id in (first, second)} == {NEW}
    assert accounts.run().plan.actions == ()


def test_reconcile__test_mode_orders_touch_nothing_in_live_mode(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead_id = open_deal(accounts)
    pay(accounts, test_mode=True)
    report = accounts.run()
    assert (report.plan.actions, report.plan.other_mode) == ((), 1)
    monkeypatch.setenv("DEALSYNC_MODE", "test")
    accounts.run().raise_if_failed()
    assert accounts.lead(lead_id)["status_id"] == WON


def test_reconcile__a_plan_that_is_too_large_sends_nothing(accounts: Accounts) -> None:
    for number in range(3):
        pay(accounts, email=f"buyer{number}@example.com")
    with pytest.raises(UnsafePlan, match="3 deals"):
        accounts.run(max_changes=2)
    assert accounts.kommo()["leads"] == []


def test_reconcile__the_seeded_account_comes_to_rest_and_its_truth_is_met(seeded: Accounts) -> None:
    truth = seeded.simulator.world.truth
    report = seeded.run()
    report.raise_if_failed()
    open_before = [o for o, planted in truth.items() if planted["class"] == "open"]
    assert report.plan.drift["paid_not_won"] == len(open_before) == round(0.15 * _paid(seeded))
    statuses = {lead["id"]: lead["status_id"] for lead in seeded.kommo()["leads"]}
    assert {statuses[truth[o]["lead_id"]] for o in open_before} == {WON}
    assert {r.order_id for r in report.plan.reviews} >= {o for o, p in truth.items() if p["class"] in ("tie", "weak")}
    again = seeded.run()
    assert again.plan.actions == ()
    assert again.plan.drift["paid_not_won"] == again.plan.drift["paid_no_deal"] == 0
    assert again.plan.reviews == report.plan.reviews


def test_reconcile__no_deal_of_another_order_is_touched(seeded: Accounts) -> None:
    """Every link that the machine made by itself is the planted one."""
    truth = seeded.simulator.world.truth
    report = seeded.run()
    wrong = {x.order_id: x.lead_id for x in report.plan.links if truth[x.order_id]["lead_id"] != x.lead_id}
    assert wrong == {}
    assert len(report.plan.links) > 100


def test_reconcile__a_quiet_run_costs_few_requests(seeded: Accounts) -> None:
    seeded.run().raise_if_failed()
    seeded.control("requests/reset")
    report = seeded.run()
    counts = seeded.requests()["counts"]
    assert sum(counts.values()) == sum(report.requests.values()) <= 12


def test_reconcile__a_change_of_an_old_order_is_seen_by_the_deep_sweep(seeded: Accounts) -> None:
    seeded.run().raise_if_failed()
    truth = seeded.simulator.world.truth
    order_id = min((o for o, planted in truth.items() if planted["class"] == "won"), key=int)
    seeded.control(f"orders/{order_id}/refund")
    seeded.run(deep=True).raise_if_failed()
    assert seeded.lead(truth[order_id]["lead_id"])["status_id"] == ATTENTION


def test_reconcile__a_deal_that_a_person_deleted_is_not_made_again(accounts: Accounts) -> None:
    pay(accounts)
    accounts.run().raise_if_failed()
    (lead,) = accounts.kommo()["leads"]
    accounts.delete(lead["id"])
    report = accounts.run()
    assert [a.key for a in report.plan.actions] == ["order:500001:review:deleted"]
    assert [task["entity_id"] for task in accounts.kommo()["tasks"]] == [None]
    assert accounts.run().plan.actions == ()
    assert "deleted" in report.plan.reviews[0].reason
    assert accounts.kommo()["leads"] == []


def _paid(accounts: Accounts) -> int:
    orders = accounts.simulator.world.state()["lemon_squeezy"]["orders"]
    return sum(o["attributes"]["status"] == "paid" and not o["attributes"]["test_mode"] for o in orders)


def test_late_runs__are_made_up_for_by_the_first_of_them(accounts: Accounts) -> None:
    due_at = utc_now()
    assert made_up_for(RECONCILE, due_at, load_environment()) is None
    accounts.run(apply=False)
    assert made_up_for(RECONCILE, due_at, load_environment()) is None  # it has changed nothing
    accounts.run()
    assert made_up_for(RECONCILE, due_at, load_environment()) is not None
    assert made_up_for(DEEP_SWEEP, due_at, load_environment()) is None
    accounts.run(deep=True)
    assert made_up_for(DEEP_SWEEP, due_at, load_environment()) is not None
    assert made_up_for(RECONCILE, utc_now(), load_environment()) is None  # of the next hour
