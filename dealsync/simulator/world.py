"""Both sides, the clock, the switches and the planted truth: the whole state of one simulator."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dealsync.simulator.clock import Clock, iso
from dealsync.simulator.deliveries import Deliveries
from dealsync.simulator.faults import Faults
from dealsync.simulator.kommo.oauth import Credentials, Tokens
from dealsync.simulator.kommo.state import KommoAccount
from dealsync.simulator.lemonsqueezy.state import LemonSqueezyStore
from dealsync.simulator.limits import RequestLog
from dealsync.simulator.saved import LoadError, naming_what_is_wrong, restore_random, saved_random
from dealsync.simulator.schedule import Schedule
from dealsync.simulator.table import Record

KOMMO_DOMAIN = "simulated.kommo.com"


@dataclass(frozen=True)
class Secrets:
    """Keys of the account holder, derived from the seed and obviously fake."""

    lemon_squeezy_key: str
    lemon_squeezy_webhook_secret: str
    kommo_webhook_token: str
    kommo: Credentials

    @classmethod
    def of_seed(cls, seed: int) -> "Secrets":
        """Return the same secrets for the same seed."""
        credentials = Credentials(
            token=f"fake-kommo-token-{seed}",
            client_id=f"fake-kommo-client-{seed}",
            client_secret=f"fake-kommo-client-secret-{seed}",
            redirect_uri="https://dealsync.example/oauth",
            code=f"fake-kommo-code-{seed}",
        )
        return cls(
            lemon_squeezy_key=f"fake-lemon-squeezy-key-{seed}",
            lemon_squeezy_webhook_secret=f"fake-webhook-secret-{seed}",
            kommo_webhook_token=f"fake-kommo-webhook-token-{seed}",
            kommo=credentials,
        )


@dataclass
class World:
    """State without any HTTP. Two worlds of the same seed and start are equal."""

    seed: int = 1
    start: datetime | None = None  # aware; None is the real current time
    running: bool = True  # off: the clock only moves when it is told to, and equal requests give equal worlds
    truth: dict[str, Record] = field(default_factory=dict)  # order id -> {"class", "lead_id"}; never in an API

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.clock = Clock(self.start, running=self.running)
        self.faults = Faults()
        self.log = RequestLog()
        self.secrets = Secrets.of_seed(self.seed)
        self.schedule = Schedule(self.clock)
        deliveries_rng = random.Random(f"deliveries {self.seed}")
        self.deliveries = Deliveries(self.clock, self.faults, self.schedule, deliveries_rng)
        parts = (self.clock, self.faults, self.rng, self.schedule, self.deliveries)
        self.lemon_squeezy = LemonSqueezyStore(*parts)
        self.kommo = KommoAccount(*parts)
        self.tokens = Tokens(self.clock, self.secrets.kommo)

    def advance(self, seconds: float) -> None:
        """Let time pass, and do what falls due on the way at its own moment. Raises ValueError for less than 0."""
        for _ in self.steps(seconds):
            pass

    def steps(self, seconds: float) -> Iterator[float]:
        """Advance from one moment with something due to the next; the last step is the rest of the way.

        Yields the moment after each step (Unix seconds), so that deliveries can be made in between.
        """
        if seconds < 0:
            raise ValueError("the clock only goes forward")
        end = self.clock.now() + seconds
        moment = 0.0
        while moment < end:
            due = self.schedule.next_moment()
            moment = end if due is None else min(due, end)
            self.clock.advance(max(0.0, moment - self.clock.now()))
            self.run_due()
            yield moment

    def run_due(self) -> None:
        """Do what is due by now."""
        self.schedule.run_due(self.clock.now())

    def state(self) -> dict[str, Any]:
        """Return everything as JSON-ready values: parts of the world itself, not copies.

        Not in it, because they belong to real time: the rate windows and the counts of requests.
        """
        return {
            "clock": {"now": self.clock.now(), "iso": iso(self.clock.now()), "running": self.clock.running},
            "seed": self.seed,
            "random": saved_random(self.rng),
            "truth": self.truth,
            "faults": self.faults.settings(),
            "schedule": self.schedule.entries(),
            "deliveries": self.deliveries.state(),
            "tokens": self.tokens.state(),
            "lemon_squeezy": self.lemon_squeezy.state(),
            "kommo": self.kommo.state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Become the world that `state` was taken of; its objects become ours.

        Raises LoadError that says what is missing or wrong; the world is as before then.
        """
        before = self.state()
        try:
            with naming_what_is_wrong():
                self._load(state)
        except LoadError:
            self._load(before)
            raise

    def _load(self, state: dict[str, Any]) -> None:
        self.seed = state["seed"]
        self.secrets = Secrets.of_seed(self.seed)
        self.clock.set(state["clock"]["now"], running=state["clock"]["running"])
        restore_random(self.rng, state["random"])
        self.truth = state["truth"]
        self.faults.load(state["faults"])
        self.deliveries.load(state["deliveries"])
        self.schedule.restore(state["schedule"])
        self.tokens.load(state["tokens"], self.secrets.kommo)
        self.lemon_squeezy.load(state["lemon_squeezy"])
        self.kommo.load(state["kommo"])
