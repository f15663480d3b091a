"""Both sides, the clock, the switches and the planted truth: the whole state of one simulator."""

import random
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dealsync.simulator.clock import Clock, iso
from dealsync.simulator.faults import Faults
from dealsync.simulator.kommo.oauth import Credentials, Tokens
from dealsync.simulator.kommo.state import SINGULAR, KommoAccount
from dealsync.simulator.lemonsqueezy.state import LemonSqueezyStore
from dealsync.simulator.limits import RequestLog
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
    truth: dict[str, Record] = field(default_factory=dict)  # order id -> {"class", "lead_id"}; never in an API

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.clock = Clock(self.start)
        self.faults = Faults()
        self.log = RequestLog()
        self.secrets = Secrets.of_seed(self.seed)
        self.lemon_squeezy = LemonSqueezyStore(self.clock, self.faults, self.rng)
        self.kommo = KommoAccount(self.clock)
        self.tokens = Tokens(self.clock, self.secrets.kommo)

    def state(self) -> dict[str, Any]:
        """Return everything as JSON-ready values."""
        kommo = self.kommo
        return {
            "clock": {"now": self.clock.now(), "iso": iso(self.clock.now())},
            "seed": self.seed,
            "truth": self.truth,
            "faults": self.faults.settings(),
            "lemon_squeezy": {
                **{kind: list(table) for kind, table in self.lemon_squeezy.tables.items()},
                "custom_data": {str(key): value for key, value in self.lemon_squeezy.custom_data.items()},
            },
            "kommo": {
                "account": kommo.account,
                "users": list(kommo.users.values()),
                "pipelines": list(kommo.pipelines.values()),
                "loss_reasons": list(kommo.loss_reasons.values()),
                "leads": list(kommo.leads),
                "recycle_bin": list(kommo.recycle_bin),
                "contacts": list(kommo.contacts),
                "tasks": list(kommo.tasks),
                "events": list(kommo.events),
                "notes": {kind: list(kommo.notes[kind]) for kind in SINGULAR},
                "tags": {kind: list(kommo.tags[kind].values()) for kind in SINGULAR},
                "custom_fields": {kind: list(kommo.custom_fields[kind].values()) for kind in SINGULAR},
            },
        }
