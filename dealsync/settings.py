"""The one reader of the environment and of `dealsync.toml`; builds clients and the store from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import (
    AliasChoices,
    Field,
    HttpUrl,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import Engine

from dealsync.apis.kommo.client import Kommo
from dealsync.apis.kommo.oauth import Integration, OAuth
from dealsync.apis.lemonsqueezy.client import LemonSqueezy
from dealsync.apis.pace import Pace
from dealsync.apis.transport import Auth, FixedToken
from dealsync.config import Config, load_config, words_of
from dealsync.core.assumptions import KOMMO_MOST_IN_A_SECOND, LS_MINUTE_COUNTS_AS_A_WHOLE
from dealsync.core.turns import Rate
from dealsync.errors import ConfigError
from dealsync.ledger.accounts import Accounts
from dealsync.ledger.alerts import Alerts
from dealsync.ledger.approvals import Approvals
from dealsync.ledger.awaiting import Awaited
from dealsync.ledger.blocks import Blocks
from dealsync.ledger.carried_out import CarriedOut
from dealsync.ledger.database import open_database
from dealsync.ledger.entries import Entries
from dealsync.ledger.evidence import Evidence
from dealsync.ledger.findings import Findings
from dealsync.ledger.history import History
from dealsync.ledger.inbox import Inbox
from dealsync.ledger.journal import Journal
from dealsync.ledger.mirror import Mirror
from dealsync.ledger.reviews import Reviews
from dealsync.ledger.runs import Runs
from dealsync.ledger.slots import PaceState, SharedSlots, limit_name, open_machine, pace_state
from dealsync.ledger.tokens import Tokens
from dealsync.mail.send import Postman

AT_ONCE_OF, KEPT_OF = 14, 56
"""Of a minute's requests to Lemon Squeezy a 14th may leave together: 20 of 280, most of what a run of a small account
asks for. A 56th is kept for a webhook's work that comes when the others are used up."""
IN_THE_AIR = 10
"""Requests to Lemon Squeezy that may be under way at the same time, but for urgent ones."""
INSTEAD = "instead"
"""Type of the error of a setting that is missing, but that others could stand in for."""
ABSENT = ("missing", INSTEAD)


class Environment(BaseSettings):
    """Credentials and addresses: from the environment, else from `.env` in the working folder."""

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    lemon_squeezy_api_key: SecretStr
    lemon_squeezy_store_id: str = Field(validation_alias=AliasChoices("lemon_squeezy_store_id", "ls_store_id"))
    lemon_squeezy_variant_id: str = Field(
        "", validation_alias=AliasChoices("lemon_squeezy_variant_id", "ls_variant_id")
    )
    lemon_squeezy_webhook_secret: SecretStr = Field(
        SecretStr(""), validation_alias=AliasChoices("lemon_squeezy_webhook_secret", "ls_webhook_secret")
    )
    lemon_squeezy_api_url: str = "https://api.lemonsqueezy.com"
    lemon_squeezy_requests_per_minute: Annotated[int, Field(ge=1, le=300)] = 280
    kommo_domain: str
    kommo_client_id: str = ""
    kommo_client_secret: SecretStr = SecretStr("")
    kommo_redirect_uri: str = ""
    kommo_auth_code: SecretStr = SecretStr("")
    kommo_token: Annotated[SecretStr | None, Field(validate_default=True)] = None
    kommo_api_url: str = ""
    kommo_webhook_token: SecretStr = SecretStr("")
    kommo_requests_per_second: Annotated[float, Field(gt=0, le=7)] = 6
    smtp_host: str = ""
    smtp_port: Annotated[int, Field(ge=1, le=65535)] = 587
    smtp_user: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    dealsync_alert_urls: SecretStr = SecretStr("")
    dealsync_report_urls: SecretStr = SecretStr("")
    prefect_api_url: str = ""
    prefect_api_auth_string: SecretStr = SecretStr("")
    dealsync_database_url: SecretStr = SecretStr("sqlite:///dealsync.db")
    dealsync_config: Path = Path("dealsync.toml")
    dealsync_state_dir: Path = Field(default_factory=lambda: platformdirs.user_state_path("dealsync"))
    dealsync_mode: Literal["live", "test"] = "live"

    @field_validator("lemon_squeezy_store_id")
    @classmethod
    def _trimmed(cls, value: str) -> str:
        return value.strip()

    @field_validator("lemon_squeezy_variant_id")
    @classmethod
    def _is_an_id(cls, value: str) -> str:
        if not re.fullmatch(r"[0-9]*", value := value.strip()):
            raise ValueError("is not an id of a variant, such as 149091")
        return value

    @field_validator("kommo_domain")
    @classmethod
    def _is_a_host(cls, value: str) -> str:
        host = value.strip().lower().removeprefix("https://").rstrip("/")
        if not re.fullmatch(r"[a-z0-9.-]+", host):
            raise ValueError("is not the host of an account, such as acme.kommo.com")
        return host

    @field_validator("lemon_squeezy_api_key", "kommo_token")
    @classmethod
    def _fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        key = value.get_secret_value().strip()
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError("is empty or has characters that no key has; copy it again")
        return SecretStr(key)

    @field_validator("kommo_webhook_token")
    @classmethod
    def _fits_a_path(cls, value: SecretStr) -> SecretStr:
        token = value.get_secret_value().strip()
        if token and not re.fullmatch(r"[A-Za-z0-9_-]{16,200}", token):
            raise ValueError("must be 16 to 200 letters, digits, _ or -: it is a part of an address, and a secret")
        return SecretStr(token)

    @field_validator("lemon_squeezy_api_url", "kommo_api_url", "prefect_api_url")
    @classmethod
    def _is_an_origin(cls, value: str) -> str:
        url = HttpUrl(value.strip()) if value.strip() else None
        if url and (url.username or url.password or url.query or url.fragment):
            raise ValueError("must be an origin and a path, without user, password or query")
        return value.strip().rstrip("/")

    @field_validator("kommo_token")
    @classmethod
    def _can_be_done_without(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        needed = ("kommo_client_id", "kommo_client_secret", "kommo_redirect_uri")
        if value is None and not all(info.data.get(name) for name in needed):
            others = ", ".join(name.upper() for name in needed)
            raise PydanticCustomError(INSTEAD, "missing; or set {others} and KOMMO_AUTH_CODE", {"others": others})
        return value

    @property
    def kommo_url(self) -> str:
        """Where people open the account, wherever its API is."""
        return f"https://{self.kommo_domain}"

    @property
    def kommo_origin(self) -> str:
        """Where Kommo's API is: the account's own host, unless KOMMO_API_URL says otherwise."""
        return self.kommo_api_url or self.kommo_url

    @property
    def alert_urls(self) -> tuple[str, ...]:
        """Where alerts go, as Apprise writes addresses."""
        return tuple(self.dealsync_alert_urls.get_secret_value().split())

    @property
    def report_urls(self) -> tuple[str, ...]:
        """Where reports go: where alerts go, unless they have addresses of their own."""
        return tuple(self.dealsync_report_urls.get_secret_value().split()) or self.alert_urls

    @property
    def webhook_secrets(self) -> list[str]:
        """The secrets that may have signed a webhook: several while they are rotated, none where none is set."""
        parts = self.lemon_squeezy_webhook_secret.get_secret_value().split(",")
        return [part.strip() for part in parts if part.strip()]

    @property
    def is_test_mode(self) -> bool:
        """Whether only Lemon Squeezy's test-mode objects may touch deals."""
        return self.dealsync_mode == "test"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that is configured. `paused`: somebody has asked that nothing be written for now."""

    environment: Environment
    config: Config
    paused: bool = False

    @property
    def tags(self) -> list[str]:
        """What runs for these accounts are found by: their stores, and live or test."""
        stores = dict.fromkeys((self.environment.lemon_squeezy_store_id, *self.config.lemon_squeezy.stores))
        return [*(f"store:{store_id}" for store_id in stores), self.environment.dealsync_mode]


class _BlockName(BaseSettings):
    """Where else credentials may be: read before they are, so a setting apart."""

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore", env_ignore_empty=True)

    dealsync_block: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] = "dealsync"


@dataclass(frozen=True, slots=True)
class Overrides:
    """Settings that go before the environment, by name of `Environment` in lower case, and where they are from."""

    source: str = ""  # "the block dealsync-accounts/dealsync", as it is told to people
    values: Mapping[str, str] = field(default_factory=dict, repr=False)


def typed(given: Mapping[str, str]) -> Overrides:
    """Return what a person has just typed, by name in any case, as it goes before the environment."""
    return Overrides(values={name.lower(): value for name, value in given.items()})


@dataclass(frozen=True, slots=True)
class Store:
    """The database, by what it is used for."""

    mirror: Mirror
    journal: Journal
    runs: Runs
    limits: Limits
    evidence: Evidence
    reviews: Reviews
    findings: Findings
    inbox: Inbox
    accounts: Accounts
    awaited: Awaited
    entries: Entries
    alerts: Alerts
    approvals: Approvals
    carried_out: CarriedOut
    history: History

    def close(self) -> None:
        """Close the connections that are open; a process that lives on must not pile them up, run after run."""
        self.limits.database.dispose()
        self.limits.machine.dispose()


@dataclass(frozen=True, slots=True)
class Limits:
    """What all processes share of each API's limit and keys."""

    database: Engine
    machine: Engine

    def pace(self, api: str, origin: str, rate: Rate, *, urgent: bool = False) -> Pace:
        """Return the turns of one client."""
        slots = SharedSlots(limit_name(api, origin), rate, database=self.database, machine=self.machine)
        return Pace(api, slots, urgent=urgent)

    def blocked(self) -> dict[str, str]:
        """Return since when and why APIs have blocked this address, by name."""
        return {**Blocks(self.machine).reasons(), **Blocks(self.database).reasons()}

    def standing(self, api: str, origin: str) -> PaceState:
        """Return what stands in the way of the next request to an API."""
        return pace_state(limit_name(api, origin), database=self.database, machine=self.machine)

    def lift_blocks(self) -> list[str]:
        """Let everybody send again; return the names of what was blocked."""
        return sorted({*Blocks(self.database).lift(), *Blocks(self.machine).lift()})

    def tokens(self, origin: str, client_id: str) -> Tokens:
        """Return the OAuth tokens of one integration."""
        return Tokens(self.database, f"kommo {origin} {client_id}")


NOTHING = Overrides()


def load_settings(overrides: Overrides = NOTHING) -> Settings:
    """Return environment and configuration. Raises ConfigError naming every setting that is missing or wrong."""
    return read_settings(load_environment(overrides))


def read_settings(environment: Environment) -> Settings:
    """Return the configuration beside its environment. Raises as `load_settings`."""
    config = load_config(environment.dealsync_config)
    if config.mails_by and not environment.smtp_host.strip():
        raise ConfigError(f"{config.mails_by} needs SMTP_HOST: which mail server takes the e-mails?")
    return Settings(environment, config)


def load_environment(overrides: Overrides = NOTHING) -> Environment:
    """Return the environment, where the overrides do not go before it. Raises ConfigError; values are never shown."""
    given: Any = overrides.values
    try:
        return Environment(**given)
    except UnicodeDecodeError as error:
        raise _no_text() from error
    except ValidationError as error:
        missing = sorted({_name(e["loc"]) for e in error.errors() if e["type"] == "missing"})
        wrong = sorted({f"{_name(e['loc'])} ({words_of(e)})" for e in error.errors() if e["type"] != "missing"})
        parts = [f"missing: {', '.join(missing)}"] * bool(missing) + [f"wrong: {', '.join(wrong)}"] * bool(wrong)
        places = _places({_name(e["loc"]) for e in error.errors()}, overrides)
        raise ConfigError(f"Settings {'; '.join(parts)}. {places}") from error


def block_name() -> str:
    """Return the name of the Prefect block that may hold credentials. Raises ConfigError."""
    try:
        return _BlockName().dealsync_block
    except UnicodeDecodeError as error:
        raise _no_text() from error
    except ValidationError as error:
        raise ConfigError("DEALSYNC_BLOCK is no name of a block: lower-case letters, digits and dashes") from error


def _no_text() -> ConfigError:
    return ConfigError("The file .env is not UTF-8 text; save it as such")


def _places(names: AbstractSet[str], overrides: Overrides) -> str:
    """Where to mend these settings."""
    there = sorted(names & {name.upper() for name in overrides.values})
    if not overrides.source:
        return "Set them in the environment or in .env"
    if not there:
        return f"Set them in {overrides.source}, in the environment or in .env"
    return f"{', '.join(there)}: as {overrides.source} has it; mend it there"


def missing_settings(given: Mapping[str, str]) -> set[str]:
    """Return the names of settings that nobody has given and nothing goes without; KOMMO_TOKEN stands for OAuth, too.

    Raises ConfigError for a setting that is wrong.
    """
    try:
        Environment.model_validate(typed(given).values)
    except UnicodeDecodeError as error:
        raise _no_text() from error
    except ValidationError as error:
        wrong = sorted({f"{_name(e['loc'])} ({words_of(e)})" for e in error.errors() if e["type"] not in ABSENT})
        if wrong:
            raise ConfigError(f"Settings wrong: {', '.join(wrong)}. Set them in the environment or in .env") from error
        return {_name(e["loc"]) for e in error.errors()}
    return set()


def build_store(environment: Environment) -> Store:
    """Open and migrate the database. Raises DatabaseError."""
    engine = open_database(environment.dealsync_database_url.get_secret_value())
    return store_on(engine, open_machine(environment.dealsync_state_dir))


def store_on(engine: Engine, machine: Engine) -> Store:
    """Return the database of `engine` by what it is used for; `machine` has the turns of this machine."""
    limits = Limits(engine, machine)
    return Store(
        Mirror(engine),
        Journal(engine),
        Runs(engine),
        limits,
        Evidence(engine),
        Reviews(engine),
        Findings(engine),
        Inbox(engine),
        Accounts(engine),
        Awaited(engine),
        Entries(engine),
        Alerts(engine),
        Approvals(engine),
        CarriedOut(engine),
        History(engine),
    )


def build_lemon_squeezy(environment: Environment, store: Store, *, urgent: bool = False) -> LemonSqueezy:
    """Return the Lemon Squeezy client; it shares its limit with all others on this store and this machine."""
    origin = environment.lemon_squeezy_api_url
    return LemonSqueezy(
        origin=origin,
        api_key=environment.lemon_squeezy_api_key.get_secret_value(),
        pace=store.limits.pace("lemon_squeezy", origin, lemon_squeezy_rate(environment), urgent=urgent),
    )


def build_kommo(environment: Environment, store: Store, *, urgent: bool = False, auth: Auth | None = None) -> Kommo:
    """Return the Kommo client; it shares its limit and its tokens likewise. `auth` stands in for the tokens."""
    origin = environment.kommo_origin
    rate = Rate(environment.kommo_requests_per_second, most=KOMMO_MOST_IN_A_SECOND)
    pace = store.limits.pace("kommo", origin, rate, urgent=urgent)
    return Kommo(origin=origin, auth=auth or _kommo_auth(environment, store, pace), pace=pace)


def lemon_squeezy_rate(environment: Environment) -> Rate:
    """What a run of a small account asks for leaves at once; the rest evenly, and never over the minute's sum."""
    in_a_minute = environment.lemon_squeezy_requests_per_minute
    if not LS_MINUTE_COUNTS_AS_A_WHOLE:
        return Rate(in_a_minute / 60)
    at_once, kept = in_a_minute // AT_ONCE_OF, in_a_minute // KEPT_OF
    return Rate(
        in_a_minute / 60,
        at_once=max(at_once, 1),
        most=in_a_minute,
        window_s=60.0,
        kept_for_urgent=kept,
        in_the_air=IN_THE_AIR,
    )


def build_postman(environment: Environment) -> Postman:
    """Return whoever takes e-mails to the mail server."""
    return Postman(
        host=environment.smtp_host.strip(),
        port=environment.smtp_port,
        user=environment.smtp_user,
        password=environment.smtp_password.get_secret_value(),
        security=environment.smtp_security,
    )


def _kommo_auth(environment: Environment, store: Store, pace: Pace) -> Auth:
    if environment.kommo_token is not None:
        return FixedToken(environment.kommo_token.get_secret_value())
    integration = Integration(
        client_id=environment.kommo_client_id,
        client_secret=environment.kommo_client_secret.get_secret_value(),
        redirect_uri=environment.kommo_redirect_uri,
        code=environment.kommo_auth_code.get_secret_value(),
    )
    origin = environment.kommo_origin
    return OAuth(integration, store.limits.tokens(origin, integration.client_id), origin=origin, pace=pace)


def _name(loc: tuple[int | str, ...]) -> str:
    return str(loc[0]).upper() if loc else "the environment"
