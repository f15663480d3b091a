"""What checks look at: each thing is read when a check asks for it, and once. Nothing is written anywhere.

The one exception are the turns of requests, which all processes share: a doctor who did not take his turn would be what
gets the address banned.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar, cast

import httpx
from sqlalchemy import Engine

from dealsync.access import stored_tokens
from dealsync.alerting import conditions
from dealsync.apis.kommo.client import Kommo
from dealsync.apis.kommo.normalise import CustomField, Hook, Pipeline, User
from dealsync.apis.lemonsqueezy.client import LemonSqueezy
from dealsync.apis.lemonsqueezy.values import Webhook
from dealsync.apis.transport import Auth, FixedToken
from dealsync.checks.verdicts import Skip
from dealsync.config import AlertsSection
from dealsync.core.alerts import Condition
from dealsync.core.checkup import Status, Verdict
from dealsync.errors import ConfigError, DatabaseError, Rejected, Unauthorized
from dealsync.ledger.database import Standing, connect, standing
from dealsync.ledger.runs import utc_now
from dealsync.ledger.slots import open_machine
from dealsync.settings import (
    Environment,
    Settings,
    Store,
    build_kommo,
    build_lemon_squeezy,
    load_environment,
    read_settings,
    store_on,
)

T = TypeVar("T")
TIMEOUT_S = 10.0
Web = Callable[[str, httpx.Auth | None], httpx.AsyncClient]
"""Makes a client for a base address, with its login."""


def web(base_url: str, auth: httpx.Auth | None) -> httpx.AsyncClient:
    """Return a client for what is neither of the two APIs."""
    return httpx.AsyncClient(base_url=base_url, auth=auth, timeout=TIMEOUT_S)


class Context:
    """Settings, database and clients of one examination."""

    def __init__(
        self, *, clock: Callable[[], datetime] = utc_now, offline: bool = False, url: str = "", web: Web = web
    ) -> None:
        """`url`: where the receiver is reached, if not at `receiver.url`."""
        self.clock = clock
        self.offline = offline
        self.verdicts: dict[str, Verdict] = {}  # of the checks so far, by code
        self.web = web
        self._url = url
        self._read: dict[str, Any] = {}
        self._clients: list[LemonSqueezy | Kommo] = []

    async def once(self, name: str, read: Callable[[], Awaitable[T]]) -> T:
        """Return what `read` gives, which is asked once under this name."""
        if name not in self._read:
            self._read[name] = await read()
        return cast("T", self._read[name])

    def went_well(self, code: str) -> bool:
        """Whether a check was run, and did not fail."""
        found = self.verdicts.get(code)
        return found is not None and found.status in (Status.OK, Status.WARNING)

    async def close(self) -> None:
        """Close what was opened."""
        for client in self._clients:
            await client.close()
        for name in ("engine", "machine"):
            if name in self.__dict__:
                self.__dict__[name].dispose()

    # --- settings --------------------------------------------------------------------------------------------

    @cached_property
    def environment(self) -> Environment:
        """Return the environment. Raises ConfigError."""
        return load_environment()

    @cached_property
    def settings(self) -> Settings:
        """Return environment and configuration. Raises ConfigError, also for a file that the configuration names."""
        found = read_settings(self.environment)
        found.config.texts.overrides()
        found.config.email.html()
        return found

    @property
    def has_settings(self) -> bool:
        """Whether the configuration can be read."""
        try:
            return self.settings is not None
        except ConfigError:
            return False

    @property
    def alerts(self) -> AlertsSection:
        """Return the limits of alerts, the usual ones where the configuration cannot be read."""
        return self.settings.config.alerts if self.has_settings else AlertsSection()

    @property
    def store_ids(self) -> list[str]:
        """Return the stores that are watched."""
        return sorted({self.environment.lemon_squeezy_store_id, *self.settings.config.lemon_squeezy.stores})

    @property
    def receiver(self) -> str:
        """Return where the receiver should be reached. Raises Skip where nobody said so."""
        url = self._url.strip().rstrip("/") or self.settings.config.receiver.url
        if not url:
            raise Skip("receiver.url is not set, and no --url is given")
        return url

    # --- database --------------------------------------------------------------------------------------------

    @cached_property
    def engine(self) -> Engine:
        """Return the database as it is. Raises DatabaseError for what is no address of one."""
        return connect(self.environment.dealsync_database_url.get_secret_value())

    @cached_property
    def machine(self) -> Engine:
        """Return the file with the turns of this machine. Raises DatabaseError."""
        return open_machine(self.environment.dealsync_state_dir)

    @cached_property
    def standing(self) -> Standing:
        """Return how the schema stands. Raises DatabaseError."""
        return standing(self.engine)

    @property
    def is_migrated(self) -> bool:
        """Whether the database can be read from."""
        try:
            return self.standing.present == self.standing.needed
        except DatabaseError:
            return False

    @cached_property
    def store(self) -> Store:
        """Return what is in the database. Only where it `is_migrated`."""
        try:
            return store_on(self.engine, self.machine)
        except DatabaseError:
            return store_on(self.engine, self.engine)

    @cached_property
    def found_wrong(self) -> dict[str, Condition]:
        """Return what alerts tell of, by name."""
        return {one.name: one for one in conditions(self.settings, self.store, self.clock())}

    # --- clients ---------------------------------------------------------------------------------------------

    @cached_property
    def shared(self) -> Store:
        """Return what clients share with other processes: without a database, the machine's turns alone."""
        return store_on(self.engine if self.is_migrated else self.machine, self.machine)

    @cached_property
    def lemon_squeezy(self) -> LemonSqueezy:
        """Return the client."""
        self._clients.append(client := build_lemon_squeezy(self.environment, self.shared))
        return client

    @cached_property
    def kommo(self) -> Kommo:
        """Return the client; it renews no tokens. Raises Skip when they would have to be."""
        self._clients.append(client := build_kommo(self.environment, self.shared, auth=self._kommo_auth()))
        return client

    def _kommo_auth(self) -> Auth:
        if self.environment.kommo_token is not None:
            return FixedToken(self.environment.kommo_token.get_secret_value())
        stored = stored_tokens(self.environment, self.shared.limits)
        if stored is None or stored.pair is None or stored.pair.expires_at <= self.clock():
            raise Skip("the access token has ended; the next run renews it")
        return FixedToken(stored.pair.access_token)

    # --- readings of several checks ----------------------------------------------------------------------------

    async def webhooks(self, store_id: str) -> list[Webhook]:
        """Return the webhooks of a store."""
        return await self.once(f"webhooks {store_id}", lambda: self.lemon_squeezy.webhooks(store_id))

    async def hooks(self) -> list[Hook] | str:
        """Return Kommo's webhooks, or its words if it refuses to tell."""

        async def read() -> list[Hook] | str:
            try:
                return await self.kommo.hooks()
            except (Unauthorized, Rejected) as error:
                return str(error)

        return await self.once("hooks", read)

    async def pipelines(self) -> list[Pipeline]:
        """Return Kommo's pipelines."""
        return await self.once("pipelines", self.kommo.pipelines)

    async def fields(self) -> list[CustomField]:
        """Return the custom fields of deals."""
        return await self.once("fields", self.kommo.deal_custom_fields)

    async def users(self) -> list[User]:
        """Return Kommo's users. Raises Unauthorized for all but an admin."""
        return await self.once("users", self.kommo.users)
