"""What Lemon Squeezy tells the registered webhooks: signed bodies, handed to the deliveries.

Source: Lemon Squeezy reference, section 7.
"""

import hashlib
import hmac
from typing import Final

from dealsync.simulator.assumptions import (
    WEBHOOK_LINKS_ROOT,
    WEBHOOK_TIMEOUT_S,
    WEBHOOK_USER_AGENT,
)
from dealsync.simulator.clock import iso
from dealsync.simulator.deliveries import Deliveries, Delivery
from dealsync.simulator.lemonsqueezy.books import Books
from dealsync.simulator.lemonsqueezy.wire import Documents, php_json
from dealsync.simulator.schedule import Schedule
from dealsync.simulator.table import Record

SENDER: Final = "lemonsqueezy"
RETRY_WAITS_S = (5.0, 25.0, 125.0)  # after that the event is lost (7.3)
NAMES = (
    "order_created",
    "order_refunded",
    "subscription_created",
    "subscription_updated",
    "subscription_cancelled",
    "subscription_resumed",
    "subscription_expired",
    "subscription_paused",
    "subscription_unpaused",
    "subscription_payment_success",
    "subscription_payment_failed",
    "subscription_payment_recovered",
    "subscription_payment_refunded",
    "subscription_plan_changed",  # offered in the dashboard; nothing is known about its data, so it is never sent
    "license_key_created",
    "license_key_updated",
    "affiliate_activated",
)
TELL = "lemonsqueezy.tell"  # kind of the schedule's entries


class Events:
    """Tells every webhook of the store that listens to an event of its own mode."""

    def __init__(self, books: Books, schedule: Schedule, deliveries: Deliveries) -> None:
        self._books = books
        self._schedule = schedule
        self._deliveries = deliveries
        self._documents = Documents(books, WEBHOOK_LINKS_ROOT)
        deliveries.policy(SENDER, _next_wait_s)
        deliveries.success(SENDER, lambda status: status == 200)
        deliveries.timeout(SENDER, WEBHOOK_TIMEOUT_S)
        schedule.on(TELL, self._tell_planned)

    def tell(self, name: str, record: Record, **shown: object) -> None:
        """Send an event about a resource as it is now; `shown` are attributes this body shows otherwise."""
        for webhook in self._books.tables["webhooks"]:
            if self._listens(webhook, name, record):
                self.send(webhook, name, record, **shown)

    def tell_later(self, name: str, record: Record, wait_s: float, **shown: object) -> None:
        """Send an event about a resource as it will be in `wait_s` simulated seconds."""
        payload = {"name": name, "type": record["type"], "key": self._books.key(record), "shown": shown}
        self._schedule.at(self._books.clock.now() + wait_s, TELL, payload)

    def send(self, webhook: Record, name: str, record: Record, **shown: object) -> Delivery:
        """Send an event to one webhook, whether it listens or not: what "Simulate" of the dashboard does."""
        body = self._body(name, record, shown).encode()
        secret = webhook["hidden"]["secret"].encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": WEBHOOK_USER_AGENT,
            "X-Event-Name": name,
            "X-Signature": hmac.new(secret, body, hashlib.sha256).hexdigest(),
        }
        webhook["attributes"]["last_sent_at"] = iso(self._books.clock.now())
        return self._deliveries.send(SENDER, webhook["attributes"]["url"], headers, body, name)

    @staticmethod
    def _listens(webhook: Record, name: str, record: Record) -> bool:
        """Tell whether an event goes to a webhook. Recorded ones hear nothing: their secret is not known."""
        attributes, about = webhook["attributes"], record["attributes"]
        return (
            "secret" in webhook.get("hidden", {})
            and name in attributes["events"]
            and bool(attributes["test_mode"]) == bool(about.get("test_mode"))
            and attributes["store_id"] == about["store_id"]
        )

    def _tell_planned(self, payload: Record) -> None:
        record = self._books.tables[payload["type"]].get(payload["key"])
        if record is not None:
            self.tell(payload["name"], record, **payload["shown"])

    def _body(self, name: str, record: Record, shown: dict[str, object]) -> str:
        meta: Record = {"test_mode": bool(record["attributes"].get("test_mode")), "event_name": name}
        custom_data = self._custom_data(record)
        if custom_data:  # the key is absent otherwise (7.2)
            meta["custom_data"] = custom_data
        meta["webhook_id"] = self._books.new_uuid()
        data = self._documents.resource(record)
        return php_json({"meta": meta, "data": {**data, "attributes": {**data["attributes"], **shown}}})

    def _custom_data(self, record: Record) -> dict[str, str]:
        """Return what the checkout was given; values are strings whatever was meant (8)."""
        attributes = record["attributes"]
        if record["type"] == "orders":
            order_id = int(record["id"])
        elif record["type"] == "subscription-invoices":
            subscription = self._books.get("subscriptions", attributes["subscription_id"])
            order_id = subscription["attributes"]["order_id"]
        else:
            order_id = attributes.get("order_id", 0)
        return self._books.custom_data.get(order_id, {})


def _next_wait_s(delivery: Delivery, status: int | None) -> float | None:
    tried = len(delivery.attempts)
    return RETRY_WAITS_S[tried - 1] if tried <= len(RETRY_WAITS_S) else None
