"""The mirror: Lemon Squeezy and Kommo objects as last seen. Newest `updated_at` wins; a tie goes to the newer read."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Literal

import pandas as pd
from sqlalchemy import Column, Connection, Engine, Table, and_, bindparam, case, delete, func, select, update
from sqlalchemy.orm import DeclarativeBase

from dealsync.core.mapping import FIELD_KEYS, OTHER_FIELD
from dealsync.core.models import Contact, Deal, Invoice, Order, Subscription
from dealsync.core.plan import DealChange, Seen
from dealsync.core.sightings import CONTACTS, ENTERED_AT, ENTERED_BY, WATCHED, How, SeenBy, Sighting
from dealsync.core.tables import (
    CONTACT_EMAIL_COLUMNS,
    DEAL_COLUMNS,
    INVOICE_COLUMNS,
    LEAD_CONTACT_COLUMNS,
    ORDER_COLUMNS,
    SUBSCRIPTION_COLUMNS,
)
from dealsync.ledger.comparing import compared
from dealsync.ledger.frames import stored
from dealsync.ledger.past import keep_replaced
from dealsync.ledger.seen import Own, keep_sightings, sightings_of, stored_values
from dealsync.ledger.tables import (
    ContactEmailRow,
    ContactRow,
    DealRow,
    InvoiceRow,
    LeadContactRow,
    OrderRow,
    SubscriptionRow,
)
from dealsync.ledger.upsert import chunks, insert_of, table_of

Row = dict[str, Any]
PAST = ("entered_at", "entered_by")
LISTED: dict[str, type[DeclarativeBase]] = {
    "orders": OrderRow,
    "subscriptions": SubscriptionRow,
    "invoices": InvoiceRow,
}
"""The tables whose objects come in newest-first lists."""


LONG_ENOUGH = timedelta(days=1)
"""A deal that nobody has changed for so long has been in its status for long enough for whatever asks."""


NOBODY = SeenBy()


@dataclass(frozen=True, slots=True)
class Accepted:
    """A change of a deal that Kommo has accepted, and when it says that the deal was changed."""

    lead_id: int
    change: DealChange
    updated_at: datetime
    is_undo: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of rows that were just read, by key."""

    as_read: frozenset[Any]  # stored as they were read, now or before; of the others something newer is
    new: frozenset[Any]  # nothing was stored of them


def nothing_own(_key: Any) -> Mapping[str, str]:
    """Lemon Squeezy's objects are never dealsync's doing."""
    return {}


class Mirror:
    """Writes what was seen and gives it back as frames, and notes whatever is new about it."""

    def __init__(self, engine: Engine, by: SeenBy = NOBODY) -> None:
        self._engine = engine
        self._by = by

    def seen_by(self, run_id: str, how: How) -> Mirror:
        """Return the mirror as a run looks into it: whatever is new there is written down with the run's id."""
        return Mirror(self._engine, SeenBy(run_id, how))

    def keep_orders(self, orders: Iterable[Order]) -> None:
        """Store orders as seen now."""
        with self._engine.begin() as db:
            self._keep(db, OrderRow, map(_order_row, orders))

    def keep_subscriptions(self, subscriptions: Iterable[Subscription]) -> None:
        """Store subscriptions as seen now."""
        with self._engine.begin() as db:
            self._keep(db, SubscriptionRow, map(_subscription_row, subscriptions))

    def keep_invoices(self, invoices: Iterable[Invoice]) -> None:
        """Store subscription invoices as seen now."""
        with self._engine.begin() as db:
            self._keep(db, InvoiceRow, map(_invoice_row, invoices))

    def keep_deals(self, deals: Sequence[Deal]) -> None:
        """Store deals as seen now, with their contacts. What a deal says to be `written` counts as our own doing."""
        written = {d.lead_id: d.written for d in deals}
        columns = ("contact_id", "place")
        with self._engine.begin() as db:
            kept = self._keep(db, DealRow, map(_deal_row, deals), own=lambda lead_id: written[lead_id])
            now = {
                d.lead_id: [(c, place) for place, c in enumerate(dict.fromkeys(d.contact_ids))]
                for d in deals
                if d.lead_id in kept.as_read
            }
            before = _belongings(db, LeadContactRow, "lead_id", now, columns)
            keep_sightings(db, self._by, _other_contacts(before, now, kept.new))
            _replace(db, LeadContactRow, "lead_id", columns, before, now)

    def keep_contacts(self, contacts: Sequence[Contact]) -> None:
        """Store contacts as seen now, with their e-mails."""
        columns = ("email", "typed", "place")
        with self._engine.begin() as db:
            kept = self._keep(db, ContactRow, map(_contact_row, contacts))
            now = {c.contact_id: _emails(c) for c in contacts if c.contact_id in kept.as_read}
            before = _belongings(db, ContactEmailRow, "contact_id", now, columns)
            _replace(db, ContactEmailRow, "contact_id", columns, before, now)

    def mark_deals_deleted(self, lead_ids: Iterable[int]) -> None:
        """Remember that these deals are gone. They stay in the mirror: links may name them."""
        with self._engine.begin() as db:
            for ids in chunks(lead_ids):
                there = (DealRow.lead_id.in_(ids), ~DealRow.is_deleted)
                gone = update(DealRow).where(*there).values(is_deleted=True).returning(DealRow.lead_id)
                found = [Sighting(f"lead:{i}", {"is_deleted": [False, True]}) for i in sorted(db.scalars(gone))]
                keep_sightings(db, self._by, found)

    def absent_deals(self, seen: AbstractSet[int], *, before: datetime) -> set[int]:
        """Return the deals that a walk over all deals, begun after `before`, did not see."""
        with self._engine.connect() as db:
            known = db.scalars(select(DealRow.lead_id).where(DealRow.updated_at < before, ~DealRow.is_deleted)).all()
        return set(known) - seen

    def mark_absent_contacts_deleted(self, seen: AbstractSet[int], *, before: datetime) -> None:
        """After a walk over all contacts, begun after `before`: what it did not see is gone."""
        with self._engine.begin() as db:
            known = db.scalars(
                select(ContactRow.contact_id).where(ContactRow.updated_at < before, ~ContactRow.is_deleted)
            ).all()
            for ids in chunks(set(known) - seen):
                db.execute(update(ContactRow).where(ContactRow.contact_id.in_(ids)).values(is_deleted=True))

    def mark_contacts_deleted(self, contact_ids: Iterable[int], *, before: datetime) -> None:
        """After a reading by id, begun after `before`: those that it did not find are gone."""
        with self._engine.begin() as db:
            for ids in chunks(contact_ids):
                gone = (ContactRow.contact_id.in_(ids), ContactRow.updated_at < before)
                db.execute(update(ContactRow).where(*gone).values(is_deleted=True))

    def apply_changes(self, accepted: Sequence[Accepted]) -> None:
        """Write through what Kommo has just accepted, so that lagging reads cannot hide it from the next plan.

        What an undo wrote is a person's will: what dealsync had written stays known as such, and is not written again.
        """
        table = table_of(DealRow)
        changes = {one.lead_id: one.change for one in accepted}
        with self._engine.begin() as db:
            for part in chunks(accepted):
                before = stored_values(db, table, [one.lead_id for one in part])
                rows = []
                for one in part:
                    values = _accepted_values(one)
                    db.execute(update(table).where(table.c.lead_id == one.lead_id).values(values))
                    if one.lead_id in before:
                        rows.append({**before[one.lead_id], **values, "lead_id": one.lead_id})
                keep_sightings(db, self._by, sightings_of(table, before, rows, lambda i: changes[i].as_written()))
            _remember(db, [Seen(one.lead_id, one.change.as_written()) for one in accepted if not one.is_undo])

    def remember(self, seen: Iterable[Seen]) -> None:
        """Add to what dealsync knows to have written, or seen right, on deals."""
        with self._engine.begin() as db:
            _remember(db, seen)

    def remember_entries(self, entries: Mapping[int, tuple[datetime, int | None]]) -> None:
        """Keep since when deals are in their present status, and who moved them there."""
        table = table_of(DealRow)
        statement = (
            update(table)
            .where(table.c.lead_id == bindparam("deal"))
            .values(entered_at=bindparam("at"), entered_by=bindparam("by"))
        )
        rows = [{"deal": lead_id, "at": at, "by": by} for lead_id, (at, by) in entries.items()]
        with self._engine.begin() as db:
            if rows:
                keep_sightings(db, self._by, _entries_told(db, entries))
                db.execute(statement, rows)

    def stands(self, lead_ids: Iterable[int]) -> dict[int, Deal]:
        """Return deals as last seen or written."""
        table = table_of(DealRow)
        with self._engine.connect() as db:
            rows = [
                row for ids in chunks(lead_ids) for row in db.execute(select(table).where(table.c.lead_id.in_(ids)))
            ]
        return {row.lead_id: _deal(row._asdict()) for row in rows}

    def placed(self, lead_ids: Iterable[int]) -> dict[int, tuple[int, datetime]]:
        """Return the present status of deals, and when they were made."""
        columns = (DealRow.lead_id, DealRow.status_id, DealRow.created_at)
        found: dict[int, tuple[int, datetime]] = {}
        with self._engine.connect() as db:
            for ids in chunks(lead_ids):
                rows = db.execute(select(*columns).where(DealRow.lead_id.in_(ids)))
                found |= {row.lead_id: (row.status_id, row.created_at) for row in rows}
        return found

    def updated_at(self, lead_ids: Iterable[int]) -> dict[int, datetime]:
        """Return when deals were last changed, by what was read or written so far."""
        columns = (DealRow.lead_id, DealRow.updated_at)
        found: dict[int, datetime] = {}
        with self._engine.connect() as db:
            for ids in chunks(lead_ids):
                rows = db.execute(select(*columns).where(DealRow.lead_id.in_(ids)))
                found |= {row.lead_id: row.updated_at for row in rows}
        return found

    def parents(self, table: Literal["subscriptions", "invoices"], ids: Iterable[str]) -> dict[str, str]:
        """Return, of those of these objects that were seen, what each belongs to: an order, or a subscription."""
        key, parent = {
            "subscriptions": (SubscriptionRow.subscription_id, SubscriptionRow.order_id),
            "invoices": (InvoiceRow.invoice_id, InvoiceRow.subscription_id),
        }[table]
        with self._engine.connect() as db:
            rows = [row for part in chunks(ids) for row in db.execute(select(key, parent).where(key.in_(part)))]
        return {child: owner for child, owner in rows}  # noqa: C416 - a row is no pair to a type checker

    def seen_orders(self, ids: Iterable[str]) -> set[str]:
        """Return those of these orders that were seen."""
        with self._engine.connect() as db:
            column = OrderRow.order_id
            return {i for part in chunks(ids) for i in db.scalars(select(column).where(column.in_(part)))}

    def younger(self, table: str, store_id: str, since: datetime, limit: int) -> list[datetime]:
        """Return when the objects of a store were made that were made after a time, newest first, at most so many."""
        columns = table_of(LISTED[table]).c
        query = select(columns.created_at).where(columns.store_id == store_id, columns.created_at > since)
        with self._engine.connect() as db:
            return list(db.scalars(query.order_by(columns.created_at.desc()).limit(limit)))

    def oldest_page(self, table: str, store_id: str, since: datetime, page_size: int) -> int:
        """Return the page of a store's newest-first list on which objects of `since` stand, by the mirror's count."""
        columns = table_of(LISTED[table]).c
        with self._engine.connect() as db:
            mine = (columns.store_id == store_id, columns.created_at >= since)
            younger = db.execute(select(func.count()).where(*mine)).scalar_one()
        return younger // page_size + 1

    def count_deals(self) -> int:
        """Return how many deals were seen, without those that were deleted."""
        with self._engine.connect() as db:
            return db.execute(select(func.count()).where(~DealRow.is_deleted)).scalar_one()

    def has_orders_of(self, store_id: str) -> bool:
        """Whether any order of a store was ever seen."""
        with self._engine.connect() as db:
            return (
                db.execute(select(OrderRow.order_id).where(OrderRow.store_id == store_id).limit(1)).first() is not None
            )

    def orders(self) -> pd.DataFrame:
        """Return every order seen."""
        return stored(self._engine, OrderRow, ORDER_COLUMNS)

    def subscriptions(self) -> pd.DataFrame:
        """Return every subscription seen."""
        return stored(self._engine, SubscriptionRow, SUBSCRIPTION_COLUMNS)

    def invoices(self) -> pd.DataFrame:
        """Return every subscription invoice seen."""
        return stored(self._engine, InvoiceRow, INVOICE_COLUMNS)

    def deals(self, status_ids: Collection[int] | None = None) -> pd.DataFrame:
        """Return every deal seen, deleted ones included; given statuses, those that are in one of them."""
        where = () if status_ids is None else (DealRow.status_id.in_(status_ids),)
        return stored(self._engine, DealRow, DEAL_COLUMNS, *where)

    def lead_contacts(self) -> pd.DataFrame:
        """Return a row per deal and contact."""
        return stored(self._engine, LeadContactRow, LEAD_CONTACT_COLUMNS)

    def contact_emails(self) -> pd.DataFrame:
        """Return a row per address of a contact that is not deleted."""
        gone = select(ContactRow.contact_id).where(ContactRow.is_deleted)
        return stored(self._engine, ContactEmailRow, CONTACT_EMAIL_COLUMNS, ContactEmailRow.contact_id.not_in(gone))

    def _keep(
        self, db: Connection, model: type[DeclarativeBase], rows: Iterable[Row], *, own: Own = nothing_own
    ) -> Kept:
        """Insert or update the rows that differ from what is stored, unless the stored one is newer."""
        table = table_of(model)
        (key,) = table.primary_key.columns
        unique = {row[key.name]: row for row in rows}
        as_read, new = set[Any](), set[Any]()
        for ids in chunks(unique):
            stored = compared(db, table, {i: unique[i] for i in ids})
            as_read |= stored.same
            new |= {i for i in ids if i not in stored.same and i not in stored.before}
            if not (differing := [unique[i] for i in ids if i not in stored.same]):
                continue
            keep_replaced(db, model, differing, stored.before)
            taken = set(db.scalars(_upsert(db.dialect.name, table), differing))
            if table.name in WATCHED:
                told = (row for row in differing if row[key.name] in taken)
                keep_sightings(db, self._by, sightings_of(table, stored.before, told, own))
            as_read |= taken
        return Kept(frozenset(as_read), frozenset(new))


def _accepted_values(accepted: Accepted) -> Row:
    """The columns that a change sets."""
    change = accepted.change
    values: Row = {"updated_at": accepted.updated_at}
    values |= {f"ls_{key}": value or None for key, value in change.fields.items()}
    if change.status_id is None:
        # It was in its status when it was changed last, so since then at least: what we write does not renew that.
        # Of a deal that was changed a moment ago that says little; its events are asked when it matters.
        long_ago = DealRow.updated_at < accepted.updated_at - LONG_ENOUGH
        values["entered_at"] = func.coalesce(DealRow.entered_at, case((long_ago, DealRow.updated_at)))
    else:
        values |= {"entered_at": None, "entered_by": None}
        values |= {"status_id": change.status_id, "pipeline_id": change.pipeline_id}
    if change.price is not None:
        values["price"] = change.price
    return values


def _remember(db: Connection, seen: Iterable[Seen]) -> None:
    values: dict[int, dict[str, str]] = {}
    for found in seen:
        values.setdefault(found.lead_id, {}).update(found.values)
    table = table_of(DealRow)
    statement = update(table).where(table.c.lead_id == bindparam("deal")).values(written=bindparam("now"))
    for ids in chunks(values):
        before = db.execute(select(table.c.lead_id, table.c.written).where(table.c.lead_id.in_(ids))).all()
        merged = (
            (row, json.dumps({**json.loads(row.written or "{}"), **values[row.lead_id]}, sort_keys=True))
            for row in before
        )
        if fresh := [{"deal": row.lead_id, "now": text} for row, text in merged if text != row.written]:
            db.execute(statement, fresh)


@cache
def _upsert(dialect: str, table: Table) -> Any:
    """One statement for many rows: it is made and compiled once, whatever they hold."""
    (key,) = table.primary_key.columns
    statement = insert_of(dialect, table)
    return statement.on_conflict_do_update(
        index_elements=[key],
        set_={c.name: _fresh(c, statement) for c in table.columns if c is not key and c.name != "written"},
        where=statement.excluded.updated_at >= table.c.updated_at,
    ).returning(key)


def _belongings(
    db: Connection, model: type[DeclarativeBase], owner: str, owners: Iterable[int], columns: Sequence[str]
) -> dict[int, list[tuple[Any, ...]]]:
    """What belongs to these owners, by owner, in the order of its places."""
    table = table_of(model)
    found: dict[int, list[tuple[Any, ...]]] = {}
    query = select(table.c[owner], *(table.c[name] for name in columns)).order_by(table.c[owner], table.c.place)
    for ids in chunks(owners):
        for row in db.execute(query.where(table.c[owner].in_(ids))):
            found.setdefault(row[0], []).append(tuple(row[1:]))
    return found


def _other_contacts(
    before: Mapping[int, Sequence[tuple[Any, ...]]],
    now: Mapping[int, Sequence[tuple[Any, ...]]],
    new: AbstractSet[int],
) -> list[Sighting]:
    """Which deals that were known before have other contacts now."""
    ids = {i: ([c for c, _ in before.get(i, ())], [c for c, _ in rows]) for i, rows in now.items() if i not in new}
    return [Sighting(f"lead:{i}", {CONTACTS: [was, are]}) for i, (was, are) in ids.items() if was != are]


def _emails(contact: Contact) -> list[tuple[str, str, int]]:
    typed = contact.typed or ("",) * len(contact.emails)
    return [
        (email[:320], as_typed[:320], place)
        for place, (email, as_typed) in enumerate(zip(contact.emails, typed, strict=True))
    ]


def _entries_told(db: Connection, entries: Mapping[int, tuple[datetime, int | None]]) -> list[Sighting]:
    """What Kommo's events tell of who moved deals to their present status, where that was not known."""
    columns = (DealRow.lead_id, DealRow.entered_at, DealRow.entered_by)
    known = {
        row.lead_id: (row.entered_at, row.entered_by)
        for ids in chunks(entries)
        for row in db.execute(select(*columns).where(DealRow.lead_id.in_(ids)))
    }
    return [
        Sighting(f"lead:{i}", {ENTERED_BY: [None, user_id], ENTERED_AT: [None, at.isoformat()]}, changed_at=at)
        for i, (at, user_id) in entries.items()
        if user_id is not None and known.get(i, (at, user_id)) != (at, user_id)
    ]


def _fresh(column: Column[Any], statement: Any) -> Any:
    """The value of a row that is kept: what was read of a deal's past holds as long as the deal does not change."""
    if column.name in PAST:
        table = column.table
        same = and_(
            statement.excluded.updated_at == table.c.updated_at, statement.excluded.status_id == table.c.status_id
        )
        return case((same, column), else_=None)
    return statement.excluded[column.name]


def _replace(
    db: Connection,
    model: type[DeclarativeBase],
    owner: str,
    columns: Sequence[str],
    before: Mapping[int, Sequence[tuple[Any, ...]]],
    now: Mapping[int, Sequence[tuple[Any, ...]]],
) -> None:
    """Make what belongs to owners `now` all that does, where it was something else `before`."""
    table = table_of(model)
    others = {i: rows for i, rows in now.items() if sorted(rows) != sorted(before.get(i, ()))}
    for ids in chunks(others.keys() & before.keys()):
        db.execute(delete(model).where(table.c[owner].in_(ids)))
    names = (owner, *columns)
    if rows := [dict(zip(names, (i, *row), strict=True)) for i, belongings in others.items() for row in belongings]:
        db.execute(table.insert(), rows)


def _order_row(order: Order) -> Row:
    return {
        "order_id": order.id,
        "store_id": order.store_id,
        "number": order.number,
        "order_status": order.status.value,
        "total_minor": order.total.minor,
        "refunded_minor": order.refunded.minor,
        "currency": order.total.currency,
        "user_email": order.user_email,
        "user_name": order.user_name,
        "product_name": order.product_name,
        "variant_name": order.variant_name,
        "variant_id": order.variant_id,
        "quantity": order.quantity,
        "test_mode": order.test_mode,
        "created_at": order.created_at,
        "updated_at": order.updated_at,
        "refunded_at": order.refunded_at,
        "receipt_url": order.receipt_url,
        "identifier": order.identifier,
        "customer_id": order.customer_id,
        "product_id": order.product_id,
        "subtotal_minor": order.subtotal_minor,
        "discount_minor": order.discount_minor,
        "tax_minor": order.tax_minor,
        "setup_fee_minor": order.setup_fee_minor,
    }


def _subscription_row(subscription: Subscription) -> Row:
    same = set(SUBSCRIPTION_COLUMNS) - {"subscription_id"}
    return {"subscription_id": subscription.id, **{name: getattr(subscription, name) for name in same}}


def _invoice_row(invoice: Invoice) -> Row:
    return {
        "invoice_id": invoice.id,
        "store_id": invoice.store_id,
        "subscription_id": invoice.subscription_id,
        "billing_reason": invoice.billing_reason,
        "invoice_status": invoice.invoice_status,
        "total_minor": invoice.total.minor,
        "refunded_minor": invoice.refunded.minor,
        "currency": invoice.total.currency,
        "test_mode": invoice.test_mode,
        "created_at": invoice.created_at,
        "updated_at": invoice.updated_at,
        "refunded_at": invoice.refunded_at,
        "tax_minor": invoice.tax_minor,
    }


def _deal_row(deal: Deal) -> Row:
    return {
        "lead_id": deal.lead_id,
        "name": deal.name,
        "pipeline_id": deal.pipeline_id,
        "status_id": deal.status_id,
        "price": deal.price,
        "responsible_user_id": deal.responsible_user_id,
        "created_at": deal.created_at,
        "updated_at": deal.updated_at,
        "closed_at": deal.closed_at,
        "is_deleted": deal.is_deleted,
        "tags": list(deal.tags),
        **_field_columns(deal.fields),
        "other_fields": {key: text for key, text in deal.fields.items() if key.startswith(OTHER_FIELD)} or None,
    }


def _deal(row: Mapping[str, Any]) -> Deal:
    """A row as a deal; its contacts are in a table of their own."""
    plain = ("lead_id", "name", "pipeline_id", "status_id", "price", "responsible_user_id", "created_at", "updated_at")
    return Deal(
        **{name: row[name] for name in plain},
        closed_at=row["closed_at"],
        tags=tuple(row["tags"]),
        fields={key: row[f"ls_{key}"] for key in FIELD_KEYS if row[f"ls_{key}"]},
        is_deleted=row["is_deleted"],
        written=json.loads(row["written"] or "{}"),
    )


def _field_columns(fields: Mapping[str, str]) -> Row:
    return {f"ls_{key}": fields.get(key) for key in FIELD_KEYS}


def _contact_row(contact: Contact) -> Row:
    return {
        "contact_id": contact.contact_id,
        "name": contact.name,
        "responsible_user_id": contact.responsible_user_id,
        "updated_at": contact.updated_at,
        "is_deleted": contact.is_deleted,
    }
