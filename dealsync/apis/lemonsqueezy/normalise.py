"""Lemon Squeezy resources -> values. Survives unknown keys and statuses, nulls, and fields that older objects lack.

Source: Lemon Squeezy reference, "Objects".
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from dealsync.apis.border import ID_PATTERN, Int64, Text, Time, Wire, named, parse
from dealsync.core.models import Invoice, Money, Order, OrderStatus, Subscription


class Resource(Wire):
    """What every resource has around its attributes. Numbers become texts: an id is a string everywhere."""

    id: str = Field(pattern=ID_PATTERN)
    attributes: Any = None


class _Item(Wire):
    product_name: Text = ""
    variant_name: Text = ""
    variant_id: Text = ""
    quantity: Int64 | None = None


class _Urls(Wire):
    receipt: Text | None = None


class _Order(Wire):
    store_id: Text
    order_number: Int64
    status: Text
    currency: Text = Field(min_length=3, max_length=3)
    total: Int64
    refunded: bool | None = None
    refunded_amount: Int64 | None = None
    refunded_at: Time | None = None
    user_email: Text = ""
    user_name: Text = ""
    first_order_item: _Item | None = None
    urls: _Urls | None = None
    test_mode: bool = False
    created_at: Time
    updated_at: Time


class _Subscription(Wire):
    store_id: Text
    order_id: Text
    status: Text
    user_email: Text = ""
    product_name: Text = ""
    variant_name: Text = ""
    test_mode: bool = False
    created_at: Time
    updated_at: Time
    renews_at: Time | None = None
    ends_at: Time | None = None


class _Invoice(Wire):
    store_id: Text
    subscription_id: Text
    billing_reason: Text = "unknown"
    status: Text
    currency: Text = Field(min_length=3, max_length=3)
    total: Int64
    refunded: bool | None = None
    refunded_amount: Int64 | None = None
    test_mode: bool = False
    created_at: Time
    updated_at: Time


def order(resource: object) -> Order:
    """Return an `orders` resource as an Order. Raises UnexpectedAnswer naming the order and the field."""
    name = named("order", resource)
    outer = parse(Resource, resource, name)
    wire = parse(_Order, outer.attributes, name)
    item, refunded = wire.first_order_item or _Item(), _refunded(wire)
    return Order(
        id=outer.id,
        store_id=wire.store_id,
        number=wire.order_number,
        status=_order_status(wire, refunded),
        total=Money(wire.total, wire.currency),
        refunded=Money(refunded, wire.currency),
        user_email=wire.user_email,
        user_name=wire.user_name,
        product_name=item.product_name,
        variant_name=item.variant_name,
        variant_id=item.variant_id,
        quantity=item.quantity if item.quantity is not None else 1,
        test_mode=wire.test_mode,
        created_at=wire.created_at,
        updated_at=wire.updated_at,
        refunded_at=wire.refunded_at,
        receipt_url=wire.urls.receipt if wire.urls else None,
    )


def subscription(resource: object) -> Subscription:
    """Return a `subscriptions` resource as a Subscription. Raises UnexpectedAnswer."""
    name = named("subscription", resource)
    outer = parse(Resource, resource, name)
    wire = parse(_Subscription, outer.attributes, name)
    return Subscription(
        id=outer.id,
        store_id=wire.store_id,
        order_id=wire.order_id,
        subscription_status=wire.status,
        user_email=wire.user_email,
        product_name=wire.product_name,
        variant_name=wire.variant_name,
        test_mode=wire.test_mode,
        created_at=wire.created_at,
        updated_at=wire.updated_at,
        renews_at=wire.renews_at,
        ends_at=wire.ends_at,
    )


def invoice(resource: object) -> Invoice:
    """Return a `subscription-invoices` resource as an Invoice. Raises UnexpectedAnswer."""
    name = named("subscription invoice", resource)
    outer = parse(Resource, resource, name)
    wire = parse(_Invoice, outer.attributes, name)
    return Invoice(
        id=outer.id,
        store_id=wire.store_id,
        subscription_id=wire.subscription_id,
        billing_reason=wire.billing_reason,
        invoice_status=wire.status,
        total=Money(wire.total, wire.currency),
        refunded=Money(_refunded(wire), wire.currency),
        test_mode=wire.test_mode,
        created_at=wire.created_at,
        updated_at=wire.updated_at,
    )


def _refunded(wire: _Order | _Invoice) -> int:
    """The cumulative refund. Objects older than August 2024 carry the flag alone."""
    if wire.refunded_amount is not None and (wire.refunded_amount or not wire.refunded):
        return wire.refunded_amount
    return wire.total if wire.refunded else 0


def _order_status(wire: _Order, refunded: int) -> OrderStatus:
    """The status, with refunds read off the amounts: a partly refunded order may still call itself paid."""
    status = OrderStatus(wire.status) if wire.status in set(OrderStatus) else OrderStatus.UNKNOWN
    if status in (OrderStatus.PAID, OrderStatus.PARTIAL_REFUND) and refunded:
        return OrderStatus.REFUNDED if refunded >= wire.total else OrderStatus.PARTIAL_REFUND
    return status
