"""What Lemon Squeezy has on file, and the entries a purchase, a refund or a renewal makes in it.

Nothing here tells webhooks or plans ahead: that is `life`, so that a seeded past stays silent.
"""

import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

from dealsync.simulator.assumptions import (
    FIRST_ORDER_NUMBER,
    INITIAL_INVOICE_REFUND_REFUNDS_ITS_ORDER,
    ORDER_REFUND_REFUNDS_ITS_INVOICE,
    TRIAL_HAS_AN_INVOICE,
)
from dealsync.simulator.clock import Clock, iso, unix
from dealsync.simulator.faults import Faults
from dealsync.simulator.lemonsqueezy import goods, objects
from dealsync.simulator.lemonsqueezy.catalogue import TYPES, Relation, filter_key
from dealsync.simulator.lemonsqueezy.money import formatted, rate_to_usd
from dealsync.simulator.lemonsqueezy.objects import Amounts, Purchase
from dealsync.simulator.lemonsqueezy.words import status_formatted
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
    "discounts": 80000,
    "discount-redemptions": 170000,
    "license-keys": 536000,
    "webhooks": 11600,
    "checkouts": 0,  # of the table; what the API shows is a UUID
}
PAYING = ("paid", "partial_refund", "refunded", "fraudulent")
RENEWAL_PENDING_S = 62 * 60  # a renewal is paid about an hour after its invoice was made (5.4)
ORDER_SETTLES_S = 60  # an order's updated_at moves by itself some minutes after the purchase (5.1)
EARNING = ("active", "past_due")  # subscriptions that count to a customer's mrr


@dataclass(frozen=True)
class Placed:
    """What one purchase made; subscription, invoice and key only where the variant has them and money came."""

    order: Record
    subscription: Record | None = None
    invoice: Record | None = None
    license_key: Record | None = None


class NotPossible(ValueError):
    """What was asked for cannot be done; the message says why."""


class Books:
    """Tables by resource type, one store, and the user behind the API key.

    A record may carry `hidden`: what Lemon Squeezy knows and no answer shows.
    """

    def __init__(self, clock: Clock, faults: Faults, rng: random.Random) -> None:
        self.clock = clock
        self.faults = faults
        self._rng = rng
        self.tables: dict[str, Table] = {name: kind.table() for name, kind in TYPES.items()}
        self.custom_data: dict[int, dict[str, str]] = {}  # order id -> for webhooks only, never in a GET
        self.user: Record = {}
        self.test_mode_key = False
        self._last_ids: Counter[str] = Counter(FIRST_IDS)
        self._order_number = FIRST_ORDER_NUMBER - 1

    # --- filing -----------------------------------------------------------------------------------
    def add(self, kind: str, attributes: Record, resource_id: int | None = None, **hidden: Any) -> Record:
        """File a new resource under the next id of its type; a variant brings its price."""
        new_id = self.next_id(kind) if resource_id is None else resource_id
        record: Record = {"type": kind, "id": str(new_id), "attributes": attributes}
        if hidden:
            record["hidden"] = hidden
        self.tables[kind].put(new_id, record)
        if kind == "variants":
            self.add("prices", goods.price(new_id, attributes), objects.price_id(new_id))
        return record

    def add_checkout(self, checkout_id: str, attributes: Record) -> Record:
        """File a checkout, the one type whose id is no number."""
        key = self.next_id("checkouts")
        record = {"type": "checkouts", "id": checkout_id, "attributes": attributes, "hidden": {"key": key}}
        self.tables["checkouts"].put(key, record)
        return record

    def put(self, record: Record) -> None:
        """File a changed resource anew."""
        self.tables[record["type"]].put(self.key(record), record)

    @staticmethod
    def key(record: Record) -> int:
        """Return the number a resource is filed under."""
        return int(record["hidden"]["key"] if record["type"] == "checkouts" else record["id"])

    def next_id(self, kind: str) -> int:
        """Return a new id of this type."""
        self._last_ids[kind] += 1
        return self._last_ids[kind]

    def new_uuid(self) -> str:
        """Return a random UUID, the same in every world of the same seed."""
        # As uuid.UUID(int=..., version=4) writes it, which takes three times as long.
        bits = self._rng.getrandbits(128) & ~(0xF << 76 | 0x3 << 62) | 4 << 76 | 0x2 << 62
        digits = f"{bits:032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def adopt(self, resource: Record) -> None:
        """File a recorded resource as it is; its type must be one we serve."""
        kind = resource["type"]
        if kind == "checkouts":
            held = self.find(kind, resource["id"])
            key = self.key(held) if held else self.next_id(kind)
            self.tables[kind].put(key, {**resource, "hidden": {"key": key}})
            return
        resource_id = int(resource["id"])
        self._last_ids[kind] = max(self._last_ids[kind], resource_id)
        self.tables[kind].put(resource_id, resource)
        if kind == "orders":
            self._order_number = max(self._order_number, int(resource["attributes"].get("order_number", 0)))

    def find(self, kind: str, resource_id: object) -> Record | None:
        """Return the resource with this id, given as the API shows it; None when there is none."""
        text = str(resource_id)
        if kind == "checkouts":
            return next(iter(self.tables[kind].having("id", text)), None)
        return self.tables[kind].get(int(text)) if text.isascii() and text.isdigit() else None

    def get(self, kind: str, resource_id: object) -> Record:
        """Return the resource with this id. Raises KeyError."""
        record = self.find(kind, resource_id)
        if record is None:
            raise KeyError(f"there is no {kind} {resource_id}")
        return record

    def related(self, record: Record, relation: Relation) -> list[Record]:
        """Return what a relation leads to, in the default order of its type; at most one for a relation to one."""
        if relation.name == "price-model":
            newest = self._ids("prices", "variant_id", record["id"])[:1]
            return [price for i in newest if (price := self.tables["prices"].get(i))]
        if relation.name == "variants" and record["type"] == "discounts":
            ids = record.get("hidden", {}).get("variants", ())
            return [variant for i in ids if (variant := self.find("variants", i))]
        table = self.tables[relation.target]
        if relation.many:
            found = (table.get(i) for i in self._ids(relation.target, relation.key, record["id"]))
            return [one for one in found if one is not None]
        one = self.find(relation.target, record["attributes"].get(relation.key))
        return [] if one is None else [one]

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

    # --- purchases --------------------------------------------------------------------------------
    def purchase(self, **given: Any) -> Purchase:
        """Return a `Purchase` of a variant of ours; keywords are its fields without `product`."""
        product = self.tables["products"].get(given["variant"]["attributes"]["product_id"])
        unknown = {"id": str(given["variant"]["attributes"]["product_id"]), "attributes": {"name": "Product"}}
        return Purchase(product=product or unknown, **given)

    def place(self, purchase: Purchase) -> Placed:
        """Do a purchase: customer (reused by e-mail), order, item; subscription and paid initial invoice; key."""
        customer = self._customer_of(purchase)
        order_id, item_id = self.next_id("orders"), self.next_id("order-items")
        item = objects.order_item(order_id, item_id, purchase)
        shown = item.copy()
        del shown["id"]
        self.add("order-items", shown, item_id)
        self._order_number += 1
        attributes = objects.order(
            self.store_id, int(customer["id"]), self._order_number, self.new_uuid(), item, purchase
        )
        if purchase.status == "paid":
            # Never in the future: a refund right after must not look older than the purchase.
            attributes["updated_at"] = iso(min(purchase.created + ORDER_SETTLES_S, self.clock.now()))
        order = self.add("orders", attributes, order_id)
        return self.deliver(order, purchase) if purchase.status in PAYING else Placed(order)

    def deliver(self, order: Record, purchase: Purchase) -> Placed:
        """Give what a paid order is for: a subscription with its first invoice, a license key."""
        subscription = invoice = key = None
        variant = purchase.variant["attributes"]
        if variant.get("is_subscription"):
            subscription, invoice = self._start_subscription(order, purchase)
        if variant.get("has_license_keys"):
            key = self.add_license_key(order, purchase.variant, purchase.created + 1)
        return Placed(order, subscription, invoice, key)

    def add_license_key(self, order: Record, variant: Record, at: float) -> Record:
        """Issue a license key for an order."""
        return self.add("license-keys", objects.license_key(order, variant, self.new_uuid().upper(), at))

    def bill(self, subscription: Record, amounts: Amounts, *, reason: str, created: float, card: bool = True) -> Record:
        """Add a pending invoice."""
        order = self.get("orders", subscription["attributes"]["order_id"])
        attributes = objects.subscription_invoice(
            order["attributes"], int(subscription["id"]), amounts, reason=reason, created=created, card=card
        )
        return self.add("subscription-invoices", attributes)

    def pay(self, invoice: Record, at: float) -> None:
        """Make a pending invoice a paid one."""
        subscription = self.get("subscriptions", invoice["attributes"]["subscription_id"])
        order = self.get("orders", subscription["attributes"]["order_id"])
        objects.pay(invoice, order["attributes"]["identifier"], at)
        self.put(invoice)

    def renew(self, subscription_id: int, created: float) -> Record:
        """Add a paid renewal invoice made at `created` (Unix seconds). Renewals create no order (5.4)."""
        subscription = self.get("subscriptions", subscription_id)
        invoice = self.bill(subscription, self.renewal_amounts(subscription), reason="renewal", created=created)
        self.pay(invoice, created + RENEWAL_PENDING_S)
        self.move_on(subscription, created)
        return invoice

    def move_on(self, subscription: Record, at: float) -> None:
        """Let the next period begin: recorded with the time of the renewal's invoice."""
        attributes = subscription["attributes"]
        attributes["renews_at"] = iso(self.period_end(subscription, at))
        attributes["updated_at"] = max(attributes["updated_at"], iso(at))  # a purchase dates it a second ahead
        self.put(subscription)

    def period_end(self, subscription: Record, start: float) -> float:
        """Return when a period that begins at `start` ends (Unix seconds)."""
        attributes = subscription["attributes"]
        variant = self.find("variants", attributes["variant_id"])
        unit, count = ("month", 1) if variant is None else _interval(variant)
        return objects.next_period(start, unit, count, attributes["billing_anchor"])

    def renewal_amounts(self, subscription: Record) -> Amounts:
        """Return what the next renewal costs: the running price, what a plan change left owing, discount, tax."""
        of = self.get("orders", subscription["attributes"]["order_id"])["attributes"]
        hidden = subscription.setdefault("hidden", {})
        item, quantity = of["first_order_item"], self.quantity(subscription)
        if "unit_minor" not in hidden and quantity == item.get("quantity", 1):
            subtotal = of["subtotal"]
        else:
            subtotal = hidden.get("unit_minor", item["price"]) * quantity
        discount = self._running_discount(hidden, subtotal)
        percent = round(float(of.get("tax_rate") or 0))
        return Amounts.charged(subtotal + hidden.pop("owed", 0), discount=discount, tax_percent=percent)

    def unit_minor(self, subscription: Record) -> int:
        """Return the running price of one seat, in the currency of the first order."""
        hidden = subscription.get("hidden", {})
        if "unit_minor" in hidden:
            return int(hidden["unit_minor"])
        order = self.get("orders", subscription["attributes"]["order_id"])
        return int(order["attributes"]["first_order_item"]["price"])

    @staticmethod
    def quantity(subscription: Record) -> int:
        """Return the number of seats."""
        return int((subscription["attributes"]["first_subscription_item"] or {}).get("quantity", 1))

    # --- refunds ----------------------------------------------------------------------------------
    def refund(self, order_id: int, amount_minor: int | None = None) -> Record:
        """Give money back: `amount_minor` in the order's currency, or all that remains. Raises NotPossible."""
        order = self.get("orders", order_id)
        self._give_back(
            order, self.initial_invoice(order_id) if ORDER_REFUND_REFUNDS_ITS_INVOICE else None, amount_minor
        )
        return order

    def refund_invoice(self, invoice_id: int, amount_minor: int | None = None) -> Record:
        """Give money of an invoice back. Raises NotPossible. A first invoice is its order's money."""
        invoice = self.get("subscription-invoices", invoice_id)
        order = self.order_of_initial(invoice) if INITIAL_INVOICE_REFUND_REFUNDS_ITS_ORDER else None
        self._give_back(invoice, order, amount_minor)
        return invoice

    def order_of_initial(self, invoice: Record) -> Record | None:
        """Return the order whose money a first invoice repeats; None for other invoices."""
        if invoice["attributes"]["billing_reason"] != "initial":
            return None
        subscription = self.get("subscriptions", invoice["attributes"]["subscription_id"])
        return self.find("orders", subscription["attributes"]["order_id"])

    def initial_invoice(self, order_id: int) -> Record | None:
        """Return the invoice that repeats an order's money; None for a one-time purchase."""
        for subscription in self.tables["subscriptions"].having("order_id", filter_key("order_id", order_id)):
            for invoice in self.invoices(subscription):
                if invoice["attributes"]["billing_reason"] == "initial":
                    return invoice
        return None

    def invoices(self, subscription: Record) -> list[Record]:
        """Return the invoices of a subscription, oldest first."""
        return self.tables["subscription-invoices"].having("subscription_id", subscription["id"])

    def date_refund(self, order_id: int, moment: float) -> None:
        """Let a refund have happened at `moment` (Unix seconds): it dates the order and its invoice."""
        order, invoice = self.tables["orders"].get(order_id), self.initial_invoice(order_id)
        for resource in filter(None, (order, invoice)):
            attributes = resource["attributes"]
            attributes["updated_at"] = iso(moment)
            attributes["refunded_at"] = iso(moment) if attributes["refunded"] else None

    # --- customers --------------------------------------------------------------------------------
    def customer(self, email: str, *, test_mode: bool) -> Record | None:
        """Return the customer of one mode with this e-mail; None when there is none."""
        found = self.tables["customers"].having("email", filter_key("email", email))
        return next((one for one in found if one["attributes"].get("test_mode", False) == test_mode), None)

    def count_mrr(self, subscription: Record) -> None:
        """Bring the customer's monthly revenue up to what this subscription pays now, test mode too (5.5)."""
        attributes, hidden = subscription["attributes"], subscription.setdefault("hidden", {})
        customer = self.find("customers", attributes["customer_id"])
        now = self._monthly_minor(subscription) if attributes["status"] in EARNING else 0
        if customer is None or now == hidden.get("mrr", 0):
            return
        mrr = customer["attributes"].get("mrr", 0) + now - hidden.get("mrr", 0)
        customer["attributes"].update(mrr=mrr, mrr_formatted=formatted(mrr, "USD"))
        hidden["mrr"] = now

    # --- parts ------------------------------------------------------------------------------------
    def _ids(self, kind: str, key: str, value: str) -> list[int]:
        where = {key: frozenset([filter_key(key, value)])}
        return self.tables[kind].select("default", descending=TYPES[kind].descending, where=where)

    def _customer_of(self, purchase: Purchase) -> Record:
        customer = self.customer(purchase.email, test_mode=purchase.test_mode)
        if customer is None:
            attributes = objects.customer(
                self.store_id, purchase.name, purchase.email, purchase.created, test_mode=purchase.test_mode
            )
            customer = self.add("customers", attributes)
        attributes = customer["attributes"]
        if "links" not in customer:  # recorded ones keep theirs
            objects.has_bought(int(customer["id"]), attributes)
        if purchase.status == "paid" and not purchase.test_mode:
            usd = round(purchase.total_minor * float(rate_to_usd(purchase.currency)))
            attributes["total_revenue_currency"] = revenue = attributes["total_revenue_currency"] + usd
            attributes["total_revenue_currency_formatted"] = formatted(revenue, "USD")
        return customer

    def _start_subscription(self, order: Record, purchase: Purchase) -> tuple[Record, Record | None]:
        new_id, of = self.next_id("subscriptions"), order["attributes"]
        if purchase.trial_days:
            renews = objects.next_period(purchase.created, "day", purchase.trial_days)
        else:
            renews = objects.next_period(purchase.created, *_interval(purchase.variant))
        attributes = objects.subscription(
            self.store_id, new_id, of["customer_id"], of["first_order_item"], purchase, renews=renews
        )
        subscription = self.add("subscriptions", attributes, new_id)
        if purchase.trial_days:
            subscription["hidden"] = {"unit_minor": of["first_order_item"]["price"]}
        item = attributes["first_subscription_item"]
        shown = {name: item[name] for name in item if name != "id"}
        self.add("subscription-items", shown, item["id"])
        self.count_mrr(subscription)
        if purchase.trial_days and not TRIAL_HAS_AN_INVOICE:
            return subscription, None
        amounts = Amounts(**{name.removesuffix("_total"): minor for name, minor in objects.money_of(of).items()})
        invoice = self.bill(subscription, amounts, reason="initial", created=purchase.created - 1)
        self.pay(invoice, purchase.created + 1)
        return subscription, invoice

    def _monthly_minor(self, subscription: Record) -> int:
        variant = self.find("variants", subscription["attributes"]["variant_id"])
        unit, count = ("month", 1) if variant is None else _interval(variant)
        months = {"day": 1 / 30, "week": 7 / 30, "month": 1, "year": 12}[unit] * count
        return round(self.unit_minor(subscription) * self.quantity(subscription) / months)

    @staticmethod
    def _running_discount(hidden: Record, subtotal: int) -> int:
        """Return what a repeating discount takes off this renewal, and count it."""
        running = hidden.get("discount")
        if running is None or running["left"] == 0:
            return 0
        if running["left"] is not None:
            running["left"] -= 1
        return discount_minor(running, subtotal)

    def _give_back(self, first: Record, twin: Record | None, amount_minor: int | None) -> None:
        """Refund a payment and, where there is one, the resource that repeats its money: both or none."""
        shares = [(one, _refundable(one, amount_minor)) for one in (first, twin) if one is not None]
        for resource, amount in shares:
            self._mark_refunded(resource, amount)

    def _mark_refunded(self, resource: Record, amount_minor: int) -> None:
        attributes, at = resource["attributes"], iso(self.clock.now())
        refunded, total = attributes.get("refunded_amount", 0) + amount_minor, attributes["total"]
        faults, is_order = self.faults, resource["type"] == "orders"
        partial = faults.partial_refund_status if is_order else faults.partial_invoice_refund_status
        status = "refunded" if refunded == total else partial
        attributes.update(
            refunded_amount=refunded,
            refunded_amount_usd=round(refunded * float(attributes["currency_rate"])),
            refunded_amount_formatted=formatted(refunded, attributes["currency"]),
            status=status,
            status_formatted=status_formatted(status),
            refunded=refunded == total,
            refunded_at=at if refunded == total else None,
            updated_at=at,
        )
        self.put(resource)


def _refundable(resource: Record, amount_minor: int | None) -> int:
    """Return what will be given back: `amount_minor`, or all that remains. Raises NotPossible."""
    attributes = resource["attributes"]
    if attributes["status"] not in ("paid", "partial_refund", "partial_refunded"):
        raise NotPossible(f"a payment with status {attributes['status']!r} cannot be refunded")
    rest = int(attributes["total"] - attributes.get("refunded_amount", 0))
    amount = rest if amount_minor is None else amount_minor
    if not 0 < amount <= rest:
        raise NotPossible(f"the amount must be between 1 and {rest}")
    return amount


def discount_minor(discount: Record, subtotal: int) -> int:
    """Return what a discount takes off, at most everything."""
    percent = discount["amount_type"] == "percent"
    off = round(subtotal * discount["amount"] / 100) if percent else discount["amount"]
    return max(0, min(subtotal, int(off)))


def _interval(variant: Record) -> tuple[str, int]:
    attributes = variant["attributes"]
    return attributes.get("interval") or "month", attributes.get("interval_count") or 1
