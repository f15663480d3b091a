"""Deals that wait for payment, with all that a checkout is made from: what was read of them, and what was opened."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, and_, false, or_, select

from dealsync.core.evidence import CHECKOUT_KEY, IssuedCheckout
from dealsync.core.mapping import FIELD_KEYS
from dealsync.core.models import Contact, Deal
from dealsync.core.payments import MONEY_CAME, STILL_OURS
from dealsync.core.plan import Kind
from dealsync.core.sales import INVOICE_PAID
from dealsync.core.states import State
from dealsync.core.texts import ENDED
from dealsync.core.waiting import Awaiting, Payment
from dealsync.ledger.entries import is_of_kind
from dealsync.ledger.tables import (
    CheckoutRow,
    ContactEmailRow,
    ContactRow,
    DealRow,
    InvoiceRow,
    LeadContactRow,
    LedgerEntry,
    LinkRow,
    OrderRow,
    SubscriptionRow,
)
from dealsync.ledger.upsert import besides, chunks, table_of


class Awaited:
    """Reads only; everything in it is kept by others."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def in_statuses(self, statuses: Collection[tuple[int, int]]) -> set[int]:
        """Return the deals in these statuses (pipeline, status) that are not deleted."""
        # One by one: SQLite finds pairs by no index.
        places = [and_(DealRow.pipeline_id == pipeline, DealRow.status_id == status) for pipeline, status in statuses]
        with self._engine.connect() as db:
            return set(db.scalars(select(DealRow.lead_id).where(or_(false(), *places), ~DealRow.is_deleted)))

    def with_letters_that_came_back(self) -> set[int]:
        """Return the deals whose client did not get an e-mail that was sent."""
        came_back = (is_of_kind(Kind.EMAIL), LedgerEntry.is_refused, LedgerEntry.lead_id.is_not(None))
        with self._engine.connect() as db:
            return {int(lead_id) for lead_id in db.scalars(select(LedgerEntry.lead_id).where(*came_back)) if lead_id}

    def without_link(self, lead_ids: AbstractSet[int]) -> set[int]:
        """Return those of these deals whose LS field holds no checkout link."""
        with self._engine.connect() as db:
            return {
                lead_id
                for ids in chunks(sorted(lead_ids))
                for lead_id in db.scalars(
                    select(DealRow.lead_id).where(DealRow.lead_id.in_(ids), DealRow.ls_checkout_link.is_(None))
                )
            }

    def deals(self, lead_ids: AbstractSet[int], *, test_mode: bool) -> list[Awaiting]:
        """Return these deals as last seen, by id; deleted ones too."""
        with self._engine.connect() as db:
            contacts = _contacts(db, lead_ids)
            checkouts, payments = _checkouts(db, lead_ids), _payments(db, lead_ids, test_mode=test_mode)
            refused, told_at = _refused(db, lead_ids), _told_at(db, lead_ids)
            subscribed = _subscribed(db, lead_ids, test_mode=test_mode)
            rows = [
                row
                for ids in chunks(sorted(lead_ids))
                for row in db.execute(select(table_of(DealRow)).where(DealRow.lead_id.in_(ids)))
            ]
        return [
            Awaiting(
                deal=_deal(row),
                contact=contacts.get(row.lead_id),
                checkouts=tuple(checkouts[row.lead_id]),
                payments=tuple(payments[row.lead_id]),
                refused=refused[row.lead_id],
                told_at=told_at[row.lead_id],
                is_subscribed=row.lead_id in subscribed,
            )
            for row in rows
        ]

    def main_contacts(self, lead_ids: AbstractSet[int]) -> set[int]:
        """Return the ids of the main contacts of deals, whether these were read or not."""
        with self._engine.connect() as db:
            return {
                row.contact_id
                for ids in chunks(lead_ids)
                for row in db.execute(_firsts().where(LeadContactRow.lead_id.in_(ids)))
            }


def _deal(row: Row[Any]) -> Deal:
    ours = {key: text for key in FIELD_KEYS if (text := getattr(row, f"ls_{key}"))}
    return Deal(
        lead_id=row.lead_id,
        name=row.name,
        pipeline_id=row.pipeline_id,
        status_id=row.status_id,
        price=row.price,
        responsible_user_id=row.responsible_user_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
        closed_at=row.closed_at,
        tags=tuple(row.tags),
        fields={**ours, **(row.other_fields or {})},
        is_deleted=row.is_deleted,
        written=json.loads(row.written or "{}"),
        entered_at=row.entered_at,
        entered_by=row.entered_by,
    )


def _firsts() -> Any:
    return select(LeadContactRow.lead_id, LeadContactRow.contact_id).where(LeadContactRow.place == 0)


def _contacts(db: Connection, lead_ids: Iterable[int]) -> dict[int, Contact]:
    """The main contact of each deal, as far as it was read."""
    firsts = {
        row.lead_id: row.contact_id
        for ids in chunks(lead_ids)
        for row in db.execute(_firsts().where(LeadContactRow.lead_id.in_(ids)))
    }
    emails: dict[int, list[tuple[str, str]]] = defaultdict(list)
    found: dict[int, Contact] = {}
    for ids in chunks(set(firsts.values())):
        addresses = select(table_of(ContactEmailRow)).where(ContactEmailRow.contact_id.in_(ids))
        for row in db.execute(addresses.order_by(ContactEmailRow.contact_id, ContactEmailRow.place)):
            emails[row.contact_id].append((row.email, row.typed or row.email))
        for row in db.execute(select(table_of(ContactRow)).where(ContactRow.contact_id.in_(ids))):
            spelt = emails[row.contact_id]
            found[row.contact_id] = Contact(
                row.contact_id,
                row.name,
                tuple(email for email, _ in spelt),
                row.responsible_user_id,
                row.updated_at,
                row.is_deleted,
                tuple(typed for _, typed in spelt),
            )
    return {lead_id: found[contact_id] for lead_id, contact_id in firsts.items() if contact_id in found}


def _checkouts(db: Connection, lead_ids: Iterable[int]) -> dict[int, list[IssuedCheckout]]:
    """The checkouts that dealsync opened for deals, oldest first."""
    found: dict[int, list[IssuedCheckout]] = defaultdict(list)
    for ids in chunks(map(str, lead_ids)):
        ours = select(table_of(CheckoutRow)).where(CheckoutRow.lead_text.in_(ids), CheckoutRow.mark != "")
        for row in db.execute(ours.order_by(CheckoutRow.created_at, CheckoutRow.checkout_id)):
            values = {name: getattr(row, name) for name in IssuedCheckout.__slots__}
            # The custom data of a person who was forgotten is empty; what was asked for is nobody's.
            values["custom"] = {CHECKOUT_KEY: row.mark, **row.custom}
            found[int(row.lead_text)].append(IssuedCheckout(**values))
    return found


def _payments(db: Connection, lead_ids: Iterable[int], *, test_mode: bool) -> dict[int, list[Payment]]:
    """The money that came for deals: orders, and the first invoices of subscriptions whose order was of zero."""
    found: dict[int, list[Payment]] = defaultdict(list)
    came, kept = ([status.value for status in statuses] for statuses in (MONEY_CAME, STILL_OURS))
    for ids in chunks(lead_ids):
        linked = (LinkRow.order_id == OrderRow.order_id, LinkRow.lead_id.in_(ids), OrderRow.test_mode == test_mode)
        orders = select(LinkRow.lead_id, OrderRow.number, OrderRow.order_status)
        paid = orders.where(*linked, OrderRow.order_status.in_(came), OrderRow.total_minor > 0)
        for row in db.execute(paid.order_by(OrderRow.created_at)):
            found[row.lead_id].append(Payment(row.number, is_kept=row.order_status in kept))
        invoiced = (
            select(LinkRow.lead_id, OrderRow.number, InvoiceRow.total_minor, InvoiceRow.refunded_minor)
            .where(*linked, OrderRow.total_minor == 0, SubscriptionRow.order_id == OrderRow.order_id)
            .where(InvoiceRow.subscription_id == SubscriptionRow.subscription_id)
            .where(InvoiceRow.invoice_status.in_(INVOICE_PAID), InvoiceRow.total_minor > 0)
        )
        for invoice in db.execute(invoiced.order_by(InvoiceRow.created_at)):
            is_kept = invoice.refunded_minor < invoice.total_minor
            found[invoice.lead_id].append(Payment(invoice.number, is_kept=is_kept))
    return found


def _subscribed(db: Connection, lead_ids: Iterable[int], *, test_mode: bool) -> set[int]:
    """The deals whose sale started a subscription that has not ended."""
    return {
        lead_id
        for ids in chunks(lead_ids)
        for lead_id in db.scalars(
            select(LinkRow.lead_id).where(
                LinkRow.lead_id.in_(ids),
                SubscriptionRow.order_id == LinkRow.order_id,
                SubscriptionRow.subscription_status != ENDED,
                SubscriptionRow.test_mode == test_mode,
            )
        )
    }


def _told_at(db: Connection, lead_ids: Iterable[int]) -> dict[int, dict[str, datetime]]:
    """When what is in the ledger about deals themselves was done, by key."""
    found: dict[int, dict[str, datetime]] = defaultdict(dict)
    for ids in chunks(lead_ids):
        sources = [f"lead:{lead_id}" for lead_id in ids]
        done = select(LedgerEntry.lead_id, LedgerEntry.idempotency_key, LedgerEntry.closed_at)
        applied = besides(LedgerEntry.state) == State.APPLIED.value
        for row in db.execute(done.where(LedgerEntry.source.in_(sources), applied)):
            if row.lead_id is not None and row.closed_at is not None:
                found[row.lead_id][row.idempotency_key] = row.closed_at
    return found


def _refused(db: Connection, lead_ids: Iterable[int]) -> dict[int, dict[str, str]]:
    found: dict[int, dict[str, str]] = defaultdict(dict)
    for ids in chunks(lead_ids):
        entries = select(LedgerEntry.lead_id, LedgerEntry.idempotency_key, LedgerEntry.error).where(
            LedgerEntry.lead_id.in_(ids), LedgerEntry.is_refused
        )
        for row in db.execute(entries):
            found[row.lead_id][row.idempotency_key] = row.error or ""
    return found
