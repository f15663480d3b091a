"""`dealsync.toml`: every key there is, what it may hold, and what it is when it is not given."""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, date, datetime
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from babel import Locale, UnknownLocaleError
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from dealsync.core.asking import WORDS
from dealsync.core.assumptions import KOMMO_WRITE_BATCH
from dealsync.core.evidence import CHECKOUT_KEY, LEAD_ID_KEY
from dealsync.core.letters import address_for_wire, fault_of_page
from dealsync.core.owners import Strategy
from dealsync.core.policy import Reminder, WhenExpired
from dealsync.core.products import check_name
from dealsync.core.texts import fault_of, words
from dealsync.errors import ConfigError

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


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FunnelSection(_Section):
    """A watched pipeline and two of its statuses. Names or ids."""

    pipeline: NameOrId
    invoice_status: NameOrId
    attention_status: NameOrId


class KommoSection(FunnelSection):
    """Where deals live, and where self-serve deals are made."""

    minor_units: bool = False  # the account's prices have decimals


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
    trial_wins: bool = False
    renewal_deals: bool = False
    renewal_reminder_days: Annotated[int, Field(ge=0, le=365)] = 0  # before an annual plan renews; 0: no reminder
    price: Literal["gross", "net"] = "gross"  # of tax
    zero_decimal: Literal["flag", "trust"] = "flag"  # currencies without cents

    @field_validator("notify_since")
    @classmethod
    def _aware(cls, value: datetime | None) -> datetime | None:
        return value.replace(tzinfo=UTC) if value and value.tzinfo is None else value


class VariantSection(_Section):
    """What is sold to deals of a pipeline, with a tag, or with a value in a field; the first that fits."""

    variant: LsId
    store: LsId = ""
    pipeline: NameOrId | None = None
    tag: Annotated[str, StringConstraints(strip_whitespace=True)] = ""
    field: NameOrId | None = None
    value: Annotated[str, StringConstraints(strip_whitespace=True)] = ""

    @model_validator(mode="after")
    def _says_when(self) -> VariantSection:
        if (self.field is None) != (not self.value):
            raise ValueError("field and value need each other: what must a field of the deal hold?")
        if self.pipeline is None and not self.tag and self.field is None:
            raise ValueError("names none of pipeline, tag, field; for all deals set LEMON_SQUEEZY_VARIANT_ID")
        return self


Colour = Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")]


def _is_link(value: str) -> str:
    if value and not re.match(r"https://[^\s/]\S*$|http://(127\.0\.0\.1|localhost)(:[0-9]+)?(/[^\s]*)?$", value):
        raise ValueError("is not an address that starts with https://")
    return value.rstrip("/")


def _is_origin(value: str) -> str:
    if re.search(r"[?#@]", value):
        raise ValueError("is not a bare address, such as https://deals.example.com: links are made by adding to it")
    return value


Link = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_is_link)]
Origin = Annotated[Link, AfterValidator(_is_origin)]


class CheckoutSection(_Section):
    """Checkout links for deals in the invoice stage."""

    custom_price: bool = False  # charge the deal's price instead of the variant's
    allow_zero_price: bool = False  # deals without a price get a checkout, too; not with custom_price
    variants: list[VariantSection] = Field(default_factory=list)
    quantity_field: NameOrId | None = None  # of deals
    discount_field: NameOrId | None = None  # of deals; holds a discount code of the store
    custom: dict[str, NameOrId] = Field(default_factory=dict)  # key of the custom data -> field of deals, or a word
    expires_days: Annotated[float, Field(ge=0, le=3650)] = 0  # 0: never
    when_expired: WhenExpired = WhenExpired.TASK
    redirect_url: Link = ""  # after the payment, where the receiver has no address
    remind_after_days: Annotated[float, Field(ge=0, le=3650)] = 0  # 0: nobody is reminded
    remind_by: Reminder = Reminder.TASK

    @field_validator("custom")
    @classmethod
    def _can_travel(cls, value: dict[str, NameOrId]) -> dict[str, NameOrId]:
        for key, source in value.items():
            if key in (LEAD_ID_KEY, CHECKOUT_KEY) or not re.fullmatch(r"[A-Za-z0-9_-]{1,60}", key):
                raise ValueError(f"has the key {key!r}; keys are letters, digits, _ and -, and not dealsync's own")
            if isinstance(source, str) and source.startswith("@") and source not in WORDS:
                raise ValueError(f"has {source!r}; the words are {', '.join(WORDS)}, anything else names a field")
        return value


def _is_sender(value: str) -> str:
    if not value:
        return value
    address = address_for_wire(parseaddr(value)[1])
    if address is None:
        raise ValueError("is no sender, such as Acme <billing@acme.com>")
    if not address.isascii():
        raise ValueError("is no sender that every mail server takes: letters before the @ must be ASCII ones")
    return value


Sender = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_is_sender)]


class EmailSection(_Section):
    """E-mails to clients with their checkout links."""

    to_client: bool = False
    sender: Sender = ""  # Acme <billing@acme.com>
    reply_to: Sender = ""
    company: str = ""  # as it signs them
    html_file: str = ""  # Jinja2 template of a page of the account's own

    def html(self) -> str:
        """Return the page of the account's own, or nothing. Raises ConfigError naming the file."""
        if not self.html_file.strip():
            return ""
        path = Path(self.html_file)
        try:
            page = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}, which email.html_file names, cannot be read") from error
        if fault := fault_of_page(page):
            raise ConfigError(f"{path} {fault}. It is given blocks, url, button and language")
        return page


class ReceiverSection(_Section):
    """Where the receiver can be reached from outside."""

    url: Origin = ""


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

    language: Literal["en", "de"] = "en"
    locale: str = "en_US"
    file: str = ""  # TOML file with texts of the account's own

    def overrides(self) -> dict[str, str]:
        """Return the texts of the account's own, by name. Raises ConfigError naming the file and the text."""
        if not self.file.strip():
            return {}
        path = Path(self.file)
        try:
            texts = read_toml(path)
        except FileNotFoundError as error:
            raise ConfigError(f"There is no {path}, which texts.file names") from error
        for name, text in texts.items():
            fault = fault_of(name, text) if isinstance(text, str) else "is no text"
            if fault:
                raise ConfigError(f"{path}: {name} {fault}. The texts there are: {', '.join(words('en'))}")
        return texts

    @field_validator("locale")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            Locale.parse(value)
        except (UnknownLocaleError, ValueError) as error:
            raise ValueError(f"no such locale: {value}") from error
        return value


class TasksSection(_Section):
    """What tasks look like."""

    type: Annotated[int, Field(ge=1)] = 1  # Kommo's id of the type: 1 is a follow-up
    due_days: Annotated[int, Field(ge=0, le=365)] = 1  # working days
    due_hour: Annotated[int, Field(ge=0, le=23)] = 18
    time_zone: str = ""  # IANA name; empty: the Kommo account's

    @field_validator("time_zone")
    @classmethod
    def _known(cls, value: str) -> str:
        if value and value not in available_timezones():
            raise ValueError(f"no such time zone: {value}")
        return value


class AlertsSection(_Section):
    """When people are told that dealsync itself is not well."""

    reconcile_hours: Annotated[float, Field(ge=0)] = 3  # since the last run that went through; 0: never
    after_attempts: Annotated[int, Field(ge=1)] = 3  # of a write that fails
    drift_hours: Annotated[float, Field(ge=0)] = 24  # that something may be out of step; 0: for ever
    silent_hours: Annotated[float, Field(ge=0)] = 1  # without a webhook after a payment that polls saw; 0: for ever
    token_days: Annotated[float, Field(ge=0)] = 7  # before Kommo's token ends; 0: never


class ReportSection(_Section):
    """The reports on a month."""

    send: bool = True  # each day, to DEALSYNC_REPORT_URLS


class InboxSection(_Section):
    """How webhooks are kept."""

    keep_days: Annotated[int, Field(ge=0, le=36500)] = 180  # raw bodies of events that are done; 0 keeps them for ever
    ready_minutes: Annotated[int, Field(ge=1, le=1440)] = 10  # how long an event may wait while /readyz answers 200


class ApprovalSection(_Section):
    """What a person is asked before it is sent."""

    careful: bool = False  # whatever cannot be taken back
    first_time: bool = True  # kinds of changes that were never made before, once the first days are over
    first_days: Annotated[float, Field(ge=0, le=3650)] = 7  # in which everything is new
    minutes: Annotated[float, Field(gt=0, le=10_080)] = 240  # to answer; then nothing of it is sent


class HistorySection(_Section):
    """How long it is kept what was seen and done, step by step."""

    keep_days: Annotated[int, Field(ge=0, le=36500)] = 0  # 0 keeps it for ever


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
    email: EmailSection = EmailSection()
    policy: PolicySection = PolicySection()
    limits: LimitsSection = LimitsSection()
    approval: ApprovalSection = ApprovalSection()
    texts: TextsSection = TextsSection()
    tasks: TasksSection = TasksSection()
    receiver: ReceiverSection = ReceiverSection()
    claim: ClaimSection = ClaimSection()
    inbox: InboxSection = InboxSection()
    history: HistorySection = HistorySection()
    alerts: AlertsSection = AlertsSection()
    report: ReportSection = ReportSection()
    fields: dict[str, NameOrId] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_a_sender(self) -> Config:
        if self.mails_by and not self.email.sender:
            raise ValueError(f"{self.mails_by} needs email.sender: who are the e-mails from?")
        return self

    @property
    def mails_by(self) -> str:
        """The key by which clients get e-mails; empty if they get none."""
        reminds = self.checkout.remind_after_days > 0 and self.checkout.remind_by is Reminder.EMAIL
        return "email.to_client" if self.email.to_client else "checkout.remind_by" if reminds else ""


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
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {words_of(e)}" for e in error.errors(include_input=False))
        raise ConfigError(f"{path} is wrong: {faults}") from error


def read_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file as it is. Raises FileNotFoundError, ConfigError."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def words_of(error: ErrorDetails) -> str:
    """Return what is wrong with a value, as a person reads it."""
    return error["msg"].removeprefix("Value error, ")
