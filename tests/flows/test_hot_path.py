"""The hot path as `dealsync serve` runs it: receiver, warm drain and deployments, on a real Prefect server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from dealsync.local_prefect import LocalPrefect
from tests.accounts import WON, Accounts, simulated
from tests.webhooks import Hooks


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPrefect]:
    with LocalPrefect.running(tmp_path_factory.mktemp("prefect")) as server:
        yield server


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
    until(lambda: [run.state for run in served.flow_runs("process-inbox")] == ["Completed"])
    (run,) = served.flow_runs("process-inbox")
    assert {"dealsync", "order_created", f"order:{order['data']['id']}"} <= set(run.tags)
    artifacts = served.artifacts(run.id)
    assert f"leads/detail/{lead_id}" in artifacts["report"]
