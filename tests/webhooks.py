"""Webhooks of the simulated accounts, handed to the receiver when and in which order a test likes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from dealsync.core.inbox import InboxItem, InboxState
from dealsync.ledger.inbox import Chosen, Inbox
from dealsync.receiver.app import make_app
from dealsync.receiver.serve import parts_of
from dealsync.registering import KOMMO_EVENTS, LEMON_SQUEEZY_EVENTS
from dealsync.settings import build_store, load_environment, load_settings
from dealsync.simulator.deliveries import Delivery
from tests.accounts import HTTP, Accounts

NOWHERE = "http://127.0.0.1:9"


@dataclass
class Hooks:
    """The bodies that both accounts send, for a receiver at an address where nobody listens."""

    accounts: Accounts
    handed: int = 0

    def register(self, receiver: str = NOWHERE) -> Hooks:
        """Let both accounts tell a receiver of everything from now on."""
        environment, url = load_environment(), self.accounts.simulator.url
        (secret,) = environment.webhook_secrets
        attributes = {"url": f"{receiver}/webhooks/lemon-squeezy", "events": LEMON_SQUEEZY_EVENTS, "secret": secret}
        store = {"store": {"data": {"type": "stores", "id": environment.lemon_squeezy_store_id}}}
        key = environment.lemon_squeezy_api_key.get_secret_value()
        HTTP.post(
            f"{url}/lemonsqueezy/v1/webhooks",
            json={"data": {"type": "webhooks", "attributes": attributes, "relationships": store}},
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/vnd.api+json"},
        ).raise_for_status()
        token = environment.kommo_token
        assert token is not None
        path = f"/webhooks/kommo/{environment.kommo_webhook_token.get_secret_value()}"
        HTTP.post(
            f"{url}/kommo/api/v4/webhooks",
            json={"destination": receiver + path, "settings": KOMMO_EVENTS},
            headers={"Authorization": f"Bearer {token.get_secret_value()}"},
        ).raise_for_status()
        return self

    @property
    def inbox(self) -> Inbox:
        """What the receiver stored."""
        return build_store(load_environment()).inbox

    def items(self, *states: InboxState) -> list[InboxItem]:
        """Return what is in the inbox, the oldest first."""
        return self.inbox.listed(Chosen(states=states))[::-1]

    def sent(self, sender: str = "lemonsqueezy") -> list[Delivery]:
        """Return what one account sent since this was asked last."""
        everything = list(self.accounts.simulator.world.deliveries.all())
        fresh, self.handed = everything[self.handed :], len(everything)
        return [delivery for delivery in fresh if delivery.sender == sender]

    def deliver(self, deliveries: Sequence[Delivery] | None = None, *, sender: str = "lemonsqueezy") -> list[int]:
        """Hand bodies to a receiver, one after the other; return its answers."""
        given = self.sent(sender) if deliveries is None else deliveries
        return asyncio.run(_hand_over(given))


async def _hand_over(deliveries: Iterable[Delivery]) -> list[int]:
    app = make_app(parts_of(load_settings()))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://receiver") as http:
        return [
            (await http.post(urlsplit(one.url).path, content=one.body, headers=one.headers)).status_code
            for one in deliveries
        ]
