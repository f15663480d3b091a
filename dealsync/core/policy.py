"""What the account's people decided: the configuration with every name resolved to an id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from dealsync.core.deadlines import Deadline
from dealsync.core.models import Deal, Money, Order, minor_digits
from dealsync.core.owners import Owners
from dealsync.core.products import ProductRule
from dealsync.core.texts import Texts


@dataclass(frozen=True, slots=True)
class Funnel:
    """A watched pipeline and the statuses in it that mean something to dealsync."""

    pipeline_id: int
    invoice_status_id: int
    attention_status_id: int


@dataclass(frozen=True, slots=True)
class VariantRule:
    """What is sold to deals of a pipeline, with a tag, or with a value in a field: whatever of these is given."""

    store_id: str
    variant_id: str
    pipeline_id: int | None = None
    tag: str = ""
    field_id: int | None = None
    value: str = ""


class WhenExpired(StrEnum):
    """What is done about a deal whose checkout can be paid no more."""

    TASK = "task"
    REISSUE = "reissue"
    NOTHING = "nothing"


class Reminder(StrEnum):
    """How the chase goes on."""

    TASK = "task"  # for the owner
    EMAIL = "email"  # to the client


@dataclass(frozen=True, slots=True)
class CheckoutPolicy:
    """What a checkout for a deal is made of, and where its link goes."""

    store_id: str = ""
    variant_id: str = ""  # where no rule fits; empty: none
    rules: tuple[VariantRule, ...] = ()  # the first that fits
    custom_price: bool = False  # the deal's price is charged, not the variant's
    sells_without_price: bool = False
    quantity_field: int | None = None
    discount_field: int | None = None
    custom: Mapping[str, int | str] = field(default_factory=dict)  # key of the custom data -> field id, or a word
    expires: timedelta | None = None
    when_expired: WhenExpired = WhenExpired.TASK
    remind_after: timedelta | None = None
    remind_by: Reminder = Reminder.TASK
    mails: bool = False  # the link goes to the client, too
    company: str = ""  # that the e-mails are from
    html: str = ""  # a template of the account's own for them

    @property
    def field_ids(self) -> frozenset[int]:
        """The fields of deals that checkouts are made from."""
        named = [self.quantity_field, self.discount_field, *(rule.field_id for rule in self.rules)]
        return frozenset(i for i in (*named, *self.custom.values()) if isinstance(i, int))


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything the planner needs to know that is no fact about an order or a deal."""

    store_ids: frozenset[str]
    test_mode: bool
    funnels: tuple[Funnel, ...]  # at least one; self-serve deals are created in the first
    account_currency: str
    owners: Owners = field(default_factory=Owners)
    products: tuple[ProductRule, ...] = ()
    custom_fields: Mapping[str, int] = field(default_factory=dict)  # key of the custom data -> field id of deals
    numeric_fields: frozenset[int] = frozenset()  # those of them that hold numbers only
    company_key: str = "company"  # of the custom data; empty: deals get no company
    self_serve_tag: str = "ls:self-serve"
    texts: Texts = field(default_factory=Texts)
    window: timedelta = timedelta(days=30)
    max_auto_amount: int = 100_000  # minor units
    settle: timedelta = timedelta(minutes=5)
    asks_about_unpaid_checkouts: bool = True  # else a payment of nobody always gets a deal of its own
    amount_tolerance: int = 0  # minor units
    price_digits: int = 0  # decimal digits of deals' prices: 0 unless the account has minor units
    price_is_net: bool = False  # of tax
    flags_zero_decimal: bool = True
    trial_wins: bool = False
    renewal_deals: bool = False
    reminder: timedelta | None = None  # how long before an annual plan renews its owner is reminded
    reopen_lost: bool = False
    stuck_after: timedelta = timedelta(hours=24)
    notify_since: datetime | None = None
    deadline: Deadline = field(default_factory=Deadline)
    task_type_id: int = 1
    active_users: frozenset[int] | None = None  # who can be given tasks; None: everybody
    checkout: CheckoutPolicy = field(default_factory=CheckoutPolicy)

    @property
    def home(self) -> Funnel:
        """Where self-serve deals are created, and deals of unwatched pipelines go for attention."""
        return self.funnels[0]

    @property
    def pipeline_ids(self) -> frozenset[int]:
        """The watched pipelines."""
        return frozenset(funnel.pipeline_id for funnel in self.funnels)

    @property
    def invoice_statuses(self) -> frozenset[tuple[int, int]]:
        """Pipeline and status of deals that wait for payment."""
        return frozenset((funnel.pipeline_id, funnel.invoice_status_id) for funnel in self.funnels)

    def funnel(self, pipeline_id: int) -> Funnel:
        """Return the funnel of a watched pipeline, the home one for any other."""
        return next((f for f in self.funnels if f.pipeline_id == pipeline_id), self.home)

    @property
    def locale(self) -> str:
        """How amounts are written."""
        return self.texts.locale

    def owner_of(self, deal: Deal) -> int | None:
        """Return who gets the tasks of a deal: its owner, or the default one when that person is not active."""
        owner = deal.responsible_user_id
        if owner is not None and (self.active_users is None or owner in self.active_users):
            return owner
        return self.owners.default

    def price_of(self, order: Order) -> Money:
        """Return what a deal's price is made from: what was paid, with or without tax."""
        tax = order.tax_minor if self.price_is_net else 0
        return Money(order.total.minor - tax, order.total.currency)

    def asked_of(self, deal: Deal) -> Money:
        """Return what a deal's price asks for."""
        digits = max(minor_digits(self.account_currency) - self.price_digits, 0)
        return Money(deal.price * 10**digits, self.account_currency)

    def units_of(self, order: Order) -> int:
        """Return that as a deal's price, in the account's price units."""
        return self.price_of(order).units(self.price_digits)

    def notifies(self, fact_at: datetime) -> bool:
        """Whether a fact of that time is young enough for notes and tasks."""
        return self.notify_since is None or fact_at >= self.notify_since
