"""A sales manager asks in the Prefect UI why a deal is as it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prefect import Flow
from prefect.exceptions import ParameterTypeError
from prefect.flows import load_flow_from_entrypoint

from dealsync.explain import explain
from dealsync.local_prefect import ROOT
from dealsync.settings import load_environment
from tasks import explain as tasks
from tests.accounts import Accounts

BUYER = "a.buyer@example.com"


@pytest.fixture(scope="module")
def form() -> Flow[..., Any]:
    return load_flow_from_entrypoint(str(ROOT / "flows" / "explain.py") + ":explain", use_placeholder_flow=False)


def test_form__has_one_explained_field(form: Flow[..., Any]) -> None:
    schema = form.parameters.model_dump()
    assert list(schema["properties"]) == schema["required"] == ["about"]
    assert "the number in the deal's address" in schema["properties"]["about"]["description"]


@pytest.mark.parametrize("wrong", ["", "   ", None, {"lead": 31}], ids=str)
def test_form__refuses_what_nobody_can_mean(form: Flow[..., Any], wrong: Any) -> None:
    form.validate_parameters({"about": "lead:31"})
    with pytest.raises(ParameterTypeError):
        form.validate_parameters({"about": wrong})


def test_artifact__is_the_timeline_with_links_and_nobodys_address(
    accounts: Accounts, form: Flow[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flow as it is, without the engine around it; tests of the deployments run it on a server."""
    contact = {"name": "A", "email": BUYER}
    lead_id = int(accounts.control("leads", price=490, contact=contact)["id"])
    order_id = accounts.control("orders", email=BUYER, total=49000)["data"]["id"]
    accounts.run().raise_if_failed()
    published: list[dict[str, str]] = []

    async def publish(**artifact: str) -> None:
        published.append(artifact)

    monkeypatch.setattr(tasks, "acreate_markdown_artifact", publish)
    explanation = asyncio.run(tasks.read_history.fn(load_environment(), BUYER))
    asyncio.run(tasks.publish_explanation.fn(explanation))
    (artifact,) = published
    assert (artifact["key"], artifact["description"]) == ("explain", "a…@e….com")
    text = artifact["markdown"]
    assert text == explain(load_environment(), BUYER).as_markdown()
    assert f"[lead:{lead_id}](https://simulated.kommo.com/leads/detail/{lead_id})" in text
    assert f"[order:{order_id}](https://app.lemonsqueezy.com/orders/{order_id})" in text
    assert "planned to close the deal as won: order paid and the deal is open (evidence: " in text
    assert BUYER not in text
