"""A busy quarter of an hour on both sides, the same requests every time, and everything that was answered."""

from typing import Any

import httpx

from dealsync.simulator.premises import ATTENTION, INVOICE_SENT, QUALIFIED
from tests.unit.simulator.bench import Bench

HOOK = "https://receiver.example/hook"
DAY_S = 24 * 3600


class Play:
    """Asks and writes down what came back."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.answers: list[tuple[int, str]] = []

    def ask(self, client: httpx.Client, method: str, path: str, body: Any = None) -> Any:
        answer = client.request(method, path, json=body)
        self.answers.append((answer.status_code, answer.text))
        assert answer.status_code < 300, (method, path, answer.text)
        return answer.json() if answer.content else None

    def listen(self) -> None:
        """Register a webhook on both sides."""
        bench = self._bench
        self.ask(bench.kommo, "POST", "/webhooks", {"destination": HOOK, "settings": ["add_lead", "status_lead"]})
        attributes = {"url": HOOK, "events": ["order_created", "order_refunded"], "secret": "not-a-secret"}
        relations = {"store": {"data": {"type": "stores", "id": str(bench.world.lemon_squeezy.store_id)}}}
        data = {"type": "webhooks", "attributes": attributes, "relationships": relations}
        self.ask(bench.lemon_squeezy, "POST", "/webhooks", {"data": data})

    def sell(self, number: int) -> None:
        """Let a deal come, move and be paid, be tagged, noted and planned for; give some of the money back."""
        kommo, control = self._bench.kommo, self._bench.control
        contact = {"name": f"Ann {number}", "email": f"ann{number}@b.example"}
        lead = self.ask(control, "POST", "/leads", {"name": f"Deal {number}", "price": 490, "contact": contact})
        own = f"/leads/{lead['id']}"
        self.ask(kommo, "PATCH", own, {"status_id": INVOICE_SENT, "_embedded": {"tags": [{"name": f"t{number}"}]}})
        self.ask(kommo, "POST", "/leads/notes", [note_of(lead["id"], f"note {number}")])
        task = {"text": "call", "complete_till": 1_800_000_000 + number, "entity_id": lead["id"]}
        self.ask(kommo, "POST", "/tasks", [{**task, "entity_type": "leads"}])
        self.ask(control, "POST", "/clock", {"advance_s": 61.5})
        bought = {"email": contact["email"], "total": 49000, "lead_id": lead["id"]}
        order = self.ask(control, "POST", "/orders", bought)["data"]
        self.ask(control, "POST", f"/orders/{order['id']}/refund", {"amount": 1000 + number})
        self.ask(control, "POST", f"{own}/move", {"status_id": ATTENTION if number % 2 else QUALIFIED})

    def log_in(self) -> None:
        """Exchange the code for a pair of tokens."""
        own = self._bench.world.secrets.kommo
        body = {"client_id": own.client_id, "client_secret": own.client_secret, "redirect_uri": own.redirect_uri}
        address = "http://test/kommo/oauth2/access_token"
        self.ask(self._bench.kommo, "POST", address, {**body, "grant_type": "authorization_code", "code": own.code})

    def look(self) -> None:
        """Read lists in several orders, filters and pages."""
        for path in (
            "/leads?limit=7&page=2&order[updated_at]=desc&with=contacts",
            f"/leads?filter[updated_at][from]={self._bench.world.clock.seconds() - DAY_S}",
            "/leads?query=deal",
            "/contacts?query=ann1@b.example&with=leads",
            "/tasks?order[complete_till]=desc",
            "/events?limit=20",
            "/leads/notes",
        ):
            self.ask(self._bench.kommo, "GET", path)
        for path in ("/orders?page[size]=5&page[number]=2", "/customers?filter[email]=ann1@b.example", "/webhooks"):
            self.ask(self._bench.lemon_squeezy, "GET", path)
        self.ask(self._bench.control, "GET", "/deliveries")


def note_of(lead_id: int, text: str) -> dict[str, Any]:
    return {"entity_id": lead_id, "note_type": "common", "params": {"text": text}}
