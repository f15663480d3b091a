"""Writes through the Lemon Squeezy API: what they change, answer and refuse."""

from typing import Any

import httpx
import pytest

from tests.unit.simulator.bench import Bench

STORE = {"store": {"data": {"type": "stores", "id": "4101"}}}


def send(bench: Bench, method: str, path: str, attributes: Any = None, relations: Any = None) -> httpx.Response:
    """Send a document; type and id follow from the path."""
    kind, _, resource_id = path.strip("/").partition("/")
    data: dict[str, Any] = {"type": kind, "attributes": attributes or {}}
    if resource_id:
        data["id"] = resource_id.partition("/")[0]
    if relations is not None:
        data["relationships"] = relations
    return bench.lemon_squeezy.request(method, path, json={"data": data})


def variant(bench: Bench, *, monthly: bool = False, number: int = 0) -> str:
    fitting = [v for v in bench.world.lemon_squeezy.variants() if v["attributes"]["is_subscription"] == monthly]
    return str(fitting[number]["id"])


def checkout(bench: Bench, attributes: Any = None, variant_id: str | None = None) -> httpx.Response:
    wanted = {"type": "variants", "id": variant_id or variant(bench)}
    return send(bench, "POST", "/checkouts", attributes, {**STORE, "variant": {"data": wanted}})


def subscription(bench: Bench, **more: Any) -> dict[str, Any]:
    """Buy a monthly plan and return the subscription."""
    body = {"email": "a@b.example", "variant_id": int(variant(bench, monthly=True)), **more}
    order = bench.control.post("/orders", json=body).json()["data"]
    found = bench.lemon_squeezy.get(f"/orders/{order['id']}/subscriptions").json()["data"]
    return dict(found[0])


def faults(answer: httpx.Response) -> list[tuple[str, str]]:
    return [(one["source"]["pointer"], one["detail"]) for one in answer.json()["errors"]]


# --- checkouts ------------------------------------------------------------------------------------
def test_checkout__fills_defaults_and_names_its_address(fresh: Bench) -> None:
    answer = checkout(fresh)
    made = answer.json()["data"]
    assert answer.status_code == 201
    assert answer.headers["location"] == made["links"]["self"]
    assert b'"custom":[]' in answer.content
    assert b'"billing_address":[]' in answer.content
    assert made["attributes"]["preview"] is False
    assert fresh.lemon_squeezy.get(f"/checkouts/{made['id']}").json()["data"]["attributes"] == made["attributes"]


def test_checkout__shows_custom_data_and_expiry(fresh: Bench) -> None:
    given = {"checkout_data": {"custom": {"kommo_lead_id": "7"}}, "expires_at": "2099-01-01T00:00:00Z"}
    made = checkout(fresh, {**given, "custom_price": 1234}).json()["data"]["attributes"]
    assert made["checkout_data"]["custom"] == {"kommo_lead_id": "7"}
    assert made["expires_at"] == "2099-01-01T00:00:00.000000Z"
    assert "expires=4070908800&signature=" in made["url"]
    assert made["custom_price"] == 1234


def test_checkout__previews_the_price(fresh: Bench) -> None:
    quantities = [{"variant_id": int(variant(fresh)), "quantity": 3}]
    given = {"preview": True, "custom_price": 500, "checkout_data": {"variant_quantities": quantities}}
    made = checkout(fresh, given).json()["data"]
    assert (made["attributes"]["preview"]["total"], made["attributes"]["preview"]["currency"]) == (1500, "USD")
    assert fresh.lemon_squeezy.get(f"/checkouts/{made['id']}").json()["data"]["attributes"]["preview"] is False


@pytest.mark.parametrize(
    ("attributes", "pointer"),
    [
        ({"checkout_data": "x"}, "checkout_data"),
        ({"checkout_options": 3}, "checkout_options"),
        ({"checkout_data": {"custom": {"lead": ""}}}, "checkout_data/custom/lead"),
        ({"checkout_data": {"custom": {"lead": None}}}, "checkout_data/custom/lead"),
        ({"checkout_data": {"custom": {"lead": {"a": "b"}}}}, "checkout_data/custom/lead"),
        ({"custom_price": "12"}, "custom_price"),
        ({"expires_at": "soon"}, "expires_at"),
    ],
)
def test_checkout__refuses_bad_values_by_pointer(fresh: Bench, attributes: Any, pointer: str) -> None:
    answer = checkout(fresh, attributes)
    assert answer.status_code == 422
    assert [where for where, _ in faults(answer)] == [f"/data/attributes/{pointer}"]
    assert fresh.lemon_squeezy.get("/checkouts").json()["data"] == []


def test_checkout__refuses_in_the_recorded_words(fresh: Bench) -> None:
    assert faults(checkout(fresh, {"checkout_data": 1}))[0][1] == "The checkout data must be an array."
    custom = {"checkout_data": {"custom": {"user_email": ""}}}
    assert faults(checkout(fresh, custom))[0][1] == "The {0} field must be a string."


@pytest.mark.parametrize("variant_id", ["999999999", "81001\n", "x"])
def test_checkout__of_an_unknown_variant_is_404(fresh: Bench, variant_id: str) -> None:
    answer = checkout(fresh, variant_id=variant_id)
    assert answer.status_code == 404
    assert answer.json()["errors"][0]["detail"] == "The related resource does not exist."


def test_checkout__needs_its_relationships(fresh: Bench) -> None:
    answer = send(fresh, "POST", "/checkouts", {}, STORE)
    assert answer.status_code == 422
    assert faults(answer)[0][0] == "/data/relationships/variant"
    number = {**STORE, "variant": {"data": {"type": "variants", "id": 81001}}}
    assert send(fresh, "POST", "/checkouts", {}, number).status_code == 400


# --- webhooks -------------------------------------------------------------------------------------
WEBHOOK = {"url": "http://localhost:3000/x", "events": ["order_created"], "secret": "abc123"}


def test_webhook__is_made_changed_and_deleted_without_showing_its_secret(fresh: Bench) -> None:
    answer = send(fresh, "POST", "/webhooks", WEBHOOK, STORE)
    made = answer.json()["data"]
    assert answer.status_code == 201
    assert len(made["attributes"]) == 7
    assert "abc123" not in answer.text
    changed = send(fresh, "PATCH", f"/webhooks/{made['id']}", {"events": ["subscription_created"]}).json()["data"]
    assert changed["attributes"]["events"] == ["subscription_created"]
    assert changed["attributes"]["url"] == WEBHOOK["url"]
    gone = fresh.lemon_squeezy.delete(f"/webhooks/{made['id']}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert fresh.lemon_squeezy.get(f"/webhooks/{made['id']}").status_code == 404


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"secret": "12345"}, "secret"),
        ({"secret": "1" * 41}, "secret"),
        ({"secret": None}, "secret"),
        ({"events": []}, "events"),
        ({"events": ["order_created", "nonsense"]}, "events/1"),
        ({"url": "localhost"}, "url"),
    ],
)
def test_webhook__refuses_bad_values(fresh: Bench, change: Any, pointer: str) -> None:
    answer = send(fresh, "POST", "/webhooks", {**WEBHOOK, **change}, STORE)
    assert answer.status_code == 422
    assert faults(answer)[0][0] == f"/data/attributes/{pointer}"


# --- subscriptions --------------------------------------------------------------------------------
def test_subscription__cancels_with_grace_and_resumes(fresh: Bench) -> None:
    mine = subscription(fresh)
    answer = fresh.lemon_squeezy.delete(f"/subscriptions/{mine['id']}")
    cancelled = answer.json()["data"]["attributes"]
    assert answer.status_code == 200
    assert (cancelled["status"], cancelled["cancelled"]) == ("cancelled", True)
    assert cancelled["ends_at"] == cancelled["renews_at"] == mine["attributes"]["renews_at"]
    resumed = send(fresh, "PATCH", f"/subscriptions/{mine['id']}", {"cancelled": False}).json()["data"]["attributes"]
    assert (resumed["status"], resumed["ends_at"]) == ("active", None)


def test_subscription__pauses_until_midnight_and_goes_on(fresh: Bench) -> None:
    path = f"/subscriptions/{subscription(fresh)['id']}"
    paused = send(fresh, "PATCH", path, {"pause": {"mode": "free", "resumes_at": "2099-05-05"}}).json()["data"]
    assert paused["attributes"]["status"] == "paused"
    assert paused["attributes"]["pause"] == {"mode": "free", "resumes_at": "2099-05-05T00:00:00.000000Z"}
    active = send(fresh, "PATCH", path, {"pause": None}).json()["data"]["attributes"]
    assert (active["status"], active["pause"]) == ("active", None)


@pytest.mark.parametrize("stale", [True, False])
def test_subscription__plan_change_may_be_answered_with_the_old_item(fresh: Bench, *, stale: bool) -> None:
    fresh.set(stale_patch_answer=stale)
    mine, other = subscription(fresh), variant(fresh, monthly=True, number=1)
    path, old_price = f"/subscriptions/{mine['id']}", mine["attributes"]["first_subscription_item"]["price_id"]
    answered = send(fresh, "PATCH", path, {"variant_id": int(other)}).json()["data"]["attributes"]
    later = fresh.lemon_squeezy.get(path).json()["data"]["attributes"]
    new_price = later["first_subscription_item"]["price_id"]
    assert answered["variant_id"] == later["variant_id"] == int(other)
    assert new_price != old_price
    assert answered["first_subscription_item"]["price_id"] == (old_price if stale else new_price)
    item = fresh.lemon_squeezy.get(f"{path}/subscription-items").json()["data"][0]
    assert item["attributes"]["price_id"] == new_price
    price = fresh.lemon_squeezy.get(f"/subscription-items/{item['id']}/price").json()["data"]
    assert (price["id"], price["attributes"]["variant_id"]) == (str(new_price), int(other))


def test_subscription__renewal_day_and_trial_can_be_set(fresh: Bench) -> None:
    path = f"/subscriptions/{subscription(fresh)['id']}"
    anchored = send(fresh, "PATCH", path, {"billing_anchor": 17}).json()["data"]["attributes"]
    assert (anchored["billing_anchor"], anchored["renews_at"][8:10]) == (17, "17")
    trial = send(fresh, "PATCH", path, {"trial_ends_at": "2099-01-01"}).json()["data"]["attributes"]
    assert trial["status"] == "on_trial"
    assert trial["renews_at"] == trial["trial_ends_at"] == "2099-01-01T00:00:00.000000Z"


def test_subscription__refuses_what_cannot_be(fresh: Bench) -> None:
    path = f"/subscriptions/{subscription(fresh)['id']}"
    for attributes in ({"pause": {"mode": "x"}}, {"variant_id": 1}, {"variant_id": int(variant(fresh))}):
        assert send(fresh, "PATCH", path, attributes).status_code == 422
    fresh.control.post(f"{path}/expire")
    assert send(fresh, "PATCH", path, {"cancelled": False}).status_code == 422
    assert fresh.lemon_squeezy.delete(path).status_code == 422
    assert send(fresh, "PATCH", "/subscriptions/1", {}).status_code == 404


def test_seats__are_charged_at_once_or_with_the_next_renewal(fresh: Bench) -> None:
    mine = subscription(fresh)
    item = mine["attributes"]["first_subscription_item"]["id"]
    answer = send(fresh, "PATCH", f"/subscription-items/{item}", {"quantity": 3})
    assert answer.json()["data"]["attributes"]["quantity"] == 3
    invoices = f"/subscriptions/{mine['id']}/subscription-invoices"
    assert len(fresh.lemon_squeezy.get(invoices).json()["data"]) == 1
    send(fresh, "PATCH", f"/subscription-items/{item}", {"quantity": 4, "invoice_immediately": True})
    newest = fresh.lemon_squeezy.get(invoices).json()["data"][0]["attributes"]
    assert (newest["billing_reason"], newest["status"], newest["card_brand"]) == ("updated", "paid", None)
    price = fresh.world.lemon_squeezy.get("variants", mine["attributes"]["variant_id"])["attributes"]["price"]
    assert newest["total"] == pytest.approx(price, rel=0.01)
    renewal = fresh.control.post(f"/subscriptions/{mine['id']}/renew").json()["data"]["attributes"]
    assert renewal["total"] == pytest.approx(price * 4 + price * 2, rel=0.01)
    assert fresh.control.post(f"/subscriptions/{mine['id']}/renew").json()["data"]["attributes"]["total"] == price * 4


def test_item__answers_404_for_its_usage_and_422_without_a_number(fresh: Bench) -> None:
    item = subscription(fresh)["attributes"]["first_subscription_item"]["id"]
    assert fresh.lemon_squeezy.get(f"/subscription-items/{item}/current-usage").status_code == 404
    assert send(fresh, "PATCH", f"/subscription-items/{item}", {"quantity": "3"}).status_code == 422
    assert send(fresh, "PATCH", f"/subscription-items/{item}", {}).status_code == 422


# --- refunds and invoices -------------------------------------------------------------------------
def test_refund__of_a_first_invoice_and_of_its_order_are_one(fresh: Bench) -> None:
    mine = subscription(fresh)
    invoice = fresh.lemon_squeezy.get(f"/subscriptions/{mine['id']}/subscription-invoices").json()["data"][0]
    fresh.set(partial_invoice_refund_status="partial_refunded")
    partly = send(fresh, "POST", f"/subscription-invoices/{invoice['id']}/refund", {"amount": 100}).json()["data"]
    assert (partly["attributes"]["status"], partly["attributes"]["refunded_amount"]) == ("partial_refunded", 100)
    order = fresh.lemon_squeezy.get(f"/subscriptions/{mine['id']}/order").json()["data"]
    assert (order["attributes"]["status"], order["attributes"]["refunded_amount"]) == ("partial_refund", 100)
    send(fresh, "POST", f"/orders/{order['id']}/refund")
    found = fresh.lemon_squeezy.get("/subscription-invoices?filter[refunded]=true").json()["data"]
    assert invoice["id"] in [one["id"] for one in found]


def test_refund__refused_changes_neither_order_nor_invoice(fresh: Bench) -> None:
    mine = subscription(fresh)
    order_id, total = mine["attributes"]["order_id"], 10**9
    assert send(fresh, "POST", f"/orders/{order_id}/refund", {"amount": total}).status_code == 422
    assert fresh.lemon_squeezy.get(f"/orders/{order_id}").json()["data"]["attributes"]["refunded_amount"] == 0


@pytest.mark.parametrize("kind", ["orders", "subscription-invoices"])
def test_generate_invoice__takes_query_parameters(fresh: Bench, kind: str) -> None:
    mine = subscription(fresh)
    resource = fresh.lemon_squeezy.get(f"/{kind}").json()["data"][0]["id"]
    answer = fresh.lemon_squeezy.post(f"/{kind}/{resource}/generate-invoice?name=Ann&zip_code=1234")
    assert mine
    assert list(answer.json()) == ["jsonapi", "meta"]
    assert "zip_code=1234" in answer.json()["meta"]["urls"]["download_invoice"]
    assert fresh.lemon_squeezy.post(f"/{kind}/1/generate-invoice").status_code == 404


# --- customers and discounts ----------------------------------------------------------------------
def test_customer__is_made_found_and_archived(fresh: Bench) -> None:
    answer = send(fresh, "POST", "/customers", {"name": "Ann", "email": "ann@b.example", "country": "GB"}, STORE)
    made = answer.json()["data"]
    assert answer.status_code == 201
    assert (made["attributes"]["country_formatted"], made["attributes"]["urls"]) == (
        "United Kingdom",
        {"customer_portal": None},
    )
    path = f"/customers/{made['id']}"
    assert send(fresh, "PATCH", path, {"name": "Anna"}).json()["data"]["attributes"]["name"] == "Anna"
    assert send(fresh, "PATCH", path, {"status": "unsubscribed"}).status_code == 422
    assert send(fresh, "PATCH", path, {"status": "archived"}).json()["data"]["attributes"]["status"] == "archived"
    fresh.control.post("/orders", json={"email": "ann@b.example"})
    found = fresh.lemon_squeezy.get("/customers?filter[email]=ann@b.example").json()["data"]
    assert [one["id"] for one in found] == [made["id"]]
    assert "expires=" in found[0]["attributes"]["urls"]["customer_portal"]


def test_customer__needs_a_name_and_a_new_address(fresh: Bench) -> None:
    assert [where for where, _ in faults(send(fresh, "POST", "/customers", {}, STORE))] == [
        "/data/attributes/name",
        "/data/attributes/email",
    ]
    known = fresh.lemon_squeezy.get("/customers").json()["data"][0]["attributes"]["email"]
    assert send(fresh, "POST", "/customers", {"name": "A", "email": known}, STORE).status_code == 422


def test_discount__lowers_the_price_and_is_seen_in_redemptions(fresh: Bench) -> None:
    given = {"name": "Ten", "code": "TENOFF", "amount": 10, "amount_type": "percent"}
    limited = {"variants": {"data": [{"type": "variants", "id": variant(fresh)}]}}
    made = send(fresh, "POST", "/discounts", given, {**STORE, **limited}).json()["data"]
    variants = fresh.lemon_squeezy.get(f"/discounts/{made['id']}/variants").json()
    assert [one["id"] for one in variants["data"]] == [variant(fresh)]
    body = {"email": "a@b.example", "variant_id": int(variant(fresh)), "discount_code": "TENOFF"}
    order = fresh.control.post("/orders", json=body).json()["data"]
    amounts = order["attributes"]
    assert amounts["total"] == amounts["subtotal"] - amounts["discount_total"] == amounts["subtotal"] * 9 // 10
    found = fresh.lemon_squeezy.get(f"/discount-redemptions?filter[order_id]={order['id']}").json()["data"]
    assert [(one["attributes"]["discount_code"], one["attributes"]["amount"]) for one in found] == [
        ("TENOFF", amounts["discount_total"])
    ]
    assert fresh.lemon_squeezy.delete(f"/discounts/{made['id']}").status_code == 204
    assert fresh.control.post("/orders", json=body).status_code == 400


@pytest.mark.parametrize("change", [{"code": "ab"}, {"amount": 101}, {"amount_type": "x"}, {"name": ""}, {"amount": 0}])
def test_discount__refuses_bad_values(fresh: Bench, change: Any) -> None:
    given = {"name": "Ten", "code": "TENOFF", "amount": 10, "amount_type": "percent", **change}
    answer = send(fresh, "POST", "/discounts", given, STORE)
    assert answer.status_code == 422
    assert [where for where, _ in faults(answer)] == [f"/data/attributes/{next(iter(change))}"]


def test_license_key__can_be_limited_and_disabled(fresh: Bench) -> None:
    made = fresh.control.post("/variants", json={"name": "Keyed", "price": 900, "license_keys": True}).json()["data"]
    order = fresh.control.post("/orders", json={"email": "a@b.example", "variant_id": int(made["id"])}).json()["data"]
    key = fresh.lemon_squeezy.get(f"/license-keys?filter[order_id]={order['id']}").json()["data"][0]
    assert key["attributes"]["key_short"] == f"XXXX-{key['attributes']['key'][-12:]}"
    changed = send(fresh, "PATCH", f"/license-keys/{key['id']}", {"activation_limit": 7, "disabled": True}).json()
    assert (changed["data"]["attributes"]["activation_limit"], changed["data"]["attributes"]["status"]) == (
        7,
        "disabled",
    )


def test_document__must_fit_its_address(fresh: Bench) -> None:
    for body, status in (("{", 400), ('{"data": []}', 400), ('{"data": {"type": "orders"}}', 409)):
        assert fresh.lemon_squeezy.post("/checkouts", content=body).status_code == status
    assert fresh.lemon_squeezy.post("/orders", json={}).status_code == 405
