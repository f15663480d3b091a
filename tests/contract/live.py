"""Live accounts to record from, if the environment names them: a Lemon Squeezy test-mode key, a Kommo token.

DEALSYNC_RECORD_LIVE=1 asks for it. What is written: one checkout and one webhook of Lemon Squeezy's test mode, the
latter removed again. Nothing is written to Kommo, which has no test mode.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import pytest

from dealsync.apis.kommo.client import Kommo
from dealsync.apis.lemonsqueezy.client import LemonSqueezy
from dealsync.apis.pace import Pace
from dealsync.apis.transport import FixedToken
from tests.contract.apis import Apis
from tests.contract.cassettes import secrets_of
from tests.turns import LocalSlots

Api = Literal["lemonsqueezy", "kommo"]
NEEDED: dict[Api, tuple[str, ...]] = {
    "lemonsqueezy": ("LEMON_SQUEEZY_API_KEY", "LEMON_SQUEEZY_STORE_ID"),
    "kommo": ("KOMMO_DOMAIN", "KOMMO_TOKEN"),
}
PER_SECOND: dict[Api, float] = {"lemonsqueezy": 4, "kommo": 4}


def credentials(environment: Mapping[str, str], api: Api) -> dict[str, str] | None:
    """What is needed to record an API live; None if nobody asked for it, or not for this API."""
    if environment.get("DEALSYNC_RECORD_LIVE") != "1":
        return None
    found = {name: environment.get(name, "").strip() for name in NEEDED[api]}
    return found if all(found.values()) else None


@dataclass
class LiveApis(Apis):
    """Both clients on live accounts, slowly enough for whoever else uses these."""

    api: Api = "lemonsqueezy"
    environment: Mapping[str, str] | None = None

    def lemon_squeezy(self, key: str | None = None, *, below: str = "") -> LemonSqueezy:
        pace = Pace("lemon_squeezy", LocalSlots(PER_SECOND["lemonsqueezy"]))
        client = LemonSqueezy(
            origin=self.origin + below.removeprefix("/lemonsqueezy"),
            api_key=key or self._secret("LEMON_SQUEEZY_API_KEY"),
            pace=pace,
        )
        self._clients.append(client)
        return client

    def kommo(self, token: str | None = None, *, below: str = "") -> Kommo:
        pace = Pace("kommo", LocalSlots(PER_SECOND["kommo"]))
        auth = FixedToken(token or self._secret("KOMMO_TOKEN"))
        client = Kommo(origin=self.origin + below.removeprefix("/kommo"), auth=auth, pace=pace)
        self._clients.append(client)
        return client

    def secrets(self) -> list[str]:
        return secrets_of(dict(self.environment or {}))

    def _secret(self, name: str) -> str:
        return (self.environment or {})[name]


def origin_of(api: Api, environment: Mapping[str, str]) -> str:
    """Where the live API is."""
    return "https://api.lemonsqueezy.com" if api == "lemonsqueezy" else f"https://{environment['KOMMO_DOMAIN']}"


@asynccontextmanager
async def connected(api: Api, environment: Mapping[str, str], origin: str | None = None) -> AsyncIterator[LiveApis]:
    """A live account. Fails the test, before anything is recorded, for a Lemon Squeezy key of the live mode."""
    apis = LiveApis(origin or origin_of(api, environment), None, api=api, environment=environment)
    try:
        if api == "lemonsqueezy" and not await apis.lemon_squeezy().key_is_test_mode():
            pytest.fail("LEMON_SQUEEZY_API_KEY is a live-mode key; record with one of the test mode", pytrace=False)
        yield apis
    finally:
        await apis.close()
