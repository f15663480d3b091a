"""`dealsync drain`, `inbox` and `forget` as a person uses them."""

from __future__ import annotations

import json

from dealsync.core.inbox import Failure
from dealsync.ledger.inbox import Handled
from dealsync.ledger.runs import utc_now
from tests.accounts import WON, Accounts
from tests.cli.shell import spawned
from tests.cli.shell import typed as dealsync
from tests.flows.test_inbox import ANN, open_deal, pay_for
from tests.webhooks import Hooks


def payment(accounts: Accounts, hooks: Hooks) -> tuple[int, str, str]:
    """A deal, its payment, and the event that came of it."""
    lead_id = open_deal(accounts)
    accounts.run()
    hooks.sent()
    order_id = pay_for(accounts, lead_id, email="a.buyer@example.com")
    hooks.deliver()
    (item,) = hooks.items()
    return lead_id, order_id, item.event.event_id


def park(hooks: Hooks, event_id: str) -> None:
    """Let an event fail until it is given up."""
    for _ in range(7):
        hooks.inbox.close([Handled(event_id, failure=Failure("order:17: not there"))], utc_now())


def test_drain__tells_what_became_of_each_event(accounts: Accounts, hooks: Hooks) -> None:
    lead_id, order_id, event_id = payment(accounts, hooks)
    done = dealsync("drain", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, accounts.lead(lead_id)["status_id"]) == (0, WON)
    (event,) = told["events"]
    assert event == {"id": event_id, "event": "order_created", "about": f"order:{order_id}", "state": "done",
                     "result": "3 changes"}  # fmt: skip
    assert {action["state"] for action in told["actions"]} == {"applied"}
    assert told["run"]["requests"] != {}
    empty = dealsync("drain")
    assert (empty.returncode, empty.stdout) == (0, "Nothing waits in the inbox\n")
    assert json.loads(dealsync("drain", "--json").stdout) == {
        "events": [], "actions": [], "reviews": [], "drift": {}, "run": None
    }  # fmt: skip


def test_inbox__lists_and_shows_without_personal_data(accounts: Accounts, hooks: Hooks) -> None:
    _, order_id, event_id = payment(accounts, hooks)
    listed = dealsync("inbox", "list").stdout
    assert (f"order:{order_id}" in listed, "waiting" in listed, "@" in listed) == (True, True, False)
    assert "@" not in dealsync("inbox", "show", event_id[:8]).stdout
    shown = json.loads(spawned("inbox", "show", event_id, "--json").stdout)
    assert (shown["id"], shown["event"], shown["state"]) == (event_id, "order_created", "waiting")
    assert "a.buyer@example.com" in dealsync("inbox", "show", event_id, "--body").stdout
    assert json.loads(dealsync("inbox", "list", "--state", "done", "--json").stdout) == {"events": []}
    unknown = dealsync("inbox", "show", "nothing")
    assert (unknown.returncode, unknown.stderr.count("\n"), "dealsync inbox list" in unknown.stderr) == (1, 1, True)


def test_inbox__replays_what_was_given_up_and_may_do_so_again(accounts: Accounts, hooks: Hooks) -> None:
    lead_id, order_id, event_id = payment(accounts, hooks)
    park(hooks, event_id)
    assert "order:17: not there" in dealsync("inbox", "list", "--state", "parked").stdout
    assert dealsync("drain").stdout == "Nothing waits in the inbox\n"
    assert dealsync("inbox", "replay", "--parked").returncode == 0
    assert accounts.lead(lead_id)["status_id"] == WON
    for chosen in ((event_id,), ("--about", f"order:{order_id}"), ("--event", "order_created")):
        again = dealsync("inbox", "replay", *chosen)
        assert (again.returncode, "nothing to change" in again.stdout) == (0, True)
    assert len(accounts.texts(lead_id)[0]) == 1
    assert dealsync("inbox", "replay", "--parked").stdout == "No event fits.\n"
    everything = dealsync("inbox", "replay")
    assert (everything.returncode, "Say which events" in everything.stderr) == (1, True)


def test_inbox__an_event_can_be_left_alone(accounts: Accounts, hooks: Hooks) -> None:
    lead_id, _, event_id = payment(accounts, hooks)
    assert dealsync("inbox", "dismiss", event_id).returncode == 0
    assert dealsync("drain").stdout == "Nothing waits in the inbox\n"
    accounts.run()
    assert accounts.lead(lead_id)["status_id"] == WON


def test_forget__erases_bodies_and_says_what_it_cannot_reach(accounts: Accounts, hooks: Hooks) -> None:
    _, _, event_id = payment(accounts, hooks)
    dealsync("drain")
    done = spawned("forget", "A.Buyer@example.com", "--json")
    assert json.loads(done.stdout)["erased"]["webhooks"] == 1
    assert dealsync("inbox", "show", event_id, "--body").stdout == ""
    assert "Erase the person in Kommo and Lemon Squeezy, too" in dealsync("forget", ANN["email"]).stdout
    assert dealsync("inbox", "replay", event_id).returncode == 0
