"""The values that everything else speaks in. All are frozen; times are aware UTC; money is in minor units.

Ids: Lemon Squeezy's are strings inside dealsync (as in its resources), Kommo's are integers (as in its API).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal
from enum import StrEnum

from babel.numbers import get_currency_precision

from dealsync.core.assumptions import ZERO_DECIMAL_AMOUNTS_ARE_WHOLE_UNITS

WON_STATUS_ID = 142
"""Won, in every Kommo pipeline. Source: Kommo reference, "Pipelines, stages, loss reasons"."""
LOST_STATUS_ID = 143
"""Closed and lost, in every Kommo pipeline."""


LONGEST_NAME = 200


def minor_digits(currency: str) -> int:
    """How many decimal digits the minor unit of a currency stands for: 2 for USD."""
    digits = get_currency_precision(currency)
    return digits if ZERO_DECIMAL_AMOUNTS_ARE_WHOLE_UNITS or digits else 2


@dataclass(frozen=True, slots=True, order=True)
class Money:
    """An amount in minor units (cents) of an ISO 4217 currency."""

    minor: int
    currency: str

    @property
    def major(self) -> Decimal:
        """The amount in major units, exact: 4999 USD is Decimal("49.99")."""
        return Decimal(self.minor).scaleb(-minor_digits(self.currency))

    @property
    def whole(self) -> int:
        """Whole major units, floored: what Kommo's integer `price` can hold."""
        return self.units(0)

    def units(self, digits: int) -> int:
        """Units with so many decimal digits of the major one, floored: 49.99 USD is 49 with 0, 4999 with 2."""
        return int(self.major.scaleb(digits).to_integral_value(rounding=ROUND_FLOOR))


class OrderStatus(StrEnum):
    """`order.status` of Lemon Squeezy. `UNKNOWN` stands for one that the API added since."""

    PENDING = "pending"
    FAILED = "failed"
    PAID = "paid"
    REFUNDED = "refunded"
    PARTIAL_REFUND = "partial_refund"
    FRAUDULENT = "fraudulent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Order:
    """A Lemon Squeezy order: one purchase, or the first payment of a subscription."""

    id: str
    store_id: str
    number: int
    status: OrderStatus
    total: Money  # tax included, before refunds
    refunded: Money  # cumulative
    user_email: str
    user_name: str
    product_name: str
    variant_name: str
    variant_id: str
    quantity: int
    test_mode: bool
    created_at: datetime
    updated_at: datetime
    refunded_at: datetime | None = None
    receipt_url: str | None = None
    identifier: str = ""  # UUID; also part of receipt and invoice links
    customer_id: str = ""
    product_id: str = ""
    subtotal_minor: int | None = None  # before discount and tax (tax included where prices are); None if not told
    discount_minor: int = 0
    tax_minor: int = 0
    setup_fee_minor: int = 0  # part of the subtotal
    paid_at: datetime | None = None  # when its money came, if that was later: see `core.sales`


@dataclass(frozen=True, slots=True)
class Subscription:
    """A Lemon Squeezy subscription. `order_id` is the order that started it and never changes."""

    id: str
    store_id: str
    order_id: str
    subscription_status: str
    user_email: str
    product_name: str
    variant_name: str
    test_mode: bool
    created_at: datetime
    updated_at: datetime
    renews_at: datetime | None = None
    ends_at: datetime | None = None
    trial_ends_at: datetime | None = None  # may stay set after the trial
    is_cancelled: bool = False
    pause_mode: str | None = None  # void, free; only while paused
    resumes_at: datetime | None = None  # of a pause with an end
    quantity: int | None = None  # seats; None where the first item is not there yet
    price_id: str = ""
    variant_id: str = ""
    product_id: str = ""
    customer_id: str = ""
    user_name: str = ""
    portal_url: str | None = None  # signed anew in each answer


@dataclass(frozen=True, slots=True)
class Invoice:
    """A Lemon Squeezy subscription invoice. The `initial` one repeats the money of the first order."""

    id: str
    store_id: str
    subscription_id: str
    billing_reason: str  # initial, renewal, updated
    invoice_status: str
    total: Money
    refunded: Money
    test_mode: bool
    created_at: datetime
    updated_at: datetime
    refunded_at: datetime | None = None  # of a full refund
    tax_minor: int = 0
    customer_id: str = ""
    user_email: str = ""
    order_identifier: str = ""  # of the order that started the subscription, read off the link; empty while pending


@dataclass(frozen=True, slots=True)
class Deal:
    """A Kommo lead. `price` is in price units: whole ones of the account's currency, minor ones where it has them."""

    lead_id: int
    name: str
    pipeline_id: int
    status_id: int
    price: int
    responsible_user_id: int | None
    created_at: datetime
    updated_at: datetime
    closed_at: datetime | None = None
    contact_ids: tuple[int, ...] = ()  # the main contact first
    tags: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)  # filled ones: ours by key, others as `mapping.other_field`
    is_deleted: bool = False
    written: Mapping[str, str] = field(default_factory=dict)  # see `plan.Seen`
    entered_at: datetime | None = None  # its present status, by Kommo's events; read only where it matters
    entered_by: int | None = None  # the user who moved it there; 0 is a robot

    @property
    def is_open(self) -> bool:
        """Neither won nor lost."""
        return self.status_id not in (WON_STATUS_ID, LOST_STATUS_ID)

    @property
    def moved_by(self) -> str:
        """Who moved the deal to its present status, and when, in words; empty if that is not known."""
        if self.entered_at is None or self.entered_by is None:
            return ""
        who = f"user {self.entered_by}" if self.entered_by else "a robot"
        return f" ({who}, {self.entered_at:%Y-%m-%d %H:%M} UTC)"


@dataclass(frozen=True, slots=True)
class Contact:
    """A Kommo contact. `emails` are normalised (`normal_email`), in the order of the card.

    `typed` are the same as people wrote them: what is equal when compared can be another address to a mail server.
    """

    contact_id: int
    name: str
    emails: tuple[str, ...]
    responsible_user_id: int | None
    updated_at: datetime
    is_deleted: bool = False
    typed: tuple[str, ...] = ()  # empty: as `emails`


class Tier(StrEnum):
    """How we know which deal a payment belongs to, strongest evidence first."""

    EXPLICIT = "explicit"
    LEDGER = "ledger"
    FIELD = "field"
    CLAIM = "claim"
    CHECKOUT = "checkout"
    CONTACT = "contact"
    PERSON = "person"  # decided in a review
    SELF_SERVE = "self-serve"


@dataclass(frozen=True, slots=True)
class Link:
    """An order belongs to a deal. `evidence` says in plain words what was compared."""

    order_id: str
    lead_id: int
    tier: Tier
    evidence: str


def normal_name(name: str) -> str:
    """Return a company's name as it is compared: case-folded, blanks collapsed, no longer than any real one."""
    return " ".join(name.split()).casefold()[:LONGEST_NAME]


def normal_email(email: str) -> str:
    """Return an e-mail as it is compared everywhere: trimmed and case-folded."""
    return email.strip().casefold()
