"""`dealsync explain` as a person uses it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from dealsync.cli import app
from dealsync.errors import ConfigError, UnknownObject
from tests.accounts import QUALIFIED, Accounts
from tests.cli.shell import typed as dealsync

ANN = "ann@example.com"


def explain(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["explain", *arguments], catch_exceptions=True)


def told(about: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(explain(about, "--json").stdout)
    return found


@pytest.fixture
def sale(accounts: Accounts) -> tuple[int, str]:
    """A deal that a payment closed, and that a person moved again."""
    lead_id = int(accounts.control("leads", price=490, contact={"name": "Ann Example", "email": ANN})["id"])
    order_id = str(accounts.control("orders", email=ANN, total=49000)["data"]["id"])
    accounts.run().raise_if_failed()
    accounts.control("clock", advance_s=60)
    accounts.control(f"leads/{lead_id}/move", status_id=QUALIFIED, user_id=503)
    accounts.control("clock", advance_s=60)  # Kommo's lists lag behind
    accounts.run().raise_if_failed()
    return lead_id, order_id


def test_explain__tells_people_the_whole_story_in_80_columns(sale: tuple[int, str]) -> None:
    lead_id, order_id = sale
    shown = explain(f"lead:{lead_id}").stdout
    flat = " ".join(shown.split())
    parts = (
        f"lead:{lead_id} https://simulated.kommo.com/leads/detail/{lead_id}",
        f"order:{order_id} first seen: status paid, total 490.00 USD",
        f"order:{order_id} belongs to deal {lead_id} (tier contact)",
        "planned to close the deal as won: order paid and the deal is open",
        "sent together: ",
        "dealsync changed the deal: status New -> Closed - won",
        "done: close the deal as won",
        "by user 503",
        "status Closed - won -> Qualified",
        "left alone: a person moved the deal since dealsync saw to its status (user 503",
    )
    places = [flat.find(part) for part in parts]
    assert -1 not in places, [part for part, place in zip(parts, places, strict=True) if place < 0]
    assert places[:5] == sorted(places[:5])
    prose = [line for line in shown.splitlines() if "://" not in line]
    assert max(map(len, prose)) <= 80
    assert [line for line in prose if line != line.rstrip()] == []
    assert "ann" not in shown.lower().replace("planned", "").replace("cannot", "")


def test_explain__tells_programs_the_same_by_stable_names(sale: tuple[int, str]) -> None:
    lead_id, order_id = sale
    story = told(f"lead:{lead_id}")
    assert story["about"] == f"lead:{lead_id}"
    assert story["objects"] == [f"lead:{lead_id}", f"order:{order_id}"]
    assert story["links"][f"order:{order_id}"] == f"https://app.lemonsqueezy.com/orders/{order_id}"
    moments = story["moments"]
    assert [m["at"] for m in moments] == sorted(m["at"] for m in moments)
    (planned,) = (m for m in moments if m["what"] == "planned" and m["key"] == f"order:{order_id}:won")
    assert set(planned) == {
        "at", "what", "about", "lead_id", "by", "who", "run", "job", "key", "words", "details",
    }  # fmt: skip
    assert planned["job"] == "reconcile"
    assert planned["details"]["writes"] == {"pipeline_id": "7001", "status_id": "142"}
    assert "contact" in planned["details"]["evidence"]
    (edit,) = (m for m in moments if m["what"] == "edited")
    assert (edit["by"], edit["who"]) == ("person", "user 503")
    assert edit["details"]["changes"] == {"status_id": [142, QUALIFIED]}


def test_explain__needs_neither_account(accounts: Accounts, sale: tuple[int, str]) -> None:
    accounts.control("requests/reset")
    assert explain(f"order:{sale[1]}").exit_code == 0
    assert accounts.requests()["counts"] == {}


def test_explain__of_an_order_and_of_its_buyer_tell_of_the_deal_too(sale: tuple[int, str]) -> None:
    lead_id, order_id = sale
    by_order, by_buyer = told(f"order:{order_id}"), told(f" {ANN.upper()} ")
    assert by_order["objects"] == by_buyer["objects"] == [f"lead:{lead_id}", f"order:{order_id}"]
    assert by_buyer["about"] == "A…@E….COM"
    assert "ann" not in json.dumps(by_buyer).lower().replace("planned", "")


@pytest.mark.parametrize(
    ("about", "error", "words"),
    [
        ("lead:999", UnknownObject, "Nothing is on record about lead:999"),
        ("order:999", UnknownObject, "order:999"),
        ("subscription:999", UnknownObject, "subscription:999"),
        ("invoice:999", UnknownObject, "invoice:999"),
        ("nobody@example.com", UnknownObject, "n…@e….com"),
        ("lead:abc", ConfigError, "'lead:abc' is nothing that can be explained; give order:17, lead:31"),
        ("17", ConfigError, "give order:17"),
        ("deal:17", ConfigError, "give order:17"),
        ("", ConfigError, "give order:17"),
        ("order:1' OR 1=1", ConfigError, "give order:17"),
    ],
)
@pytest.mark.usefixtures("accounts")
def test_explain__of_what_nobody_knows_is_one_clear_line(about: str, error: type[Exception], words: str) -> None:
    failed = explain(about).exception
    assert type(failed) is error
    assert words in str(failed)
    assert "nobody@" not in str(failed)


def test_explain__of_an_unknown_deal_exits_with_1(accounts: Accounts) -> None:
    done = dealsync("explain", "lead:999", "--json")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "Nothing is on record about lead:999" in done.stderr
    assert accounts
