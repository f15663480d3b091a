"""What Prometheus is told: what came and what was refused, what waits, how long payments take to reach their deals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from dealsync.core.evidence import Event, Sender
from dealsync.ledger.inbox import Depth

LONGEST_NAME = 40
MOST_NAMES = 100
"""Event names that are counted apart: whoever holds the secret must not fill the memory with new ones."""
ANSWERS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
DELAYS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 300.0, 3600.0, 86400.0)


class Metrics:
    """The figures of one receiver; those about the inbox are of the database, which all receivers share."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._names: set[str] = set()
        self._received = Counter(
            "dealsync_webhooks_received", "Verified webhooks, also those that came before", ["sender", "event"],
            registry=self.registry,
        )  # fmt: skip
        self._duplicates = Counter(
            "dealsync_webhooks_duplicate", "Webhooks that were stored before", ["sender"], registry=self.registry
        )
        self._refused = Counter(
            "dealsync_webhooks_refused", "Requests that were not taken in", ["sender", "reason"],
            registry=self.registry,
        )  # fmt: skip
        self._answers = Histogram(
            "dealsync_webhook_answer_seconds", "From the first byte of a request to its answer", ["sender"],
            buckets=ANSWERS_S, registry=self.registry,
        )  # fmt: skip
        self._acknowledged = Histogram(
            "dealsync_payment_acknowledged_seconds",
            "From the change in Lemon Squeezy, by its own clock in whole seconds, to the commit",
            buckets=DELAYS_S, registry=self.registry,
        )  # fmt: skip
        self._changed = Histogram(
            "dealsync_deal_changed_seconds", "From the arrival of an event to the last change that followed from it",
            buckets=DELAYS_S, registry=self.registry,
        )  # fmt: skip
        self._paid_changed = Histogram(
            "dealsync_payment_deal_changed_seconds",
            "From the change in Lemon Squeezy, by its own clock in whole seconds, to the changed deal",
            buckets=DELAYS_S, registry=self.registry,
        )  # fmt: skip
        self._waiting = Gauge("dealsync_inbox_waiting", "Events that wait", registry=self.registry)
        self._parked = Gauge("dealsync_inbox_parked", "Events that were given up", registry=self.registry)
        self._age = Gauge("dealsync_inbox_age_seconds", "Age of the oldest waiting event", registry=self.registry)

    @contextmanager
    def answering(self, sender: Sender) -> Iterator[None]:
        """Measure how long an answer takes."""
        with self._answers.labels(sender).time():
            yield

    def received(self, event: Event, *, is_fresh: bool, now: datetime) -> None:
        """Count a webhook that was just committed."""
        self._received.labels(event.sender, self._name(event.event_name)).inc()
        if not is_fresh:
            self._duplicates.labels(event.sender).inc()
        elif event.sender is Sender.LEMON_SQUEEZY and event.object_updated_at is not None:
            self._acknowledged.observe(max(0.0, (now - event.object_updated_at).total_seconds()))

    def refused(self, sender: Sender, reason: str) -> None:
        """Count a request that was not taken in."""
        self._refused.labels(sender, reason).inc()

    def delayed(self, arrived_at: datetime, happened_at: datetime, done_at: datetime) -> None:
        """Count an event that changed a deal."""
        self._changed.observe((done_at - arrived_at).total_seconds())
        self._paid_changed.observe(max(0.0, (done_at - happened_at).total_seconds()))

    def shown(self, depth: Depth, now: datetime) -> bytes:
        """Return all figures in Prometheus' text format."""
        self._waiting.set(depth.waiting)
        self._parked.set(depth.parked)
        self._age.set(0 if depth.oldest_at is None else max(0.0, (now - depth.oldest_at).total_seconds()))
        return generate_latest(self.registry)

    def _name(self, event_name: str) -> str:
        name = event_name[:LONGEST_NAME]
        if name not in self._names and len(self._names) >= MOST_NAMES:
            return "other"
        self._names.add(name)
        return name
