"""The store: everything Lemon Squeezy knows, and what can happen to it."""

import random
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import Any

from dealsync.simulator.assumptions import FIRST_ORDER_NUMBER, ORDER_REFUND_REFUNDS_ITS_INVOICE
from dealsync.simulator.clock import Clock, iso, unix
from dealsync.simulator.faults import Faults
from dealsync.simulator.lemonsqueezy import objects
from dealsync.simulator.lemonsqueezy.catalogue import TYPES, filter_key
from dealsync.simulator.lemonsqueezy.money import formatted, rate_to_usd
from dealsync.simulator.lemonsqueezy.objects import Purchase
from dealsync.simulator.table import Record, Table

FIRST_IDS = {
    "stores": 4100,
    "products": 61000,
    "variants": 81000,
    "customers": 300000,
    "orders": 500000,
    "order-items": 520000,
    "subscriptions": 700000,
    "subscription-invoices": 900000,
}
PAYING = ("paid", "partial_refund", "refunded", "fraudulent")
RENEWAL_PENDING_S = 62 * 60  # a renewal is paid about an hour after its invoice was made (5.4)


@dataclass(frozen=True)
class Placed:
    """What one purchase made; subscription and invoice only for a subscription variant that was paid."""

    order: Record
    subscription: Record | None = None
    invoice: Record | None = None


class RefundError(ValueError):
    """A write that cannot be done; the message says why."""


class LemonSqueezyStore:
    """Tables by resource type, one store, and the user behind the API key."""

    def __init__(self, clock: Clock, faults: Faults, rng: random.Random) -> None:
        self.clock = clock
        self._faults = faults
        self._rng = rng
        self.tables: dict[str, Table] = {name: kind.table() for name, kind in TYPES.items()}
        self.custom_data: dict[int, dict[str, str]] = {}  # order id -> for webhooks only, never in a GET
        self.user: Record = {}
        self.test_mode_key = False
        self._last_ids: Counter[str] = Counter(FIRST_IDS)
        self._order_number = FIRST_ORDER_NUMBER - 1

    # --- filing -----------------------------------------------------------------------------------
    def add(self, kind: str, attributes: Record, resource_id: int | None = None) -> Record:
        """File a new resource under the next id of its type."""
        new_id = self.next_id(kind) if resource_id is None else resource_id
        record = {"type": kind, "id": str(new_id), "attributes": attributes}
        self.tables[kind].put(new_id, record)
        return record

    def next_id(self, kind: str) -> int:
        """Return a new id of this type."""
        self._last_ids[kind] += 1
        return self._last_ids[kind]

    def adopt(self, resource: Record) -> None:
        """File a recorded resource as it is; its type must be one we serve."""
        resource_id = int(resource["id"])
        self._last_ids[resource["type"]] = max(self._last_ids[resource["type"]], resource_id)
        self.tables[resource["type"]].put(resource_id, resource)
        if resource["type"] == "orders":
            self._order_number = max(self._order_number, int(resource["attributes"].get("order_number", 0)))

    def find(self, kind: str, resource_id: int | str) -> Record | None:
        """Return the resource with this id, given as digits; None for anything else."""
        text = str(resource_id)
        return self.tables[kind].get(int(text)) if text.isascii() and text.isdigit() else None

    @staticmethod
    def created(resource: Record) -> int:
        """Return when a resource was made, in Unix seconds."""
        return unix(resource["attributes"]["created_at"])

    @property
    def store_id(self) -> int:
        """The first store's id; 0 in a world without stores."""
        return next(iter(self.tables["stores"].ids()), 0)

    def variants(self) -> list[Record]:
        """Return all variants in order of creation."""
        return list(self.tables["variants"])

    # --- what happens -----------------------------------------------------------------------------
    def purchase(self, **given: Any) -> Purchase:
        """Return a `Purchase` of a variant of ours; keywords are its fields without `product`."""
        product = self.tables["products"].get(given["variant"]["attributes"]["product_id"])
        unknown = {"id": str(given["variant"]["attributes"]["product_id"]), "attributes": {"name": "Product"}}
        return Purchase(product=product or unknown, **given)

    def place(self, purchase: Purchase) -> Placed:
        """Do a purchase: customer (reused by e-mail), order, item; subscription and paid initial invoice."""
        customer = self._customer_of(purchase)
        order_id, item_id = self.next_id("orders"), self.next_id("order-items")
        item = objects.order_item(order_id, item_id, purchase)
        self.add("order-items", {key: item[key] for key in item if key != "id"}, item_id)
        self._order_number += 1
        identifier = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        attributes = objects.order(self.store_id, int(customer["id"]), self._order_number, identifier, item, purchase)
        # Never in the future: a refund right after must not look older than the purchase.
        attributes["updated_at"] = min(attributes["updated_at"], iso(self.clock.now()))
        order = self.add("orders", attributes, order_id)
        if not purchase.variant["attributes"].get("is_subscription") or purchase.status not in PAYING:
            return Placed(order)
        return self._start_subscription(order, purchase, int(customer["id"]))

    def refund(self, order_id: int, amount_minor: int | None = None) -> Record:
        """Give money back: `amount_minor` in the order's currency, or all that remains. Raises RefundError."""
        order = self.tables["orders"].get(order_id)
        if order is None:
            raise KeyError(order_id)
        self._give_back(order, amount_minor)
        self.tables["orders"].put(order_id, order)
        invoice = self._initial_invoice(order_id)
        if invoice is not None and ORDER_REFUND_REFUNDS_ITS_INVOICE:
            self._give_back(invoice, amount_minor)
            self.tables["subscription-invoices"].put(int(invoice["id"]), invoice)
        return order

    def date_refund(self, order_id: int, moment: float) -> None:
        """Let a refund have happened at `moment` (Unix seconds): it dates the order and its invoice."""
        order, invoice = self.tables["orders"].get(order_id), self._initial_invoice(order_id)
        for resource in filter(None, (order, invoice)):
            attributes = resource["attributes"]
            attributes["updated_at"] = iso(moment)
            attributes["refunded_at"] = iso(moment) if attributes["refunded"] else None

    def renew(self, subscription_id: int, created: float) -> Record:
        """Add a paid renewal invoice made at `created` (Unix seconds). Renewals create no order (5.4)."""
        subscription = self.tables["subscriptions"].get(subscription_id)
        if subscription is None:
            raise KeyError(subscription_id)
        order = self.tables["orders"].get(subscription["attributes"]["order_id"])
        if order is None:
            raise KeyError(subscription["attributes"]["order_id"])
        paid = created + RENEWAL_PENDING_S
        subscription["attributes"]["updated_at"] = iso(paid)
        subscription["attributes"]["renews_at"] = iso(objects.months_later(created, 1))
        return self._invoice(order, subscription_id, reason="renewal", created=created, paid=paid)

    # --- parts ------------------------------------------------------------------------------------
    def _customer_of(self, purchase: Purchase) -> Record:
        table = self.tables["customers"]
        customer = next(iter(table.having("email", filter_key("email", purchase.email))), None)
        if customer is None:
            new_id = self.next_id("customers")
            customer = self.add("customers", objects.customer(self.store_id, new_id, purchase), new_id)
        if purchase.status == "paid" and not purchase.test_mode:
            usd = round(purchase.total_minor * float(rate_to_usd(purchase.currency)))
            attributes = customer["attributes"]
            attributes["total_revenue_currency"] = revenue = attributes["total_revenue_currency"] + usd
            attributes["total_revenue_currency_formatted"] = formatted(revenue, "USD")
        return customer

    def _start_subscription(self, order: Record, purchase: Purchase, customer_id: int) -> Placed:
        new_id = self.next_id("subscriptions")
        item = order["attributes"]["first_order_item"]
        renews = objects.months_later(purchase.created, 1)
        attributes = objects.subscription(self.store_id, new_id, customer_id, item, purchase, renews=renews)
        subscription = self.add("subscriptions", attributes, new_id)
        invoice = self._invoice(
            order, new_id, reason="initial", created=purchase.created - 1, paid=purchase.created + 1
        )
        return Placed(order, subscription, invoice)

    def _invoice(self, order: Record, subscription_id: int, *, reason: str, created: float, paid: float) -> Record:
        new_id = self.next_id("subscription-invoices")
        attributes = objects.subscription_invoice(
            order["attributes"],
            subscription_id,
            new_id,
            order["attributes"]["identifier"],
            reason=reason,
            created=created,
            paid=paid,
        )
        return self.add("subscription-invoices", attributes, new_id)

    def _initial_invoice(self, order_id: int) -> Record | None:
        for subscription in self.tables["subscriptions"].having("order_id", filter_key("order_id", order_id)):
            invoices = self.tables["subscription-invoices"].having("subscription_id", subscription["id"])
            for invoice in invoices:
                if invoice["attributes"]["billing_reason"] == "initial":
                    return invoice
        return None

    def _give_back(self, resource: Record, amount_minor: int | None) -> None:
        attributes = resource["attributes"]
        before, total = attributes.get("refunded_amount", 0), attributes["total"]
        if attributes["status"] not in ("paid", "partial_refund"):
            raise RefundError(f"an order with status {attributes['status']!r} cannot be refunded")
        amount = total - before if amount_minor is None else amount_minor
        if not 0 < amount <= total - before:
            raise RefundError(f"the amount must be between 1 and {total - before}")
        refunded, at = before + amount, iso(self.clock.now())
        usd = round(refunded * float(attributes["currency_rate"]))
        attributes["refunded_amount"] = refunded
        attributes["refunded_amount_usd"] = usd
        attributes["refunded_amount_formatted"] = formatted(refunded, attributes["currency"])
        attributes["status"] = "refunded" if refunded == total else self._faults.partial_refund_status
        attributes["status_formatted"] = objects.status_formatted(attributes["status"])
        attributes["refunded"] = refunded == total
        attributes["refunded_at"] = at if refunded == total else None
        attributes["updated_at"] = at
