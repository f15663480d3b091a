"""Objects that no API should send: the run goes on, their neighbours are served, and what was left out is named."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx
import pytest

from dealsync.apis.transport import Transport
from dealsync.drain import drain
from dealsync.settings import load_environment
from tests.accounts import WON, Accounts
from tests.webhooks import Hooks


def nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(depth):
        found = {"a": found}
    return found


GOOD = {"name": "Ann Example", "email": "ann@example.com"}
LONG = "Pro " * 25_000
HTML = "<img src=x onerror=alert(1)><b>Pro</b>"
ORDERS: dict[str, dict[str, Any]] = {
    "a NUL in the name": {"user_name": "An\x00n"},
    "a lone surrogate in the name": {"user_name": "Ann \ud800"},
    "a name of 100 kB": {"user_name": LONG},
    "no e-mail": {"user_email": ""},
    "an e-mail of 1 MB": {"user_email": f"{'a' * 1_000_000}@example.com"},
    "numbers as texts": {"total": "49000", "refunded_amount": "0"},
    "a number that is none": {"total": "many"},
    "a number of 40 digits": {"total": 10**40},
    "a negative total": {"total": -49000},
    "a fraction of a cent": {"total": 49000.5},
    "the year 0": {"created_at": "0000-01-01T00:00:00.000000Z"},
    "the year 9999": {"created_at": "9999-12-31T23:59:59.999999Z"},
    "no time": {"created_at": None},
    "a status of tomorrow": {"status": "on_the_moon"},
    "a currency that is none": {"currency": "??"},
    "deep nesting": {"urls": nested(200)},
    "a list for an object": {"first_order_item": [1, 2, 3]},
}


def poison(monkeypatch: pytest.MonkeyPatch, object_id: str, changes: Mapping[str, Any]) -> None:
    """Change what an API sends of an object, wherever it sends it."""
    read = Transport._json

    def poisoned(self: Transport, response: httpx.Response) -> Any:
        answer = read(self, response)
        if response.request.method == "GET":
            for row in filter(lambda row: str(row.get("id")) == object_id, _rows(answer)):
                row.get("attributes", row).update(changes)
        return answer

    monkeypatch.setattr(Transport, "_json", poisoned)


def _rows(answer: Any) -> list[dict[str, Any]]:
    """The orders or leads of an answer, one or many."""
    if not isinstance(answer, dict):
        return []
    data = answer.get("data")
    embedded = answer.get("_embedded")
    leads = embedded.get("leads", []) if isinstance(embedded, dict) else []
    orders = data if isinstance(data, list) else [data] if isinstance(data, dict) else []
    return [*leads, *(row for row in orders if row["type"] == "orders")]


def neighbours(accounts: Accounts) -> tuple[int, str]:
    """A deal that was paid for, and an order beside its own that is about to be poisoned."""
    lead_id = int(accounts.control("leads", price=490, contact=GOOD)["id"])
    accounts.control("orders", email=GOOD["email"], total=49000)
    poisoned = accounts.control("orders", email="poison@example.com", total=7000)["data"]["id"]
    accounts.control("orders", email="last@example.com", total=9900)
    return lead_id, str(poisoned)


@pytest.mark.parametrize("what", ORDERS)
def test_poisoned_order__stops_no_other_and_is_served_or_named(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    lead_id, order_id = neighbours(accounts)
    poison(monkeypatch, order_id, ORDERS[what])
    report = accounts.run()
    report.raise_if_failed()
    assert accounts.lead(lead_id)["status_id"] == WON
    served = {accounts.fields(lead["id"]).get("LS order id") for lead in accounts.kommo()["leads"]}
    named = f"order {order_id}" in " ".join(report.remarks()) + " ".join(report.unreadable)
    waits = order_id in {*(review.order_id for review in report.plan.reviews), *report.plan.settling}
    is_no_payment = what in ("a negative total", "a status of tomorrow")
    assert order_id in served or named or waits or is_no_payment, report.remarks()
    assert len(served) >= 2
    again = accounts.run()
    assert again.plan.actions == ()
    assert "poison@example.com" not in " ".join(report.remarks())


def test_poisoned_names__are_no_markup_in_kommo_and_are_cut_with_a_sign(accounts: Accounts) -> None:
    product, variant = (accounts.control("variants", name=name, price=7000)["data"]["id"] for name in (HTML, LONG))
    for number, variant_id in enumerate((product, variant)):
        accounts.control("orders", email=f"b{number}@example.com", total=7000, variant_id=int(variant_id))
    accounts.run().raise_if_failed()
    notes = [note["params"]["text"] for note in accounts.kommo()["notes"]["leads"]]
    assert len(notes) == 2
    assert not any("<" in note for note in notes)
    assert any("&lt;b&gt;Pro&lt;/b&gt;" in note for note in notes)
    assert max(map(len, notes)) < 500
    assert any("…" in note for note in notes)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "No\x00name \ud800"},
        {"name": LONG},
        {"price": -5},
        {"price": 10**40},
        {"updated_at": 10**11},
        {"created_at": -(10**11)},
        {"custom_fields_values": [{"field_id": "x" * 1000, "values": None}]},
        {"responsible_user_id": "nobody"},
        {"_embedded": []},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_poisoned_deal__stops_no_other(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    poisoned = int(accounts.control("leads", price=70, contact={"name": "Bob", "email": "bob@example.com"})["id"])
    lead_id, _ = neighbours(accounts)
    poison(monkeypatch, str(poisoned), changes)
    report = accounts.run()
    report.raise_if_failed()
    assert accounts.lead(lead_id)["status_id"] == WON
    assert accounts.run().plan.actions == ()


@pytest.mark.parametrize(
    "poisoned",
    [
        "x" * 5_000_000,
        "[" * 5_000 + "]" * 5_000,
        '{"meta": {"event_name": "order_created"}, "data": {"id": "' + "9" * 40 + '", "type": "orders"}}',
        '{"meta": {"event_name": "a\\u0000b", "webhook_id": "\\ud800"}, "data": {"id": "17", "type": "orders"}}',
        '{"meta": [], "data": "no"}',
    ],
    ids=["5 MB", "deep", "40 digits", "NUL and surrogate", "other shapes"],
)
def test_poisoned_webhook__is_refused_or_passed_and_the_next_is_served(
    accounts: Accounts, hooks: Hooks, poisoned: str
) -> None:
    lead_id = int(accounts.control("leads", price=490)["id"])
    accounts.run()
    hooks.sent()
    custom = {"kommo_lead_id": str(lead_id)}
    accounts.control("orders", email="a@example.com", total=49000, custom_data=custom)
    (told,) = hooks.sent()
    body, (secret, *_) = poisoned.encode(), load_environment().webhook_secrets
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    wrong = replace(told, body=body, headers={**told.headers, "X-Signature": signature})
    assert hooks.deliver([wrong])[0] in (200, 400, 413)
    assert hooks.deliver([told]) == [200]
    asyncio.run(drain(progress=lambda _text: None))
    assert accounts.lead(lead_id)["status_id"] == WON
