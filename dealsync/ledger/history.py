"""The history of a deal, an order or a person's payments, read back: everything on record, without personal data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, or_, select

from dealsync.core.evidence import LEAD_ID_KEY, lead_id_in
from dealsync.core.mapping import FIELDS
from dealsync.core.records import (
    ActionRecord,
    CheckoutRecord,
    ClaimRecord,
    FindingRecord,
    MergeRecord,
    PlacingRecord,
    Records,
    ReviewRecord,
    SightingRecord,
    StepRecord,
    WebhookRecord,
)
from dealsync.core.sightings import How
from dealsync.core.states import STEP_TO, State, Step
from dealsync.ledger.erasure import is_one_of, spellings
from dealsync.ledger.findings import KEPT, REFUSAL
from dealsync.ledger.inbox import EVENT_COLUMNS, item_of
from dealsync.ledger.tables import (
    AccountRow,
    CheckoutRow,
    ClaimRow,
    ContactEmailRow,
    DealRow,
    EventRow,
    FindingRow,
    InvoiceRow,
    LeadContactRow,
    LedgerEntry,
    LinkRow,
    MergeRow,
    OrderRow,
    PastFindingRow,
    PlacingRow,
    ReviewRow,
    RunRow,
    SightingRow,
    StepRow,
    SubscriptionRow,
)
from dealsync.ledger.upsert import chunks, table_of

LINK_FIELDS = frozenset(field.key for field in FIELDS if field.field_type == "url")


@dataclass(frozen=True, slots=True)
class Subjects:
    """The objects that a timeline is about."""

    lead_ids: frozenset[int] = frozenset()
    order_ids: frozenset[str] = frozenset()
    subscription_ids: frozenset[str] = frozenset()
    invoice_ids: frozenset[str] = frozenset()
    is_of_orders: bool = field(default=False, compare=False)  # of a deal, only what is about these orders counts

    @property
    def names(self) -> tuple[str, ...]:
        """Their names: "lead:31", "order:17", ..."""
        of_ls = (("order", self.order_ids), ("subscription", self.subscription_ids), ("invoice", self.invoice_ids))
        return (
            *(f"lead:{i}" for i in sorted(self.lead_ids)),
            *(f"{kind}:{i}" for kind, ids in of_ls for i in sorted(ids, key=lambda i: (len(i), i))),
        )


class History:
    """Finds what belongs together, and reads all that is on record about it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of_deal(self, lead_id: int) -> Subjects:
        """Return a deal with every order that is, was, or may be its own."""
        with self._engine.connect() as db:
            return _with_sales(db, Subjects(frozenset({lead_id}), _orders_of_deal(db, lead_id)))

    def of_order(self, order_id: str) -> Subjects:
        """Return an order with what belongs to it, and the deals that it is or was counted on."""
        with self._engine.connect() as db:
            return _of_orders(db, {order_id})

    def of_subscription(self, subscription_id: str) -> Subjects:
        """Return a subscription with its order, as `of_order`."""
        with self._engine.connect() as db:
            orders = _all(db, SubscriptionRow.order_id, SubscriptionRow.subscription_id, {subscription_id})
            found = _of_orders(db, orders)
        return replace(found, subscription_ids=found.subscription_ids | {subscription_id})

    def of_invoice(self, invoice_id: str) -> Subjects:
        """Return an invoice with its subscription and that one's order."""
        with self._engine.connect() as db:
            owners = _all(db, InvoiceRow.subscription_id, InvoiceRow.invoice_id, {invoice_id})
            orders = _all(db, SubscriptionRow.order_id, SubscriptionRow.subscription_id, owners)
            found = _of_orders(db, orders)
        subscriptions = found.subscription_ids | owners
        return replace(found, subscription_ids=subscriptions, invoice_ids=found.invoice_ids | {invoice_id})

    def of_person(self, email: str) -> Subjects:
        """Return the orders and subscriptions paid with an address, and the deals of the contacts that have it."""
        forms = spellings(email)
        with self._engine.connect() as db:
            orders = set(db.scalars(select(OrderRow.order_id).where(is_one_of(OrderRow.user_email, forms))))
            mine = is_one_of(SubscriptionRow.user_email, forms)
            orders |= set(db.scalars(select(SubscriptionRow.order_id).where(mine)))
            typed = or_(ContactEmailRow.email.in_(forms), is_one_of(ContactEmailRow.typed, forms))
            contacts = set(db.scalars(select(ContactEmailRow.contact_id).where(typed)))
            leads = _all(db, LeadContactRow.lead_id, LeadContactRow.contact_id, contacts)
            paid = _of_orders(db, orders)
            for lead_id in leads:
                orders |= _orders_of_deal(db, lead_id)
            return _with_sales(db, Subjects(paid.lead_ids | leads, frozenset(orders)))

    def read(self, subjects: Subjects) -> Records:
        """Return all that is on record about these objects."""
        with self._engine.connect() as db:
            found = Records(
                webhooks=tuple(_webhooks(db, subjects)),
                sightings=tuple(_sightings(db, subjects)),
                claims=tuple(_claims(db, subjects)),
                checkouts=tuple(_checkouts(db, subjects)),
                placings=tuple(_placings(db, subjects)),
                reviews=tuple(_reviews(db, subjects)),
                actions=tuple(_actions(db, subjects)),
                findings=tuple(_findings(db, subjects)),
                merges=tuple(_merges(db, subjects)),
            )
            runs = {seen.run_id for seen in found.sightings}
            runs |= {step.run_id for action in found.actions for step in action.steps if step.run_id}
            rows = _rows(db, (RunRow.run_id, RunRow.job), RunRow.run_id, runs)
            return replace(found, jobs={row.run_id: row.job for row in rows}, statuses=_status_names(db))

    def forget_before(self, at: datetime) -> int:
        """Erase what was written down before a time; return how many rows that were. What is so now stays known."""
        old = ((SightingRow, SightingRow.at), (StepRow, StepRow.at), (PastFindingRow, PastFindingRow.ended_at))
        with self._engine.begin() as db:
            return sum(db.execute(delete(model).where(column < at)).rowcount for model, column in old)


def _rows(db: Connection, columns: Iterable[Any], where: Any, values: Iterable[Any]) -> list[Row[Any]]:
    """Return the rows whose column has one of these values."""
    return [row for part in chunks(sorted(values)) for row in db.execute(select(*columns).where(where.in_(part)))]


def _all(db: Connection, wanted: Any, where: Any, values: Iterable[Any]) -> set[Any]:
    """Return a column of those rows."""
    return {row[0] for row in _rows(db, (wanted,), where, values)}


# --- what belongs together ---------------------------------------------------------------------------------------


def _orders_of_deal(db: Connection, lead_id: int) -> frozenset[str]:
    """The orders that are or were counted on a deal, that name it, or that somebody asked about."""
    found = {
        *db.scalars(select(LinkRow.order_id).where(LinkRow.lead_id == lead_id)),
        *db.scalars(select(PlacingRow.order_id).where(PlacingRow.lead_id == lead_id)),
        *db.scalars(select(LedgerEntry.order_id).where(LedgerEntry.lead_id == lead_id)),
        *db.scalars(select(ClaimRow.order_id).where(ClaimRow.lead_id == lead_id)),
        *db.scalars(select(EventRow.order_id).where(EventRow.lead_text == str(lead_id))),
        *db.scalars(select(DealRow.ls_order_id).where(DealRow.lead_id == lead_id)),
        *(r.order_id for r in db.execute(select(ReviewRow.order_id, ReviewRow.candidates)) if lead_id in r.candidates),
    }
    # A field may hold what somebody typed.
    return frozenset(text.strip().removeprefix("#").strip() for text in found if text) - {""}


def _of_orders(db: Connection, order_ids: AbstractSet[str]) -> Subjects:
    leads = _all(db, LinkRow.lead_id, LinkRow.order_id, order_ids)
    leads |= _all(db, PlacingRow.lead_id, PlacingRow.order_id, order_ids)
    leads |= _all(db, LedgerEntry.lead_id, LedgerEntry.order_id, order_ids) - {None}
    return _with_sales(db, Subjects(frozenset(leads), frozenset(order_ids), is_of_orders=True))


def _with_sales(db: Connection, subjects: Subjects) -> Subjects:
    """Add the subscriptions that the orders started, and their invoices."""
    started = _all(db, SubscriptionRow.subscription_id, SubscriptionRow.order_id, subjects.order_ids)
    invoices = _all(db, InvoiceRow.invoice_id, InvoiceRow.subscription_id, started)
    return replace(subjects, subscription_ids=frozenset(started), invoice_ids=frozenset(invoices))


# --- what is on record -------------------------------------------------------------------------------------------


def _webhooks(db: Connection, subjects: Subjects) -> Iterable[WebhookRecord]:
    """Those about the objects, whatever they are called in the body, and those that name one of the deals."""
    lead_texts = {str(lead_id) for lead_id in subjects.lead_ids}
    wanted: tuple[tuple[Any, AbstractSet[str]], ...] = (
        (EventRow.order_id, subjects.order_ids),
        (EventRow.subscription_id, subjects.subscription_ids),
        (EventRow.object_id, subjects.order_ids | subjects.subscription_ids | subjects.invoice_ids | lead_texts),
        (EventRow.lead_text, lead_texts),
    )
    rows = {row.event_id: row for where, ids in wanted for row in _rows(db, EVENT_COLUMNS, where, ids)}
    names = set(subjects.names)
    for row in rows.values():
        item = item_of(row)
        event, about = item.event, item.about
        if not about or (about not in names and event.order_id not in subjects.order_ids):
            continue
        yield WebhookRecord(
            event.event_id, event.sender.value, event.event_name, about, item.received_at, item.state.value,
            item.result, item.error, item.attempts, item.done_at, _named_lead(event.custom.get(LEAD_ID_KEY)),
            event.object_updated_at, event.custom if about.startswith("lead:") else {},
        )  # fmt: skip


def _named_lead(text: str | None) -> str | None:
    """What an event gives as the deal's id; what is no id may be anything, and is not repeated."""
    if text is None:
        return None
    return text.strip() if lead_id_in(text) is not None else "(no id)"


def _sightings(db: Connection, subjects: Subjects) -> Iterable[SightingRecord]:
    for row in _rows(db, [table_of(SightingRow)], SightingRow.about, subjects.names):
        yield SightingRecord(
            row.about, row.at, row.run_id, How(row.how), row.is_first, row.is_own, row.changed_at, row.changes
        )


def _claims(db: Connection, subjects: Subjects) -> Iterable[ClaimRecord]:
    columns = (ClaimRow.nonce, ClaimRow.order_id, ClaimRow.lead_id, ClaimRow.claimed_at)
    rows = [*_rows(db, columns, ClaimRow.order_id, subjects.order_ids)]
    if not subjects.is_of_orders:
        rows += _rows(db, columns, ClaimRow.lead_id, subjects.lead_ids)
    for order_id, lead_id, at in sorted({(row.order_id, row.lead_id, row.claimed_at) for row in rows}):
        yield ClaimRecord(order_id, lead_id, at)


def _checkouts(db: Connection, subjects: Subjects) -> Iterable[CheckoutRecord]:
    columns = (CheckoutRow.checkout_id, CheckoutRow.lead_text, CheckoutRow.created_at, CheckoutRow.mark)
    for row in _rows(db, columns, CheckoutRow.lead_text, map(str, subjects.lead_ids)):
        yield CheckoutRecord(row.checkout_id, row.lead_text, row.created_at, bool(row.mark))


def _placings(db: Connection, subjects: Subjects) -> Iterable[PlacingRecord]:
    for row in _rows(db, [table_of(PlacingRow)], PlacingRow.order_id, subjects.order_ids):
        yield PlacingRecord(row.order_id, row.lead_id, row.tier, row.evidence, row.at)


def _reviews(db: Connection, subjects: Subjects) -> Iterable[ReviewRecord]:
    for row in _rows(db, [table_of(ReviewRow)], ReviewRow.order_id, subjects.order_ids):
        yield ReviewRecord(
            row.order_id, tuple(row.candidates), row.reason, row.state, row.first_seen_at, row.last_seen_at,
            row.decision, row.decided_by, row.decided_at,
        )  # fmt: skip


def _actions(db: Connection, subjects: Subjects) -> Iterable[ActionRecord]:
    table = table_of(LedgerEntry)
    wanted: tuple[tuple[Any, Iterable[Any]], ...] = (
        (table.c.lead_id, subjects.lead_ids),
        (table.c.order_id, subjects.order_ids),
        (table.c.source, subjects.names),
    )
    rows = {row.idempotency_key: row for where, ids in wanted for row in _rows(db, [table], where, ids)}
    mine = {key: row for key, row in rows.items() if _counts(row, subjects)}
    steps: dict[str, list[StepRecord]] = {}
    of_steps = table_of(StepRow)
    for row in sorted(_rows(db, [of_steps], of_steps.c.idempotency_key, mine), key=lambda row: row.step_id):
        steps.setdefault(row.idempotency_key, []).append(_step(row))
    for key, row in mine.items():
        yield ActionRecord(
            key, row.kind, row.source, row.order_id, row.lead_id, row.action.get("evidence") or "",
            tuple(steps.get(key) or _steps_before_history(row)), _writes(row.action["change"]),
        )  # fmt: skip


def _counts(row: Row[Any], subjects: Subjects) -> bool:
    """Whether an action is about the objects, and not about another deal or another order of the same ones."""
    if subjects.is_of_orders:
        return row.order_id in subjects.order_ids or row.source in subjects.names
    return row.lead_id is None or row.lead_id in subjects.lead_ids


def _step(row: Row[Any]) -> StepRecord:
    was = State(row.was) if row.was else None
    return StepRecord(
        row.step, row.at, was, row.run_id, row.attempt, row.by_reading, row.lead_id, row.result_id, row.words
    )


def _steps_before_history(row: Row[Any]) -> Iterable[StepRecord]:
    """What the newest state of an action tells, of one that is older than the history."""
    reason = row.action.get("reason")
    yield StepRecord(Step.CLAIM, row.planned_at, run_id=row.run_id, lead_id=row.lead_id, words=reason)
    if row.sent_at is not None:
        yield StepRecord(Step.SEND, row.sent_at, State.PLANNED, row.run_id, row.attempts, lead_id=row.lead_id)
    step = {**STEP_TO, State.DISMISSED: Step.DISMISS}.get(State(row.state))
    if step is not None and row.closed_at is not None:
        was = State.SENT if row.sent_at else State.PLANNED
        yield StepRecord(
            step, row.closed_at, was, row.run_id, lead_id=row.lead_id, result_id=row.result_id, words=row.error
        )


def _writes(change: Mapping[str, Any]) -> dict[str, str]:
    """Which parts of a deal a change sets, and to what; links are kept to those who have them."""
    if change.get("type") not in ("deal-change", "new-deal"):
        return {}
    plain = {name: str(change[name]) for name in ("pipeline_id", "status_id", "price") if change.get(name) is not None}
    return plain | {key: text for key, text in (change.get("fields") or {}).items() if key not in LINK_FIELDS}


def _findings(db: Connection, subjects: Subjects) -> Iterable[FindingRecord]:
    rows: set[Any] = set()
    for table in map(table_of, (FindingRow, PastFindingRow)):
        columns = [table.c[name] for name in KEPT]
        rows.update(_rows(db, columns, table.c.source, subjects.names))
        if not subjects.is_of_orders:
            rows.update(_rows(db, columns, table.c.lead_id, subjects.lead_ids))
    for row in sorted(rows, key=lambda row: (row.first_seen_at, row.finding)):
        if not subjects.is_of_orders and row.lead_id is not None and row.lead_id not in subjects.lead_ids:
            continue
        rule = row.finding.partition(":")[0] if row.kind == REFUSAL else ""
        yield FindingRecord(row.kind, rule, row.source, row.lead_id, row.reason, row.first_seen_at, row.ended_at)


def _merges(db: Connection, subjects: Subjects) -> Iterable[MergeRecord]:
    columns = (MergeRow.gone_id, MergeRow.lead_id, MergeRow.first_sought_at)
    rows = {
        row for where in (MergeRow.gone_id, MergeRow.lead_id) for row in _rows(db, columns, where, subjects.lead_ids)
    }
    for row in sorted(rows, key=lambda row: row.gone_id):
        yield MergeRecord(row.gone_id, row.lead_id, row.first_sought_at)


def _status_names(db: Connection) -> dict[int, str]:
    """How the account calls its statuses, as any run read it last."""
    views = db.scalars(select(AccountRow.view).order_by(AccountRow.read_at))
    return {
        status["status_id"]: status["name"]
        for view in views
        for pipeline in view.get("pipelines", ())
        for status in pipeline.get("statuses", ())
    }
