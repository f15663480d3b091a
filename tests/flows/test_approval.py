"""A plan that waits for a person: asked in the Prefect UI, answered in a real browser, kept in the journal."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import TimeoutException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import invisibility_of_element_located
from selenium.webdriver.support.ui import Select, WebDriverWait

from dealsync.approving import weighed
from dealsync.errors import NeedsApproval
from dealsync.ledger.approvals import Approval
from dealsync.local_prefect import LocalPrefect
from dealsync.planning import make_plan
from dealsync.poll import Reach, poll_kommo, poll_lemon_squeezy, side_by_side
from dealsync.run import open_run
from dealsync.settings import build_store, load_environment
from tests.accounts import ATTENTION, NEW, WON, Accounts, simulated
from tests.cli.test_plans import dealsync
from tests.flows.test_ui import BROWSER, DRIVER, PATIENCE_S, browser, seen
from tests.webhooks import Hooks

needs_browser = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="chromium or chromedriver is missing (Debian: apt-get install chromium-driver)"
)
__all__ = ["browser"]
OPTIONS = {"apply": True, "max_changes": 0}
PRESSES = 5


def sale(accounts: Accounts, name: str) -> int:
    """Return the open deal of a client who has paid."""
    contact = {"name": name, "email": f"{name}@example.com"}
    lead_id = int(accounts.control("leads", price=490, contact=contact)["id"])
    accounts.control("orders", email=contact["email"], total=49000)
    return lead_id


def configure(accounts: Accounts, **approval: Any) -> None:
    """Set `[approval]`."""
    config = accounts.folder / "dealsync.toml"
    text = re.sub(r"\n\[approval\][^\[]*", "", config.read_text(encoding="utf-8"))
    lines = [f"{key} = {json.dumps(value)}" for key, value in approval.items()]
    config.write_text("\n".join([text, "[approval]", *lines, ""]), encoding="utf-8")


def approvals() -> list[Approval]:
    return list(build_store(load_environment()).approvals.listed())


# --- in the UI --------------------------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path: Path, prefect: LocalPrefect) -> Iterator[tuple[Accounts, LocalPrefect]]:
    with pytest.MonkeyPatch.context() as patch, simulated(patch, tmp_path) as accounts:
        accounts.init()
        with prefect.serving(accounts.simulator.environment(), folder=accounts.folder), prefect.unscheduled():
            yield accounts, prefect


@needs_browser
def test_approval__is_asked_for_and_given_refused_or_missed_in_the_ui(
    served: tuple[Accounts, LocalPrefect], browser: Chrome
) -> None:
    accounts, prefect = served

    first = sale(accounts, "ann")
    run_id = paused(prefect)
    assert f"leads/detail/{first}" in prefect.artifacts(run_id)["approval"]
    assert "example.com" not in json.dumps(prefect.artifacts(run_id))
    other = prefect.run_deployment("reconcile", OPTIONS)
    assert (other.state, other.message) == ("Completed", "Done: nothing to do, 3 waiting for approval")
    answer(
        browser, prefect, run_id, "approve only the kinds below", ["close", "fields"], "Ann Manager", "no note please"
    )
    assert prefect.wait_for(run_id).state == "Completed"
    assert (accounts.lead(first)["status_id"], accounts.texts(first)[0]) == (WON, [])
    (kept,) = approvals()
    assert (kept.answer, kept.kinds, kept.answered_by, kept.words) == (
        "some", ("close", "fields"), "Ann Manager", "no note please",
    )  # fmt: skip
    given_up = dealsync("ledger", "list", "--state", "dismissed")["entries"]
    assert [(e["kind"], e["error"]) for e in given_up] == [("note", "rejected by Ann Manager: no note please")]

    second = sale(accounts, "bob")
    run_id = paused(prefect)
    answer(browser, prefect, run_id, "reject: none of it is done", [], "Ann Manager", "")
    assert prefect.wait_for(run_id).state == "Completed"
    assert accounts.lead(second)["status_id"] == NEW
    assert approvals()[0].answer == "rejected"
    assert prefect.run_deployment("reconcile", OPTIONS).message == "Done: nothing to do"
    assert len(dealsync("ledger", "retry", "--run", str(approvals()[0].applied_by_run))["keys"]) == 3

    configure(accounts, minutes=0.05)
    missed = prefect.run_deployment("reconcile", OPTIONS)
    assert (missed.state, "nobody answered in time" in missed.message) == ("Unanswered", True)
    assert (accounts.lead(second)["status_id"], approvals()[0].answer) == (NEW, "unanswered")

    configure(accounts)
    run_id = paused(prefect)
    answer(browser, prefect, run_id, "approve all of it", [], "Ann Manager", "")
    assert prefect.wait_for(run_id).state == "Completed"
    assert accounts.lead(second)["status_id"] == WON


def paused(prefect: LocalPrefect) -> str:
    """Return a run that waits for its answer."""
    run_id = prefect.start_deployment("reconcile", OPTIONS)
    prefect.wait_for(run_id, {"PAUSED"})
    return run_id


def answer(
    browser: Chrome, prefect: LocalPrefect, run_id: str, decision: str, kinds: list[str], name: str, reason: str
) -> None:
    """Answer in the form, as a person does."""
    browser.get(f"{prefect.ui_url}/runs/flow-run/{run_id}")
    button(browser, "Resume").click()
    seen(browser, "Resume Flow Run", "changes wait for a person", "Your name")
    dialog = browser.find_element(By.CSS_SELECTOR, "[role=dialog]")
    choices = [Select(found) for found in dialog.find_elements(By.TAG_NAME, "select")]
    filled = [choice for choice in choices if choice.options]
    filled[0].select_by_visible_text(decision)
    for kind in kinds:
        filled[1].select_by_visible_text(kind)
    for field, text in zip(dialog.find_elements(By.TAG_NAME, "textarea"), (name, reason), strict=True):
        field.send_keys(text)
    # A busy server refuses now and then, and the dialog stays: a person presses once more.
    assert any(submitted(browser) for _ in range(PRESSES))


def submitted(browser: Chrome) -> bool:
    """Press the button; return whether the dialog went away."""
    button(browser, "Submit").click()
    gone = invisibility_of_element_located((By.CSS_SELECTOR, "[role=dialog]"))
    with suppress(TimeoutException):
        return bool(WebDriverWait(browser, 10).until(gone))
    return False


def button(browser: Chrome, text: str) -> WebElement:
    """Wait for a button and return it."""

    def found(driver: Chrome) -> WebElement | None:
        buttons = driver.find_elements(By.TAG_NAME, "button")
        return next((b for b in buttons if b.text.strip() == text and b.is_enabled()), None)

    shown = WebDriverWait(browser, PATIENCE_S).until(found)
    assert shown is not None
    return shown


# --- where nobody can be asked ------------------------------------------------------------------------------------


def test_careful__the_command_line_sends_nothing_that_cannot_be_taken_back(accounts: Accounts) -> None:
    configure(accounts, careful=True)
    accounts.control("orders", email="new@example.com", total=49000)
    with pytest.raises(NeedsApproval, match="create-contact, create-deal") as told:
        accounts.run()
    assert told.value.exit_code == 3
    assert accounts.kommo()["leads"] == []
    dealsync("plan", "--out", "plan.json")
    dealsync("apply", "plan.json")
    assert [lead["status_id"] for lead in accounts.kommo()["leads"]] == [WON]


def test_careful__a_webhook_does_what_can_be_taken_back_and_leaves_the_rest(accounts: Accounts, hooks: Hooks) -> None:
    configure(accounts, careful=True)
    lead_id = sale(accounts, "ann")
    accounts.control("orders", email="new@example.com", total=49000)
    hooks.deliver()
    done = dealsync("drain")
    assert accounts.lead(lead_id)["status_id"] == WON
    assert len(accounts.kommo()["leads"]) == 1
    assert any("left to the next run of reconcile" in remark for remark in done["remarks"])


# --- what was never done before -----------------------------------------------------------------------------------


def held_by(accounts: Accounts) -> tuple[list[str], tuple[str, ...]]:
    """Return the kinds that a run of a deployment would hold back now, and why."""

    async def story() -> tuple[list[str], tuple[str, ...]]:
        async with open_run("plan") as run:
            await side_by_side(poll_lemon_squeezy(run, Reach(deep=True)), poll_kommo(run, Reach(deep=True)))
            verdict = weighed(run, await make_plan(run), None, can_ask=True)
            return sorted({action.kind.value for action in verdict.held}), verdict.reasons

    assert accounts
    return asyncio.run(story())


def test_first_time__is_asked_about_once_the_first_days_are_over(accounts: Accounts) -> None:
    lead_id = sale(accounts, "ann")
    assert held_by(accounts) == ([], ())  # nothing was ever done here
    accounts.run()
    (order,) = build_store(load_environment()).journal.links()["order_id"]
    accounts.control(f"orders/{order}/refund")
    assert held_by(accounts) == ([], ())
    configure(accounts, first_days=0)
    kinds, reasons = held_by(accounts)
    assert ("attention" in kinds, reasons) == (True, ("it does for the first time: attention",))
    configure(accounts, first_days=0, first_time=False)
    assert held_by(accounts) == ([], ())
    accounts.run(deep=True)
    assert accounts.lead(lead_id)["status_id"] == ATTENTION
