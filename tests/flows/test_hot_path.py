"""The hot path as `dealsync serve` runs it: receiver, warm drain and deployments, on a real Prefect server."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from dealsync.local_prefect import ROOT, FlowRun, LocalPrefect
from dealsync.settings import load_environment
from tests.accounts import INVOICE_SENT, QUALIFIED, WON, Accounts, simulated
from tests.receiver.test_serve import receiving
from tests.webhooks import Hooks

SAMPLES = ROOT / "tests" / "samples" / "lemon-squeezy" / "webhooks"


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounts]:
    with pytest.MonkeyPatch.context() as patch, simulated(patch, tmp_path_factory.mktemp("accounts")) as found:
        found.init()
        yield found


@pytest.fixture(scope="module")
def served(prefect: LocalPrefect, accounts: Accounts) -> Iterator[LocalPrefect]:
    with prefect.serving(accounts.simulator.environment(), folder=accounts.folder) as receiver:
        Hooks(accounts).register(receiver)
        yield prefect


def until(true: Callable[[], bool], *, within_s: float = 30) -> float:
    """Wait until something is so; return how long it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < within_s, "it did not happen"
        time.sleep(0.05)
    return time.monotonic() - began


def test_serve__a_payment_closes_its_deal_in_a_run_of_process_inbox(served: LocalPrefect, accounts: Accounts) -> None:
    lead_id = accounts.control("leads", price=490)["id"]
    custom = {"kommo_lead_id": str(lead_id)}
    order = accounts.control("orders", email="a.buyer@example.com", total=49000, custom_data=custom)
    until(lambda: accounts.lead(lead_id)["status_id"] == WON)
    tags = {"dealsync", "order_created", f"order:{order['data']['id']}"}

    def completed() -> list[FlowRun]:
        return [r for r in served.flow_runs("process-inbox") if r.state == "Completed" and tags <= set(r.tags)]

    until(lambda: len(completed()) == 1)
    (run,) = completed()
    artifacts = served.artifacts(run.id)
    assert f"leads/detail/{lead_id}" in artifacts["report"]


def test_serve__a_deal_at_the_invoice_stage_gets_its_link_is_paid_through_it_and_won(
    served: LocalPrefect, accounts: Accounts
) -> None:
    ann = {"name": "Ann Example", "email": "ann@example.com"}
    lead_id = accounts.control("leads", price=490, contact=ann, status_id=QUALIFIED)["id"]
    accounts.control(f"leads/{lead_id}/move", status_id=INVOICE_SENT)
    until(lambda: "LS checkout link" in accounts.fields(lead_id))
    (made,) = accounts.checkouts()
    assert accounts.fields(lead_id)["LS checkout link"] == made["attributes"]["url"]
    accounts.control(f"checkouts/{made['id']}/pay", email="somebody.else@example.org")
    until(lambda: accounts.lead(lead_id)["status_id"] == WON)
    assert len(accounts.checkouts()) == 1


def test_receive__alone_wakes_the_flow_through_the_prefect_api(
    served: LocalPrefect, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts apart: another process receives, and whatever executes runs of the deployment drains."""
    monkeypatch.setenv("PREFECT_API_URL", f"{served.ui_url}/api")
    lead_id = accounts.control("leads", price=490)["id"]
    time.sleep(1)  # what Kommo tells of the new deal is drained by then
    accounts.simulator.world.faults.update({"webhook_loss": 1.0})  # the served receiver shall hear nothing of it
    known = {run.id for run in served.flow_runs("process-inbox")}
    body = json.loads((SAMPLES / "eur-first-purchase" / "order_created.json").read_text(encoding="utf-8"))
    order = accounts.control("orders", email="a.buyer@example.com", total=49000, age_minutes=600)["data"]
    body["data"] |= {"id": order["id"], "attributes": {"store_id": order["attributes"]["store_id"]}}
    body["meta"] |= {"webhook_id": "sent-by-hand", "test_mode": False, "custom_data": {"kommo_lead_id": str(lead_id)}}
    with receiving() as (_, url):
        content, (secret, *_) = json.dumps(body).encode(), load_environment().webhook_secrets
        signature = hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()
        httpx.post(
            f"{url}/webhooks/lemon-squeezy", content=content, headers={"X-Signature": signature}, timeout=10
        ).raise_for_status()
        until(lambda: accounts.lead(lead_id)["status_id"] == WON, within_s=90)  # a Python has to start for this run
        until(lambda: {run.id for run in served.flow_runs("process-inbox") if run.state == "Completed"} > known)
