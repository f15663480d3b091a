"""The one reader of the environment and of `dealsync.toml`; builds clients and the store from them."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    SecretStr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import Engine

from dealsync.apis.kommo.client import Kommo
from dealsync.apis.kommo.oauth import Integration, OAuth
from dealsync.apis.lemonsqueezy.client import LemonSqueezy
from dealsync.apis.pace import Pace
from dealsync.apis.transport import Auth, FixedToken
from dealsync.core.assumptions import KOMMO_MOST_IN_A_SECOND, KOMMO_WRITE_BATCH
from dealsync.core.owners import Strategy
from dealsync.core.products import check_name
from dealsync.errors import ConfigError
from dealsync.ledger.blocks import Blocks
from dealsync.ledger.database import open_database
from dealsync.ledger.evidence import Evidence
from dealsync.ledger.journal import Journal
from dealsync.ledger.mirror import Mirror
from dealsync.ledger.reviews import Reviews
from dealsync.ledger.runs import Runs
from dealsync.ledger.slots import SharedSlots, limit_name, open_machine
from dealsync.ledger.tokens import Tokens

NameOrId = int | str


def _id_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _an_id(value: str) -> str:
    if not re.fullmatch(r"[0-9]+", value := value.strip()):
        raise ValueError("is not an id of Lemon Squeezy, such as 4101")
    return value


LsId = Annotated[str, BeforeValidator(_id_text), AfterValidator(_an_id)]
UserId = Annotated[int, Field(gt=0)]
Filled = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Environment(BaseSettings):
    """Credentials and addresses: from the environment, else from `.env` in the working folder."""

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    lemon_squeezy_api_key: SecretStr
    lemon_squeezy_store_id: str = Field(validation_alias=AliasChoices("lemon_squeezy_store_id", "ls_store_id"))
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
    kommo_requests_per_second: Annotated[float, Field(gt=0, le=7)] = 6
    dealsync_database_url: SecretStr = SecretStr("sqlite:///dealsync.db")
    dealsync_config: Path = Path("dealsync.toml")
    dealsync_state_dir: Path = Field(default_factory=lambda: platformdirs.user_state_path("dealsync"))
    dealsync_mode: Literal["live", "test"] = "live"

    @field_validator("lemon_squeezy_store_id")
    @classmethod
    def _trimmed(cls, value: str) -> str:
        return value.strip()

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

    @field_validator("lemon_squeezy_api_url", "kommo_api_url")
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
            raise PydanticCustomError("instead", "missing; or set {others} and KOMMO_AUTH_CODE", {"others": others})
        return value

    @property
    def kommo_origin(self) -> str:
        """Where Kommo's API is: the account's own host, unless KOMMO_API_URL says otherwise."""
        return self.kommo_api_url or f"https://{self.kommo_domain}"

    @property
    def webhook_secrets(self) -> list[str]:
        """The secrets that may have signed a webhook: several while they are rotated, none where none is set."""
        parts = self.lemon_squeezy_webhook_secret.get_secret_value().split(",")
        return [part.strip() for part in parts if part.strip()]

    @property
    def is_test_mode(self) -> bool:
        """Whether only Lemon Squeezy's test-mode objects may touch deals."""
        return self.dealsync_mode == "test"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FunnelSection(_Section):
    """A watched pipeline and two of its statuses. Names or ids."""

    pipeline: NameOrId
    invoice_status: NameOrId
    attention_status: NameOrId


class KommoSection(FunnelSection):
    """Where deals live, and where self-serve deals are made."""


class LemonSqueezySection(_Section):
    """What is sold."""

    stores: list[LsId] = Field(default_factory=list)  # besides LEMON_SQUEEZY_STORE_ID


class RotaEntry(_Section):
    """A user who takes deals: `501` or `{id = 501, weight = 2}`."""

    id: UserId
    weight: Annotated[int, Field(ge=1, le=100)] = 1

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: object) -> object:
        return {"id": value} if isinstance(value, int | str) else value


def _each_once(users: list[RotaEntry]) -> list[RotaEntry]:
    ids = [user.id for user in users]
    twice = sorted({user_id for user_id in ids if ids.count(user_id) > 1})
    if twice:
        raise ValueError(f"names user {', '.join(map(str, twice))} twice; who takes more has a larger weight")
    return users


Rota = Annotated[list[RotaEntry], AfterValidator(_each_once)]


class AbsenceSection(_Section):
    """Days on which a user takes no deals, the first and the last included. Days are those of UTC."""

    user: UserId
    first: date
    last: date

    @model_validator(mode="after")
    def _forwards(self) -> AbsenceSection:
        if self.last < self.first:
            raise ValueError(f"last = {self.last} is before first = {self.first}")
        return self


class OwnersSection(_Section):
    """Who gets self-serve deals."""

    strategy: Strategy = "round_robin"
    users: Rota = Field(default_factory=list)
    default: UserId | None = None
    zone_by: Filled = "country"  # country, currency, or a key of the custom data
    zones: dict[str, Rota] = Field(default_factory=dict)
    absences: list[AbsenceSection] = Field(default_factory=list)

    @field_validator("zones")
    @classmethod
    def _folded(cls, value: dict[str, list[RotaEntry]]) -> dict[str, list[RotaEntry]]:
        folded = {zone.strip().casefold(): users for zone, users in value.items()}
        if "" in folded or len(folded) < len(value):
            raise ValueError("has an empty name, or one name in two spellings; upper and lower case are the same")
        return folded

    @model_validator(mode="after")
    def _has_zones(self) -> OwnersSection:
        if self.strategy == "zone" and not self.zones:
            raise ValueError('strategy = "zone" needs [owners.zones]')
        return self


class ProductSection(_Section):
    """What is special about the deals of a store, product or variant."""

    store: LsId = ""
    product: LsId = ""
    variant: LsId = ""
    pipeline: NameOrId | None = None
    attention_status: NameOrId | None = None  # in that pipeline
    tag: Annotated[str, StringConstraints(strip_whitespace=True)] = ""
    name: str = ""  # Jinja2 template of the deal's name

    @field_validator("name")
    @classmethod
    def _renders(cls, value: str) -> str:
        check_name(value)
        return value

    @model_validator(mode="after")
    def _complete(self) -> ProductSection:
        if not (self.store or self.product or self.variant):
            raise ValueError("names none of store, product, variant")
        if self.attention_status is not None and self.pipeline is None:
            raise ValueError("attention_status needs pipeline beside it")
        return self


class SelfServeSection(_Section):
    """What deals get that clients paid for by themselves."""

    tag: Filled = "ls:self-serve"
    company_key: str = "company"  # of the custom data; empty: deals get no company
    fields: dict[str, NameOrId] = Field(default_factory=dict)  # key of the custom data -> field of deals


class MatchingSection(_Section):
    """How payments find their deals."""

    window_days: Annotated[int, Field(ge=1, le=3650)] = 30
    max_auto_amount: Annotated[int, Field(ge=0)] = 100_000  # minor units
    settle_minutes: Annotated[float, Field(ge=0, le=10_080)] = 5
    unpaid_checkouts: Literal["review", "ignore"] = "review"


class PolicySection(_Section):
    """What follows from what."""

    reopen_lost: bool = False
    amount_tolerance: Annotated[int, Field(ge=0)] = 0  # minor units
    stuck_after_hours: Annotated[float, Field(gt=0, le=87_600)] = 24
    notify_since: datetime | None = None
    trial_wins: Literal[False] = False
    renewal_deals: Literal[False] = False

    @field_validator("notify_since")
    @classmethod
    def _aware(cls, value: datetime | None) -> datetime | None:
        return value.replace(tzinfo=UTC) if value and value.tzinfo is None else value


class CheckoutSection(_Section):
    """Checkout links."""

    custom_price: Literal[False] = False


Colour = Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")]


def _is_link(value: str) -> str:
    if value and not re.match(r"https://[^\s]+$|http://(127\.0\.0\.1|localhost)(:[0-9]+)?(/[^\s]*)?$", value):
        raise ValueError("is not an address that starts with https://")
    return value.rstrip("/")


Link = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_is_link)]


class ReceiverSection(_Section):
    """Where the receiver can be reached from outside."""

    url: Link = ""


class ClaimSection(_Section):
    """The page for buyers who come back from a checkout. Plain text; a line break makes a paragraph."""

    company: str = ""
    title: str = "Thank you for your purchase"
    text: str = "Your payment has arrived and is on its way to the people who look after you. You can close this page."
    incomplete_title: str = "This link is not complete"
    incomplete_text: str = "If you have paid, your payment is safe all the same: we see it without this link."
    accent: Colour = "#2f6f4f"
    background: Colour = "#ffffff"
    colour: Colour = "#1f2933"
    return_url: Link = ""
    return_text: str = "Go on"


class TextsSection(_Section):
    """The words in notes and tasks."""

    locale: str = "en_US"

    @field_validator("locale")
    @classmethod
    def _known(cls, value: str) -> str:
        from babel import Locale, UnknownLocaleError

        try:
            Locale.parse(value)
        except (UnknownLocaleError, ValueError) as error:
            raise ValueError(f"no such locale: {value}") from error
        return value


class LimitsSection(_Section):
    """How much one run may do."""

    max_changes: Annotated[int, Field(ge=0)] = 200
    batch_size: Annotated[int, Field(ge=1, le=KOMMO_WRITE_BATCH)] = KOMMO_WRITE_BATCH


class Config(_Section):
    """`dealsync.toml`."""

    kommo: KommoSection
    pipelines: list[FunnelSection] = Field(default_factory=list)
    lemon_squeezy: LemonSqueezySection = LemonSqueezySection()
    owners: OwnersSection = OwnersSection()
    products: list[ProductSection] = Field(default_factory=list)
    self_serve: SelfServeSection = SelfServeSection()
    matching: MatchingSection = MatchingSection()
    checkout: CheckoutSection = CheckoutSection()
    policy: PolicySection = PolicySection()
    limits: LimitsSection = LimitsSection()
    texts: TextsSection = TextsSection()
    receiver: ReceiverSection = ReceiverSection()
    claim: ClaimSection = ClaimSection()
    fields: dict[str, NameOrId] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that is configured."""

    environment: Environment
    config: Config


@dataclass(frozen=True, slots=True)
class Store:
    """The database, by what it is used for."""

    mirror: Mirror
    journal: Journal
    runs: Runs
    limits: Limits
    evidence: Evidence
    reviews: Reviews


@dataclass(frozen=True, slots=True)
class Limits:
    """What all processes share of each API's limit and keys."""

    database: Engine
    machine: Engine

    def pace(
        self, api: str, origin: str, per_second: float, *, most_in_a_second: int | None = None, urgent: bool = False
    ) -> Pace:
        """Return the turns of one client; `most_in_a_second` is what the API bears before it answers 429."""
        slots = SharedSlots(
            limit_name(api, origin),
            per_second,
            database=self.database,
            machine=self.machine,
            most_in_a_second=most_in_a_second,
        )
        return Pace(api, slots, urgent=urgent)

    def lift_blocks(self) -> list[str]:
        """Let everybody send again; return the names of what was blocked."""
        return sorted({*Blocks(self.database).lift(), *Blocks(self.machine).lift()})

    def tokens(self, origin: str, client_id: str) -> Tokens:
        """Return the OAuth tokens of one integration."""
        return Tokens(self.database, f"kommo {origin} {client_id}")


def load_settings() -> Settings:
    """Return environment and configuration. Raises ConfigError naming every setting that is missing or wrong."""
    environment = load_environment()
    return Settings(environment, load_config(environment.dealsync_config))


def load_environment() -> Environment:
    """Return the environment. Raises ConfigError; values are never shown."""
    try:
        return Environment()
    except UnicodeDecodeError as error:
        raise ConfigError("The file .env is not UTF-8 text; save it as such") from error
    except ValidationError as error:
        missing = sorted({_name(e["loc"]) for e in error.errors() if e["type"] == "missing"})
        wrong = sorted({f"{_name(e['loc'])} ({_words(e)})" for e in error.errors() if e["type"] != "missing"})
        parts = [f"missing: {', '.join(missing)}"] * bool(missing) + [f"wrong: {', '.join(wrong)}"] * bool(wrong)
        raise ConfigError(f"Settings {'; '.join(parts)}. Set them in the environment or in .env") from error


def load_config(path: Path) -> Config:
    """Return `dealsync.toml`. Raises ConfigError naming the file and the keys."""
    try:
        return parse_config(read_toml(path), path)
    except FileNotFoundError as error:
        raise ConfigError(f"There is no {path}. Run: dealsync init") from error


def parse_config(values: dict[str, Any], path: Path) -> Config:
    """Return the content of `path` as Config. Raises ConfigError naming the keys."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {_words(e)}" for e in error.errors(include_input=False))
        raise ConfigError(f"{path} is wrong: {faults}") from error


def read_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file as it is. Raises FileNotFoundError, ConfigError."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def build_store(environment: Environment) -> Store:
    """Open and migrate the database. Raises DatabaseError."""
    engine = open_database(environment.dealsync_database_url.get_secret_value())
    limits = Limits(engine, open_machine(environment.dealsync_state_dir))
    return Store(Mirror(engine), Journal(engine), Runs(engine), limits, Evidence(engine), Reviews(engine))


def build_lemon_squeezy(environment: Environment, store: Store, *, urgent: bool = False) -> LemonSqueezy:
    """Return the Lemon Squeezy client; it shares its limit with all others on this store and this machine."""
    origin = environment.lemon_squeezy_api_url
    return LemonSqueezy(
        origin=origin,
        api_key=environment.lemon_squeezy_api_key.get_secret_value(),
        pace=store.limits.pace(
            "lemon_squeezy", origin, environment.lemon_squeezy_requests_per_minute / 60, urgent=urgent
        ),
    )


def build_kommo(environment: Environment, store: Store, *, urgent: bool = False) -> Kommo:
    """Return the Kommo client; it shares its limit and its tokens likewise."""
    origin = environment.kommo_origin
    pace = store.limits.pace(
        "kommo",
        origin,
        environment.kommo_requests_per_second,
        most_in_a_second=KOMMO_MOST_IN_A_SECOND,
        urgent=urgent,
    )
    return Kommo(origin=origin, auth=_kommo_auth(environment, store, pace), pace=pace)


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


def _words(error: ErrorDetails) -> str:
    return error["msg"].removeprefix("Value error, ")


def _name(loc: tuple[int | str, ...]) -> str:
    return str(loc[0]).upper() if loc else "the environment"
