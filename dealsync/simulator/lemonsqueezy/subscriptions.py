"""The life of a subscription: renewals, failed payments, changes by the buyer; each is told, some come by themselves.

Source: Lemon Squeezy reference, 5.3 (state rules), 5.4 (invoices), 7.4 (what fires together). Methods that take a
resource change it in place and return it, or its invoice; `NotPossible` says why something cannot be done.
"""

from datetime import UTC, datetime
from typing import Any

from dealsync.simulator.assumptions import (
    DUNNING_RETRIES_S,
    UNPAID_EXPIRES_AFTER_S,
)
from dealsync.simulator.clock import iso, unix
from dealsync.simulator.lemonsqueezy import objects
from dealsync.simulator.lemonsqueezy.books import (
    RENEWAL_PENDING_S,
    Books,
    NotPossible,
)
from dealsync.simulator.lemonsqueezy.catalogue import due
from dealsync.simulator.lemonsqueezy.events import Events
from dealsync.simulator.lemonsqueezy.objects import Amounts
from dealsync.simulator.lemonsqueezy.words import status_formatted
from dealsync.simulator.schedule import Schedule
from dealsync.simulator.table import Between, Record

SWEEP_S = 3600  # automatic renewals are planned an hour ahead


class Subscriptions:
    """Changes subscriptions, tells the webhooks, and plans what follows."""

    def __init__(self, books: Books, events: Events, schedule: Schedule) -> None:
        self._books = books
        self._events = events
        self._schedule = schedule
        for kind, handler in {
            "item": self._touch_item,
            "paid": self._renewal_paid,
            "retry": self._retry,
            "expire": self._expire_planned,
            "unpause": self._unpause_planned,
            "due": self._go_on,
            "sweep": self._sweep,
        }.items():
            schedule.on(f"lemonsqueezy.{kind}", handler)
        self._plan_sweep()

    # --- renewals ---------------------------------------------------------------------------------
    def renew(self, subscription: Record) -> Record:
        """Let the next period begin: a pending invoice, paid about an hour later. Returns the invoice."""
        self._want(subscription, "active", "on_trial")
        invoice = self._bill_renewal(subscription)
        self._plan(RENEWAL_PENDING_S, "paid", {"invoice": int(invoice["id"])})
        return invoice

    def fail(self, subscription: Record) -> Record:
        """Let the payment of a renewal fail: of the pending one, or of one made now. Returns the invoice."""
        self._want(subscription, "active", "on_trial", "past_due")
        invoice = self._open_invoice(subscription) or self._bill_renewal(subscription)
        self._payment_failed(subscription, invoice, tried=0)
        return invoice

    def recover(self, subscription: Record) -> Record:
        """Let a failed payment succeed after all. Returns the invoice."""
        self._want(subscription, "past_due", "unpaid")
        invoice = self._open_invoice(subscription)
        if invoice is None:
            raise NotPossible("there is no open invoice")
        now = self._books.clock.now()
        self._books.pay(invoice, now)
        subscription["attributes"]["renews_at"] = iso(
            self._books.period_end(subscription, self._books.created(invoice))
        )
        self._status(subscription, "active")
        for name in ("subscription_payment_success", "subscription_payment_recovered"):
            self._events.tell(name, invoice)
        self._events.tell("subscription_updated", subscription)
        return invoice

    # --- changes of a subscription ----------------------------------------------------------------
    def cancel(self, subscription: Record) -> Record:
        """Cancel: grace until the end of the period, then expired. Cancelling twice changes nothing."""
        self._want_alive(subscription)
        attributes = subscription["attributes"]
        if attributes["cancelled"]:
            return subscription
        attributes.update(cancelled=True, ends_at=attributes["renews_at"])
        self._status(subscription, "cancelled")
        self._events.tell("subscription_updated", subscription)
        self._events.tell("subscription_cancelled", subscription)
        self._plan(1, "item", {"id": int(subscription["id"])})  # a second later the item changes, no one knows why
        self._schedule.at(unix(attributes["ends_at"]), "lemonsqueezy.expire", _mark(subscription, "ends_at"))
        return subscription

    def resume(self, subscription: Record) -> Record:
        """Take a cancellation back before it ends."""
        self._want(subscription, "cancelled")
        attributes = subscription["attributes"]
        attributes.update(cancelled=False, ends_at=None)
        self._status(subscription, "on_trial" if attributes["trial_ends_at"] else "active")
        return self._tell_of_change(subscription, "subscription_resumed")

    def pause(self, subscription: Record, mode: str = "void", resumes_at: float | None = None) -> Record:
        """Pause the collection of payments; `resumes_at` in Unix seconds."""
        self._want(subscription, "active", "on_trial", "past_due", "paused")
        attributes = subscription["attributes"]
        attributes["pause"] = {"mode": mode, "resumes_at": None if resumes_at is None else iso(resumes_at)}
        self._status(subscription, "paused")
        if resumes_at is not None:
            self._schedule.at(resumes_at, "lemonsqueezy.unpause", _mark(subscription, "pause"))
        return self._tell_of_change(subscription, "subscription_paused")

    def unpause(self, subscription: Record) -> Record:
        """Go on collecting payments."""
        self._want(subscription, "paused")
        attributes = subscription["attributes"]
        attributes["pause"] = None
        self._status(subscription, "on_trial" if attributes["trial_ends_at"] else "active")
        return self._tell_of_change(subscription, "subscription_unpaused")

    def expire(self, subscription: Record) -> Record:
        """End it now, for good; an open invoice is void then."""
        self._want_alive(subscription)
        attributes = subscription["attributes"]
        attributes["ends_at"] = iso(
            min(self._books.clock.now(), unix(attributes["ends_at"] or attributes["renews_at"]))
        )
        invoice = self._open_invoice(subscription)
        if invoice is not None:
            self._status(invoice, "void")
        self._status(subscription, "expired")
        return self._tell_of_change(subscription, "subscription_expired")

    def change_plan(
        self, subscription: Record, variant: Record, *, invoice_immediately: bool = False, prorate: bool = True
    ) -> Record:
        """Move to another variant at its own price."""
        self._want_alive(subscription)
        if not variant["attributes"].get("is_subscription"):
            raise NotPossible("the variant is no subscription")
        before, books, now = self._price_minor(subscription), self._books, self._books.clock.now()
        attributes, product = subscription["attributes"], None
        old, product = books.find("variants", attributes["variant_id"]), books.find("products", _product_id(variant))
        attributes.update(
            variant_id=int(variant["id"]),
            variant_name=variant["attributes"]["name"],
            product_id=_product_id(variant),
            product_name=product["attributes"]["name"] if product else attributes["product_name"],
        )
        subscription.setdefault("hidden", {})["unit_minor"] = variant["attributes"]["price"]
        self._item(subscription, price_id=objects.price_id(int(variant["id"])))
        if old is not None and old["attributes"].get("interval") != variant["attributes"].get("interval"):
            attributes["billing_anchor"] = datetime.fromtimestamp(now, UTC).day
            attributes["renews_at"] = iso(books.period_end(subscription, now))
        self._touch(subscription)
        self._events.tell("subscription_updated", subscription)
        self._prorate(subscription, before, invoice_immediately=invoice_immediately, prorate=prorate)
        return subscription

    def change_quantity(
        self, subscription: Record, quantity: int, *, invoice_immediately: bool = False, prorate: bool = True
    ) -> Record:
        """Change the number of seats."""
        self._want_alive(subscription)
        before = self._price_minor(subscription)
        self._item(subscription, quantity=quantity)
        self._touch(subscription)
        self._events.tell("subscription_updated", subscription)
        self._prorate(subscription, before, invoice_immediately=invoice_immediately, prorate=prorate)
        return subscription

    def extend_trial(self, subscription: Record, ends_at: float) -> Record:
        """Put the end of the trial (Unix seconds), and with it the first renewal, somewhere else."""
        self._want(subscription, "active", "on_trial")
        subscription["attributes"].update(trial_ends_at=iso(ends_at), renews_at=iso(ends_at))
        self._status(subscription, "on_trial")
        return self._tell_of_change(subscription)

    def set_anchor(self, subscription: Record, day: int | None) -> Record:
        """Renew on this day of the month from now on; None or 0 is today."""
        self._want_alive(subscription)
        now = self._books.clock.now()
        today = datetime.fromtimestamp(now, UTC).day
        attributes = subscription["attributes"]
        attributes["billing_anchor"] = day or today
        this_month = objects.months_later(now, 0, attributes["billing_anchor"])
        next_month = objects.months_later(now, 1, attributes["billing_anchor"])
        attributes["renews_at"] = iso(this_month if this_month > now else next_month)
        self._touch(subscription)
        return self._tell_of_change(subscription)

    # --- what was planned -------------------------------------------------------------------------
    def _plan(self, wait_s: float, kind: str, payload: Record) -> None:
        self._schedule.at(self._books.clock.now() + wait_s, f"lemonsqueezy.{kind}", payload)

    def _touch_item(self, payload: Record) -> None:
        """Change the item only: the next body has the subscription's old updated_at (7.3)."""
        subscription = self._books.find("subscriptions", payload["id"])
        if subscription is not None:
            self._item(subscription)
            self._events.tell("subscription_updated", subscription, **payload.get("shown", {}))

    def _renewal_paid(self, payload: Record) -> None:
        invoice = self._books.get("subscription-invoices", payload["invoice"])
        if invoice["attributes"]["status"] == "pending" and not invoice.get("hidden", {}).get("failed"):
            self._books.pay(invoice, self._books.clock.now())
            self._events.tell("subscription_payment_success", invoice)

    def _retry(self, payload: Record) -> None:
        subscription = self._books.get("subscriptions", payload["id"])
        invoice = self._open_invoice(subscription)
        still_due = subscription["attributes"]["status"] == "past_due"
        if still_due and invoice is not None and int(invoice["id"]) == payload["invoice"]:
            self._payment_failed(subscription, invoice, tried=payload["tried"])

    def _expire_planned(self, payload: Record) -> None:
        subscription = self._books.get("subscriptions", payload["id"])
        attributes = subscription["attributes"]
        planned_so = attributes["status"] == payload["status"] and _mark(subscription, payload["name"]) == payload
        if planned_so:
            self.expire(subscription)

    def _unpause_planned(self, payload: Record) -> None:
        subscription = self._books.get("subscriptions", payload["id"])
        if subscription["attributes"]["status"] == "paused" and _mark(subscription, "pause") == payload:
            self.unpause(subscription)

    def _sweep(self, payload: Record) -> None:
        """Plan the renewals of the next hour, if they come by themselves; one overdue is planned for now."""
        now = self._books.clock.now()
        if self._books.faults.ls_automatic_renewals:
            table = self._books.tables["subscriptions"]
            for subscription_id in table.select("due", between=Between("due", None, int(now + SWEEP_S))):
                subscription = table.get(subscription_id)
                moment = due(subscription) if subscription else None
                if moment is not None:
                    self._schedule.at(max(now, moment), "lemonsqueezy.due", {"id": subscription_id, "due": moment})
        self._plan_sweep()

    def _plan_sweep(self) -> None:
        """Look again at the next full hour: a moment that is the same in every world started in this one."""
        self._schedule.at((self._books.clock.now() // SWEEP_S + 1) * SWEEP_S, "lemonsqueezy.sweep", {})

    def _go_on(self, payload: Record) -> None:
        subscription = self._books.get("subscriptions", payload["id"])
        if due(subscription) != payload["due"] or not self._books.faults.ls_automatic_renewals:
            return
        attributes = subscription["attributes"]
        if attributes["status"] != "paused":
            self.renew(subscription)
        else:
            if attributes["pause"]["mode"] == "void":  # an invoice that nobody has to pay
                amounts = self._books.renewal_amounts(subscription)
                invoice = self._books.bill(subscription, amounts, reason="renewal", created=self._books.clock.now())
                self._status(invoice, "void")
            self._books.move_on(subscription, payload["due"])
            self._events.tell("subscription_updated", subscription)

    # --- parts ------------------------------------------------------------------------------------
    def _tell_of_change(self, subscription: Record, *names: str) -> Record:
        for name in ("subscription_updated", *names):
            self._events.tell(name, subscription)
        return subscription

    def _bill_renewal(self, subscription: Record) -> Record:
        """Make a pending invoice; the next period, or after a trial the first one, begins."""
        now, attributes = self._books.clock.now(), subscription["attributes"]
        amounts = self._books.renewal_amounts(subscription)
        invoice = self._books.bill(subscription, amounts, reason="renewal", created=now)
        if attributes["status"] == "on_trial":
            attributes["trial_ends_at"] = None
        self._books.move_on(subscription, now)
        self._status(subscription, "active")
        self._events.tell("subscription_updated", subscription)
        return invoice

    def _payment_failed(self, subscription: Record, invoice: Record, *, tried: int) -> None:
        """Note a failed payment: past due while there are retries left, then unpaid, in the end expired."""
        invoice.setdefault("hidden", {})["failed"] = True
        self._touch(invoice)
        attributes, now = subscription["attributes"], self._books.clock.now()
        if tried < len(DUNNING_RETRIES_S):
            moment = now + DUNNING_RETRIES_S[tried]
            attributes["renews_at"] = iso(moment)  # for past_due the next retry (5.3)
            self._status(subscription, "past_due")
            payload = {"id": int(subscription["id"]), "invoice": int(invoice["id"]), "tried": tried + 1}
            self._schedule.at(moment, "lemonsqueezy.retry", payload)
        else:
            self._status(subscription, "unpaid")
            mark = _mark(subscription, "renews_at")
            self._schedule.at(now + UNPAID_EXPIRES_AFTER_S, "lemonsqueezy.expire", mark)
        self._events.tell("subscription_payment_failed", invoice)
        self._events.tell("subscription_updated", subscription)

    def _open_invoice(self, subscription: Record) -> Record | None:
        """Return the newest pending invoice."""
        pending = [one for one in self._books.invoices(subscription) if one["attributes"]["status"] == "pending"]
        return pending[-1] if pending else None

    def _price_minor(self, subscription: Record) -> int:
        return self._books.unit_minor(subscription) * self._books.quantity(subscription)

    def _prorate(self, subscription: Record, before_minor: int, *, invoice_immediately: bool, prorate: bool) -> None:
        """Charge the rest of the period by the difference of prices: at once, or with the next renewal.

        `before_minor` is the price of a period until now. Trials and those who leave owe nothing.
        """
        if not prorate or subscription["attributes"]["status"] not in ("active", "past_due"):
            return
        now = self._books.clock.now()
        rest = unix(subscription["attributes"]["renews_at"]) - now
        period = self._books.period_end(subscription, now) - now
        owed = round((self._price_minor(subscription) - before_minor) * max(0.0, min(1.0, rest / period)))
        if not invoice_immediately:
            hidden = subscription.setdefault("hidden", {})
            hidden["owed"] = hidden.get("owed", 0) + owed
            return
        invoice = self._books.bill(subscription, Amounts.charged(owed), reason="updated", created=now, card=False)
        self._books.pay(invoice, now + 1)
        self._events.tell("subscription_payment_success", invoice)

    def _item(self, subscription: Record, **changes: Any) -> None:
        """Change a subscription's item, in both places where it shows."""
        now = iso(self._books.clock.now())
        first = subscription["attributes"]["first_subscription_item"]
        if first is None:
            return
        # A new object: an answer under way may still show the old one.
        first = {**first, **changes, "updated_at": now}
        subscription["attributes"]["first_subscription_item"] = first
        item = self._books.find("subscription-items", first["id"])
        if item is not None:
            item["attributes"].update(changes, updated_at=now)
            self._books.put(item)
        self._books.put(subscription)

    def _status(self, record: Record, status: str) -> Record:
        record["attributes"].update(status=status, status_formatted=status_formatted(status))
        return self._touch(record)

    def _touch(self, record: Record) -> Record:
        attributes = record["attributes"]
        # A purchase is dated a second ahead; what happens within that second comes after it all the same.
        attributes["updated_at"] = max(attributes["updated_at"], iso(self._books.clock.now()))
        if record["type"] == "subscriptions":
            self._books.count_mrr(record)
        self._books.put(record)
        return record

    @staticmethod
    def _want(subscription: Record, *statuses: str) -> None:
        status = subscription["attributes"]["status"]
        if status not in statuses:
            raise NotPossible(f"a subscription with status {status!r} cannot do that; it must be {', '.join(statuses)}")

    @staticmethod
    def _want_alive(subscription: Record) -> None:
        if subscription["attributes"]["status"] == "expired":
            raise NotPossible("an expired subscription is not taken up again")


def _mark(subscription: Record, name: str) -> Record:
    """Return what a plan remembers, to see later that nothing has changed since."""
    attributes = subscription["attributes"]
    return {
        "id": int(subscription["id"]),
        "status": attributes["status"],
        "name": name,
        "value": attributes[name],
    }


def _product_id(variant: Record) -> int:
    return int(variant["attributes"]["product_id"])
