"""The control routes: what they do, and how they refuse nonsense."""

from typing import Any

import pytest

from dealsync.simulator.premises import INVOICE_SENT, PARTNERS, SALES
from tests.unit.simulator.bench import Bench


def test_index__names_every_route(fresh: Bench) -> None:
    index = fresh.control.get("http://test/control").json()
    for line in index:
        method, _, path = line.partition(" ")
        answer = fresh.control.request(method, "http://test" + path.replace("{id}", "1"), content=b"[]")
        assert answer.status_code != 405, line


def test_order__of_a_subscription_makes_its_companions(fresh: Bench) -> None:
    variant = next(v for v in fresh.world.lemon_squeezy.variants() if v["attributes"]["is_subscription"])
    answer = fresh.control.post(
        "/orders",
        json={"email": "new@b.example", "variant_id": int(variant["id"]), "quantity": 2, "age_minutes": 30},
    )
    assert answer.status_code == 201
    order = answer.json()["data"]
    assert order["attributes"]["total"] == 2 * variant["attributes"]["price"]
    subscriptions = fresh.lemon_squeezy.get(f"/subscriptions?filter[order_id]={order['id']}").json()["data"]
    assert [one["attributes"]["status"] for one in subscriptions] == ["active"]
    invoices = fresh.lemon_squeezy.get(
        f"/subscription-invoices?filter[subscription_id]={subscriptions[0]['id']}"
    ).json()["data"]
    assert [one["attributes"]["total"] for one in invoices] == [order["attributes"]["total"]]
    items = fresh.lemon_squeezy.get(f"/order-items?filter[order_id]={order['id']}").json()["data"]
    assert [one["attributes"]["quantity"] for one in items] == [2]
    assert fresh.lemon_squeezy.get("/customers?filter[email]=new@b.example").json()["meta"]["page"]["total"] == 1


def test_refund__takes_the_rest_by_default(fresh: Bench) -> None:
    order_id = fresh.control.post("/orders", json={"email": "a@b.example", "total": 900}).json()["data"]["id"]
    fresh.control.post(f"/orders/{order_id}/refund", json={"amount": 400})
    answer = fresh.control.post(f"/orders/{order_id}/refund", json={}).json()["data"]["attributes"]
    assert (answer["refunded_amount"], answer["refunded"]) == (900, True)
    assert fresh.control.post(f"/orders/{order_id}/refund", json={}).status_code == 400


def test_lead__is_added_with_its_contact_and_moved_by_a_person(fresh: Bench) -> None:
    body = {
        "name": "Hot",
        "price": 490,
        "status_id": INVOICE_SENT,
        "contact": {"name": "Ann", "email": "ann@b.example"},
    }
    answer = fresh.control.post("/leads", json={**body, "age_days": 3})
    assert answer.status_code == 201
    lead_id = answer.json()["id"]
    shown = fresh.kommo.get(f"/leads/{lead_id}", params={"with": "contacts"}).json()
    assert (shown["pipeline_id"], shown["status_id"], shown["price"]) == (SALES, INVOICE_SENT, 490)
    assert fresh.world.clock.seconds() - shown["created_at"] == pytest.approx(3 * 86400, abs=5)
    again = fresh.control.post("/leads", json=body).json()
    assert again["_embedded"]["contacts"] == answer.json()["_embedded"]["contacts"]
    moved = fresh.control.post(f"/leads/{lead_id}/move", json={"status_id": 142, "user_id": 503}).json()
    assert (moved["status_id"], moved["updated_by"]) == (142, 503)
    assert moved["closed_at"] == pytest.approx(fresh.world.clock.seconds(), abs=2)
    assert fresh.control.delete(f"/leads/{lead_id}").status_code == 200
    assert fresh.kommo.get(f"/leads/{lead_id}").status_code == 204


def test_state__shows_both_sides_truth_and_clock(fresh: Bench) -> None:
    state = fresh.control.get("/state").json()
    assert len(state["truth"]) == 10
    assert len(state["lemon_squeezy"]["orders"]) == 10
    assert state["kommo"]["leads"]
    fresh.control.post("/clock", json={"advance_s": 3600})
    assert fresh.control.get("/state").json()["clock"]["now"] == pytest.approx(state["clock"]["now"] + 3600, abs=5)


def test_clock__stands_still_when_it_is_told_to(fresh: Bench) -> None:
    stopped = fresh.control.post("/clock", json={"running": False}).json()
    moved = fresh.control.post("/clock", json={"advance_s": 90}).json()
    assert moved == {"now": pytest.approx(stopped["now"] + 90, abs=1e-3), "running": False}
    assert fresh.control.get("/state").json()["clock"]["now"] == moved["now"]
    assert fresh.control.post("/clock", json={"running": True}).json()["running"] is True
    assert fresh.world.clock.now() > moved["now"]


@pytest.mark.parametrize(
    ("path", "body", "status", "word"),
    [
        ("/orders", {}, 400, "email"),
        ("/orders", {"email": "a@b.example", "variant_id": 1}, 400, "variant"),
        ("/orders", {"email": "a@b.example", "quantity": 0}, 400, "quantity"),
        ("/orders", {"email": "a@b.example", "total": "5"}, 400, "total"),
        ("/orders", {"email": "a@b.example", "status": "odd"}, 400, "status"),
        ("/orders", {"email": "a@b.example", "mail": "x"}, 400, "unknown key mail"),
        ("/orders/1/refund", {}, 404, "order 1"),
        ("/orders/500001/refund", {"amount": -1}, 400, "amount"),
        ("/leads", {}, 400, "price"),
        ("/leads", {"price": 5, "status_id": 70011, "pipeline_id": PARTNERS}, 400, "status_id"),
        ("/leads", {"price": 5, "contact": "Ann"}, 400, "contact"),
        ("/leads/1/move", {"status_id": 142}, 404, "deal 1"),
        ("/leads/10001/move", {}, 400, "status_id"),
        ("/leads/10001/move", {"status_id": 142, "user_id": 9}, 400, "user 9"),
        ("/clock", {"advance_s": -1}, 400, "advance_s"),
        ("/faults", {"nonsense": 1}, 400, "known are: batch_mode"),
        ("/faults", {"batch_mode": "odd"}, 400, "all_or_nothing"),
        ("/faults", {"latency_ms": "fast"}, 400, "latency_ms"),
        ("/faults", {"inject": {"path": "/"}}, 400, "api"),
        ("/faults", {"inject": {"api": "kommo", "verb": "GET"}}, 400, "verb"),
    ],
)
def test_bad_input__is_refused_with_a_clear_message(fresh: Bench, path: str, body: Any, status: int, word: str) -> None:
    answer = fresh.control.post(path, json=body)
    assert answer.status_code == status
    assert word in answer.json()["error"]


def test_bad_input__a_body_that_is_no_object(fresh: Bench) -> None:
    for content in (b"[1]", b"{"):
        assert fresh.control.post("/orders", content=content).status_code == 400


def test_faults__are_set_together_or_not_at_all(fresh: Bench) -> None:
    before = fresh.control.get("/faults").json()
    fresh.control.post("/faults", json={"latency_ms": 5, "minor_units": "yes"})
    assert fresh.control.get("/faults").json() == before
    assert fresh.control.post("/faults", json={"minor_units": True}).json()["minor_units"] is True


def test_requests__are_counted_by_route(fresh: Bench) -> None:
    for path in ("/leads/10001", "/leads/10002", "/leads", "/nowhere"):
        fresh.kommo.get(path)
    fresh.lemon_squeezy.get("/orders")
    counted = fresh.control.get("/requests").json()
    assert counted["counts"] == {
        "kommo GET (no route)": 1,
        "kommo GET /api/v4/leads": 1,
        "kommo GET /api/v4/leads/{id:int}": 2,
        "lemonsqueezy GET /v1/orders": 1,
    }
    assert counted["kommo_max_per_second"] == 4
    assert counted["refused_429"] == {"kommo": 0, "lemonsqueezy": 0}
    fresh.control.post("/requests/reset")
    assert fresh.control.get("/requests").json()["counts"] == {}


def test_apis__answer_at_the_root_too_with_links_that_stay_there(fresh: Bench) -> None:
    root = "http://test"
    leads = fresh.kommo.get(f"{root}/api/v4/leads?limit=1").json()
    assert leads["_links"]["next"]["href"] == f"{root}/api/v4/leads?page=2&limit=1"
    assert fresh.kommo.patch(f"{root}/api/v4/leads/10001", json={"name": "by host"}).status_code == 200
    assert fresh.kommo.get("/leads/10001").json()["name"] == "by host"
    assert fresh.kommo.post(f"{root}/oauth2/access_token", json={"code": "x"}).status_code == 400
    orders = fresh.lemon_squeezy.get(f"{root}/v1/orders").json()
    assert orders["links"]["first"].startswith(f"{root}/v1/orders?")
    assert fresh.control.get(f"{root}/api/v4/leads").status_code == 401
