"""What Lemon Squeezy says, read off the present state of its objects and never off the name of an event."""

from __future__ import annotations

from enum import StrEnum

from dealsync.core.models import LOST_STATUS_ID, WON_STATUS_ID, Deal, Invoice, Order, OrderStatus, Subscription


class Fact(StrEnum):
    """What an object of Lemon Squeezy says. The values are the words of README's table."""

    PAID = "order paid"
    PAID_AGAIN = "second paid order for the deal"
    PARTLY_REFUNDED = "order refunded in part"
    REFUNDED = "order refunded in full"
    FRAUDULENT = "order fraudulent"
    REFUNDED_BESIDE = "order refunded in full, another one counts for the deal"
    FRAUDULENT_BESIDE = "order fraudulent, another one counts for the deal"
    FAILED = "order failed"
    NOTHING = "order without money"
    TRIAL = "subscription on trial"
    ACTIVE = "subscription active"
    PAUSED = "subscription paused"
    PAST_DUE = "subscription past due"
    UNPAID = "subscription unpaid"
    CANCELLED = "subscription cancelled"
    EXPIRED = "subscription expired"
    UNKNOWN = "subscription in an unknown status"
    RENEWED = "renewal paid"
    RENEWAL_PARTLY_REFUNDED = "renewal refunded in part"
    RENEWAL_REFUNDED = "renewal refunded in full"
    NEVER_PAID = "deal won, its LS order never paid"
    STUCK = "deal in the invoice stage too long"


BESIDE = {
    Fact.PAID: Fact.PAID_AGAIN,
    Fact.PARTLY_REFUNDED: Fact.PAID_AGAIN,
    Fact.REFUNDED: Fact.REFUNDED_BESIDE,
    Fact.FRAUDULENT: Fact.FRAUDULENT_BESIDE,
}
"""What the facts of an order are when another one counts for its deal."""
REFUNDS = frozenset({Fact.REFUNDED, Fact.FRAUDULENT, Fact.RENEWAL_REFUNDED})
"""The facts for which a deal may go backwards."""


class Standing(StrEnum):
    """How the deal stands in Kommo."""

    OPEN = "open"
    WON = "won"
    LOST = "lost"


ANY = frozenset(Standing)


def fact_of_order(order: Order) -> Fact:
    """Read an order's fact off its status and amounts; a partial refund may still call itself paid."""
    if order.total.minor <= 0:
        return Fact.NOTHING
    if order.status in (OrderStatus.PAID, OrderStatus.PARTIAL_REFUND):
        return Fact.PARTLY_REFUNDED if order.refunded.minor else Fact.PAID
    return {
        OrderStatus.REFUNDED: Fact.REFUNDED,
        OrderStatus.FRAUDULENT: Fact.FRAUDULENT,
        OrderStatus.FAILED: Fact.FAILED,
    }.get(order.status, Fact.NOTHING)


def fact_of_subscription(subscription: Subscription) -> Fact:
    """Read a subscription's fact off its status."""
    return {
        "on_trial": Fact.TRIAL,
        "active": Fact.ACTIVE,
        "paused": Fact.PAUSED,
        "past_due": Fact.PAST_DUE,
        "unpaid": Fact.UNPAID,
        "cancelled": Fact.CANCELLED,
        "expired": Fact.EXPIRED,
    }.get(subscription.subscription_status, Fact.UNKNOWN)


def fact_of_renewal(invoice: Invoice) -> Fact:
    """Read the fact of an invoice whose money came off its amounts: statuses lag and have two spellings."""
    if not invoice.refunded.minor:
        return Fact.RENEWED
    is_whole = invoice.refunded.minor >= invoice.total.minor
    return Fact.RENEWAL_REFUNDED if is_whole else Fact.RENEWAL_PARTLY_REFUNDED


def standing_of(deal: Deal) -> Standing:
    """Return how a deal stands; 142 and 143 mean the same in every pipeline."""
    return {WON_STATUS_ID: Standing.WON, LOST_STATUS_ID: Standing.LOST}.get(deal.status_id, Standing.OPEN)
