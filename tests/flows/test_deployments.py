"""The flows as Prefect runs them: deployed, triggered as the UI triggers them, on a real server."""

import asyncio
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
import yaml
from prefect import Flow
from prefect.flows import load_flow_from_entrypoint

from dealsync.checks.context import Context
from dealsync.checks.examine import examine
from dealsync.core.checkup import CATALOGUE, Status, Verdict
from dealsync.issuing import SLICE
from dealsync.local_prefect import ROOT, FlowRun, LocalPrefect
from dealsync.settings import build_store, load_environment
from tests.accounts import ATTENTION, INVOICE_SENT, WON, Accounts, simulated
from tests.flows.test_alerts import Bell, ringing
from tests.flows.test_hot_path import until

ANN = {"name": "Ann Example", "email": "ann@example.com"}
DECLARED = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounts]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("accounts")
        with simulated(patch, folder) as found:
            found.init()
            yield found


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Bell]:
    """Where reports are sent to."""
    with ringing() as found:
        yield found


@pytest.fixture(scope="module")
def served(prefect: LocalPrefect, accounts: Accounts, mailbox: Bell) -> Iterator[LocalPrefect]:
    where = {"DEALSYNC_REPORT_URLS": f"json://127.0.0.1:{mailbox.server_port}/reports"}
    with prefect.serving(accounts.simulator.environment() | where, folder=accounts.folder):
        yield prefect


@pytest.fixture(scope="module")
def calm(served: LocalPrefect) -> Iterator[LocalPrefect]:
    """The same with schedules paused, so that every story meets only the runs that it starts."""
    with served.unscheduled():
        yield served


@pytest.mark.parametrize("entry", DECLARED["deployments"], ids=lambda entry: entry["name"])
def test_deployment__its_entrypoint_loads_and_takes_its_parameters(entry: dict[str, Any]) -> None:
    flow: Flow[..., Any] = load_flow_from_entrypoint(str(ROOT / entry["entrypoint"]), use_placeholder_flow=False)
    if "parameters" in entry:  # else a person fills in its form
        flow.validate_parameters(entry["parameters"])
    assert flow.description


def test_deployment__the_main_job_is_hourly_applies_and_never_overlaps() -> None:
    (hourly,) = (entry for entry in DECLARED["deployments"] if entry["name"] == "reconcile")
    assert [(s["cron"], s["timezone"]) for s in hourly["schedules"]] == [("0 * * * *", "UTC")]
    assert hourly["parameters"]["apply"] is True
    assert hourly["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}


def test_flow_files__share_no_name_with_a_package() -> None:
    """Prefect puts `flows/` first on the path: a flow called `tasks` would hide the package."""
    names = {path.stem for path in (ROOT / "flows").glob("*.py")} - {"__init__"}
    importable = {path.name for path in ROOT.iterdir() if path.is_dir()} | set(sys.stdlib_module_names)
    assert not names & (importable | {"httpx", "pandas", "prefect", "sqlalchemy"})


def test_schedule__the_server_makes_runs_of_every_scheduled_deployment(served: LocalPrefect) -> None:
    """A server whose scheduler fails looks well: what is triggered runs, and nothing ever comes by itself."""
    wanted = {entry["name"] for entry in DECLARED["deployments"] if entry.get("schedules")}
    assert {"reconcile", "deep-sweep", "process-inbox"} <= wanted
    until(lambda: all(served.planned_runs(name) for name in wanted), within_s=90)


def test_doctor__finds_the_server_and_what_is_served_there_well(
    served: LocalPrefect, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `serve` registers looks as the played server of the doctor's own tests has it."""
    monkeypatch.setenv("PREFECT_API_URL", f"{served.ui_url}/api")
    wanted = {kind.code for kind in CATALOGUE if kind.code.startswith("DS4")}

    async def verdicts() -> dict[str, Verdict]:
        return {one.kind.code: one.verdict async for one in examine(Context()) if one.kind.code in wanted}

    def all_is_well() -> bool:
        return {verdict.status for verdict in asyncio.run(verdicts()).values()} == {Status.OK}

    until(all_is_well, within_s=90)
    found = asyncio.run(verdicts())
    assert found.keys() == wanted
    assert found["DS403"].words == f"all {len(DECLARED['deployments'])}"
    assert accounts


def test_story__a_purchase_and_a_refund_go_through_the_deployed_flow(calm: LocalPrefect, accounts: Accounts) -> None:
    lead_id = accounts.control("leads", price=490, contact=ANN)["id"]
    order = accounts.control("orders", email=ANN["email"], total=49000)
    accounts.control("orders", email="self.serve@example.com", total=9900)

    run = calm.run_deployment("reconcile", {"apply": True})
    assert (run.state, run.message.split(":")[0]) == ("Completed", "Done")
    assert accounts.lead(lead_id)["status_id"] == WON
    assert len(accounts.kommo()["leads"]) == 2
    artifacts = calm.artifacts(run.id)
    assert f"leads/detail/{lead_id}" in artifacts["report"]
    assert "order:" not in artifacts["plan"]
    assert '"action": "close"' in artifacts["plan"]
    assert not {"Ann", "ann@example.com", "self.serve"} & set(_words(str(artifacts)))

    assert name_of(calm, run) == "hourly: 1 closed, 1 created"
    assert {accounts.store_tag, "live", "dealsync"} <= set(run.tags)
    assert {"summary", "drift"} <= set(artifacts)

    again = calm.run_deployment("reconcile", {"apply": True})
    assert "nothing to do" in again.message
    assert "Nothing is out of step" in calm.artifacts(again.id)["drift"]

    accounts.control(f"orders/{order.get('data', order)['id']}/refund")
    planned = calm.run_deployment("reconcile", {"apply": False})
    assert planned.message.startswith("To do:")
    assert accounts.lead(lead_id)["status_id"] == WON
    calm.run_deployment("reconcile", {"apply": True})
    assert accounts.lead(lead_id)["status_id"] == ATTENTION
    assert len(accounts.texts(lead_id)[1]) == 1


def name_of(calm: LocalPrefect, run: FlowRun) -> str:
    """Return the name of a run of `reconcile`: it comes right after the run has ended."""

    def name() -> str:
        return next(one.name for one in calm.flow_runs("reconcile") if one.id == run.id)

    until(lambda: ": " in name())
    return name()


def test_story__one_refused_record_stops_no_other_and_the_run_is_red(calm: LocalPrefect, accounts: Accounts) -> None:
    first, second = (accounts.control("leads", price=p, contact={"name": f"B{p}", "email": f"b{p}@example.com"})["id"]
                     for p in (51, 52))  # fmt: skip
    for price in (51, 52):
        accounts.control("orders", email=f"b{price}@example.com", total=price * 100)
    accounts.inject("POST", "/leads/notes", how="answer", status=400)
    run = calm.run_deployment("reconcile", {"apply": True})
    assert run.state in ("Completed", "Failed")
    assert {accounts.lead(lead_id)["status_id"] for lead_id in (first, second)} == {WON}
    calm.run_deployment("reconcile", {"apply": True})
    assert [len(accounts.texts(lead_id)[0]) for lead_id in (first, second)] == [1, 1]


def test_story__a_plan_over_the_limit_waits_for_a_person_and_sends_nothing(
    calm: LocalPrefect, accounts: Accounts
) -> None:
    before = len(accounts.kommo()["leads"])
    accounts.control("orders", email="too.many@example.com", total=100)
    run_id = calm.start_deployment("reconcile", {"apply": True, "max_changes": 0})
    calm.wait_for(run_id, {"PAUSED"})
    assert len(accounts.kommo()["leads"]) == before
    answer = {"decision": "reject: none of it is done", "kinds": [], "name": "Ann Manager", "reason": "too many"}
    resume = f"{calm.ui_url}/api/flow_runs/{run_id}/resume"
    httpx.post(resume, json={"run_input": answer}, timeout=30).raise_for_status()
    assert calm.wait_for(run_id).state == "Completed"
    assert len(accounts.kommo()["leads"]) == before
    (kept,) = build_store(load_environment()).approvals.listed()
    assert (kept.answer, kept.answered_by, kept.words) == ("rejected", "Ann Manager", "too many")


def test_story__many_deals_at_the_invoice_stage_get_a_link_each_and_the_run_shows_how_far_it_is(
    calm: LocalPrefect, accounts: Accounts
) -> None:
    lead_ids = [
        accounts.control(
            "leads", price=490, status_id=INVOICE_SENT, contact={"name": f"I{n}", "email": f"invoice{n}@example.com"}
        )["id"]
        for n in range(SLICE + 5)
    ]
    run = calm.run_deployment("issue-checkouts", {})
    assert (run.state, run.message) == ("Completed", f"Checkouts: {len(lead_ids)} opened")
    links = {made["attributes"]["url"] for made in accounts.checkouts()}
    assert {accounts.fields(lead_id)["LS checkout link"] for lead_id in lead_ids} == links
    assert len(links) == len(lead_ids)
    artifacts = calm.artifacts(run.id)
    assert artifacts["checkouts-progress"] == 100
    assert f"leads/detail/{lead_ids[0]}" in artifacts["report"]
    assert artifacts["checkouts"].count('"opened"') == len(lead_ids)
    assert not {"invoice1@example.com", *links} & set(_words(str(artifacts)))

    again = calm.run_deployment("issue-checkouts", {"leads": lead_ids[:1]})
    assert again.message == "Checkouts: 1 had one already"


def test_story__a_person_decides_a_review_in_its_form(calm: LocalPrefect, accounts: Accounts) -> None:
    eve = {"name": "Eve Example", "email": "eve@example.com"}
    first, second = (accounts.control("leads", price=880, contact=eve)["id"] for _ in range(2))
    orders = [accounts.control("orders", email=eve["email"], total=88000)["data"]["id"] for _ in range(2)]
    calm.run_deployment("reconcile", {"apply": True})
    filled = {"review": f"order:{orders[0]}", "decided_by": "tester"}

    half = calm.run_deployment("resolve-review", filled | {"decision": "it is the payment of the deal below"})
    assert (half.state, "A deal is named with" in half.message) == ("Failed", True)
    whole = filled | {"decision": "it is the payment of the deal below", "lead_id": second}
    done = calm.run_deployment("resolve-review", whole)
    assert (done.state, f"deal {second}; the next run" in done.message) == ("Completed", True)
    shown = calm.artifacts(done.id)["reviews"]
    assert f"order:{orders[0]}: deal {second}" in shown
    assert f"[order:{orders[1]}](https://app.lemonsqueezy.com/orders/{orders[1]})" in shown
    assert f"/leads/detail/{first})" in shown
    assert not {"Eve", "eve@example.com", "tester"} & set(_words(shown))

    calm.run_deployment("reconcile", {"apply": True})
    assert accounts.lead(second)["status_id"] == WON


def test_story__the_report_of_the_month_is_shown_and_sent_once_a_day(
    calm: LocalPrefect, accounts: Accounts, mailbox: Bell
) -> None:
    accounts.control("orders", email="reported@example.com", total=12300)
    calm.run_deployment("reconcile", {"apply": True})
    month = f"{datetime.now(ZoneInfo('America/New_York')):%Y-%m}"  # never that of yesterday: it may be another one
    run = calm.run_deployment("daily-report", {"month": month, "send": True})
    assert (run.state, run.message.endswith("Report: sent")) == ("Completed", True)
    shown = calm.artifacts(run.id)["daily-report"]
    assert "came in" in shown
    assert not {"reported@example.com", "Seller", "Admin"} & set(_words(shown))
    (heard,) = mailbox.heard
    assert heard["message"].splitlines()[0] in shown
    assert [attached["filename"] for attached in heard["attachments"]] == [f"report-{month}.html"]
    again = calm.run_deployment("daily-report", {"month": month, "send": True})
    assert "sent before on this day" in again.message
    assert calm.run_deployment("daily-report", {"send": False}).state == "Completed"
    assert len(mailbox.heard) == 1
    wrong = calm.run_deployment("daily-report", {"month": "2026-13"})
    assert (wrong.state, "is no month" in wrong.message) == ("Failed", True)


def test_story__a_person_asks_why_a_deal_is_as_it_is(calm: LocalPrefect, accounts: Accounts) -> None:
    contact = {"name": "Why Example", "email": "why@example.com"}
    lead_id = accounts.control("leads", price=770, contact=contact)["id"]
    order_id = accounts.control("orders", email=contact["email"], total=77000)["data"]["id"]
    calm.run_deployment("reconcile", {"apply": True})
    done = calm.run_deployment("explain", {"about": f"lead:{lead_id}"})
    assert (done.state, done.message.startswith(f"lead:{lead_id}: ")) == ("Completed", True)
    shown = calm.artifacts(done.id)["explain"]
    assert f"leads/detail/{lead_id})" in shown
    assert f"order:{order_id} belongs to deal {lead_id} (tier contact)" in shown
    assert "done: close the deal as won" in shown
    assert not {"Why", "why@example.com"} & set(_words(shown))
    unknown = calm.run_deployment("explain", {"about": "lead:999999"})
    assert (unknown.state, "Nothing is on record about lead:999999" in unknown.message) == ("Failed", True)


def test_form__of_a_review_asks_for_typed_and_explained_values(calm: LocalPrefect) -> None:
    deployment = calm.deployment("resolve-review")
    assert deployment is not None
    schema = deployment["parameter_openapi_schema"]
    assert schema["required"] == ["review", "decision", "decided_by"]
    assert all(schema["properties"][name]["description"] for name in ("review", "decision", "decided_by", "lead_id"))
    assert len(schema["definitions"]["Choice"]["enum"]) == 3
    assert deployment["enforce_parameter_schema"]


def _words(text: str) -> list[str]:
    return text.replace('"', " ").replace("|", " ").split()
