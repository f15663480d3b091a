"""Recorded payloads are served as recorded."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from dealsync.simulator.samples import recorded
from tests.unit.simulator.bench import NOW, SAMPLES, Bench, bench


@pytest.fixture(scope="module")
def archive() -> Iterator[Bench]:
    with bench(recorded(SAMPLES, now=NOW)) as one:
        yield one


def body(path: str) -> Any:
    return json.loads((SAMPLES / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("kind", "file"),
    [("orders", "order-list.json"), ("subscription-invoices", "subscription-invoice-list.json")],
)
def test_lemon_squeezy__lists_the_recorded_objects(archive: Bench, kind: str, file: str) -> None:
    expected = body(f"lemon-squeezy/api/{file}")["response"]["body"]
    answer = archive.lemon_squeezy.get(f"/{kind}").json()
    assert answer["data"] == expected["data"]
    assert answer["meta"] == expected["meta"]


def test_lemon_squeezy__older_captures_keep_their_gaps(archive: Bench) -> None:
    assert "refunded_amount" not in archive.lemon_squeezy.get("/orders/1899988").json()["data"]["attributes"]


def test_lemon_squeezy__the_recorded_user_sets_the_mode(archive: Bench) -> None:
    assert archive.lemon_squeezy.get("/users/me").json()["meta"] == {"test_mode": True}


def test_kommo__serves_recorded_leads_and_contacts(archive: Bench) -> None:
    expected = body("kommo/leads_list.kommo.json")["_embedded"]["leads"][0]
    assert archive.kommo.get(f"/leads/{expected['id']}").json() == expected
    contact = body("kommo/contacts_list.kommo.json")["_embedded"]["contacts"][0]
    assert archive.kommo.get(f"/contacts/{contact['id']}").json() == contact


def test_kommo__serves_recorded_pipelines_and_users_alone(archive: Bench) -> None:
    expected = body("kommo/pipelines_list.amocrm.json")["_embedded"]["pipelines"]
    assert archive.kommo.get("/leads/pipelines").json()["_embedded"]["pipelines"] == expected
    users = archive.kommo.get("/users").json()["_embedded"]["users"]
    assert {user["id"] for user in users}.isdisjoint({501, 502, 503})


def test_kommo__recorded_deals_can_be_changed(archive: Bench) -> None:
    lead_id = body("kommo/leads_list.kommo.json")["_embedded"]["leads"][0]["id"]
    assert archive.kommo.patch(f"/leads/{lead_id}", json={"tags_to_add": [{"name": "x"}]}).status_code == 200
    tags = archive.kommo.get(f"/leads/{lead_id}").json()["_embedded"]["tags"]
    assert [tag["name"] for tag in tags] == ["x"]
