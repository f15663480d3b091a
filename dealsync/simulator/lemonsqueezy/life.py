"""What happens in a store: purchases, refunds, license keys, and the life of subscriptions; each is told.

Source: Lemon Squeezy reference, 5.1, 5.9, 7.4. Methods that take a resource change it in place and return it;
`NotPossible` says why something cannot be done.
"""

from dealsync.simulator.assumptions import (
    FIRST_UPDATE_AFTER_S,
    PARTIAL_INVOICE_REFUND_IS_TOLD,
    SECOND_UPDATE_AFTER_S,
)
from dealsync.simulator.lemonsqueezy import goods
from dealsync.simulator.lemonsqueezy.books import (
    ORDER_SETTLES_S,
    Books,
    NotPossible,
    Placed,
)
from dealsync.simulator.lemonsqueezy.events import Events
from dealsync.simulator.lemonsqueezy.objects import Purchase
from dealsync.simulator.lemonsqueezy.subscriptions import Subscriptions
from dealsync.simulator.schedule import Schedule
from dealsync.simulator.table import Record


class Life(Subscriptions):
    """Changes the books, tells the webhooks, and plans what follows."""

    def __init__(self, books: Books, events: Events, schedule: Schedule) -> None:
        super().__init__(books, events, schedule)
        schedule.on("lemonsqueezy.settle", self._settle_order)

    # --- purchases --------------------------------------------------------------------------------
    def buy(
        self, purchase: Purchase, *, custom_data: dict[str, str] | None = None, discount: Record | None = None
    ) -> Placed:
        """Do a purchase, now or a while ago. Pending and failed orders are not told of."""
        placed = self._books.place(purchase)
        order_id = int(placed.order["id"])
        if custom_data:
            self._books.custom_data[order_id] = custom_data
        if discount is not None:
            self._redeem(discount, placed, purchase)
        if purchase.status == "paid":
            wait_s = purchase.created + ORDER_SETTLES_S - self._books.clock.now()
            if wait_s > 0:
                updated_at = placed.order["attributes"]["updated_at"]
                self._plan(wait_s, "settle", {"id": order_id, "updated_at": updated_at})
            self._tell_of_purchase(placed)
        return placed

    def settle(self, order: Record, status: str) -> Record:
        """Let a pending order be paid or fail; `order_created` comes when it is paid."""
        attributes = order["attributes"]
        if attributes["status"] != "pending":
            raise NotPossible(f"an order with status {attributes['status']!r} is settled already")
        if status not in ("paid", "failed"):
            raise NotPossible("a pending order becomes paid or failed")
        self._status(order, status)
        if status == "paid":
            item = attributes["first_order_item"]
            purchase = self._books.purchase(
                name=attributes["user_name"],
                email=attributes["user_email"],
                variant=self._books.get("variants", item["variant_id"]),
                total_minor=attributes["total"],
                currency=attributes["currency"],
                quantity=item["quantity"],
                status="paid",
                created=self._books.clock.now(),
                test_mode=attributes["test_mode"],
            )
            self._tell_of_purchase(self._books.deliver(order, purchase))
        return order

    def mark_fraudulent(self, order: Record) -> Record:
        """Mark an order as fraud; no event is known for it."""
        if order["attributes"]["status"] in ("pending", "failed"):
            raise NotPossible("an order nobody paid is not fraudulent")
        return self._status(order, "fraudulent")

    def issue_license_key(self, order: Record) -> Record:
        """Issue one more license key for an order."""
        variant = self._books.get("variants", order["attributes"]["first_order_item"]["variant_id"])
        key = self._books.add_license_key(order, variant, self._books.clock.now())
        self._events.tell("license_key_created", key, instances_count=None)
        return key

    def change_license_key(self, key: Record, changes: Record) -> Record:
        """Change activation limit, expiry or disable a key."""
        attributes = key["attributes"]
        attributes.update(changes)
        status = "disabled" if attributes["disabled"] else "active" if attributes["instances_count"] else "inactive"
        self._status(key, status)
        self._events.tell("license_key_updated", key)
        return key

    # --- refunds ----------------------------------------------------------------------------------
    def refund_order(self, order: Record, amount_minor: int | None = None) -> Record:
        """Give money of an order back, now; its first invoice follows."""
        invoice = self._books.initial_invoice(int(order["id"]))
        before = invoice and invoice["attributes"].get("refunded_amount")
        self._books.refund(int(order["id"]), amount_minor)
        self._events.tell("order_refunded", order)
        if invoice is not None and invoice["attributes"].get("refunded_amount") != before:
            self._tell_of_invoice_refund(invoice)
        return order

    def refund_invoice(self, invoice: Record, amount_minor: int | None = None) -> Record:
        """Give money of an invoice back, now; a first one takes its order with it."""
        order = self._books.order_of_initial(invoice)
        before = order and order["attributes"].get("refunded_amount")
        self._books.refund_invoice(int(invoice["id"]), amount_minor)
        if order is not None and order["attributes"].get("refunded_amount") != before:
            self._events.tell("order_refunded", order)
        self._tell_of_invoice_refund(invoice)
        return invoice

    # --- parts ------------------------------------------------------------------------------------
    def _settle_order(self, payload: Record) -> None:
        """Let an order's updated_at move by itself, unless something else has moved it (5.1)."""
        order = self._books.find("orders", payload["id"])
        if order is not None and order["attributes"]["updated_at"] == payload["updated_at"]:
            self._touch(order)

    def _redeem(self, discount: Record, placed: Placed, purchase: Purchase) -> None:
        of, order_id = discount["attributes"], int(placed.order["id"])
        self._books.add(
            "discount-redemptions",
            goods.redemption(
                int(discount["id"]), of, order_id, placed.order["attributes"]["discount_total"], purchase.created
            ),
        )
        if placed.subscription is not None and of["duration"] != "once":
            left = None if of["duration"] == "forever" else max(0, of["duration_in_months"] - 1)
            running = {"amount": of["amount"], "amount_type": of["amount_type"], "left": left}
            placed.subscription.setdefault("hidden", {})["discount"] = running

    def _tell_of_purchase(self, placed: Placed) -> None:
        self._events.tell("order_created", placed.order)
        if placed.license_key is not None:
            self._events.tell("license_key_created", placed.license_key, instances_count=None)
        subscription = placed.subscription
        if subscription is None:
            return
        self._events.tell("subscription_created", subscription)
        if placed.invoice is not None:
            self._events.tell("subscription_payment_success", placed.invoice)
        # One recorded update of the first minute had renews_at = time of purchase (7.4).
        shown = {"renews_at": placed.order["attributes"]["created_at"]} if self._books.faults.ls_early_renews_at else {}
        self._plan(FIRST_UPDATE_AFTER_S, "item", {"id": int(subscription["id"]), "shown": shown})
        self._events.tell_later("subscription_updated", subscription, SECOND_UPDATE_AFTER_S, **shown)

    def _tell_of_invoice_refund(self, invoice: Record) -> None:
        if invoice["attributes"]["refunded"] or PARTIAL_INVOICE_REFUND_IS_TOLD:
            self._events.tell("subscription_payment_refunded", invoice)
