"""`dealsync reviews` as a person uses it, and what the next run makes of a decision."""

import json

import httpx
import pytest

from tests.accounts import WON, Accounts
from tests.cli.shell import spawned
from tests.cli.shell import typed as dealsync

ANN = {"name": "Ann Example", "email": "ann@example.com"}


@pytest.fixture
def tie(accounts: Accounts) -> tuple[str, int, int]:
    """A payment that two open deals of the buyer fit, seen by a run."""
    first, second = (int(accounts.control("leads", price=490, contact=ANN)["id"]) for _ in range(2))
    order = accounts.control("orders", email=ANN["email"], total=49000)["data"]["id"]
    accounts.run().raise_if_failed()
    return str(order), first, second


def test_reviews__shows_what_waits_with_reasons_and_links_and_no_personal_data(tie: tuple[str, int, int]) -> None:
    order_id, first, second = tie
    shown = dealsync("reviews").stdout
    assert "1 waiting for a person" in shown
    assert f"order:{order_id}" in shown
    assert "several open deals" in shown
    assert f"deal {first}" in shown
    assert f"/leads/detail/{second}" in shown
    assert "ann" not in shown.lower().replace("dealsync reviews", "")


def test_reviews__as_json(tie: tuple[str, int, int]) -> None:
    order_id, first, second = tie
    (item,) = json.loads(spawned("reviews", "--json").stdout)["reviews"]
    assert (item["id"], item["state"], item["decision"]) == (f"order:{order_id}", "open", None)
    assert {candidate["lead_id"] for candidate in item["candidates"]} == {first, second}


def test_resolve__with_a_deal_closes_it_in_the_next_run(accounts: Accounts, tie: tuple[str, int, int]) -> None:
    order_id, first, second = tie
    done = dealsync("reviews", "resolve", f"order:{order_id}", "--lead", str(second))
    assert (done.returncode, f"deal {second}" in done.stdout) == (0, True)
    report = accounts.run()
    report.raise_if_failed()
    (task,) = accounts.kommo()["tasks"]
    assert (task["is_completed"], task["result"]["text"].startswith("Decided")) == (True, True)
    assert accounts.run().plan.actions == ()
    assert (accounts.lead(second)["status_id"], accounts.lead(first)["status_id"] == WON) == (WON, False)
    assert report.plan.reviews == ()
    assert "Nothing waits" in dealsync("reviews").stdout
    assert f"decided by {json.loads(dealsync('reviews', '--all', '--json').stdout)['reviews'][0]['decided_by']}" in (
        dealsync("reviews", "--all").stdout
    )


def test_resolve__with_new_makes_a_deal_of_its_own(accounts: Accounts, tie: tuple[str, int, int]) -> None:
    order_id, *others = tie
    assert dealsync("reviews", "resolve", order_id, "--new").returncode == 0
    accounts.run().raise_if_failed()
    made = [lead for lead in accounts.kommo()["leads"] if lead["id"] not in others]
    assert [lead["status_id"] for lead in made] == [WON]
    assert accounts.run().plan.actions == ()


def test_resolve__with_dismiss_leaves_the_payment_alone_for_good(accounts: Accounts, tie: tuple[str, int, int]) -> None:
    done = json.loads(dealsync("reviews", "resolve", tie[0], "--dismiss", "--json").stdout)
    assert done["review"]["decision"] == "dismissed"
    report = accounts.run()
    assert ([a.kind for a in report.plan.actions], report.plan.reviews) == (["complete"], ())
    assert accounts.run().plan.actions == ()


def test_resolve__after_somebody_deleted_the_task_leaves_nothing_to_tick_off(
    accounts: Accounts, tie: tuple[str, int, int]
) -> None:
    (task,) = accounts.kommo()["tasks"]
    httpx.delete(f"{accounts.simulator.url}/control/tasks/{task['id']}", timeout=10).raise_for_status()
    assert dealsync("reviews", "resolve", tie[0], "--dismiss").returncode == 0
    accounts.run().raise_if_failed()
    assert accounts.run().plan.actions == ()


def test_field__filled_by_a_person_in_kommo_settles_the_review(accounts: Accounts, tie: tuple[str, int, int]) -> None:
    order_id, first, _ = tie
    field_id = next(f["id"] for f in accounts.kommo()["custom_fields"]["leads"] if f["name"] == "LS order id")
    accounts.control(
        f"leads/{first}/edit", custom_fields_values=[{"field_id": field_id, "values": [{"value": f" #{order_id} "}]}]
    )
    accounts.run(deep=True).raise_if_failed()  # an hourly list may lag some seconds behind a person
    assert accounts.lead(first)["status_id"] == WON
    assert "settled by itself" in dealsync("reviews", "--all").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{order}"], "exactly one of"),
        (["{order}", "--new", "--dismiss"], "exactly one of"),
        (["{order}", "--lead", "999999"], "no deal 999999"),
        (["order:1", "--new"], "Open ones: order:{order}"),
        (["ann@example.com", "--new"], "is no review"),
    ],
)
def test_resolve__a_mistake_is_one_clear_line_and_decides_nothing(
    tie: tuple[str, int, int], arguments: list[str], words: str
) -> None:
    done = dealsync("reviews", "resolve", *(part.format(order=tie[0]) for part in arguments))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert words.format(order=tie[0]) in done.stderr
    assert len(json.loads(dealsync("reviews", "--json").stdout)["reviews"]) == 1
