"""`dealsync plan --out`, `apply` and `undo`: what was read is what is done, and a run can be taken back."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dealsync.cli import app
from dealsync.errors import ConfigError, DealsyncError, PlanOutdated, PlanTampered, UnknownRun
from tests.accounts import INVOICE_SENT, LOST, NEW, QUALIFIED, WON, Accounts
from tests.webhooks import Hooks

ANN = {"name": "Ann Example", "email": "ann@example.com"}


def dealsync(*arguments: str) -> Any:
    """Run a command in this process; return what `--json` printed. Raises the command's own error."""
    done = CliRunner().invoke(app, [*arguments, "--json"], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return json.loads(done.stdout) if done.stdout.strip() else None


def paid_deal(hooks: Hooks, **deal: Any) -> tuple[int, str]:
    """Return an open deal and the payment that closes it, as its webhook says."""
    accounts = hooks.accounts
    lead_id = int(accounts.control("leads", **{"price": 490, "contact": ANN, **deal})["id"])
    order = accounts.control("orders", email=ANN["email"], total=49000, custom_data={"kommo_lead_id": str(lead_id)})
    assert set(hooks.deliver()) == {200}
    return lead_id, str(order["data"]["id"])


def state_of(accounts: Accounts) -> dict[str, Any]:
    """Return what people see of all deals and tasks, times aside."""
    kommo = accounts.kommo()
    names = {field["id"]: field["name"] for field in kommo["custom_fields"]["leads"]}
    deals = {}
    for lead in kommo["leads"]:
        fields = {names[v["field_id"]]: v["values"][0]["value"] for v in lead["custom_fields_values"] or []}
        tags = sorted(tag["name"] for tag in lead["_embedded"]["tags"])
        deals[lead["id"]] = (lead["status_id"], lead["pipeline_id"], lead["price"], fields, tags)
    open_tasks = sorted(task["text"] for task in kommo["tasks"] if not task["is_completed"])
    return {"deals": deals, "tasks": open_tasks}


# --- plan and apply ---------------------------------------------------------------------------------------------


def test_apply__does_exactly_what_the_file_says(accounts: Accounts, hooks: Hooks) -> None:
    lead_id, _ = paid_deal(hooks)
    planned = dealsync("plan", "--out", "plan.json")
    assert accounts.lead(lead_id)["status_id"] == NEW
    assert stat.S_IMODE(Path("plan.json").stat().st_mode) == 0o600
    other_id, _ = paid_deal(hooks, contact={"name": "Bob", "email": "bob@example.com"})
    done = dealsync("apply", "plan.json")
    assert [a["key"] for a in done["actions"]] == [a["key"] for a in planned["actions"]]
    assert {a["state"] for a in done["actions"]} == {"applied"}
    assert accounts.lead(lead_id)["status_id"] == WON
    assert accounts.lead(other_id)["status_id"] == NEW  # came later: no part of the plan
    assert accounts.run().plan.actions != ()


def test_apply__refuses_a_file_that_was_tampered_with(accounts: Accounts, hooks: Hooks) -> None:
    lead_id, _ = paid_deal(hooks)
    dealsync("plan", "--out", "plan.json")
    text = Path("plan.json").read_text(encoding="utf-8")
    for changed in (
        text.replace("490", "999", 1),
        text[: len(text) // 2],
        "[]",
        "{}",
        text.replace("close", "price", 1),
    ):
        Path("plan.json").write_text(changed, encoding="utf-8")
        with pytest.raises(PlanTampered) as told:
            dealsync("apply", "plan.json")
        assert told.value.exit_code == 3
    assert accounts.lead(lead_id)["status_id"] == NEW
    assert accounts.texts(lead_id) == ([], [])


@pytest.mark.parametrize("how", ["moved", "repriced", "deleted", "refunded", "done", "applied"])
def test_apply__refuses_a_plan_whose_ground_has_changed_and_sends_nothing(
    accounts: Accounts, hooks: Hooks, how: str
) -> None:
    lead_id, order_id = paid_deal(hooks)
    other_id, _ = paid_deal(hooks, contact={"name": "Bob", "email": "bob@example.com"})
    dealsync("plan", "--out", "plan.json")
    accounts.control("clock", advance_s=60)
    match how:
        case "moved":
            accounts.control(f"leads/{lead_id}/move", status_id=INVOICE_SENT, user_id=502)
        case "repriced":
            accounts.control(f"leads/{lead_id}/edit", price=500)
        case "deleted":
            accounts.delete(lead_id)
        case "refunded":
            accounts.control(f"orders/{order_id}/refund")
        case "done":
            accounts.run()
        case "applied":
            dealsync("apply", "plan.json")
    before = state_of(accounts), accounts.texts(other_id)
    with pytest.raises(PlanOutdated) as told:
        dealsync("apply", "plan.json")
    assert told.value.exit_code == 3
    assert (state_of(accounts), accounts.texts(other_id)) == before


def test_apply__says_what_is_wrong_with_its_file(accounts: Accounts) -> None:
    with pytest.raises(ConfigError, match=r"plan\.json cannot be read"):
        dealsync("apply", "plan.json")
    with pytest.raises(ConfigError, match="cannot be written"):
        dealsync("plan", "--out", "nowhere/plan.json")
    assert accounts


# --- undo -------------------------------------------------------------------------------------------------------


def test_undo__puts_everything_back_and_is_not_done_again(accounts: Accounts, hooks: Hooks) -> None:
    lead_id, _ = paid_deal(hooks, price=300)
    accounts.run(apply=False)
    before = state_of(accounts)
    run_id = accounts.run().run_id
    assert state_of(accounts) != before
    undone = dealsync("undo", run_id)
    assert {a["state"] for a in undone["actions"]} == {"applied"}
    assert undone["refusals"] == []
    assert state_of(accounts) == before
    assert all(note.startswith(f"Taken back (run {run_id})") for note in accounts.texts(lead_id)[0])
    for deep in (False, True):
        assert accounts.run(deep=deep).plan.actions == ()
    assert state_of(accounts) == before


def test_undo__leaves_what_people_have_changed_since_and_says_so(accounts: Accounts, hooks: Hooks) -> None:
    moved, _ = paid_deal(hooks, price=300)
    priced, _ = paid_deal(hooks, price=300, contact={"name": "Bob", "email": "bob@example.com"})
    report = accounts.run()
    accounts.control(f"leads/{moved}/move", status_id=INVOICE_SENT, user_id=502)
    accounts.control(f"leads/{priced}/edit", price=777)
    undone = dealsync("undo", report.run_id)
    assert accounts.lead(moved)["status_id"] == INVOICE_SENT
    assert (accounts.lead(moved)["price"], accounts.fields(moved)) == (300, {})
    assert (accounts.lead(priced)["price"], accounts.lead(priced)["status_id"]) == (777, NEW)
    told = {(r["lead_id"], r["reason"]) for r in undone["refusals"]}
    assert told == {(moved, "a person changed the status since"), (priced, "a person changed the price since")}


def test_undo__of_a_deal_that_the_run_had_made_marks_it_lost_without_calling_anybody(accounts: Accounts) -> None:
    accounts.control("orders", email="new@example.com", total=49000)
    report = accounts.run()
    (lead_id,) = {o.lead_id for o in report.outcomes.values() if o.lead_id is not None}
    undone = dealsync("undo", report.run_id)
    assert accounts.lead(lead_id)["status_id"] == LOST
    assert [r["reason"] for r in undone["refusals"]] == ["a contact cannot be deleted by a program; it stays"]
    tasks = accounts.texts(lead_id)[1]
    assert accounts.run(deep=True).plan.actions == ()
    assert accounts.texts(lead_id)[1] == tasks


def test_undo__of_a_later_part_comes_before_that_of_an_earlier_one(accounts: Accounts, hooks: Hooks) -> None:
    lead_id, order_id = paid_deal(hooks)
    first = accounts.run().run_id
    accounts.control("clock", advance_s=3600)
    accounts.control(f"orders/{order_id}/refund")
    second = accounts.run(deep=True).run_id
    left = dealsync("undo", first, "--dry-run")
    assert f"run {second} changed the status later; take that one back first" in [r["reason"] for r in left["refusals"]]
    for run_id in (second, first):
        dealsync("undo", run_id)
    assert accounts.lead(lead_id)["status_id"] == NEW


def test_undo__can_be_taken_back_itself(accounts: Accounts, hooks: Hooks) -> None:
    lead_id, _ = paid_deal(hooks, price=300)
    run_id = accounts.run().run_id
    after, notes = state_of(accounts), accounts.texts(lead_id)
    undone = dealsync("undo", run_id)["run"]["id"]
    dealsync("undo", undone)
    assert (state_of(accounts), accounts.texts(lead_id)) == (after, notes)


def test_undo__is_itself_a_plan_that_can_wait_in_a_file(accounts: Accounts, hooks: Hooks) -> None:
    lead_id, _ = paid_deal(hooks)
    run_id = accounts.run().run_id
    planned = dealsync("undo", run_id, "--out", "undo.json")
    assert accounts.lead(lead_id)["status_id"] == WON
    assert [a["state"] for a in planned["actions"]] == ["planned"] * len(planned["actions"])
    dealsync("apply", "undo.json")
    assert accounts.lead(lead_id)["status_id"] == NEW
    with pytest.raises(PlanOutdated):
        dealsync("apply", "undo.json")


def test_undo__twice_finds_nothing_left_to_do(accounts: Accounts, hooks: Hooks) -> None:
    paid_deal(hooks)
    run_id = accounts.run().run_id
    dealsync("undo", run_id)
    assert dealsync("undo", run_id)["actions"] == []


def test_undo__goes_on_where_it_was_cut_off(accounts: Accounts, hooks: Hooks) -> None:
    lead_id, _ = paid_deal(hooks)
    run_id = accounts.run().run_id
    accounts.inject("PATCH", "/leads/notes", how="answer", status=400)
    with pytest.raises(DealsyncError):
        dealsync("undo", run_id)
    assert accounts.lead(lead_id)["status_id"] == NEW
    dealsync("undo", run_id)
    assert all(note.startswith("Taken back") for note in accounts.texts(lead_id)[0])


def test_undo__of_a_lost_answer_is_looked_up_and_not_repeated(accounts: Accounts, hooks: Hooks) -> None:
    lead_id, _ = paid_deal(hooks)
    run_id = accounts.run().run_id
    accounts.inject("PATCH", "/leads/notes", how="apply_then_drop")
    with pytest.raises(DealsyncError):
        dealsync("undo", run_id)
    assert dealsync("undo", run_id)["actions"] == []
    assert len(accounts.texts(lead_id)[0]) == 1


def test_undo__names_the_runs_there_are_when_it_knows_none_of_that_name(accounts: Accounts, hooks: Hooks) -> None:
    paid_deal(hooks)
    run_id = accounts.run().run_id
    with pytest.raises(UnknownRun, match=run_id):
        dealsync("undo", "nothing")


def test_ledger__fields_that_a_person_gave_up_are_not_planned_under_another_key(
    accounts: Accounts, hooks: Hooks
) -> None:
    lead_id, _ = paid_deal(hooks)
    accounts.inject("PATCH", "/leads", how="answer", status=400)
    accounts.run()
    keys = [e["key"] for e in dealsync("ledger", "list", "--state", "failed")["entries"] if e["kind"] == "fields"]
    dealsync("ledger", "dismiss", *keys)
    accounts.control("clock", advance_s=3600)
    accounts.run(deep=True)
    assert (accounts.lead(lead_id)["status_id"], accounts.fields(lead_id)) == (WON, {})
    dealsync("ledger", "retry", *keys)
    accounts.run(deep=True)
    assert "LS order id" in accounts.fields(lead_id)


def test_undo__of_a_whole_run_equals_the_start_except_for_what_people_touched(seeded: Accounts) -> None:
    before = state_of(seeded)
    report = seeded.run()
    made = {o.lead_id for o in report.outcomes.values() if o.lead_id} - set(before["deals"])
    now = state_of(seeded)["deals"]
    changed = [lead_id for lead_id, deal in before["deals"].items() if now[lead_id] != deal]
    assert (len(changed) > 20, len(made) > 3) == (True, True)
    moved = next(i for i in changed if now[i][0] != before["deals"][i][0] != QUALIFIED)
    priced, kept = next(i for i in changed if i != moved), min(made)
    seeded.control(f"leads/{moved}/move", status_id=QUALIFIED, user_id=502)
    seeded.control(f"leads/{priced}/edit", price=777)
    seeded.control(f"leads/{kept}/edit", price=778)
    touched = state_of(seeded)["deals"]
    undone = dealsync("undo", report.run_id)
    after = state_of(seeded)
    for lead_id, deal in before["deals"].items():
        status, pipeline, price, *rest = deal
        if lead_id == moved:
            status = QUALIFIED
        if lead_id == priced:
            price = 777
        assert after["deals"][lead_id] == (status, pipeline, price, *rest), lead_id
    for lead_id in made:
        assert after["deals"][lead_id][0] == (WON if lead_id == kept else LOST)
    assert after["deals"][kept] == touched[kept]
    assert after["tasks"] == before["tasks"]
    told = {(r["lead_id"], r["reason"]) for r in undone["refusals"] if r["rule"] == "changed_since"}
    assert told == {
        (moved, "a person changed the status since"),
        (kept, "the run had made the deal, and people have worked on it since"),
    }
    assert seeded.run(deep=True).plan.actions == ()
