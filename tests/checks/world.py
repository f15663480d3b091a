"""A world in which all is well, made once, and given to each test as a copy that it may break."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import tomlkit
from sqlalchemy import Engine
from starlette.applications import Starlette

from dealsync.apis.lemonsqueezy.client import JSON_API
from dealsync.checks.context import Context
from dealsync.checks.examine import examine
from dealsync.core.checkup import Checked, Status
from dealsync.ledger.runs import utc_now
from dealsync.receiver.app import make_app
from dealsync.receiver.serve import parts_of
from dealsync.settings import Store, build_store, load_environment, load_settings
from dealsync.setup import Wishes, set_up
from tests.accounts import Accounts, simulated
from tests.checks.prefect_api import PlayedPrefect
from tests.webhooks import NOWHERE, Hooks

ANN = {"name": "Ann Example", "email": "ann@example.com"}
PREFECT = "http://prefect.test/api"
ENVIRONMENT = {
    "PREFECT_API_URL": PREFECT,
    "PREFECT_API_AUTH_STRING": "admin:pass",
    "DEALSYNC_ALERT_URLS": "json://127.0.0.1:9/secret-path",
}


def jwt(ends_at: datetime) -> str:
    """Return a token that says when it ends, as Kommo's long-lived ones do."""
    claims = {"aud": "a-client", "exp": int(ends_at.timestamp()), "scopes": ["crm"]}
    parts = [json.dumps(part).encode() for part in ({"typ": "JWT", "alg": "RS256"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts, b"no signature"))


@dataclass
class World:
    """Both accounts, dealsync's folder, a receiver and a Prefect server; `patch` changes settings for one test."""

    accounts: Accounts
    folder: Path
    patch: pytest.MonkeyPatch
    receiver: Starlette
    prefect: PlayedPrefect = field(default_factory=PlayedPrefect)
    clock: Callable[[], datetime] = utc_now
    broken: dict[str, int] = field(default_factory=dict)  # status that a path of Prefect or the receiver answers
    asked: set[str] = field(default_factory=set)  # base addresses of whatever was asked besides the two APIs

    # --- looking ---------------------------------------------------------------------------------------------

    def look(self, *, offline: bool = False, url: str = "") -> list[Checked]:
        """Run every check."""

        async def checked() -> list[Checked]:
            context = Context(clock=self.clock, offline=offline, url=url, web=self.web)
            return [one async for one in examine(context)]

        return asyncio.run(checked())

    def troubles(self, *, offline: bool = False) -> dict[str, Status]:
        """Return the checks that did not go well."""
        found = self.look(offline=offline)
        return {
            one.kind.code: one.verdict.status for one in found if one.verdict.status in (Status.WARNING, Status.FAILED)
        }

    def web(self, base_url: str, auth: httpx.Auth | None) -> httpx.AsyncClient:
        """Lead to the played Prefect and to the receiver."""

        self.asked.add(base_url)

        async def answer(request: httpx.Request) -> httpx.Response:
            if status := self.broken.get(request.url.path, self.broken.get("*")):
                return httpx.Response(status, text="something else")
            app = self.prefect.app() if base_url == PREFECT else self.receiver
            return await httpx.ASGITransport(app).handle_async_request(request)

        transport = httpx.MockTransport(answer)
        return httpx.AsyncClient(base_url=base_url, auth=auth, transport=transport)

    # --- breaking --------------------------------------------------------------------------------------------

    def set(self, **values: str) -> None:
        """Change the environment."""
        for name, value in values.items():
            self.patch.setenv(name, value)

    def configure(self, section: str, **values: Any) -> None:
        """Change dealsync.toml."""
        path = self.folder / "dealsync.toml"
        document = tomlkit.parse(path.read_text(encoding="utf-8"))
        table = document.setdefault(section, tomlkit.table())
        for key, value in values.items():
            table[key] = value
        path.write_text(tomlkit.dumps(document), encoding="utf-8")

    @contextmanager
    def database(self) -> Iterator[Engine]:
        """Open the database, and close it again."""
        with self.store() as store:
            yield store.limits.database

    @contextmanager
    def store(self) -> Iterator[Store]:
        """The same, by what it is used for."""
        found = build_store(load_environment())
        try:
            yield found
        finally:
            found.close()

    def give_token(self, ends_at: datetime) -> None:
        """Let Kommo have given a token that ends then."""
        tokens = self.accounts.simulator.world.tokens
        tokens.credentials = replace(tokens.credentials, token=jwt(ends_at))
        self.set(KOMMO_TOKEN=tokens.credentials.token)

    @property
    def kommo(self) -> Any:
        """Kommo's account, from inside."""
        return self.accounts.simulator.world.kommo

    @property
    def ls_webhook(self) -> dict[str, Any]:
        """Lemon Squeezy's webhook, from inside."""
        (hook,) = self.accounts.simulator.world.lemon_squeezy.tables["webhooks"]
        return dict(hook)["attributes"]  # type: ignore[no-any-return]

    @property
    def kommo_webhook(self) -> dict[str, Any]:
        """Kommo's webhook, from inside."""
        (hook,) = self.kommo.hooks.registered.values()
        return hook  # type: ignore[no-any-return]

    def lemon_squeezy(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Ask Lemon Squeezy as its owner does."""
        key = self.accounts.simulator.world.secrets.lemon_squeezy_key
        headers = {"Authorization": f"Bearer {key}", "Content-Type": JSON_API}
        url = f"{self.accounts.simulator.url}/lemonsqueezy/v1/{path}"
        return httpx.request(method, url, json=body, headers=headers, timeout=10).raise_for_status()


@dataclass
class Original:
    """The healthy world as it was made: what each test gets a copy of."""

    accounts: Accounts
    receiver: Starlette
    state: str  # of the simulator, as JSON
    token_ends_at: datetime

    @contextmanager
    def copied(self, folder: Path) -> Iterator[World]:
        """Give a copy in a folder of its own; nothing of it is left afterwards."""
        with pytest.MonkeyPatch.context() as patch:
            shutil.copytree(self.accounts.folder, folder, dirs_exist_ok=True)
            self.accounts.simulator.world.load(json.loads(self.state))
            patch.chdir(folder)
            world = World(self.accounts, folder, patch, self.receiver)
            world.set(DEALSYNC_DATABASE_URL=f"sqlite:///{folder}/dealsync.db", DEALSYNC_STATE_DIR=str(folder))
            world.give_token(self.token_ends_at)
            yield world


@contextmanager
def healthy(folder: Path) -> Iterator[Original]:
    """Make the world: both webhooks, one sale that a webhook told of, one run."""
    with pytest.MonkeyPatch.context() as patch, simulated(patch, folder) as accounts:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        world = World(accounts, folder, patch, Starlette())
        ends_at = utc_now() + timedelta(days=300)
        world.give_token(ends_at)
        env = folder / ".env"
        env.write_text("# the keys are in the environment\n", encoding="utf-8")
        env.chmod(0o600)
        accounts.init()
        asyncio.run(set_up(load_environment(), Wishes(receiver_url=NOWHERE)))
        hooks, lead_id = Hooks(accounts), accounts.control("leads", price=490, contact=ANN)["id"]
        accounts.run().raise_if_failed()
        accounts.control("orders", email=ANN["email"], total=49000, custom_data={"kommo_lead_id": str(lead_id)})
        assert hooks.deliver() == [200] * len(hooks.items())
        accounts.run().raise_if_failed()
        receiver = make_app(parts_of(load_settings()))
        yield Original(accounts, receiver, json.dumps(accounts.simulator.world.state()), ends_at)
