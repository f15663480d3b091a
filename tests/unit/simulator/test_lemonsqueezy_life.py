"""What goes on in a store by itself and by buyers, and what its webhooks are told of it."""

import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any

import pytest

from dealsync.simulator.clock import unix
from dealsync.simulator.deliveries import Delivery
from dealsync.simulator.lemonsqueezy.events import NAMES, RETRY_WAITS_S
from tests.unit.simulator.bench import Bench
from tests.unit.simulator.test_lemonsqueezy_writing import STORE, checkout, send, subscription, variant

DAY_S = 24 * 3600
SECRET = "a-secret"


def listen(bench: Bench, names: Sequence[str] = NAMES) -> str:
    hook = {"url": "http://localhost:9/hook", "events": list(names), "secret": SECRET}
    return str(send(bench, "POST", "/webhooks", hook, STORE).json()["data"]["id"])


def told(bench: Bench) -> list[Delivery]:
    return bench.world.deliveries.all("lemonsqueezy")


def names_told(bench: Bench, since: int = 0) -> list[str]:
    return [one.label for one in told(bench)[since:]]


def body(delivery: Delivery) -> Any:
    return json.loads(delivery.body)


def act(bench: Bench, resource: str, action: str, **given: Any) -> Any:
    """Do a control action on a subscription or order; return the attributes of the answer."""
    return bench.control.post(f"/{resource}/{action}", json=given).raise_for_status().json()["data"]["attributes"]


def now_attributes(bench: Bench, resource: str) -> Any:
    return bench.lemon_squeezy.get(f"/{resource}").json()["data"]["attributes"]


# --- purchases ------------------------------------------------------------------------------------
def test_purchase__tells_of_a_subscription_then_of_its_updates(fresh: Bench) -> None:
    listen(fresh)
    mine = subscription(fresh)
    assert names_told(fresh) == ["order_created", "subscription_created", "subscription_payment_success"]
    created = mine["attributes"]["first_subscription_item"]["updated_at"]
    fresh.world.advance(2)
    assert names_told(fresh, 3) == ["subscription_updated"]
    first, then = (body(told(fresh)[i])["data"]["attributes"] for i in (1, 3))
    assert first["updated_at"] == then["updated_at"]  # two bodies that differ in the item alone (7.3)
    assert then["first_subscription_item"]["updated_at"] > created
    fresh.world.advance(30)
    assert names_told(fresh, 4) == ["subscription_updated"]
    fresh.world.advance(DAY_S)
    assert names_told(fresh, 5) == []


def test_purchase__early_updates_may_show_the_purchase_as_renewal(fresh: Bench) -> None:
    fresh.set(ls_early_renews_at=True)
    listen(fresh, ["subscription_created", "subscription_updated"])
    mine = subscription(fresh)
    fresh.world.advance(31)
    created, *updates = (body(one)["data"]["attributes"] for one in told(fresh))
    assert created["renews_at"] == mine["attributes"]["renews_at"]
    assert len(updates) == 2
    assert all(update["renews_at"] < update["updated_at"] for update in updates)


def test_purchase__moves_its_order_by_itself_once(fresh: Bench) -> None:
    order = fresh.control.post("/orders", json={"email": "a@b.example"}).json()["data"]
    fresh.world.advance(120)
    moved = now_attributes(fresh, f"orders/{order['id']}")["updated_at"]
    assert unix(moved) - unix(order["attributes"]["updated_at"]) == 60
    fresh.world.advance(DAY_S)
    assert now_attributes(fresh, f"orders/{order['id']}")["updated_at"] == moved


def test_purchase__of_unpaid_orders_is_told_when_paid(fresh: Bench) -> None:
    listen(fresh)
    given = {"email": "a@b.example", "status": "pending", "variant_id": int(variant(fresh, monthly=True))}
    order = fresh.control.post("/orders", json=given).json()["data"]
    assert names_told(fresh) == []
    assert act(fresh, f"orders/{order['id']}", "settle", status="paid")["status"] == "paid"
    assert names_told(fresh)[:2] == ["order_created", "subscription_created"]
    assert fresh.control.post(f"/orders/{order['id']}/settle", json={"status": "failed"}).status_code == 400


def test_fraud__marks_the_order(fresh: Bench) -> None:
    order = fresh.control.post("/orders", json={"email": "a@b.example"}).json()["data"]
    assert act(fresh, f"orders/{order['id']}", "fraudulent")["status"] == "fraudulent"


def test_trial__starts_free_and_converts_with_a_renewal(fresh: Bench) -> None:
    listen(fresh)
    trial = fresh.control.post("/variants", json={"name": "Try", "price": 900, "interval": "month", "trial_days": 14})
    order = fresh.control.post("/orders", json={"email": "a@b.example", "variant_id": int(trial.json()["data"]["id"])})
    assert order.json()["data"]["attributes"]["total"] == 0
    assert names_told(fresh) == ["order_created", "subscription_created"]
    mine = fresh.lemon_squeezy.get(f"/orders/{order.json()['data']['id']}/subscriptions").json()["data"][0]
    assert (mine["attributes"]["status"], mine["attributes"]["status_formatted"]) == ("on_trial", "On Trial")
    fresh.set(ls_automatic_renewals=True)
    fresh.world.advance(14 * DAY_S + 2 * 3600)
    invoice = fresh.lemon_squeezy.get(f"/subscriptions/{mine['id']}/subscription-invoices").json()["data"][0]
    assert (invoice["attributes"]["status"], invoice["attributes"]["total"]) == ("paid", 900)
    later = now_attributes(fresh, f"subscriptions/{mine['id']}")
    assert (later["status"], later["trial_ends_at"]) == ("active", None)


# --- checkouts ------------------------------------------------------------------------------------
def test_checkout__carries_its_custom_data_price_and_quantity(fresh: Bench) -> None:
    listen(fresh)
    plan = variant(fresh, monthly=True)
    given = {
        "custom_price": 1500,
        "checkout_data": {
            "email": "lead@b.example",
            "name": "Léa",
            "custom": {"kommo_lead_id": 31, "partner": True, "note": "a/b"},
            "variant_quantities": [{"variant_id": int(plan), "quantity": 2}],
        },
    }
    made = checkout(fresh, given, plan).json()["data"]
    order = act(fresh, f"checkouts/{made['id']}", "pay", email="other@b.example")
    assert (order["total"], order["user_email"], order["user_name"]) == (3000, "other@b.example", "Léa")
    sent = told(fresh)
    assert {one.label for one in sent} == {"order_created", "subscription_created", "subscription_payment_success"}
    custom = {"kommo_lead_id": "31", "partner": "true", "note": "a/b"}
    assert all(body(one)["meta"]["custom_data"] == custom for one in sent)
    mine = fresh.lemon_squeezy.get("/subscriptions?filter[user_email]=other@b.example").json()["data"][0]
    assert act(fresh, f"subscriptions/{mine['id']}", "renew")["total"] == 3000
    fresh.world.advance(2 * 3600)
    assert body(told(fresh)[-1])["meta"]["custom_data"] == custom


def test_checkout__takes_a_discount_and_refuses_when_expired(fresh: Bench) -> None:
    discount = {"name": "Half", "code": "HALF", "amount": 50, "amount_type": "percent"}
    send(fresh, "POST", "/discounts", discount, STORE)
    made = checkout(fresh, {"custom_price": 1000, "expires_at": "2026-06-02T00:00:00Z"}).json()["data"]
    paid = act(fresh, f"checkouts/{made['id']}", "pay", email="a@b.example", discount_code="HALF")
    assert (paid["subtotal"], paid["discount_total"], paid["total"]) == (1000, 500, 500)
    assert fresh.control.post(f"/checkouts/{made['id']}/pay").status_code == 400  # nobody's e-mail
    fresh.world.advance(DAY_S)
    answer = fresh.control.post(f"/checkouts/{made['id']}/pay", json={"email": "a@b.example"})
    assert (answer.status_code, answer.json()) == (400, {"error": "the checkout has expired"})
    assert fresh.control.post("/checkouts/nobody/pay").status_code == 404


# --- the life of a subscription -------------------------------------------------------------------
def test_renewal__is_pending_for_an_hour(fresh: Bench) -> None:
    listen(fresh)
    mine, count = subscription(fresh), len(told(fresh))
    fresh.world.advance(40 * DAY_S)
    orders, before = fresh.lemon_squeezy.get("/orders").json()["meta"]["page"]["total"], len(told(fresh))
    assert before - count == 2
    invoice = act(fresh, f"subscriptions/{mine['id']}", "renew")
    assert (invoice["status"], invoice["billing_reason"], invoice["urls"]) == (
        "pending",
        "renewal",
        {"invoice_url": None},
    )
    fresh.world.advance(61 * 60)
    assert names_told(fresh, before) == ["subscription_updated"]
    fresh.world.advance(2 * 60)
    assert names_told(fresh, before + 1) == ["subscription_payment_success"]
    newest = fresh.lemon_squeezy.get(f"/subscriptions/{mine['id']}/subscription-invoices").json()["data"][0]
    assert newest["attributes"]["status"] == "paid"
    assert unix(newest["attributes"]["updated_at"]) - unix(newest["attributes"]["created_at"]) == 62 * 60
    assert "/subscription-invoice/" in newest["attributes"]["urls"]["invoice_url"]
    assert fresh.lemon_squeezy.get("/orders").json()["meta"]["page"]["total"] == orders


def test_renewals__come_by_themselves_only_when_switched_on(fresh: Bench) -> None:
    mine = subscription(fresh)
    path = f"/subscriptions/{mine['id']}/subscription-invoices"
    fresh.world.advance(40 * DAY_S)
    assert len(fresh.lemon_squeezy.get(path).json()["data"]) == 1
    fresh.set(ls_automatic_renewals=True)
    fresh.world.advance(92 * DAY_S)
    reasons = [one["attributes"]["billing_reason"] for one in fresh.lemon_squeezy.get(path).json()["data"]]
    assert reasons.count("initial") == 1
    assert reasons.count("renewal") in (3, 4)
    renews = unix(now_attributes(fresh, f"subscriptions/{mine['id']}")["renews_at"])
    assert 0 < renews - fresh.world.clock.now() <= 31 * DAY_S


def test_failure__is_retried_four_times_then_unpaid_then_expired(fresh: Bench) -> None:
    listen(fresh, [name for name in NAMES if name.startswith("subscription")])
    mine = subscription(fresh)
    path = f"subscriptions/{mine['id']}"
    fresh.world.advance(60)
    before = len(told(fresh))
    act(fresh, path, "fail")
    assert now_attributes(fresh, path)["status"] == "past_due"
    fresh.world.advance(13 * DAY_S)
    assert now_attributes(fresh, path)["status"] == "past_due"
    fresh.world.advance(DAY_S)
    assert now_attributes(fresh, path)["status"] == "unpaid"
    assert names_told(fresh, before).count("subscription_payment_failed") == 5
    fresh.world.advance(14 * DAY_S)
    assert now_attributes(fresh, path)["status"] == "expired"
    assert names_told(fresh)[-1] == "subscription_expired"
    newest = fresh.lemon_squeezy.get(f"/{path}/subscription-invoices").json()["data"][0]["attributes"]
    assert newest["status"] == "void"


def test_failure__can_be_recovered(fresh: Bench) -> None:
    listen(fresh)
    path = f"subscriptions/{subscription(fresh)['id']}"
    act(fresh, path, "fail")
    before = len(told(fresh))
    assert act(fresh, path, "recover")["status"] == "paid"
    assert names_told(fresh, before) == [
        "subscription_payment_success",
        "subscription_payment_recovered",
        "subscription_updated",
    ]
    fresh.world.advance(20 * DAY_S)
    assert now_attributes(fresh, path)["status"] == "active"
    assert fresh.control.post(f"/{path}/recover").status_code == 400


def test_cancel__tells_thrice_and_expires_when_the_period_ends(fresh: Bench) -> None:
    listen(fresh)
    path = f"subscriptions/{subscription(fresh)['id']}"
    fresh.world.advance(60)
    before = len(told(fresh))
    fresh.lemon_squeezy.delete(f"/{path}")
    fresh.world.advance(2)
    assert names_told(fresh, before) == ["subscription_updated", "subscription_cancelled", "subscription_updated"]
    bodies = [body(one)["data"]["attributes"] for one in told(fresh)[before:]]
    assert len({one["updated_at"] for one in bodies}) == 1
    fresh.world.advance(32 * DAY_S)
    ended = now_attributes(fresh, path)
    assert (ended["status"], ended["ends_at"]) == ("expired", ended["renews_at"])


def test_resumed__does_not_expire_when_it_would_have(fresh: Bench) -> None:
    path = f"subscriptions/{subscription(fresh)['id']}"
    act(fresh, path, "cancel")
    act(fresh, path, "resume")
    fresh.world.advance(40 * DAY_S)
    assert now_attributes(fresh, path)["status"] == "active"


def test_pause__ends_when_it_said(fresh: Bench) -> None:
    listen(fresh)
    path = f"subscriptions/{subscription(fresh)['id']}"
    assert act(fresh, path, "pause", mode="free", resumes_in_days=3)["status"] == "paused"
    fresh.world.advance(4 * DAY_S)
    assert now_attributes(fresh, path)["status"] == "active"
    assert {"subscription_paused", "subscription_unpaused"} <= set(names_told(fresh))


def test_plan_change__is_prorated_in_an_invoice_of_its_own(fresh: Bench) -> None:
    listen(fresh)
    mine, other = subscription(fresh), variant(fresh, monthly=True, number=1)
    before = len(told(fresh))
    changed = act(fresh, f"subscriptions/{mine['id']}", "plan", variant_id=int(other))
    assert (changed["variant_id"], changed["product_name"]) == (int(other), "Team")
    assert names_told(fresh, before) == ["subscription_updated", "subscription_payment_success"]
    invoice = body(told(fresh)[-1])["data"]["attributes"]
    assert (invoice["billing_reason"], invoice["card_brand"]) == ("updated", None)
    assert 0 < invoice["total"] <= 9950 - 2900
    back = act(fresh, f"subscriptions/{mine['id']}", "plan", variant_id=int(variant(fresh, monthly=True)))
    cheaper = body(told(fresh)[-1])["data"]["attributes"]
    assert back["variant_name"] == "Monthly"
    assert cheaper["subtotal"] < 0
    assert cheaper["total"] == 0


def test_mrr__follows_the_plan(fresh: Bench) -> None:
    mine = subscription(fresh)
    customer = f"customers/{mine['attributes']['customer_id']}"
    assert now_attributes(fresh, customer)["mrr"] == 2900
    act(fresh, f"subscriptions/{mine['id']}", "seats", quantity=2)
    assert now_attributes(fresh, customer)["mrr"] == 5800
    act(fresh, f"subscriptions/{mine['id']}", "expire")
    assert now_attributes(fresh, customer)["mrr"] == 0


def test_refund__of_a_first_payment_is_told_for_order_and_invoice(fresh: Bench) -> None:
    listen(fresh)
    mine, before = subscription(fresh), len(told(fresh))
    act(fresh, f"orders/{mine['attributes']['order_id']}", "refund", amount=100)
    assert names_told(fresh, before) == ["order_refunded", "subscription_payment_refunded"]
    assert body(told(fresh)[-1])["data"]["attributes"]["refunded_amount"] == 100


# --- deliveries -----------------------------------------------------------------------------------
def test_delivery__is_signed_over_its_bytes_as_php_writes_them(fresh: Bench) -> None:
    listen(fresh)
    fresh.control.post("/orders", json={"email": "a@b.example", "name": "Zoë/Ω"})
    (delivery,) = told(fresh)
    digest = hmac.new(SECRET.encode(), delivery.body, hashlib.sha256).hexdigest()
    assert delivery.headers["X-Signature"] == digest
    assert delivery.headers["X-Event-Name"] == body(delivery)["meta"]["event_name"] == "order_created"
    assert delivery.headers["Content-Type"] == "application/json"
    assert b"Zo\\u00eb\\/\\u03a9" in delivery.body
    assert b": " not in delivery.body
    assert list(body(delivery)["meta"]) == ["test_mode", "event_name", "webhook_id"]  # no custom data, no key
    assert fresh.lemon_squeezy.get("/webhooks").json()["data"][0]["attributes"]["last_sent_at"] is not None


def test_delivery__goes_to_listeners_of_the_event_and_the_mode(fresh: Bench) -> None:
    listen(fresh, ["order_created"])
    listen(fresh, ["order_refunded"])
    listen(fresh, ["order_created", "order_refunded"])
    order = fresh.control.post("/orders", json={"email": "a@b.example", "test_mode": True}).json()["data"]
    assert told(fresh) == []
    order = fresh.control.post("/orders", json={"email": "a@b.example"}).json()["data"]
    act(fresh, f"orders/{order['id']}", "refund")
    assert names_told(fresh) == ["order_created"] * 2 + ["order_refunded"] * 2
    assert len({body(one)["meta"]["webhook_id"] for one in told(fresh)}) == 4


@pytest.mark.parametrize("status", [500, 201, None])
def test_delivery__is_retried_after_5_25_and_125_s_then_lost(fresh: Bench, status: int | None) -> None:
    listen(fresh)
    fresh.control.post("/orders", json={"email": "a@b.example"})
    (delivery,) = told(fresh)
    for wait_s in (0.0, *RETRY_WAITS_S):
        assert delivery.state == "waiting"
        fresh.world.advance(wait_s)
        assert fresh.world.deliveries.take_due() == [delivery]
        fresh.world.deliveries.attempted(delivery, status)
    assert delivery.state == "lost"
    assert len(delivery.attempts) == 4


def test_delivery__can_be_resent_with_its_stored_body(fresh: Bench) -> None:
    listen(fresh)
    order = fresh.control.post("/orders", json={"email": "a@b.example"}).json()["data"]
    act(fresh, f"orders/{order['id']}", "refund")
    first = told(fresh)[0]
    fresh.control.post(f"/deliveries/{first.id}/resend").raise_for_status()
    again = told(fresh)[-1]
    assert again.id != first.id
    assert (again.body, again.headers) == (first.body, first.headers)


def test_simulated_event__shows_the_object_as_it_is_now(fresh: Bench) -> None:
    webhook = listen(fresh, ["order_created"])
    mine = subscription(fresh)
    act(fresh, f"subscriptions/{mine['id']}", "expire")
    wanted = {"event": "subscription_cancelled", "type": "subscriptions", "id": mine["id"]}
    assert fresh.control.post(f"/webhooks/{webhook}/simulate", json=wanted).status_code == 201
    sent = body(told(fresh)[-1])
    assert (sent["meta"]["event_name"], sent["data"]["attributes"]["status"]) == ("subscription_cancelled", "expired")


def test_store__is_the_same_after_it_was_saved_and_loaded(fresh: Bench) -> None:
    listen(fresh)
    made = checkout(fresh, {"checkout_data": {"custom": {"a": "b"}}}).json()["data"]
    store = fresh.world.lemon_squeezy
    saved = json.dumps(store.state())
    store.load(json.loads(saved))
    assert json.dumps(store.state()) == saved
    assert fresh.lemon_squeezy.get(f"/checkouts/{made['id']}").json()["data"]["id"] == made["id"]
    act(fresh, f"checkouts/{made['id']}", "pay", email="a@b.example")
    assert body(told(fresh)[0])["meta"]["custom_data"] == {"a": "b"}
