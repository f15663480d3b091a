"""What the next run makes of a person's decision, and the form in which Prefect asks for it."""

import asyncio
import sqlite3
from typing import Any

import pytest
from prefect import Flow
from prefect.exceptions import ParameterTypeError
from prefect.flows import load_flow_from_entrypoint

from dealsync.core.plan import Decision
from dealsync.errors import AlreadyDecided, ConfigError, UnknownDeal
from dealsync.ledger.reviews import ReviewItem
from dealsync.local_prefect import ROOT
from dealsync.reviewing import list_reviews, resolve_review
from dealsync.settings import load_environment
from tests.accounts import NEW, WON, Accounts

ANN = {"name": "Ann Example", "email": "ann@example.com"}
CHOICES = ["it is the payment of the deal below", "make a deal of its own", "leave it alone"]


def decide(order_id: str, wanted: int | Decision) -> ReviewItem:
    return asyncio.run(resolve_review(load_environment(), order_id, wanted, decided_by="tester"))


def waiting() -> list[str]:
    return [item.order_id for item in list_reviews(load_environment())]


def tie(accounts: Accounts) -> tuple[str, int, int]:
    """Return a payment that two open deals of its buyer fit, after the run that asked about it."""
    first, second = (int(accounts.control("leads", price=490, contact=ANN)["id"]) for _ in range(2))
    order_id = str(accounts.control("orders", email=ANN["email"], total=49000)["data"]["id"])
    accounts.run().raise_if_failed()
    return order_id, first, second


def test_decision__changes_nothing_in_kommo_until_the_next_run(accounts: Accounts) -> None:
    order_id, first, second = tie(accounts)
    accounts.control("requests/reset")
    decide(order_id, second)
    assert waiting() == []
    assert [name for name in accounts.requests()["counts"] if "GET" not in name] == []
    accounts.run().raise_if_failed()
    assert [accounts.lead(lead_id)["status_id"] for lead_id in (first, second)] == [NEW, WON]
    assert accounts.fields(second)["LS order id"] == order_id
    assert accounts.run().plan.actions == ()


def test_decision__may_name_a_deal_that_was_no_candidate_and_that_no_run_has_seen(accounts: Accounts) -> None:
    order_id, *candidates = tie(accounts)
    other = int(accounts.control("leads", price=10, contact={"name": "Bob", "email": "bob@example.com"})["id"])
    decide(order_id, other)
    accounts.run().raise_if_failed()
    assert accounts.lead(other)["status_id"] == WON
    assert {accounts.lead(lead_id)["status_id"] for lead_id in candidates} == {NEW}
    assert waiting() == []


def test_decision__for_a_deal_that_was_deleted_is_refused_and_the_review_goes_on_waiting(accounts: Accounts) -> None:
    order_id, first, _ = tie(accounts)
    accounts.delete(first)
    with pytest.raises(UnknownDeal, match=str(first)):
        decide(order_id, first)
    assert waiting() == [order_id]


def test_decision__is_never_asked_again_whatever_runs_and_persons_do(accounts: Accounts) -> None:
    order_id, first, _ = tie(accounts)
    decide(order_id, Decision.DISMISSED)
    accounts.control(f"leads/{first}/move", status_id=143, user_id=502)
    for deep in (False, True):
        assert accounts.run(deep=deep).plan.reviews == ()
    assert waiting() == []
    with pytest.raises(AlreadyDecided):
        decide(order_id, first)


def test_decision__in_the_database_of_another_account_is_refused(accounts: Accounts) -> None:
    order_id, first, _ = tie(accounts)
    with sqlite3.connect(accounts.folder / "dealsync.db") as db:
        db.execute("UPDATE identity SET value = '1'")
    db.close()
    with pytest.raises(ConfigError, match="belongs to Kommo account 1"):
        decide(order_id, first)
    assert waiting() == [order_id]


@pytest.fixture(scope="module")
def form() -> "Flow[..., Any]":
    entrypoint = str(ROOT / "flows" / "resolve_review.py") + ":resolve_review"
    return load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)


def test_form__has_typed_fields_in_their_order_each_explained(form: "Flow[..., Any]") -> None:
    schema = form.parameters.model_dump()
    fields = schema["properties"]
    assert sorted(fields, key=lambda name: fields[name]["position"]) == ["review", "decision", "decided_by", "lead_id"]
    assert schema["required"] == ["review", "decision", "decided_by"]
    assert [name for name, field in fields.items() if not field.get("description")] == []
    assert schema["definitions"]["Choice"]["enum"] == CHOICES
    assert {"minimum": 1, "type": "integer"} in fields["lead_id"]["anyOf"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"decided_by": ""},
        {"decided_by": "  "},
        {"decision": "close it"},
        {"lead_id": 0},
        {"lead_id": "x"},
        {"review": ""},
    ],
    ids=str,
)
def test_form__refuses_what_nobody_can_mean(form: "Flow[..., Any]", wrong: dict[str, Any]) -> None:
    filled = {"review": "order:17", "decision": CHOICES[1], "decided_by": "ann", "lead_id": None}
    form.validate_parameters(filled)
    with pytest.raises(ParameterTypeError):
        form.validate_parameters(filled | wrong)
