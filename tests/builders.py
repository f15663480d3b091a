"""Values for tests: name what matters, the rest is ordinary. And `World`, a Kommo account held in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from dealsync.core.evidence import LEAD_ID_KEY, HintKind, IssuedCheckout
from dealsync.core.mapping import FIELD_KEYS
from dealsync.core.models import (
    Contact,
    Deal,
    Invoice,
    Link,
    Money,
    Order,
    OrderStatus,
    Subscription,
    Tier,
    normal_email,
)
from dealsync.core.owners import Owners, RotaUser
from dealsync.core.plan import Action, CompleteTask, DealChange, NewContact, NewDeal, Note, Plan, Task
from dealsync.core.policy import Funnel, Policy
from dealsync.core.tables import (
    CHECKOUT_COLUMNS,
    COMPANY_COLUMNS,
    CONTACT_EMAIL_COLUMNS,
    CUSTOMER_COLUMNS,
    DEAL_COLUMNS,
    DECISION_COLUMNS,
    HINT_COLUMNS,
    INVOICE_COLUMNS,
    LEAD_CONTACT_COLUMNS,
    LEDGER_COLUMNS,
    LINK_COLUMNS,
    MERGE_COLUMNS,
    ORDER_COLUMNS,
    SUBSCRIPTION_COLUMNS,
    Tables,
)

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SALES, PARTNERS = 7001, 7002
NEW, INVOICE_SENT, ATTENTION, WON, LOST = 70011, 70013, 70014, 142, 143
STORE = "4101"
RECEIPT = "5f1a2b3c-0000-4000-8000-000000000017"

INTEGERS = {
    "lead_id",
    "number",
    "total_minor",
    "refunded_minor",
    "quantity",
    "pipeline_id",
    "status_id",
    "price",
    "contact_id",
    "discount_minor",
    "tax_minor",
    "setup_fee_minor",
    "gone_id",
}
NULLABLE_INTEGERS = {"entered_by", "responsible_user_id", "subtotal_minor", "custom_price", "company_id"}
TIMES = {
    "created_at", "updated_at", "closed_at", "refunded_at", "renews_at", "ends_at", "trial_ends_at", "resumes_at",
    "seen_at", "issued_at", "expires_at", "entered_at",
}  # fmt: skip
BOOLEANS = {"test_mode", "is_deleted", "is_settled", "is_cancelled"}


def policy(**changes: Any) -> Policy:
    """Return the policy of an ordinary account."""
    ordinary = Policy(
        store_ids=frozenset({STORE}),
        test_mode=False,
        funnels=(Funnel(SALES, INVOICE_SENT, ATTENTION),),
        account_currency="USD",
        owners=Owners(users=(RotaUser(501), RotaUser(502), RotaUser(503)), default=501),
    )
    return replace(ordinary, **changes)


def order(
    order_id: int | str = 17, *, total: int = 49000, currency: str = "USD", refunded: int = 0, **changes: Any
) -> Order:
    """Return a paid order of yesterday; amounts in minor units."""
    created_at = changes.pop("created_at", NOW - timedelta(days=1))
    ordinary = Order(
        id=str(order_id),
        store_id=STORE,
        number=1000,
        status=OrderStatus.PAID,
        total=Money(total, currency),
        refunded=Money(refunded, currency),
        user_email="ann@example.com",
        user_name="Ann Example",
        product_name="Pro",
        variant_name="Yearly",
        variant_id="31",
        quantity=1,
        test_mode=False,
        created_at=created_at,
        updated_at=created_at,
    )
    return replace(ordinary, **changes)


def subscription(subscription_id: int | str = 9, *, order_id: int | str = 17, **changes: Any) -> Subscription:
    """Return an active subscription started by an order."""
    ordinary = Subscription(
        id=str(subscription_id),
        store_id=STORE,
        order_id=str(order_id),
        subscription_status="active",
        user_email="ann@example.com",
        product_name="Pro",
        variant_name="Yearly",
        test_mode=False,
        created_at=NOW - timedelta(days=1),
        updated_at=NOW - timedelta(days=1),
    )
    return replace(ordinary, **changes)


def invoice(
    invoice_id: int | str = 44,
    *,
    subscription_id: int | str = 9,
    total: int = 49000,
    refunded: int = 0,
    currency: str = "USD",
    **changes: Any,
) -> Invoice:
    """Return a renewal of half a day ago, paid; amounts in minor units."""
    at = changes.pop("created_at", NOW - timedelta(hours=12))
    ordinary = Invoice(
        id=str(invoice_id),
        store_id=STORE,
        subscription_id=str(subscription_id),
        billing_reason="renewal",
        invoice_status="paid",
        total=Money(total, currency),
        refunded=Money(refunded, currency),
        test_mode=False,
        created_at=at,
        updated_at=at + timedelta(hours=1),
    )
    return replace(ordinary, **changes)


def deal(lead_id: int = 31, *, contacts: Iterable[int] = (81,), **changes: Any) -> Deal:
    """Return an open deal of last week in the sales pipeline that asks 490."""
    ordinary = Deal(
        lead_id=lead_id,
        name=f"Deal {lead_id}",
        pipeline_id=SALES,
        status_id=NEW,
        price=490,
        responsible_user_id=502,
        created_at=NOW - timedelta(days=7),
        updated_at=NOW - timedelta(days=2),
        contact_ids=tuple(contacts),
    )
    changed = replace(ordinary, **changes)
    return replace(changed, closed_at=NOW - timedelta(hours=23)) if not changed.is_open else changed


def webhook(
    lead: int | str | None = 31, *, order_id: str | None = "17", subscription_id: str | None = None, **changes: Any
) -> tuple[Any, ...]:
    """Return a verified webhook about an order or subscription as a row of hints; `lead` is its kommo_lead_id."""
    custom = {} if lead is None else {LEAD_ID_KEY: str(lead)}
    custom |= changes.pop("custom", {})
    at = changes.pop("at", NOW - timedelta(days=1))
    return (
        HintKind.EXPLICIT, "order_created", order_id, subscription_id, custom.get(LEAD_ID_KEY), json.dumps(custom),
        "", "", None, at,
    )  # fmt: skip


def claim(lead_id: int = 31, *, order_id: str = "17", **changes: Any) -> tuple[Any, ...]:
    """Return a visit to a deal's claim link as a row of hints; it fits `order(17, identifier=RECEIPT)`."""
    ordinary = {"identifier": RECEIPT, "variant_id": "31", "issued_at": NOW - timedelta(days=3), "at": NOW} | changes
    return (
        HintKind.CLAIM, "", order_id, None, str(lead_id), "{}", ordinary["identifier"], ordinary["variant_id"],
        ordinary["issued_at"], ordinary["at"],
    )  # fmt: skip


def checkout(lead: int | str = 31, **changes: Any) -> IssuedCheckout:
    """Return a checkout of three days ago for Ann, with a deal's id in its custom data."""
    ordinary = IssuedCheckout(
        checkout_id=f"checkout-{lead}",
        store_id=STORE,
        variant_id="31",
        lead_text=str(lead),
        email="ann@example.com",
        custom_price=None,
        url="https://store.example/checkout",
        created_at=NOW - timedelta(days=3),
        updated_at=NOW - timedelta(days=3),
        expires_at=None,
        test_mode=False,
    )
    return replace(ordinary, **changes)


def contact(contact_id: int = 81, *emails: str) -> Contact:
    """Return a contact with these e-mails; Ann's, if none is given."""
    normal = tuple(normal_email(email) for email in emails or ("ann@example.com",))
    return Contact(contact_id, f"Contact {contact_id}", normal, 502, NOW - timedelta(days=7))


@dataclass(frozen=True)
class World:
    """Orders, and a Kommo account with its ledger: what the planner is given, and what its plans change."""

    orders: tuple[Order, ...] = ()
    deals: tuple[Deal, ...] = ()
    contacts: tuple[Contact, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    links: tuple[Link, ...] = ()
    invoices: tuple[Invoice, ...] = ()
    states: tuple[tuple[str, str], ...] = ()  # ledger state by key, of what tests say was done before
    done: tuple[Action, ...] = ()  # what plans did
    hints: tuple[tuple[Any, ...], ...] = ()  # `webhook` and `claim`
    checkouts: tuple[IssuedCheckout, ...] = ()
    merges: tuple[tuple[int, int | None], ...] = ()  # gone, survivor
    decisions: tuple[tuple[str, str], ...] = ()
    customers: tuple[tuple[str, str], ...] = ()  # id, country
    companies: tuple[tuple[str, int | None], ...] = ()  # normalised name, id

    def tables(self) -> Tables:
        """Return the world as the planner's tables."""
        return Tables(
            orders=_frame(ORDER_COLUMNS, map(_order_row, self.orders)),
            subscriptions=_frame(SUBSCRIPTION_COLUMNS, map(_subscription_row, self.subscriptions)),
            deals=_frame(DEAL_COLUMNS, map(_deal_row, self.deals)),
            contact_emails=_frame(CONTACT_EMAIL_COLUMNS, ((c.contact_id, e) for c in self.contacts for e in c.emails)),
            lead_contacts=_frame(LEAD_CONTACT_COLUMNS, ((d.lead_id, c) for d in self.deals for c in d.contact_ids)),
            links=_frame(LINK_COLUMNS, ((x.order_id, x.lead_id, x.tier.value, x.evidence) for x in self.links)),
            invoices=_frame(INVOICE_COLUMNS, map(_invoice_row, self.invoices)),
            ledger=_frame(LEDGER_COLUMNS, (*map(_entry, self.states), *map(_done, self.done))),
            hints=_frame(HINT_COLUMNS, self.hints),
            checkouts=_frame(CHECKOUT_COLUMNS, map(_checkout_row, self.checkouts)),
            merges=_frame(MERGE_COLUMNS, ((gone, survivor, True) for gone, survivor in self.merges)),
            decisions=_frame(DECISION_COLUMNS, self.decisions),
            customers=_frame(CUSTOMER_COLUMNS, self.customers),
            companies=_frame(COMPANY_COLUMNS, self.companies),
        )

    def deal(self, lead_id: int) -> Deal:
        """Return a deal by id."""
        return next(d for d in self.deals if d.lead_id == lead_id)

    @property
    def open_tasks(self) -> list[str]:
        """The keys of the tasks that were set and not ticked off, in the order in which they were set."""
        off = {a.change.task_key for a in self.done if isinstance(a.change, CompleteTask)}
        return [a.key for a in self.done if isinstance(a.change, Task) and a.key not in off]

    @property
    def notes(self) -> list[str]:
        """The texts of all notes, without their references."""
        return [a.change.text.rpartition(" ref ")[0] for a in self.done if isinstance(a.change, Note)]

    def after(self, plan: Plan) -> World:
        """Return the world after Kommo accepted the whole plan."""
        deals = {d.lead_id: d for d in self.deals}
        contacts = {c.contact_id: c for c in self.contacts}
        links = {x.order_id: x for x in (*self.links, *plan.links)}
        made: dict[str, int] = {}
        keys = {action.key for action in self.done}
        for action in plan.actions:
            assert action.key not in keys, f"{action.key} was done before"
            _carry_out(action, deals, contacts, links, made)
        for found in plan.seen:
            before = deals[found.lead_id]
            deals[found.lead_id] = replace(before, written={**before.written, **found.values})
        placed = tuple(replace(a, lead_id=a.lead_id or made.get(f"order:{a.order_id}:deal")) for a in plan.actions)
        return replace(
            self,
            deals=tuple(deals.values()),
            contacts=tuple(contacts.values()),
            links=tuple(links.values()),
            done=(*self.done, *placed),
        )


def _carry_out(
    action: Action, deals: dict[int, Deal], contacts: dict[int, Contact], links: dict[str, Link], made: dict[str, int]
) -> None:
    change = action.change
    if isinstance(change, NewContact):
        made[action.key] = max(contacts, default=80) + 1
        contacts[made[action.key]] = contact(made[action.key], change.email)
    elif isinstance(change, NewDeal):
        lead_id = max(deals, default=30) + 1
        contact_id = change.contact_id or made.get(change.contact_key or "")
        deals[lead_id] = Deal(
            lead_id, change.name, change.pipeline_id, change.status_id, change.price or 0, change.responsible_user_id,
            NOW, NOW, NOW, (contact_id,) if contact_id else (), change.tags, dict(change.fields), False,
            change.as_written(),
        )  # fmt: skip
        made[action.key] = lead_id
        if action.source.startswith("order:"):
            links[action.order_id] = Link(action.order_id, lead_id, Tier.SELF_SERVE, "created")
    elif isinstance(change, DealChange) and action.lead_id is not None:
        before = deals[action.lead_id]
        deals[action.lead_id] = replace(
            before,
            pipeline_id=before.pipeline_id if change.pipeline_id is None else change.pipeline_id,
            status_id=before.status_id if change.status_id is None else change.status_id,
            price=before.price if change.price is None else change.price,
            fields={**before.fields, **change.fields},
            tags=tuple(
                tag for tag in dict.fromkeys((*before.tags, *change.tags_to_add)) if tag not in change.tags_to_delete
            ),
            written={**before.written, **change.as_written()},
            entered_at=(before.entered_at or before.updated_at) if change.status_id is None else None,
            updated_at=NOW,
        )


def _frame(columns: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> pd.DataFrame:
    names = list(columns)
    values = list(zip(*rows, strict=True)) or [()] * len(names)
    return pd.DataFrame({name: _series(name, list(column)) for name, column in zip(names, values, strict=True)})


def _series(name: str, values: list[Any]) -> pd.Series:
    if name in TIMES:
        return pd.Series(pd.to_datetime(pd.Series(values, dtype="object"), utc=True))
    if name in INTEGERS:
        return pd.Series(values, dtype="Int64" if None in values else "int64")
    if name in BOOLEANS:
        return pd.Series(values, dtype="bool")
    return pd.Series(values, dtype="Int64" if name in NULLABLE_INTEGERS else "str")


def _order_row(o: Order) -> tuple[Any, ...]:
    return (
        o.id, o.store_id, o.number, o.status.value, o.total.minor, o.refunded.minor, o.total.currency, o.user_email,
        o.user_name, o.product_name, o.variant_name, o.variant_id, o.quantity, o.test_mode, o.created_at, o.updated_at,
        o.refunded_at, o.receipt_url, o.identifier, o.customer_id, o.product_id, o.subtotal_minor, o.discount_minor,
        o.tax_minor, o.setup_fee_minor,
    )  # fmt: skip


def _entry(entry: tuple[str, str]) -> tuple[Any, ...]:
    key, state = entry
    source = ":".join(key.split(":")[:2])
    return (key, "", state, source, source.partition(":")[2] if source.startswith("order:") else "", 0, "")


def _done(a: Action) -> tuple[Any, ...]:
    return (a.key, a.kind.value, "applied", a.source, a.order_id, a.lead_id or 0, a.alarm)


def _invoice_row(i: Invoice) -> tuple[Any, ...]:
    return (
        i.id, i.store_id, i.subscription_id, i.billing_reason, i.invoice_status, i.total.minor, i.tax_minor,
        i.refunded.minor, i.total.currency, i.test_mode, i.created_at, i.updated_at, i.refunded_at,
    )  # fmt: skip


def _subscription_row(s: Subscription) -> tuple[Any, ...]:
    return (s.id, *(getattr(s, name) for name in SUBSCRIPTION_COLUMNS[1:]))


def _checkout_row(c: IssuedCheckout) -> tuple[Any, ...]:
    return tuple(getattr(c, name) for name in CHECKOUT_COLUMNS)


def _deal_row(d: Deal) -> tuple[Any, ...]:
    written = json.dumps(dict(d.written)) if d.written else None
    names = [name for name in DEAL_COLUMNS if not name.startswith("ls_")]
    return (*(written if name == "written" else getattr(d, name) for name in names), *map(d.fields.get, FIELD_KEYS))
