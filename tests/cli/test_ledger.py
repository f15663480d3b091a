"""`dealsync ledger` as a person uses it."""

from __future__ import annotations

import json

from tests.accounts import Accounts
from tests.cli.shell import spawned
from tests.cli.shell import typed as dealsync

BUYER = "a.buyer@example.com"


def fail_a_note(accounts: Accounts) -> tuple[int, str]:
    """Run with a note that Kommo refuses; return the deal and the note's key."""
    lead_id = int(accounts.control("leads", price=490, contact={"name": "A", "email": BUYER})["id"])
    order_id = accounts.control("orders", email=BUYER, total=49000)["data"]["id"]
    accounts.inject("POST", "/leads/notes", how="answer", status=400)
    accounts.run()
    return lead_id, f"order:{order_id}:note:paid"


def test_ledger__lists_what_was_done_and_what_was_not_without_personal_data(accounts: Accounts) -> None:
    lead_id, key = fail_a_note(accounts)
    listed = dealsync("ledger", "list").stdout
    assert listed.startswith("0 planned, 0 sent, 2 applied, 1 failed, 0 unknown, 0 dismissed\n")
    assert f"failed    {key}\n  deal {lead_id}: " in listed
    assert "(HTTP 400) (attempt 1)" in " ".join(listed.split())
    assert BUYER not in listed
    told = json.loads(spawned("ledger", "list", "--state", "failed", "--json").stdout)
    (entry,) = told["entries"]
    assert (entry["key"], entry["lead_id"], entry["attempts"], told["counts"]["failed"]) == (key, lead_id, 1, 1)
    by_deal = json.loads(dealsync("ledger", "list", "--about", f"lead:{lead_id}", "--json").stdout)["entries"]
    assert len(by_deal) == 3
    by_run = json.loads(dealsync("ledger", "list", "--run", entry["run"], "--json").stdout)["entries"]
    assert {one["key"] for one in by_run} == {one["key"] for one in by_deal}
    assert f"key         {key}\n" in dealsync("ledger", "show", key).stdout


def test_ledger__what_is_given_up_stays_undone_until_it_is_wanted_again(accounts: Accounts) -> None:
    lead_id, key = fail_a_note(accounts)
    assert dealsync("ledger", "dismiss", key).stdout == f"{key}  given up\n"
    assert (accounts.run().plan.actions, accounts.texts(lead_id)[0]) == ((), [])
    assert json.loads(dealsync("ledger", "retry", key, "--json").stdout) == {"keys": [key]}
    accounts.run()
    assert len(accounts.texts(lead_id)[0]) == 1


def test_ledger__says_what_is_wrong_with_a_wish(accounts: Accounts) -> None:
    _, key = fail_a_note(accounts)
    won = key.replace("note:paid", "won")
    for arguments, words in (
        (["dismiss", "order:99:won"], "no action order:99:won"),
        (["show", "nothing"], "dealsync ledger list"),
        (["dismiss"], "Say which actions"),
        (["dismiss", won], "None of them is in a state for that"),
        (["retry", "--about", "lead:999"], "None of them"),
    ):
        done = dealsync("ledger", *arguments)
        assert (done.returncode, words in done.stderr, done.stderr.count("\n")) == (1, True, 1), arguments
    assert accounts
