"""Webhooks on their way: what is sent where, what came back, and when it is tried again.

Nothing here opens a connection: `courier` takes what is due and reports what came of it. A world without a
server only collects deliveries as waiting.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from dealsync.simulator.clock import Clock
from dealsync.simulator.faults import Faults
from dealsync.simulator.saved import restore_random, saved_random
from dealsync.simulator.schedule import Schedule
from dealsync.simulator.table import Record

Sender: TypeAlias = Literal["lemonsqueezy", "kommo"]
State: TypeAlias = Literal["waiting", "delivered", "lost", "dropped"]
DUE = "delivery"  # kind of the schedule's entries
SHUFFLE_SPREAD_S = 0.5  # webhook_shuffle: what is sent at once arrives within so many seconds, in any order
DEFAULT_TIMEOUT_S = 10.0


@dataclass
class Delivery:
    """One request to a receiver, tried until it succeeds or its sender gives up."""

    id: int
    sender: Sender
    url: str
    headers: dict[str, str]
    body: bytes
    label: str  # the event's name
    sent_at: float  # simulated Unix seconds, of the event and not of the first attempt
    attempts: list[Record] = field(default_factory=list)  # {"at", "status" or None, "error" or None}
    state: State = "waiting"  # dropped: never sent, by webhook_loss; lost: given up

    def saved(self) -> Record:
        """Return it JSON-ready; the body's bytes as the characters of the same number."""
        return {**vars(self), "body": self.body.decode("latin-1")}

    @classmethod
    def of_saved(cls, saved: Record) -> "Delivery":
        """Return what `saved` was made of."""
        return cls(**{**saved, "body": saved["body"].encode("latin-1")})

    def shown(self) -> Record:
        """Return what the control routes tell; headers and body can hold what only the receiver should know."""
        return {key: getattr(self, key) for key in ("id", "sender", "label", "url", "state", "sent_at", "attempts")}


@dataclass
class _Rules:
    """How a sender delivers; registered on construction of the store and the account."""

    next_wait_s: Callable[[Delivery, int | None], float | None] = lambda delivery, status: None
    is_success: Callable[[int], bool] = lambda status: 200 <= status < 300
    timeout_s: float = DEFAULT_TIMEOUT_S
    on_result: Callable[[Delivery], None] = lambda delivery: None


class Deliveries:
    """All deliveries of a world by id, and those whose next attempt is due."""

    def __init__(self, clock: Clock, faults: Faults, schedule: Schedule, rng: random.Random) -> None:
        """`rng` decides about loss, doubles and delays; nothing else draws from it, so they repeat by seed."""
        self._clock = clock
        self._faults = faults
        self._schedule = schedule
        self._rng = rng
        self._rules: dict[str, _Rules] = {"lemonsqueezy": _Rules(), "kommo": _Rules()}
        self._all: dict[int, Delivery] = {}
        self._due: dict[int, None] = {}  # to be attempted now, in order
        self._under_way: dict[int, None] = {}  # handed to the courier, no result yet
        schedule.on(DUE, self._fall_due)

    # --- how a sender delivers --------------------------------------------------------------------
    def policy(self, sender: Sender, next_wait_s: Callable[[Delivery, int | None], float | None]) -> None:
        """Set what follows a failed attempt: simulated seconds to the next one, or None = lost.

        It is given the HTTP status of the failure, None when there was no answer; the attempt is already noted.
        """
        self._rules[sender].next_wait_s = next_wait_s

    def success(self, sender: Sender, is_success: Callable[[int], bool]) -> None:
        """Set which HTTP statuses end a delivery well; without it all of 2xx."""
        self._rules[sender].is_success = is_success

    def timeout(self, sender: Sender, seconds: float) -> None:
        """Set how long one attempt may take, in real seconds."""
        self._rules[sender].timeout_s = seconds

    def listener(self, sender: Sender, on_result: Callable[[Delivery], None]) -> None:
        """Set what is told about every attempt, after the delivery's state is settled."""
        self._rules[sender].on_result = on_result

    def timeout_s(self, delivery: Delivery) -> float:
        """Return how long an attempt of this delivery may take, in real seconds."""
        return self._rules[delivery.sender].timeout_s

    # --- sending ----------------------------------------------------------------------------------
    def send(
        self, sender: Sender, url: str, headers: Mapping[str, str], body: bytes, label: str, *, after_s: float = 0.0
    ) -> Delivery:
        """Send a webhook, the first attempt after so many simulated seconds; switches may lose or double it."""
        delivery = self._new(sender, url, headers, body, label)
        if self._happens(self._faults.webhook_loss):
            delivery.state = "dropped"
            return delivery
        self._plan(delivery, after_s + self._extra_s())
        if self._happens(self._faults.webhook_duplicates):
            self._plan(self._new(sender, url, headers, body, label), after_s + self._extra_s())
        return delivery

    def resend(self, delivery_id: int) -> Delivery:
        """Send the stored body again, as a person does in the dashboard: a new delivery. Raises KeyError."""
        old = self._all[delivery_id]
        delivery = self._new(old.sender, old.url, old.headers, old.body, old.label)
        self._plan(delivery, 0.0)
        return delivery

    def all(self, sender: Sender | None = None) -> list[Delivery]:
        """Return the deliveries of one sender or both, in order of sending."""
        return [one for one in list(self._all.values()) if sender in (None, one.sender)]

    # --- for the courier --------------------------------------------------------------------------
    def take_due(self) -> list[Delivery]:
        """Return those to attempt now; each is under way until its result is told."""
        taken, self._due = self._due, {}
        self._under_way.update(taken)
        return [self._all[i] for i in taken]

    def attempted(self, delivery: Delivery, status: int | None, error: str | None = None) -> None:
        """Note what came of an attempt; a `status` of None means there was no answer, `error` says why."""
        if self._all.get(delivery.id) is not delivery:
            return  # of a world that was replaced meanwhile
        del self._under_way[delivery.id]
        self._note(delivery, status, error)

    # --- saving -----------------------------------------------------------------------------------
    def state(self) -> Record:
        """Return everything as JSON; what is under way is due again in a world that is loaded from it."""
        return {
            "all": [one.saved() for one in self._all.values()],
            "due": sorted({**self._under_way, **self._due}),
            "random": saved_random(self._rng),
        }

    def load(self, state: Record) -> None:
        """Replace everything by what `state` returned; results of attempts under way are not waited for."""
        self._all = {one["id"]: Delivery.of_saved(one) for one in state["all"]}
        self._due = dict.fromkeys(state["due"])
        self._under_way = {}
        restore_random(self._rng, state["random"])

    # --- parts ------------------------------------------------------------------------------------
    def _new(self, sender: Sender, url: str, headers: Mapping[str, str], body: bytes, label: str) -> Delivery:
        delivery = Delivery(len(self._all) + 1, sender, url, dict(headers), body, label, self._clock.now())
        self._all[delivery.id] = delivery
        return delivery

    def _plan(self, delivery: Delivery, wait_s: float) -> None:
        moment = self._clock.now() + wait_s * self._faults.webhook_time_scale
        self._schedule.at(moment, DUE, {"id": delivery.id})

    def _fall_due(self, payload: Record) -> None:
        self._due[payload["id"]] = None

    def _note(self, delivery: Delivery, status: int | None, error: str | None) -> None:
        rules = self._rules[delivery.sender]
        delivery.attempts.append({"at": self._clock.now(), "status": status, "error": error})
        if status is not None and rules.is_success(status):
            delivery.state = "delivered"
        else:
            wait_s = rules.next_wait_s(delivery, status)
            if wait_s is None:
                delivery.state = "lost"
            else:
                self._plan(delivery, wait_s)
        rules.on_result(delivery)

    def _happens(self, share: float) -> bool:
        return share > 0 and self._rng.random() < share

    def _extra_s(self) -> float:
        most = self._faults.webhook_delay_s + (SHUFFLE_SPREAD_S if self._faults.webhook_shuffle else 0.0)
        return self._rng.uniform(0.0, most) if most else 0.0
