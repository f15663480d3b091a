"""The Lemon Squeezy API: envelope, links, filters, errors, refunds."""

import json
from typing import Any

import pytest

from tests.unit.simulator.bench import SAMPLES, Bench


def sample(name: str) -> Any:
    return json.loads((SAMPLES / "lemon-squeezy/api" / name).read_text(encoding="utf-8"))["response"]["body"]


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("orders", "order-list.json"),
        ("subscriptions", "subscription-list.json"),
        ("subscription-invoices", "subscription-invoice-list.json"),
        ("customers", "customer-list-2023.json"),
        ("variants", "variant-list-two-pages.json"),
    ],
)
def test_list__has_the_recorded_envelope_and_keys(past: Bench, kind: str, file: str) -> None:
    body = past.lemon_squeezy.get(f"/{kind}").json()
    recorded = sample(file)
    assert list(body) == list(recorded)
    assert body["meta"]["page"].keys() == recorded["meta"]["page"].keys()
    mine, theirs = body["data"][0], recorded["data"][0]
    assert list(mine) == list(theirs)
    assert mine["attributes"].keys() >= theirs["attributes"].keys()
    assert mine["relationships"].keys() == theirs["relationships"].keys()


@pytest.mark.parametrize(("kind", "file"), [("stores", "store-retrieve.json"), ("customers", "customer-retrieve.json")])
def test_object__has_the_recorded_keys(past: Bench, kind: str, file: str) -> None:
    first = past.lemon_squeezy.get(f"/{kind}").json()["data"][0]
    body = past.lemon_squeezy.get(f"/{kind}/{first['id']}").json()
    assert body.keys() == sample(file).keys()
    assert list(body["data"]["attributes"]) == list(sample(file)["data"]["attributes"])


def test_user__tells_the_mode_first(past: Bench) -> None:
    body = past.lemon_squeezy.get("/users/me").json()
    assert list(body) == list(sample("user-me.json"))
    assert body["meta"] == {"test_mode": False}
    assert "relationships" not in body["data"]


def test_order__has_string_id_and_integer_keys(past: Bench) -> None:
    order = past.lemon_squeezy.get("/orders").json()["data"][0]
    item = order["attributes"]["first_order_item"]
    assert order["id"] == str(item["order_id"])
    assert isinstance(order["attributes"]["customer_id"], int)
    assert order["attributes"]["created_at"].endswith(".000000Z")


def test_links__echo_the_request_in_the_documented_order(past: Bench) -> None:
    url = "/orders?page[size]=10&page[number]=2&filter[store_id]=4101&plain=ignored"
    links = past.lemon_squeezy.get(url).json()["links"]
    base = "http://test/lemonsqueezy/v1/orders?filter%5Bstore_id%5D=4101"
    assert links == {
        name: f"{base}&page%5Bnumber%5D={number}&page%5Bsize%5D=10&sort=-createdAt"
        for name, number in (("first", 1), ("last", 12), ("next", 3), ("prev", 1))
    }


def test_list__is_newest_first_and_complete(past: Bench) -> None:
    url: str | None = "/orders?page[size]=50"
    seen = []
    while url:
        body = past.lemon_squeezy.get(url).json()
        seen += [order["attributes"]["created_at"] for order in body["data"]]
        url = body["links"].get("next")
    assert len(seen) == 120
    assert seen == sorted(seen, reverse=True)


def test_list__past_the_end_is_empty(past: Bench) -> None:
    body = past.lemon_squeezy.get("/orders?page[number]=99").json()
    assert body["data"] == []
    assert (body["meta"]["page"]["from"], body["meta"]["page"]["to"], body["meta"]["page"]["total"]) == (
        None,
        None,
        120,
    )


def test_list__ignores_plain_parameters_but_not_unknown_filters(past: Bench) -> None:
    everything = past.lemon_squeezy.get("/orders?email=x@y.example&store_id=1").json()
    assert everything["meta"]["page"]["total"] == 120
    assert "email" not in everything["links"]["first"]
    assert past.lemon_squeezy.get("/orders?filter[status]=paid").status_code == 400
    assert past.lemon_squeezy.get("/orders?page[size]=101").status_code == 400


def test_list__filters_by_email_exactly(past: Bench) -> None:
    email = past.lemon_squeezy.get("/orders").json()["data"][0]["attributes"]["user_email"]
    found = past.lemon_squeezy.get("/orders", params={"filter[user_email]": email}).json()["data"]
    assert {order["attributes"]["user_email"] for order in found} == {email}
    assert past.lemon_squeezy.get("/orders", params={"filter[user_email]": email.upper()}).json()["data"] == []


def test_list__filters_invoices_by_refunded(fresh: Bench) -> None:
    subscription = next(v for v in fresh.world.lemon_squeezy.variants() if v["attributes"]["is_subscription"])
    order = fresh.control.post("/orders", json={"email": "a@b.example", "variant_id": int(subscription["id"])}).json()
    fresh.control.post(f"/orders/{order['data']['id']}/refund", json={})
    found = fresh.lemon_squeezy.get("/subscription-invoices?filter[refunded]=true").json()["data"]
    assert [invoice["attributes"]["user_email"] for invoice in found] == ["a@b.example"]


def test_bytes__escape_slashes_and_non_ascii(fresh: Bench) -> None:
    fresh.control.post("/orders", json={"email": "e@b.example", "name": "Zoë", "currency": "eur"})
    answer = fresh.lemon_squeezy.get("/orders?page[size]=1")
    assert b"http:\\/\\/test\\/lemonsqueezy" in answer.content
    assert b"Zo\\u00eb" in answer.content
    assert b"\\u20ac" in answer.content
    assert b": " not in answer.content
    assert answer.headers["content-type"] == "application/vnd.api+json"


def test_headers__count_the_limit_down(fresh: Bench) -> None:
    fresh.set(ls_limit_enabled=True)
    left = [int(fresh.lemon_squeezy.get("/users/me").headers["x-ratelimit-remaining"]) for _ in range(2)]
    assert left[1] == left[0] - 1


def test_limit__answers_429(fresh: Bench) -> None:
    fresh.set(ls_limit_enabled=True, ls_per_minute=2)
    answers = [fresh.lemon_squeezy.get("/users/me") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[-1].headers["retry-after"]) > 0
    assert answers[-1].json()["errors"][0]["status"] == "429"


def test_errors__have_the_recorded_401_and_a_404(fresh: Bench) -> None:
    wrong = {"authorization": "Bearer wrong"}
    answer = fresh.lemon_squeezy.get("/orders", headers=wrong)
    assert answer.status_code == 401
    assert answer.json() == {
        "jsonapi": {"version": "1.0"},
        "errors": [{"detail": "Unauthenticated.", "status": "401", "title": "Unauthorized"}],
    }
    assert "x-ratelimit-limit" not in answer.headers
    for path, headers in (("/orders/1", {}), ("/orders/x", {}), ("/nowhere", wrong)):
        assert fresh.lemon_squeezy.get(path, headers=headers).status_code == 404


def test_custom_data__is_in_no_answer(fresh: Bench) -> None:
    placed = fresh.control.post("/orders", json={"email": "a@b.example", "lead_id": 987654321})
    assert fresh.world.lemon_squeezy.custom_data == {int(placed.json()["data"]["id"]): {"kommo_lead_id": "987654321"}}
    for kind in ("orders", "order-items", "customers", "subscriptions", "subscription-invoices"):
        body = fresh.lemon_squeezy.get(f"/{kind}?page[size]=100").text
        assert "987654321" not in body
        assert "custom" not in body.replace("customer", "")


# --- refunds --------------------------------------------------------------------------------------
def refund(bench: Bench, order_id: str, amount: int | None = None) -> Any:
    attributes = {} if amount is None else {"amount": amount}
    data = {"type": "orders", "id": order_id, "attributes": attributes}
    return bench.lemon_squeezy.post(f"/orders/{order_id}/refund", json={"data": data})


def test_refund__adds_up_and_is_full_only_at_the_total(fresh: Bench) -> None:
    placed = fresh.control.post("/orders", json={"email": "a@b.example", "total": 1000}).json()["data"]
    partly = refund(fresh, placed["id"], 300).json()["data"]["attributes"]
    assert (partly["status"], partly["refunded"], partly["refunded_at"]) == ("partial_refund", False, None)
    fully = refund(fresh, placed["id"]).json()["data"]["attributes"]
    assert (fully["status"], fully["refunded"], fully["refunded_amount"]) == ("refunded", True, 1000)
    assert fully["refunded_at"] is not None


def test_refund__over_the_rest_is_422(fresh: Bench) -> None:
    placed = fresh.control.post("/orders", json={"email": "a@b.example", "total": 1000}).json()["data"]
    answer = refund(fresh, placed["id"], 1001)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["source"] == {"pointer": "/data/attributes/amount"}


def test_refund__wants_a_fitting_document(fresh: Bench) -> None:
    assert fresh.lemon_squeezy.post("/orders/500001/refund", json={}).status_code == 400
    other = {"data": {"type": "orders", "id": "1"}}
    assert fresh.lemon_squeezy.post("/orders/500001/refund", json=other).status_code == 409
    assert refund(fresh, "1").status_code == 404


def test_test_mode__objects_can_be_hidden_from_the_key(past: Bench) -> None:
    past.set(test_mode_visible=False)
    hidden = past.lemon_squeezy.get("/orders").json()["meta"]["page"]["total"]
    past.set(test_mode_visible=True)
    assert hidden == 118
