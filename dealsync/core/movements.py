"""When money came and when it went back: events that later events do not change.

A payment is of the day on which it was made, a refund of the day on which it was given, whatever became of either.
A subscription's `initial` invoice repeats its order's money, see `core.sales`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from dealsync.core.history import History
from dealsync.core.models import Money, OrderStatus
from dealsync.core.payments import MONEY_CAME
from dealsync.core.sales import INITIAL, INVOICE_PAID
from dealsync.core.texts import plan_name

UNNAMED = "no name"


class Movement(StrEnum):
    """What happened with money."""

    SALE = "sale"  # an order, or the first payment after a trial
    RENEWAL = "renewal"  # every other payment of a subscription
    REFUND = "refund"  # in full: the last of it went back
    PART_REFUND = "part refund"
    FRAUD = "fraud"  # taken back as fraudulent; all that was left

    @property
    def is_payment(self) -> bool:
        """Whether money came."""
        return self in (Movement.SALE, Movement.RENEWAL)


@dataclass(frozen=True, slots=True)
class Event:
    """Money that came or went back. `amount` is never negative."""

    movement: Movement
    at: datetime
    amount: Money
    source: str  # "order:17", "invoice:44"
    order_id: str
    number: int | None  # of the order, as people know it; None where the order was never seen
    product: str
    subscription_id: str = ""


def movements(
    orders: Mapping[str, History], invoices: Mapping[str, History], subscriptions: Mapping[str, History]
) -> list[Event]:
    """Return everything that happened with money, in the order in which it happened."""
    of_orders: dict[str, list[str]] = defaultdict(list)
    for invoice_id, found in sorted(invoices.items()):
        subscription = subscriptions.get(found.first["subscription_id"])
        if subscription is not None and subscription.first["order_id"] in orders:
            of_orders[subscription.first["order_id"]].append(invoice_id)
    events: list[Event] = []
    for order_id, order in orders.items():
        mine = {invoice_id: invoices[invoice_id] for invoice_id in of_orders[order_id]}
        events += _of_sale(order_id, order, mine, subscriptions)
    return sorted(events, key=lambda event: (event.at, event.source, event.movement.value, event.amount))


def _of_sale(
    order_id: str, order: History, invoices: Mapping[str, History], subscriptions: Mapping[str, History]
) -> Iterator[Event]:
    is_free = order.first["total_minor"] <= 0
    first = order.first
    name = plan_name(first["product_name"], first["variant_name"]) or UNNAMED
    repeats = [] if is_free else [i for i in invoices if invoices[i].first["billing_reason"] == INITIAL]
    if not is_free and (paid := _paid(order, "order_status", MONEY_CAME)):
        at, amount = paid
        same = [invoices[i] for i in repeats if invoices[i].first["currency"] == amount.currency]
        event = Event(Movement.SALE, at, amount, f"order:{order_id}", order_id, first["number"], name)
        yield event
        yield from _taken_back(event, [order, *same], _frauds(order))
    payments = {i: _paid(invoices[i], "invoice_status", INVOICE_PAID) for i in invoices.keys() - set(repeats)}
    found = sorted((payment[0], invoice_id, payment[1]) for invoice_id, payment in payments.items() if payment)
    for place, (at, invoice_id, amount) in enumerate(found):
        invoice, subscription_id = invoices[invoice_id], invoices[invoice_id].first["subscription_id"]
        plan = subscriptions[subscription_id].before(at)
        event = Event(
            Movement.SALE if is_free and place == 0 else Movement.RENEWAL,
            at,
            amount,
            f"invoice:{invoice_id}",
            order_id,
            first["number"],
            plan_name(plan["product_name"], plan["variant_name"]) or name,
            subscription_id,
        )
        yield event
        yield from _taken_back(event, [invoice], [])


def _paid(found: History, status: str, paid: Iterable[str]) -> tuple[datetime, Money] | None:
    """When the money came and how much: with the object, unless it was seen without; None if it never came."""
    for version in found.versions:
        values = version.values
        if values[status] in paid and values["total_minor"] > 0:
            return version.since or values["created_at"], Money(values["total_minor"], values["currency"])
    return None


def _frauds(order: History) -> list[datetime]:
    return [v.since for v in order.versions if v.since and v.values["order_status"] == OrderStatus.FRAUDULENT][:1]


def _taken_back(payment: Event, shown_by: Iterable[History], frauds: Iterable[datetime]) -> Iterator[Event]:
    """What went back of a payment. A refund counts once, whichever of its objects shows it."""
    total = payment.amount
    steps = [(v.since or v.values["created_at"], v.values["refunded_minor"]) for one in shown_by for v in one.versions]
    gone = 0
    for at, refunded in sorted([*steps, *((at, total.minor) for at in frauds)]):
        now_gone = min(refunded, total.minor)
        if now_gone <= gone:
            continue
        movement = Movement.REFUND if now_gone == total.minor else Movement.PART_REFUND
        yield Event(
            Movement.FRAUD if at in frauds else movement,
            max(at, payment.at),
            Money(now_gone - gone, total.currency),
            payment.source,
            payment.order_id,
            payment.number,
            payment.product,
            payment.subscription_id,
        )
        gone = now_gone
