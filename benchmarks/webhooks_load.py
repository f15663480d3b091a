"""Load of signed events on a receiver: at a steady rate, or as fast as it answers."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

CONNECTIONS = 32
BODY = {
    "meta": {"test_mode": False, "event_name": "order_created", "custom_data": {"kommo_lead_id": "31"}},
    "data": {"type": "orders", "attributes": {"store_id": 1, "user_email": "buyer@example.com", "total": 49000,
             "first_order_item": {"product_name": "Pro" * 200}, "updated_at": "2026-06-01T10:00:00.000000Z"}},
}  # fmt: skip
"""About the size of a recorded order."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a load measured: seconds from each request to its answer, and seconds for all of them."""

    answers_s: Sequence[float]
    took_s: float
    refused: int

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.answers_s) / self.took_s

    def percentile_ms(self, share: float) -> float:
        """Return the latency that so large a share of the answers did not exceed, in milliseconds."""
        return sorted(self.answers_s)[min(len(self.answers_s) - 1, int(len(self.answers_s) * share))] * 1000


def signed(number: int, secret: str) -> tuple[bytes, dict[str, str]]:
    """Return an event that nobody has sent before, with its headers."""
    event = json.loads(json.dumps(BODY))
    event["meta"]["webhook_id"] = str(uuid.uuid4())
    event["data"]["id"] = str(number)
    body = json.dumps(event).encode()
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return body, {"X-Signature": signature, "Content-Type": "application/json"}


async def load(url: str, secret: str, *, count: int, per_second: float | None) -> Load:
    """Send `count` events: at that rate whatever the answers take, or one after the other on each connection."""
    events = [signed(number, secret) for number in range(count)]
    answers: list[float] = []
    refused = 0
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    async with httpx.AsyncClient(base_url=url, timeout=30, limits=limits) as http:

        async def send(event: tuple[bytes, dict[str, str]]) -> None:
            nonlocal refused
            began = time.perf_counter()
            answer = await http.post("/webhooks/lemon-squeezy", content=event[0], headers=event[1])
            answers.append(time.perf_counter() - began)
            refused += answer.status_code != 200

        began = time.perf_counter()
        if per_second is None:
            waiting = iter(events)

            async def connection() -> None:
                for event in waiting:
                    await send(event)

            await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
        else:
            async with asyncio.TaskGroup() as group:
                for number, event in enumerate(events):
                    await asyncio.sleep(max(0.0, began + number / per_second - time.perf_counter()))
                    group.create_task(send(event))
        return Load(answers, time.perf_counter() - began, refused)
