"""The schema. Times are aware UTC, money is in minor units, Lemon Squeezy ids are text, Kommo ids integers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    TextClause,
    TypeDecorator,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class UtcTime(TypeDecorator[datetime]):
    """Aware UTC in and out, also on SQLite, which keeps no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive time: nobody knows when it is."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive time cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give back aware UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


IS_ALARM: TextClause = text("alarm <> ''")
HAS_BODY: TextClause = text("length(body) > 0")
"""What few rows of a large table have in common. An index of these alone is used where a query says it just so."""


class Base(DeclarativeBase):
    """Root of the schema."""

    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own idiom
        datetime: UtcTime,
        int: BigInteger,
        str: Text,
        bytes: LargeBinary,
        dict[str, Any]: JSON,
        list[Any]: JSON,
    }


# --- mirror: objects as last seen, newest `updated_at` wins ----------------------------------------------------


class OrderRow(Base):
    """A Lemon Squeezy order as last seen."""

    __tablename__ = "orders"

    order_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    store_id: Mapped[str]
    number: Mapped[int]
    order_status: Mapped[str]
    total_minor: Mapped[int]
    refunded_minor: Mapped[int]  # cumulative
    currency: Mapped[str]
    user_email: Mapped[str]
    user_name: Mapped[str]
    product_name: Mapped[str]
    variant_name: Mapped[str]
    variant_id: Mapped[str]
    quantity: Mapped[int]
    test_mode: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(index=True)
    updated_at: Mapped[datetime]
    refunded_at: Mapped[datetime | None]
    receipt_url: Mapped[str | None]
    identifier: Mapped[str] = mapped_column(default="")
    customer_id: Mapped[str] = mapped_column(default="")
    product_id: Mapped[str] = mapped_column(default="")
    subtotal_minor: Mapped[int | None]
    discount_minor: Mapped[int] = mapped_column(default=0)
    tax_minor: Mapped[int] = mapped_column(default=0)
    setup_fee_minor: Mapped[int] = mapped_column(default=0)


class SubscriptionRow(Base):
    """A Lemon Squeezy subscription as last seen."""

    __tablename__ = "subscriptions"

    subscription_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    store_id: Mapped[str]
    order_id: Mapped[str] = mapped_column(index=True)
    subscription_status: Mapped[str]
    user_email: Mapped[str]
    product_name: Mapped[str]
    variant_name: Mapped[str]
    test_mode: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(index=True)
    updated_at: Mapped[datetime]
    renews_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    trial_ends_at: Mapped[datetime | None]
    resumes_at: Mapped[datetime | None]
    is_cancelled: Mapped[bool] = mapped_column(default=False)
    quantity: Mapped[int | None]  # seats
    variant_id: Mapped[str] = mapped_column(default="")
    portal_url: Mapped[str | None]


class InvoiceRow(Base):
    """A Lemon Squeezy subscription invoice as last seen."""

    __tablename__ = "invoices"

    invoice_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    store_id: Mapped[str]
    subscription_id: Mapped[str] = mapped_column(index=True)
    billing_reason: Mapped[str]
    invoice_status: Mapped[str]
    total_minor: Mapped[int]
    refunded_minor: Mapped[int]
    currency: Mapped[str]
    test_mode: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(index=True)
    updated_at: Mapped[datetime]
    refunded_at: Mapped[datetime | None]
    tax_minor: Mapped[int] = mapped_column(default=0)


class DealRow(Base):
    """A Kommo lead as last seen; the `ls_` columns are our custom fields, empty ones null."""

    __tablename__ = "deals"
    __table_args__ = (Index("ix_deals_status_id_pipeline_id", "status_id", "pipeline_id"),)

    lead_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    pipeline_id: Mapped[int]
    status_id: Mapped[int]
    price: Mapped[int]  # in price units: whole ones, or minor ones where the account has them
    responsible_user_id: Mapped[int | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    is_deleted: Mapped[bool]
    tags: Mapped[list[Any]]
    written: Mapped[str | None]  # JSON of `plan.Seen.values`: what dealsync wrote or saw to be right; never polled
    ls_order_id: Mapped[str | None] = mapped_column(index=True)
    ls_order_number: Mapped[str | None]
    ls_subscription_id: Mapped[str | None]
    ls_status: Mapped[str | None]
    ls_amount_paid: Mapped[str | None]
    ls_refunded: Mapped[str | None]
    ls_currency: Mapped[str | None]
    ls_receipt_link: Mapped[str | None]
    ls_subscription_status: Mapped[str | None]
    ls_plan: Mapped[str | None]
    ls_seats: Mapped[str | None]
    ls_renews_at: Mapped[str | None]  # ISO 8601 in UTC
    ls_ends_at: Mapped[str | None]
    ls_lifetime_revenue: Mapped[str | None]
    ls_customer_portal: Mapped[str | None]
    ls_checkout_link: Mapped[str | None]
    ls_invoice_id: Mapped[str | None]
    entered_at: Mapped[datetime | None]  # its present status, by Kommo's events; empty once the deal changed
    entered_by: Mapped[int | None]
    other_fields: Mapped[dict[str, Any] | None]  # filled ones that the configuration names, by `mapping.other_field`


class LeadContactRow(Base):
    """A contact of a deal."""

    __tablename__ = "lead_contacts"

    lead_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    contact_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, index=True)
    place: Mapped[int] = mapped_column(default=0)  # the main contact has 0


class ContactRow(Base):
    """A Kommo contact as last seen."""

    __tablename__ = "contacts"

    contact_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    responsible_user_id: Mapped[int | None]
    updated_at: Mapped[datetime]
    is_deleted: Mapped[bool]


class ContactEmailRow(Base):
    """An e-mail of a contact, normalised."""

    __tablename__ = "contact_emails"

    contact_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    email: Mapped[str] = mapped_column(String(320), primary_key=True, index=True)
    typed: Mapped[str] = mapped_column(default="")  # as it stands on the card; empty: as `email`
    place: Mapped[int] = mapped_column(default=0)  # on the card, from 0


class CustomerRow(Base):
    """A Lemon Squeezy customer, read when his country decided about an owner."""

    __tablename__ = "customers"

    customer_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    country: Mapped[str]  # ISO alpha-2; empty if not told
    updated_at: Mapped[datetime]


class CompanyRow(Base):
    """A Kommo company by the name that a buyer gave, as it was last looked for."""

    __tablename__ = "companies"

    name: Mapped[str] = mapped_column(String(300), primary_key=True)  # normalised
    company_id: Mapped[int | None]  # empty if there was none
    updated_at: Mapped[datetime]


class MergeRow(Base):
    """A deal that is gone, and into which other one it was merged."""

    __tablename__ = "merges"

    gone_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    lead_id: Mapped[int | None]  # the survivor; empty if none was found
    first_sought_at: Mapped[datetime]
    sought_at: Mapped[datetime]


# --- evidence: what may tell which deal a payment belongs to ---------------------------------------------------


class EventRow(Base):
    """A verified webhook, as it came, and what became of it."""

    __tablename__ = "inbox"
    __table_args__ = (
        Index("ix_inbox_state_next_try_at", "state", "next_try_at"),
        Index("ix_inbox_sender_received_at", "sender", "received_at"),
        Index("ix_inbox_has_body", "state", "received_at", sqlite_where=HAS_BODY, postgresql_where=HAS_BODY),
    )

    event_id: Mapped[str] = mapped_column(String(100), primary_key=True)  # of its meta, else a digest of the body
    sender: Mapped[str]  # lemon_squeezy, kommo
    event_name: Mapped[str]
    object_type: Mapped[str]  # as in the resource: orders, subscriptions, subscription-invoices, ...
    object_id: Mapped[str] = mapped_column(index=True)
    order_id: Mapped[str | None] = mapped_column(index=True)  # that it speaks of
    subscription_id: Mapped[str | None] = mapped_column(index=True)  # the same
    store_id: Mapped[str | None]
    test_mode: Mapped[bool]
    custom: Mapped[dict[str, Any]]  # custom data: key -> text
    lead_text: Mapped[str | None] = mapped_column(index=True)  # what it gives as the deal's id; may be no id at all
    object_created_at: Mapped[datetime | None]  # by the body
    object_updated_at: Mapped[datetime | None]
    body: Mapped[bytes]  # empty once it was erased
    received_at: Mapped[datetime] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(String(20))  # waiting, done, parked
    attempts: Mapped[int]  # that failed
    next_try_at: Mapped[datetime]
    error: Mapped[str | None]  # why the last attempt failed
    result: Mapped[str]  # what became of it, in words
    changes: Mapped[int]  # actions that followed from it and were done
    done_at: Mapped[datetime | None] = mapped_column(index=True)


class ClaimRow(Base):
    """A buyer came back through the claim link of a checkout. For each order the first visit counts."""

    __tablename__ = "claims"

    nonce: Mapped[str] = mapped_column(String(64), primary_key=True)  # one a link
    order_id: Mapped[str] = mapped_column(String(64), primary_key=True, index=True)
    order_identifier: Mapped[str] = mapped_column(String(64), primary_key=True)
    lead_id: Mapped[int] = mapped_column(index=True)
    variant_id: Mapped[str]
    issued_at: Mapped[datetime]
    claimed_at: Mapped[datetime]


class CheckoutRow(Base):
    """A checkout with a deal's id in its custom data: made by us, by an older installation or by a person."""

    __tablename__ = "checkouts"

    checkout_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    store_id: Mapped[str]
    variant_id: Mapped[str]
    lead_text: Mapped[str] = mapped_column(index=True)  # as it stands there; may be no id at all
    email: Mapped[str]  # normalised; empty if none was given
    custom_price: Mapped[int | None]  # minor units of the store's currency
    custom: Mapped[dict[str, Any]]
    url: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(index=True)
    expires_at: Mapped[datetime | None]
    test_mode: Mapped[bool]
    updated_at: Mapped[datetime]
    mark: Mapped[str] = mapped_column(default="")  # what dealsync opened it for; empty for somebody else's


# --- decisions and effects ---------------------------------------------------------------------------------------


class LinkRow(Base):
    """An order belongs to a deal: by which evidence, in plain words."""

    __tablename__ = "links"

    order_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    lead_id: Mapped[int] = mapped_column(index=True)
    tier: Mapped[str]
    evidence: Mapped[str]
    linked_at: Mapped[datetime]


class ReviewRow(Base):
    """A payment that waits for a person."""

    __tablename__ = "reviews"

    order_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    candidates: Mapped[list[Any]]  # lead ids
    details: Mapped[list[Any]]  # of `plan.Candidate`, best first
    reason: Mapped[str]
    state: Mapped[str] = mapped_column(String(20), index=True)  # open, settled (by itself), resolved (by a person)
    decision: Mapped[str | None]  # of a person: "lead:31", "new", "dismissed"
    decided_by: Mapped[str | None]
    decided_at: Mapped[datetime | None] = mapped_column(index=True)
    first_seen_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]


class FindingRow(Base):
    """Something out of step, or a change that a conflict rule refused: since when it is known, and until when."""

    __tablename__ = "findings"

    finding: Mapped[str] = mapped_column(String(400), primary_key=True)  # "stuck:lead:31"
    kind: Mapped[str] = mapped_column(String(40))  # a drift class, or "refusal"
    source: Mapped[str] = mapped_column(index=True)
    lead_id: Mapped[int | None] = mapped_column(index=True)
    first_seen_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    ended_at: Mapped[datetime | None] = mapped_column(index=True)
    since: Mapped[datetime | None]  # it is so, by what was known when it was first seen; empty for a refusal
    reason: Mapped[str] = mapped_column(default="")  # of a refusal, in plain words


class PastRow(Base):
    """What something was until it changed, see `ledger.past`."""

    __tablename__ = "past"

    what: Mapped[str] = mapped_column(String(20), primary_key=True)  # a table's name, or "users"
    name: Mapped[str] = mapped_column(String(400), primary_key=True)  # its key there
    until: Mapped[datetime] = mapped_column(primary_key=True)
    values: Mapped[dict[str, Any]]  # those that reports are made of; times as ISO 8601


class LedgerEntry(Base):
    """One action: written as "planned" before it is sent, closed when the answer is known."""

    __tablename__ = "ledger"
    __table_args__ = (
        Index("ix_ledger_state_kind", "state", "kind"),
        Index("ix_ledger_state_closed_at", "state", "closed_at"),
        Index("ix_ledger_is_alarm", "idempotency_key", sqlite_where=IS_ALARM, postgresql_where=IS_ALARM),
    )

    idempotency_key: Mapped[str] = mapped_column(String(200), primary_key=True)  # "order:17:won"
    kind: Mapped[str]
    source: Mapped[str] = mapped_column(index=True)  # "order:17", "subscription:9", "invoice:44", "lead:31"
    order_id: Mapped[str] = mapped_column(index=True)  # of the sale; empty where there is none
    alarm: Mapped[str] = mapped_column(default="")  # that it raises or ends, see `core.alarms`
    lead_id: Mapped[int | None] = mapped_column(index=True)  # empty until a create is applied
    state: Mapped[str]  # planned, sent, applied, failed, unknown, dismissed
    action: Mapped[dict[str, Any]]  # everything that is to be sent
    way_back: Mapped[dict[str, Any] | None]  # the change that puts the deal back as it stood when this was sent
    run_id: Mapped[str] = mapped_column(index=True)
    result_id: Mapped[int | None]  # id of the lead, contact, note or task that was made
    error: Mapped[str | None]  # the API's own words
    is_refused: Mapped[bool] = mapped_column(default=False)  # see `plan.Outcome`
    attempts: Mapped[int] = mapped_column(default=0)
    planned_at: Mapped[datetime] = mapped_column(index=True)
    sent_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]


class WatermarkRow(Base):
    """How far a list was polled: everything up to `polled_at` is in the mirror."""

    __tablename__ = "watermarks"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    polled_at: Mapped[datetime]
    next_page: Mapped[int] = mapped_column(default=0)  # of the rolling re-read of older pages


class IdentityRow(Base):
    """Whose data this database holds: rows of two accounts must never mix."""

    __tablename__ = "identity"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)  # "Kommo account"
    value: Mapped[str]


class AccountRow(Base):
    """What the Kommo account looks like, as last read: what names in the configuration are looked up in."""

    __tablename__ = "accounts"

    name: Mapped[str] = mapped_column(String(300), primary_key=True)  # its origin
    view: Mapped[dict[str, Any]]
    read_at: Mapped[datetime]


class RunRow(Base):
    """One run of the main job."""

    __tablename__ = "runs"
    __table_args__ = (Index("ix_runs_outcome_started_at", "outcome", "started_at"),)

    run_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    job: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(index=True)
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str]  # see `dealsync.ledger.runs`
    summary: Mapped[dict[str, Any]]


class ApprovalRow(Base):
    """A plan, or a part of one, that a person had to approve before it was sent: the question and the answer."""

    __tablename__ = "approvals"

    run_id: Mapped[str] = mapped_column(String(40), primary_key=True)  # of the run that asked
    asked_at: Mapped[datetime]
    answer_by: Mapped[datetime]
    reasons: Mapped[list[Any]]  # why it asked, a sentence each
    actions: Mapped[dict[str, Any]]  # how many of each kind
    answer: Mapped[str | None] = mapped_column(String(20), index=True)  # of `core.approval.Answer`; empty: none yet
    kinds: Mapped[list[Any]]  # those that were approved
    answered_by: Mapped[str | None]
    words: Mapped[str | None]
    answered_at: Mapped[datetime | None]
    applied_by_run: Mapped[str | None] = mapped_column(String(40))


class AlertRow(Base):
    """An alert that people were told of and that has not ended, see `core.alerts`."""

    __tablename__ = "alerts"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    since: Mapped[datetime]


class SendingRow(Base):
    """A report that was sent, so that no day brings the same one twice."""

    __tablename__ = "sendings"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)  # month and day: "2026-10 2026-10-28"
    sent_at: Mapped[datetime]


class LockRow(Base):
    """The right to write, held by one run at a time until `expires_at`."""

    __tablename__ = "locks"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    holder: Mapped[str]
    expires_at: Mapped[datetime]


# --- history: only ever added to --------------------------------------------------------------------------------

ROW_NUMBER = BigInteger().with_variant(Integer, "sqlite")
"""A number that the database gives; SQLite does so for one type only."""


class SightingRow(Base):
    """An object of the mirror was seen for the first time, or differed from before. Without personal data."""

    __tablename__ = "sightings"

    sighting_id: Mapped[int] = mapped_column(ROW_NUMBER, primary_key=True)
    about: Mapped[str] = mapped_column(String(80), index=True)  # "order:17", "lead:31"
    at: Mapped[datetime] = mapped_column(index=True)
    run_id: Mapped[str]  # empty: outside of any run
    how: Mapped[str] = mapped_column(String(20))  # `sightings.How`
    is_first: Mapped[bool]
    is_own: Mapped[bool]  # what dealsync had written itself; all else that changes on a deal, somebody did
    changed_at: Mapped[datetime | None]  # by the object itself
    changes: Mapped[dict[str, Any]]  # name -> what it was and what it is


class PlacingRow(Base):
    """An order was found to belong to a deal, or to another one than before."""

    __tablename__ = "placings"

    placing_id: Mapped[int] = mapped_column(ROW_NUMBER, primary_key=True)
    order_id: Mapped[str] = mapped_column(String(64), index=True)
    lead_id: Mapped[int] = mapped_column(index=True)
    tier: Mapped[str]
    evidence: Mapped[str]
    at: Mapped[datetime]


class StepRow(Base):
    """A step of an action through the states of `core.states`."""

    __tablename__ = "steps"

    step_id: Mapped[int] = mapped_column(ROW_NUMBER, primary_key=True)
    idempotency_key: Mapped[str] = mapped_column(String(200), index=True)
    step: Mapped[str] = mapped_column(String(20))  # `states.Step`
    was: Mapped[str | None] = mapped_column(String(20))  # the state before; empty where it was just planned
    at: Mapped[datetime] = mapped_column(index=True)
    run_id: Mapped[str | None]  # empty: a person's doing
    attempt: Mapped[int]
    by_reading: Mapped[bool]  # the answer was lost, and reading tells
    lead_id: Mapped[int | None]
    result_id: Mapped[int | None]
    words: Mapped[str | None]  # why it was planned, or the API's own words


class PastFindingRow(Base):
    """A finding that ended, and was found again later: the row of `findings` tells of the new one."""

    __tablename__ = "past_findings"

    past_finding_id: Mapped[int] = mapped_column(ROW_NUMBER, primary_key=True)
    finding: Mapped[str] = mapped_column(String(400))
    kind: Mapped[str] = mapped_column(String(40))
    source: Mapped[str] = mapped_column(index=True)
    lead_id: Mapped[int | None] = mapped_column(index=True)
    first_seen_at: Mapped[datetime]
    ended_at: Mapped[datetime] = mapped_column(index=True)
    reason: Mapped[str]


# --- the APIs' limits and keys, shared by all processes ---------------------------------------------------------


class PaceRow(Base):
    """When requests to one API may leave, in microseconds since 1970; 0 is never. See `dealsync.ledger.slots`."""

    __tablename__ = "paces"

    name: Mapped[str] = mapped_column(String(300), primary_key=True)  # "kommo https://acme.kommo.com"
    last_turn: Mapped[int] = mapped_column(default=0)  # the latest one handed out
    hold_until: Mapped[int] = mapped_column(default=0)  # what a 429 asked for
    slow_until: Mapped[int] = mapped_column(default=0)  # half the rate
    urgent_until: Mapped[int] = mapped_column(default=0)  # work that can wait lets urgent work pass


class FlightRow(Base):
    """A request under way or just over: it may still count at the API until `until`, in microseconds since 1970."""

    __tablename__ = "flights"

    flight: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(300), index=True)  # as in PaceRow
    until: Mapped[int]


class BlockRow(Base):
    """An API that has banned this address. Nothing is sent to it until a person removes the row."""

    __tablename__ = "blocks"

    name: Mapped[str] = mapped_column(String(300), primary_key=True)  # as in PaceRow
    blocked_at: Mapped[datetime]
    reason: Mapped[str]


class TokenRow(Base):
    """The present pair of OAuth tokens. A renewal kills the old pair, so the row is also the lock on renewing."""

    __tablename__ = "tokens"

    name: Mapped[str] = mapped_column(String(300), primary_key=True)  # "kommo https://acme.kommo.com <client id>"
    access_token: Mapped[str]
    refresh_token: Mapped[str]
    expires_at: Mapped[datetime]  # of the access token
    codes: Mapped[str]  # digests of the authorisation codes that were ever sent, blanks between them
    renewing_since: Mapped[datetime | None]  # a renewal was sent and its answer is not stored
