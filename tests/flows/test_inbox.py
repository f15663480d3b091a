"""From a webhook to the deal, against both simulated APIs, without Prefect."""

from __future__ import annotations

import asyncio
from typing import Any

from dealsync.drain import drain
from dealsync.drained import Drained
from tests.accounts import WON, Accounts
from tests.webhooks import Hooks

ANN = {"name": "Ann Example", "email": "ann@example.com"}


def drained(**options: Any) -> Drained:
    return asyncio.run(drain(progress=lambda _text: None, **options))


def test_drain__an_empty_inbox_costs_no_request(accounts: Accounts) -> None:
    accounts.simulator.world.reset_requests() if hasattr(accounts.simulator.world, "reset_requests") else None
    done = drained()
    assert (done.report, done.headline()) == (None, "Nothing waits in the inbox")


def test_drain__a_payment_for_a_named_deal_closes_it(accounts: Accounts, hooks: Hooks) -> None:
    accounts.run()
    lead_id = accounts.control("leads", price=490, contact=ANN)["id"]
    accounts.control("orders", email="other@example.com", total=49000, custom_data={"kommo_lead_id": str(lead_id)})
    assert hooks.deliver() == [200]
    done = drained()
    done.raise_if_failed()
    assert accounts.lead(lead_id)["status_id"] == WON
    assert drained().report is None
