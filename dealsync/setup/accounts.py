"""Keys and tokens: what is missing is asked for, what is there is tried out, before anything else is done."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field

from dealsync.apis.kommo.normalise import Account
from dealsync.errors import ApiError, Banned, ConfigError, Unauthorized
from dealsync.ledger.database import told_as_ours
from dealsync.settings import (
    Environment,
    Store,
    build_kommo,
    build_lemon_squeezy,
    build_store,
    load_environment,
    missing_settings,
    typed,
)
from dealsync.setup.files import EnvFile
from dealsync.setup.questions import Check, Option, Questions

NOT_YET = {
    "LEMON_SQUEEZY_API_KEY": "not-asked-for-yet",
    "LEMON_SQUEEZY_STORE_ID": "0",
    "KOMMO_DOMAIN": "not-asked-for-yet.invalid",
    "KOMMO_TOKEN": "not-asked-for-yet",
}
"""What stands for settings that come later, while those that came first are tried out. Never sent."""
OTHER_NAMES = {"LEMON_SQUEEZY_STORE_ID": "LS_STORE_ID"}
MADE: Mapping[str, Callable[[], str]] = {
    "LEMON_SQUEEZY_WEBHOOK_SECRET": lambda: secrets.token_hex(20),  # 40 characters are the most it takes
    "KOMMO_WEBHOOK_TOKEN": lambda: secrets.token_urlsafe(24),
}
"""Secrets that nobody has to think up."""
TOKEN, OAUTH = "token", "oauth"


async def find_environment(env: EnvFile, ask: Questions) -> Environment:
    """Return settings with which both accounts answer, and note in `env` what is to be kept of them.

    With nobody to ask, what is missing is an error; only the webhooks' secrets are made up. Raises ConfigError.
    """
    draft = Draft(env, ask)
    if ask.guided:
        with told_as_ours(), closing(build_store(draft.environment())) as database:
            await _lemon_squeezy(draft, database)
            await _kommo(draft, database)
    environment = load_environment(typed(draft.given))
    if not environment.webhook_secrets:
        draft.keep("LEMON_SQUEEZY_WEBHOOK_SECRET", MADE["LEMON_SQUEEZY_WEBHOOK_SECRET"]())
    if not environment.kommo_webhook_token.get_secret_value():
        draft.keep("KOMMO_WEBHOOK_TOKEN", MADE["KOMMO_WEBHOOK_TOKEN"]())
    return load_environment(typed(draft.given))


@dataclass(slots=True)
class Draft:
    """The settings so far."""

    env: EnvFile
    ask: Questions
    given: dict[str, str] = field(default_factory=dict)

    def lacks(self, name: str) -> bool:
        """Whether nobody has given this yet."""
        return name in missing_settings(self.given)

    def environment(self) -> Environment:
        """Return the settings so far; what is still missing is filled up."""
        return load_environment(typed(self.given | {name: NOT_YET[name] for name in missing_settings(self.given)}))

    def keep(self, name: str, value: str) -> None:
        """Go on with this value, and write it down at the end."""
        self.given[name] = value
        self.env.set(name, value)

    async def type_in(self, name: str, question: str) -> None:
        """Let a setting be typed."""
        self.keep(name, await self.ask.text(question, check=self._check(name)))

    async def type_unseen(self, name: str, question: str) -> None:
        """Let a secret be typed."""
        self.keep(name, await self.ask.secret(question, check=self._check(name)))

    async def may_replace(self, name: str) -> None:
        """Ask before a value that was there goes. Raises ConfigError if it must not, or cannot, be replaced here."""
        if name in self.given:
            return
        names = {name.casefold(), OTHER_NAMES.get(name, name).casefold()}
        if any(key.casefold() in names and value for key, value in os.environ.items()):
            raise ConfigError(
                f"{name} is set in the environment, which wins over .env: correct it there, and run again"
            )
        if not await self.ask.confirm(f"Replace {name} in .env?", proposed=True):
            raise ConfigError(f"{name} does not work, and was not replaced; nothing was written")

    def _check(self, name: str) -> Check:
        def fault(value: str) -> str:
            if not value:
                return "This is needed"
            try:
                missing_settings(self.given | {name: value})
            except ConfigError as error:
                return str(error).partition(". ")[0]
            return ""

        return fault


async def _lemon_squeezy(draft: Draft, database: Store) -> None:
    """The key, the store and the mode."""
    name, question = "LEMON_SQUEEZY_API_KEY", "Lemon Squeezy API key (Settings > API), not shown while you type:"
    if draft.lacks(name):
        await draft.type_unseen(name, question)
    while True:
        client = build_lemon_squeezy(draft.environment(), database)
        try:
            is_test = await client.key_is_test_mode()
            stores = {store.id: store.name for store in await client.stores()}
            break
        except Unauthorized as error:
            draft.ask.tell(f"Lemon Squeezy does not know this key: {error}")
        finally:
            await client.close()
        await draft.may_replace(name)
        await draft.type_unseen(name, question)
    draft.ask.tell(f"The Lemon Squeezy key works; it is a {'test' if is_test else 'live'}-mode key.")
    await _store(draft, stores)
    await _mode(draft, is_test=is_test)


async def _store(draft: Draft, stores: Mapping[str, str]) -> None:
    if not stores:
        raise ConfigError("This key sees no store: make one in Lemon Squeezy (Settings > Stores), and run again")
    draft.ask.tell("It sees: " + ", ".join(f"{store} ({store_id})" for store_id, store in stores.items()))
    name = "LEMON_SQUEEZY_STORE_ID"
    if not draft.lacks(name):
        present = draft.environment().lemon_squeezy_store_id
        if present in stores:
            return
        draft.ask.tell(f"{name} = {present} is none of them.")
        await draft.may_replace(name)
    first = next(iter(stores))
    options = [Option(f"{store} ({store_id})", store_id) for store_id, store in stores.items()]
    draft.keep(name, first if len(stores) == 1 else await draft.ask.choose("Which store?", options, first))


async def _mode(draft: Draft, *, is_test: bool) -> None:
    """A key of one mode sees nothing of the other, so the mode follows from the key."""
    present, wanted = draft.environment().dealsync_mode, "test" if is_test else "live"
    if present == wanted:
        return
    if os.environ.get("DEALSYNC_MODE"):
        draft.ask.tell(f"DEALSYNC_MODE = {present} is set in the environment: set it to {wanted} there.")
    elif await draft.ask.confirm(f"dealsync is in {present} mode. Set DEALSYNC_MODE={wanted} in .env?", proposed=True):
        draft.keep("DEALSYNC_MODE", wanted)


async def _kommo(draft: Draft, database: Store) -> None:
    """The account's address, and a token or an integration that it lets in."""
    domain, asks_domain = "KOMMO_DOMAIN", "Address of the Kommo account (such as acme.kommo.com):"
    if draft.lacks(domain):
        await draft.type_in(domain, asks_domain)
    if draft.lacks("KOMMO_TOKEN"):
        await _way_in(draft)
    while True:
        environment = draft.environment()
        try:
            account, is_admin = await _look_into(environment, database)
            if is_admin or not await _wants_another(draft):
                break
            await _another_way_in(draft, environment)
        except Unauthorized as error:
            draft.ask.tell(f"Kommo does not let dealsync in: {error}")
            await _another_way_in(draft, environment)
        except Banned:
            raise
        except ApiError as error:
            if domain not in draft.given:
                raise
            draft.ask.tell(f"There is no answer from {environment.kommo_domain}: {error}")
            await draft.type_in(domain, asks_domain)
    draft.ask.tell(f"Kommo lets dealsync in: account {account.name} ({account.account_id}).")


async def _look_into(environment: Environment, database: Store) -> tuple[Account, bool]:
    """The account, and whether we enter it as an admin: only they are shown its users."""
    client = build_kommo(environment, database)
    try:
        account = await client.account()
        try:
            await client.users()
        except Unauthorized:
            return account, False
        return account, True
    finally:
        await client.close()


async def _wants_another(draft: Draft) -> bool:
    draft.ask.tell("Kommo lets dealsync in, but not as an admin: it can see no users, and make no fields or webhooks.")
    options = [Option("Give an admin's token or code", True), Option("Go on without", False)]
    return bool(await draft.ask.choose("What now?", options, True))


async def _way_in(draft: Draft) -> None:
    options = [
        Option("A long-lived token of a private integration", TOKEN),
        Option("OAuth: client id, secret, redirect address and code", OAUTH),
    ]
    if await draft.ask.choose("How is Kommo entered?", options, TOKEN) == TOKEN:
        await _token(draft)
        return
    await draft.type_in("KOMMO_CLIENT_ID", "Id of the integration (client id):")
    await draft.type_unseen("KOMMO_CLIENT_SECRET", "Its secret key, not shown while you type:")
    await draft.type_in("KOMMO_REDIRECT_URI", "Its redirect address:")
    await _code(draft)


async def _another_way_in(draft: Draft, environment: Environment) -> None:
    if environment.kommo_token is None:
        await _code(draft)
    else:
        await draft.may_replace("KOMMO_TOKEN")
        await _token(draft)


async def _token(draft: Draft) -> None:
    await draft.type_unseen("KOMMO_TOKEN", "Long-lived token of Kommo, made by an admin, not shown while you type:")


async def _code(draft: Draft) -> None:
    """A code is used up by trying it, so it is not written down; the tokens it brings are kept in the database."""
    question = "A fresh authorisation code (it lives 20 minutes), not shown while you type:"
    draft.given["KOMMO_AUTH_CODE"] = await draft.ask.secret(question, check=lambda code: "" if code else "It is needed")
