"""Orders, subscriptions and what belongs to them -> values.

Survives unknown keys and statuses, nulls, and fields that older objects lack; anything else is refused by name.
Source: Lemon Squeezy reference, "Objects", 5.1 to 5.5 and 5.9.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field

from dealsync.apis.border import ID_PATTERN, Int64, Model, Text, Time, Wire, named, parse
from dealsync.apis.lemonsqueezy.values import Customer, OrderItem, Redemption, SubscriptionItem
from dealsync.core.models import Invoice, Money, Order, OrderStatus, Subscription

Id = Annotated[str, Field(pattern=ID_PATTERN)]
"""An id. Numbers become texts: it is a string everywhere, as `data.id` is on the wire."""
Currency = Annotated[Text, Field(min_length=3, max_length=3)]
Refund = Annotated[Int64, Field(ge=0)]
INVOICE_LINK = re.compile(r"/my-orders/([0-9a-fA-F-]{36})/subscription-invoice/")
"""The one place where an invoice names its order. Source: reference 5.4."""


class Resource(Wire):
    """What every resource has around its attributes."""

    id: Id
    attributes: Any = None


def attributes(kind: str, model: type[Model], resource: object) -> tuple[str, Model]:
    """Return id and attributes of a resource. Raises UnexpectedAnswer naming the object and the fields."""
    name = named(kind, resource)
    outer = parse(Resource, resource, name)
    return outer.id, parse(model, outer.attributes, name)


class Dates(Wire):
    """What every object has, users and files apart."""

    created_at: Time
    updated_at: Time


class _FirstOrderItem(Wire):
    product_name: Text = ""
    variant_name: Text = ""
    variant_id: Text = ""
    product_id: Text = ""
    quantity: Int64 | None = None


class _OrderUrls(Wire):
    receipt: Text | None = None


class _Order(Dates):
    store_id: Id
    customer_id: Text = ""
    identifier: Text = ""
    order_number: Int64
    status: Text
    currency: Currency
    total: Int64
    subtotal: Int64 | None = None
    discount_total: Int64 | None = None
    tax: Int64 | None = None
    setup_fee: Int64 | None = None
    refunded: bool | None = None
    refunded_amount: Refund | None = None
    refunded_at: Time | None = None
    user_email: Text = ""
    user_name: Text = ""
    first_order_item: _FirstOrderItem | None = None
    urls: _OrderUrls | None = None
    test_mode: bool = False


class _OrderItem(Dates):
    order_id: Id
    product_id: Id
    variant_id: Id
    price_id: Text = ""
    product_name: Text = ""
    variant_name: Text = ""
    price: Int64
    quantity: Int64 = 1


class _Pause(Wire):
    mode: Text = ""
    resumes_at: Time | None = None


class _FirstSubscriptionItem(Wire):
    price_id: Text = ""
    quantity: Int64 | None = None


class _SubscriptionUrls(Wire):
    customer_portal: Text | None = None


class _Subscription(Dates):
    store_id: Id
    order_id: Id
    customer_id: Text = ""
    product_id: Text = ""
    variant_id: Text = ""
    status: Text
    user_email: Text = ""
    user_name: Text = ""
    product_name: Text = ""
    variant_name: Text = ""
    cancelled: bool = False
    pause: _Pause | None = None
    first_subscription_item: _FirstSubscriptionItem | None = None
    test_mode: bool = False
    trial_ends_at: Time | None = None
    renews_at: Time | None = None
    ends_at: Time | None = None
    urls: _SubscriptionUrls | None = None


class _SubscriptionItem(Dates):
    subscription_id: Id
    price_id: Id
    quantity: Int64
    is_usage_based: bool = False


class _InvoiceUrls(Wire):
    invoice_url: Text = ""


class _Invoice(Dates):
    store_id: Id
    subscription_id: Id
    customer_id: Text = ""
    user_email: Text = ""
    billing_reason: Text = "unknown"
    status: Text
    currency: Currency
    total: Int64
    tax: Int64 = 0
    refunded: bool | None = None
    refunded_amount: Refund | None = None
    refunded_at: Time | None = None
    urls: _InvoiceUrls | None = None
    test_mode: bool = False


class _CustomerUrls(Wire):
    customer_portal: Text | None = None


class _Customer(Dates):
    store_id: Id
    name: Text = ""
    email: Text = ""
    status: Text
    city: Text | None = None
    region: Text | None = None
    country: Text | None = None
    total_revenue_currency: Int64 = 0
    mrr: Int64 = 0
    urls: _CustomerUrls | None = None
    test_mode: bool = False


class _Redemption(Dates):
    discount_id: Id
    order_id: Id
    discount_name: Text = ""
    discount_code: Text = ""
    amount: Int64


def order(resource: object) -> Order:
    """Return an `orders` resource as an Order. Raises UnexpectedAnswer naming the order and the field."""
    order_id, wire = attributes("order", _Order, resource)
    item, refunded = wire.first_order_item or _FirstOrderItem(), _refunded(wire)
    return Order(
        id=order_id,
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
        identifier=wire.identifier,
        customer_id=wire.customer_id,
        product_id=item.product_id,
        subtotal_minor=wire.subtotal,
        discount_minor=wire.discount_total or 0,
        tax_minor=wire.tax or 0,
        setup_fee_minor=wire.setup_fee or 0,
    )


def order_item(resource: object) -> OrderItem:
    """Return an `order-items` resource. Raises UnexpectedAnswer."""
    item_id, wire = attributes("order item", _OrderItem, resource)
    return OrderItem(
        id=item_id,
        order_id=wire.order_id,
        product_id=wire.product_id,
        variant_id=wire.variant_id,
        price_id=wire.price_id,
        product_name=wire.product_name,
        variant_name=wire.variant_name,
        price=wire.price,
        quantity=wire.quantity,
        created_at=wire.created_at,
        updated_at=wire.updated_at,
    )


def subscription(resource: object) -> Subscription:
    """Return a `subscriptions` resource as a Subscription. Raises UnexpectedAnswer."""
    subscription_id, wire = attributes("subscription", _Subscription, resource)
    item = wire.first_subscription_item or _FirstSubscriptionItem()
    return Subscription(
        id=subscription_id,
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
        trial_ends_at=wire.trial_ends_at,
        is_cancelled=wire.cancelled,
        pause_mode=wire.pause.mode if wire.pause else None,
        resumes_at=wire.pause.resumes_at if wire.pause else None,
        quantity=item.quantity,
        price_id=item.price_id,
        variant_id=wire.variant_id,
        product_id=wire.product_id,
        customer_id=wire.customer_id,
        user_name=wire.user_name,
        portal_url=wire.urls.customer_portal if wire.urls else None,
    )


def subscription_item(resource: object) -> SubscriptionItem:
    """Return a `subscription-items` resource. Raises UnexpectedAnswer."""
    item_id, wire = attributes("subscription item", _SubscriptionItem, resource)
    return SubscriptionItem(
        id=item_id,
        subscription_id=wire.subscription_id,
        price_id=wire.price_id,
        quantity=wire.quantity,
        is_usage_based=wire.is_usage_based,
        created_at=wire.created_at,
        updated_at=wire.updated_at,
    )


def invoice(resource: object) -> Invoice:
    """Return a `subscription-invoices` resource as an Invoice. Raises UnexpectedAnswer."""
    invoice_id, wire = attributes("subscription invoice", _Invoice, resource)
    link = INVOICE_LINK.search(wire.urls.invoice_url) if wire.urls else None
    return Invoice(
        id=invoice_id,
        store_id=wire.store_id,
        subscription_id=wire.subscription_id,
        billing_reason=wire.billing_reason,
        invoice_status=wire.status,
        total=Money(wire.total, wire.currency),
        refunded=Money(_refunded(wire), wire.currency),
        test_mode=wire.test_mode,
        created_at=wire.created_at,
        updated_at=wire.updated_at,
        refunded_at=wire.refunded_at,
        tax_minor=wire.tax,
        customer_id=wire.customer_id,
        user_email=wire.user_email,
        order_identifier=link.group(1) if link else "",
    )


def customer(resource: object) -> Customer:
    """Return a `customers` resource. Raises UnexpectedAnswer."""
    customer_id, wire = attributes("customer", _Customer, resource)
    return Customer(
        id=customer_id,
        store_id=wire.store_id,
        name=wire.name,
        email=wire.email,
        customer_status=wire.status,
        city=wire.city,
        region=wire.region,
        country=wire.country,
        total_revenue=wire.total_revenue_currency,
        mrr=wire.mrr,
        portal_url=wire.urls.customer_portal if wire.urls else None,
        test_mode=wire.test_mode,
        created_at=wire.created_at,
        updated_at=wire.updated_at,
    )


def redemption(resource: object) -> Redemption:
    """Return a `discount-redemptions` resource. Raises UnexpectedAnswer."""
    redemption_id, wire = attributes("discount redemption", _Redemption, resource)
    return Redemption(
        id=redemption_id,
        discount_id=wire.discount_id,
        order_id=wire.order_id,
        discount_name=wire.discount_name,
        discount_code=wire.discount_code,
        amount=wire.amount,
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
