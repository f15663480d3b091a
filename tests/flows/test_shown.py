"""What flow runs show of themselves in Prefect, and what they take from it: names, tags, artifacts, block, variables.

The flows are called in this process, on a real server.
"""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect import Flow, get_client
from prefect.client.schemas.objects import State
from prefect.events.worker import EventsWorker
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_LOGGING_TO_API_ENABLED,
    temporary_settings,
)

from dealsync.local_prefect import LocalPrefect
from dealsync.settings import Environment, load_environment
from flows.issue_checkouts import issue_checkouts
from flows.process_inbox import process_inbox
from flows.reconcile import reconcile
from tasks.accounts import DealsyncAccounts
from tests.accounts import WON, Accounts, simulated
from tests.flows.prefect_api import ask, block, variable
from tests.webhooks import Hooks

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


class Prefect:
    """The server as the UI asks it, by the state in which a run ended."""

    def __init__(self, server: LocalPrefect) -> None:
        self._server = server

    def run(self, state: State[Any]) -> dict[str, Any]:
        return dict(ask(self._server, "GET", f"/flow_runs/{state.state_details.flow_run_id}"))

    def name(self, state: State[Any]) -> str:
        return str(self.run(state)["name"])

    def shown(self, state: State[Any]) -> dict[str, Any]:
        """Return the artifacts of a run by key."""
        return self._server.artifacts(str(state.state_details.flow_run_id))

    def variable(self, name: str, value: Any) -> AbstractContextManager[None]:
        return variable(self._server, name, value)

    def block(self, **data: str) -> AbstractContextManager[str]:
        return block(self._server, **data)


@pytest.fixture
def prefect(shared_prefect: LocalPrefect, tmp_path: Path) -> Iterator[Prefect]:
    own = {PREFECT_API_URL: f"{shared_prefect.ui_url}/api", PREFECT_HOME: tmp_path / "prefect"}
    with temporary_settings({**own, PREFECT_LOGGING_TO_API_ENABLED: False}):
        yield Prefect(shared_prefect)
    EventsWorker.drain_all()
    gc.collect()  # what Prefect's clients leave open ends here, where it is expected


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    with pytest.MonkeyPatch.context() as patch, simulated(patch, tmp_path) as found:
        found.init()
        yield found


def ran(flow: Flow[..., Any], **parameters: Any) -> State[Any]:
    """Call a flow as its deployment does; return how it ended."""

    called: Any = flow(**parameters, return_state=True)
    state: State[Any] = asyncio.run(called)
    return state


def sale(accounts: Accounts, person: str, *, deals: int = 1) -> list[int]:
    """Open deals of one person and an order of his that is paid."""
    contact = {"name": person, "email": f"{person}@example.com"}
    lead_ids = [accounts.control("leads", price=490, contact=contact)["id"] for _ in range(deals)]
    accounts.control("orders", email=f"{person}@example.com", total=49000)
    return lead_ids


def test_reconcile__its_runs_say_what_they_did_and_for_whom(prefect: Prefect, accounts: Accounts) -> None:
    sale(accounts, "ann")
    accounts.control("orders", email="self.serve@example.com", total=9900)
    planned = ran(reconcile)
    refused = ran(reconcile, apply=True, max_changes=0)
    done = ran(reconcile, apply=True)
    again = ran(reconcile, apply=True, deep=True)
    told = prefect.name(planned).removeprefix("plan: ").removesuffix(" changes waiting")
    assert int(told) == len(json.loads(prefect.shown(planned)["plan"])) > 0
    assert prefect.name(refused) == "hourly: failed, the plan is too large"
    assert prefect.name(done) == "hourly: 1 closed, 1 created"
    assert prefect.name(again) == "nightly: nothing to do"
    for state in (planned, refused, done):
        assert {accounts.store_tag, "live"} <= set(prefect.run(state)["tags"])


def test_reconcile__writes_that_failed_stand_in_its_name(prefect: Prefect, accounts: Accounts) -> None:
    (lead_id,) = sale(accounts, "bea")
    accounts.inject("POST", "/leads/notes", how="answer", status=400, times=50)
    state = ran(reconcile, apply=True)
    assert state.is_failed()
    assert prefect.name(state) == "hourly: failed, 1 write; 1 closed"
    assert accounts.lead(lead_id)["status_id"] == WON


def test_process_inbox__its_run_names_what_it_did_and_the_events(prefect: Prefect, accounts: Accounts) -> None:
    hooks = Hooks(accounts).register()
    empty = ran(process_inbox)
    lead_id = accounts.control("leads", price=490)["id"]
    accounts.control("orders", email="c@example.com", total=49000, custom_data={"kommo_lead_id": str(lead_id)})
    hooks.deliver()
    state = ran(process_inbox)
    assert prefect.name(empty) == "webhook: nothing waits"
    assert prefect.name(state).startswith("webhook: 1 closed (")
    assert "order_created" in prefect.name(state)
    assert {accounts.store_tag, "live", "order_created"} <= set(prefect.run(state)["tags"])


def test_names__cost_no_run_its_success_where_prefect_does_not_take_them(
    prefect: Prefect, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lead_id,) = sale(accounts, "dan")
    refusing = httpx.MockTransport(lambda _: httpx.Response(503))
    real = get_client
    asked = []

    def client() -> Any:
        asked.append(1)
        return real(httpx_settings={"transport": refusing})

    monkeypatch.setattr("tasks.naming.get_client", client)
    monkeypatch.setattr("tasks.naming.PATIENCE_S", 0.2)
    state = ran(reconcile, apply=True)
    assert state.is_completed()
    assert len(asked) == 2  # as it began, and as it was over
    assert accounts.lead(lead_id)["status_id"] == WON


def test_artifacts__are_made_anew_only_when_they_say_something_new(prefect: Prefect, accounts: Accounts) -> None:
    first, second = sale(accounts, "eve", deals=2)
    busy = prefect.shown(ran(reconcile, apply=True))
    assert f"leads/detail/{first}" in busy["reviews"]
    assert f"leads/detail/{second}" in busy["reviews"]
    assert "resolve-review" in busy["reviews"]
    assert "| payments that a person must place | 1 |" in busy["summary"]
    quiet = prefect.shown(ran(reconcile, apply=True))
    assert set(quiet) == {"plan", "report", "summary"}
    order = accounts.control("orders", email="fay@example.com", total=9900)["data"]["id"]
    closed = prefect.shown(ran(reconcile, apply=True))
    (row,) = (r for r in json.loads(closed["drift"]) if r["class"] == "paid_no_deal")
    assert (row["how many"], row["mended"], row["age"]) == (1, 1, "under a day")
    assert f"lemonsqueezy.com/orders/{order}" in row["deals"]
    rows = json.loads(closed["latency"])
    assert [(r["last"], r["noticed by"], r["payments"]) for r in rows] == [
        ("24 hours", "poll", 1),
        ("7 days", "poll", 1),
    ]
    after = prefect.shown(ran(reconcile, apply=True))
    assert json.loads(after["drift"]) == [{"what": "Nothing is out of step"}]
    assert not {"eve@example.com", "fay@example.com", "ann@example.com"} & set(str([busy, closed, after]).split())


def test_charts__are_drawn_at_night_as_pictures_that_need_no_server(prefect: Prefect, accounts: Accounts) -> None:
    ran(reconcile, apply=True)
    sale(accounts, "gus")
    by_day = ran(reconcile, apply=True)
    by_night = ran(reconcile, apply=True, deep=True)
    assert not [key for key in prefect.shown(by_day) if key.startswith("chart-")]
    charts = {key: url for key, url in prefect.shown(by_night).items() if key.startswith("chart-")}
    assert set(charts) == {"chart-payments-per-day", "chart-time-to-close", "chart-drift-over-time"}
    assert all("](data:image/png;base64,iVBOR" in text for text in charts.values())


def test_progress__is_shown_while_many_pages_are_read(
    prefect: Prefect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with simulated(monkeypatch, tmp_path, orders=700) as accounts:
        accounts.init()
        accounts.control("faults", latency_ms=300)
        long = ran(reconcile)
        accounts.control("faults", latency_ms=0)
        short = ran(reconcile)
    assert prefect.shown(long)["progress"] == 100
    assert "progress" not in prefect.shown(short)


def test_variables__pause_everything_and_set_the_limit(prefect: Prefect, accounts: Accounts) -> None:
    (lead_id,) = sale(accounts, "ivy")
    with prefect.variable("dealsync_paused", "true"):
        paused, issued = ran(reconcile, apply=True), ran(issue_checkouts)
    assert "paused by the Prefect variable dealsync_paused" in str(paused.message)
    assert prefect.name(paused).startswith("hourly: paused, ")
    assert "dealsync_paused" in prefect.shown(paused)["report"]
    assert (issued.name, prefect.name(issued)) == ("Paused", "checkouts: paused")
    with prefect.variable("dealsync_max_changes", 0):
        refused = ran(reconcile, apply=True)
    assert "max_changes = 0" in str(refused.message)
    with prefect.variable("dealsync_max_changes", "plenty"):
        wrong = ran(reconcile, apply=True)
    assert "dealsync_max_changes (" in str(wrong.message)
    assert accounts.lead(lead_id)["status_id"] != WON
    with prefect.variable("dealsync_max_changes", 0):
        allowed = ran(reconcile, apply=True, max_changes=10)
    assert allowed.is_completed()
    assert accounts.lead(lead_id)["status_id"] == WON


def test_paused__events_wait(prefect: Prefect, accounts: Accounts) -> None:
    hooks = Hooks(accounts).register()
    lead_id = accounts.control("leads", price=490)["id"]
    accounts.control("orders", email="j@example.com", total=49000, custom_data={"kommo_lead_id": str(lead_id)})
    hooks.deliver()
    with prefect.variable("dealsync_paused", True):
        state = ran(process_inbox)
    assert (state.name, prefect.name(state)) == ("Paused", "webhook: paused")
    assert accounts.lead(lead_id)["status_id"] != WON
    ran(process_inbox)
    assert accounts.lead(lead_id)["status_id"] == WON


def test_block__what_it_holds_goes_before_the_environment_and_the_rest_comes_from_there(
    prefect: Prefect, accounts: Accounts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    right = load_environment()
    token = right.kommo_token.get_secret_value() if right.kommo_token else ""
    for _ in range(2):
        asyncio.run(DealsyncAccounts.aregister_type_and_schema())
    with prefect.block(kommo_token="a-token-of-nobody"):
        refused = ran(reconcile, apply=True)
    assert prefect.name(refused) == "hourly: failed, a key is refused"
    monkeypatch.setenv("KOMMO_TOKEN", "a-token-of-nobody")
    with prefect.block(kommo_token=token, dealsync_mode="test"):
        done = ran(reconcile)
    assert done.is_completed()
    assert "of the other mode" in prefect.shown(done)["report"]
    assert {accounts.store_tag, "test"} <= set(prefect.run(done)["tags"])
    with prefect.block(kommo_token="a token of nobody", kommo_domain="not a host"):
        wrong = ran(reconcile)
    assert "KOMMO_DOMAIN, KOMMO_TOKEN: as the block dealsync-accounts/dealsync has it" in str(wrong.message)
    shown = caplog.text + str([refused.message, wrong.message, prefect.shown(done)])
    assert "nobody" not in shown
    assert token not in shown


def test_block__that_cannot_be_read_fails_the_run(
    prefect: Prefect, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert accounts
    asyncio.run(DealsyncAccounts.aregister_type_and_schema())
    with prefect.block(dealsync_mode="neither"):
        state = ran(reconcile, apply=True)
    assert "Prefect did not give the block dealsync-accounts/dealsync" in str(state.message)
    assert "neither" not in str(state.message)
    monkeypatch.setenv("DEALSYNC_BLOCK", "another")
    with prefect.block(dealsync_mode="neither"):
        assert (ran(reconcile)).is_completed()


def test_block__its_fields_are_settings_and_hide_what_those_hide() -> None:
    for name, field in DealsyncAccounts.model_fields.items():
        assert ("SecretStr" in str(field.annotation)) is ("SecretStr" in str(Environment.model_fields[name].annotation))
