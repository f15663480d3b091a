"""What a contract test talks to: both clients, on a cassette or on a running simulator."""

from dataclasses import dataclass, field
from typing import Any

from dealsync.apis.kommo.client import Kommo
from dealsync.apis.lemonsqueezy.client import LemonSqueezy
from dealsync.apis.pace import Pace
from dealsync.apis.transport import FixedToken
from dealsync.simulator.server import Simulator
from tests.contract.cassettes import secrets_of
from tests.turns import LocalSlots

NO_TOKEN_IN_CASSETTES = "replayed"  # the header is not recorded, so any value replays
QUICK = 1000


@dataclass
class Apis:
    """Makes clients of one origin. `simulator` is None on replay: what it was told is already in the answers."""

    origin: str
    simulator: Simulator | None
    _clients: list[Kommo | LemonSqueezy] = field(default_factory=list)

    @property
    def is_live(self) -> bool:
        return self.simulator is not None

    def kommo(self, token: str | None = None, *, below: str = "/kommo") -> Kommo:
        client = Kommo(
            origin=self.origin + below,
            auth=FixedToken(token or self._secret("KOMMO_TOKEN")),
            pace=Pace("kommo", LocalSlots(QUICK)),
            retry_wait_s=0.001,
        )
        self._clients.append(client)
        return client

    def lemon_squeezy(self, key: str | None = None, *, below: str = "/lemonsqueezy") -> LemonSqueezy:
        client = LemonSqueezy(
            origin=self.origin + below,
            api_key=key or self._secret("LEMON_SQUEEZY_API_KEY"),
            pace=Pace("lemon_squeezy", LocalSlots(QUICK)),
            retry_wait_s=0.001,
        )
        self._clients.append(client)
        return client

    def switch(self, **switches: Any) -> None:
        """Set switches of the simulator, `inject` among them."""
        if self.simulator is not None:
            self.simulator.world.faults.update(switches)

    def received(self, call: str) -> int:
        """How often a live simulator was asked, e.g. for "kommo PATCH /api/v4/leads"."""
        if self.simulator is None:
            raise AssertionError("only a live simulator counts")
        return self.simulator.world.log.counts[call]

    def secrets(self) -> list[str]:
        return [] if self.simulator is None else secrets_of(self.simulator.environment())

    async def close(self) -> None:
        for client in self._clients:
            await client.close()

    def _secret(self, name: str) -> str:
        return NO_TOKEN_IN_CASSETTES if self.simulator is None else self.simulator.environment()[name]
