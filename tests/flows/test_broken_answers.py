"""What Kommo's lost and refused answers do to a sale: nothing, in the end."""

from datetime import timedelta
from typing import Any

import pytest

from dealsync import apply, doubts, poll
from dealsync.apis import transport
from dealsync.apis.kommo import client, render
from dealsync.core.plan import NewContact
from dealsync.errors import Banned, RunFailed, Unauthorized, Unreachable
from tests.accounts import ATTENTION, WON, Accounts
from tests.flows.test_subscriptions import Life

ANN = {"name": "Ann Example", "email": "ann@example.com"}
LOST = ["apply_then_504", "apply_then_drop", "drop"]


@pytest.fixture(autouse=True)
def _short_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulator's unfiltered lists do not lag, so "absent" may count at once."""
    monkeypatch.setattr(doubts, "KOMMO_READ_LAG", timedelta(0))


def settle(accounts: Accounts) -> None:
    """Run until nothing is left, as the schedule would."""
    accounts.run()
    accounts.run().raise_if_failed()
    assert accounts.run(apply=False).plan.actions == ()


@pytest.mark.parametrize("how", LOST)
@pytest.mark.parametrize(
    ("method", "path"),
    [("PATCH", "/leads"), ("POST", "/leads/notes"), ("POST", "/tasks")],
    ids=["patch", "note", "task"],
)
def test_lost_answer__of_a_refund_neither_loses_nor_doubles_anything(
    accounts: Accounts, method: str, path: str, how: str
) -> None:
    lead_id = accounts.control("leads", price=490, contact=ANN)["id"]
    order = accounts.control("orders", email=ANN["email"], total=49000)
    accounts.run().raise_if_failed()
    accounts.control(f"orders/{_id(order)}/refund")
    accounts.inject(method, path, how=how)
    with pytest.raises(RunFailed):
        accounts.run().raise_if_failed()
    settle(accounts)
    notes, tasks = accounts.texts(lead_id)
    assert accounts.lead(lead_id)["status_id"] == ATTENTION
    assert (len(notes), len(tasks)) == (2, 1)


@pytest.mark.parametrize("how", LOST)
@pytest.mark.parametrize("path", ["/contacts", "/leads", "/leads/notes"])
def test_lost_answer__of_a_creation_makes_one_deal_one_contact_one_note(
    accounts: Accounts, path: str, how: str
) -> None:
    accounts.control("orders", email="new@example.com", total=49000)
    accounts.inject("POST", path, how=how)
    accounts.run()
    settle(accounts)
    kommo = accounts.kommo()
    assert (len(kommo["leads"]), len(kommo["contacts"]), len(kommo["notes"]["leads"])) == (1, 1, 1)
    assert kommo["leads"][0]["responsible_user_id"] == 501


@pytest.mark.parametrize("mode", ["all_or_nothing", "apply_valid"])
def test_refused_item__is_parked_with_kommos_words_and_its_neighbours_go_through(
    accounts: Accounts, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of three new contacts names an owner whom Kommo does not know."""
    accounts.control("faults", batch_mode=mode)
    for number in range(3):
        accounts.control("orders", email=f"b{number}@example.com", total=49000)
    plain = render.new_contact

    def poisoned(contact: NewContact, request_id: str) -> render.Body:
        unknown = {"responsible_user_id": 999} if contact.email.startswith("b1") else {}
        return plain(contact, request_id) | unknown

    with monkeypatch.context() as patch:
        patch.setattr(render, "new_contact", poisoned)
        report = accounts.run()
    with pytest.raises(RunFailed, match="responsible_user_id"):
        report.raise_if_failed()
    kommo = accounts.kommo()
    assert (len(kommo["leads"]), len(kommo["contacts"])) == (2, 2)
    settle(accounts)
    kommo = accounts.kommo()
    assert (len(kommo["leads"]), len(kommo["contacts"]), len(kommo["notes"]["leads"])) == (3, 3, 3)


def test_unreachable_kommo__fails_the_run_and_leaves_everything_for_the_next(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead_id = accounts.control("leads", price=490, contact=ANN)["id"]
    accounts.control("orders", email=ANN["email"], total=49000)
    monkeypatch.setattr("dealsync.apis.transport.ATTEMPTS", 1)
    accounts.inject("GET", "/leads", how="answer", status=503, times=50)
    with pytest.raises(Unreachable, match="503"):
        accounts.run()
    accounts.control("faults", inject=None)
    accounts.run().raise_if_failed()
    assert accounts.lead(lead_id)["status_id"] == WON


def test_ban__stops_every_further_request(accounts: Accounts) -> None:
    accounts.control("orders", email="new@example.com", total=49000)
    accounts.inject("POST", "/contacts", how="answer", status=403, html=True)
    accounts.control("requests/reset")
    with pytest.raises(Banned, match="support"):
        accounts.run()
    writes = {name: n for name, n in accounts.requests()["counts"].items() if "GET" not in name}
    assert list(writes.values()) == [1]
    settle(accounts)
    assert len(accounts.kommo()["leads"]) == 1


def test_wrong_token__is_one_clear_error(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOMMO_TOKEN", "wrong")
    with pytest.raises(Unauthorized, match=r"kommo GET .*401"):
        accounts.run()


def _id(order: dict[str, Any]) -> str:
    return str(order.get("data", order)["id"])


def test_batch_that_is_too_large__is_halved_and_nothing_is_doubled(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kommo answers 504 to what is too much, having done some of it or all: what passed is looked up first."""
    monkeypatch.setattr(apply, "FEW", 3)
    for number in range(8):
        accounts.control("orders", email=f"new{number}@example.com", total=49000)
    accounts.inject("POST", "/leads", how="answer", status=504, html=True)
    accounts.inject("POST", "/leads/notes", how="apply_then_504")
    accounts.control("requests/reset")
    accounts.run().raise_if_failed()
    counts = accounts.requests()["counts"]
    assert counts["kommo POST /api/v4/leads"] == 1 + 2
    assert counts["kommo POST /api/v4/leads/notes"] == 1, "all of them had passed"
    kommo = accounts.kommo()
    assert len(kommo["leads"]) == len(kommo["contacts"]) == len(kommo["notes"]["leads"]) == 8
    assert accounts.run(apply=False).plan.actions == ()


@pytest.mark.parametrize(("batch_size", "requests"), [(250, 1), (3, 3)])
def test_batch_size__is_a_setting(accounts: Accounts, batch_size: int, requests: int) -> None:
    config = accounts.folder / "dealsync.toml"
    config.write_text(config.read_text() + f"\n[limits]\nbatch_size = {batch_size}\n")
    for number in range(8):
        accounts.control("orders", email=f"new{number}@example.com", total=49000)
    accounts.control("requests/reset")
    accounts.run().raise_if_failed()
    assert accounts.requests()["counts"]["kommo POST /api/v4/leads"] == requests


def test_ignored_filters__cost_requests_but_no_truth(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ENOUGH_ROWS", 2)
    deals = [
        accounts.control("leads", price=490, contact={**ANN, "email": f"b{n}@example.com"})["id"] for n in range(3)
    ]
    accounts.run().raise_if_failed()
    accounts.control("faults", filters_enabled=False)
    accounts.control("orders", email="b1@example.com", total=49000)
    monkeypatch.setattr(poll, "KOMMO_LIST_OVERLAP", -timedelta(days=1))  # every deal is older than what is asked for
    report = accounts.run()
    report.raise_if_failed()
    assert any("Kommo ignores filters in this account" in remark for remark in report.remarks())
    assert accounts.lead(deals[1])["status_id"] == WON


@pytest.mark.parametrize("path", ["/leads/notes", "/tasks", "/contacts"])
def test_run__stopped_while_a_write_is_on_its_way_doubles_nothing(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Ctrl-C, or anything else that is no answer: what was sent may have happened, and is looked up."""
    accounts.control("leads", price=500, contact=ANN)
    accounts.control("orders", email="new@example.com", total=49000)
    write = transport.Transport.write

    async def stopped(self: transport.Transport, method: str, at: str, body: Any = None, **options: Any) -> Any:
        answer = await write(self, method, at, body, **options)
        if at == f"/api/v4{path}":
            raise KeyboardInterrupt
        return answer

    if path == "/tasks":
        accounts.run().raise_if_failed()
        accounts.control("orders/500001/refund")
    monkeypatch.setattr(transport.Transport, "write", stopped)
    with pytest.raises(KeyboardInterrupt):
        accounts.run()
    monkeypatch.setattr(transport.Transport, "write", write)
    settle(accounts)
    kommo = accounts.kommo()
    notes = [note["params"]["text"] for note in kommo["notes"]["leads"]]
    tasks = [task["text"] for task in kommo["tasks"]]
    assert len(notes) == len(set(notes)) >= 1
    assert len(tasks) == len(set(tasks)) == (path == "/tasks")
    assert len(kommo["contacts"]) == 2


@pytest.mark.parametrize("how", LOST)
def test_lost_answer__to_two_moves_in_one_request_is_judged_by_the_last(accounts: Accounts, how: str) -> None:
    """Paid, and its renewal given back: one request closes the deal and moves it on to a person."""
    life = Life(accounts)
    accounts.control(f"subscriptions/{life.id}/renew")
    accounts.control("clock", advance_s=2 * 3600)
    invoices = accounts.simulator.world.state()["lemon_squeezy"]["subscription-invoices"]
    (renewal,) = (i["id"] for i in invoices if i["attributes"]["billing_reason"] == "renewal")
    accounts.control(f"subscription-invoices/{renewal}/refund")
    planned = accounts.run(apply=False).plan
    assert {"close", "attention"} <= {action.kind.value for action in planned.actions}
    accounts.inject("PATCH", "/leads", how=how)
    accounts.run()
    settle(accounts)
    assert accounts.lead(life.lead_id)["status_id"] == ATTENTION
    notes, tasks = accounts.texts(life.lead_id)
    assert (len(notes), len(tasks)) == (len(set(notes)), 1)
