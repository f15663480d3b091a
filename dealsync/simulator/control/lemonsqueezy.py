"""What happens in the store: buyers, staff and time, as no API call does it. Never rate limited.

Every action answers with the resource it is about, as the API shows it; webhooks are told.
"""

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dealsync.simulator.addresses import mounted_at
from dealsync.simulator.control.parts import Handler, InputError, count, flag, number, only, route, text
from dealsync.simulator.lemonsqueezy import checkouts, events, goods, wire
from dealsync.simulator.lemonsqueezy.books import discount_minor
from dealsync.simulator.lemonsqueezy.checkouts import Buyer
from dealsync.simulator.lemonsqueezy.state import PAYING, NotPossible
from dealsync.simulator.table import Record
from dealsync.simulator.world import World

DAY_S = 24 * 3600
ORDER_STATUSES = (*PAYING, "pending", "failed")
INTERVALS = ("day", "week", "month", "year")
INDEX = {
    "POST /control/orders": "a purchase: email, name?, variant_id?, quantity?, total? (minor units), currency?,"
    " lead_id? or custom_data?, discount_code?, tax_percent?, age_minutes?, test_mode?, status?",
    "POST /control/orders/{id}/refund": "give back amount? (minor units), or all that remains",
    "POST /control/orders/{id}/settle": "a pending order becomes status: paid or failed",
    "POST /control/orders/{id}/fraudulent": "mark it as fraud",
    "POST /control/orders/{id}/license-key": "issue a license key",
    "POST /control/checkouts/{id}/pay": "buy through a checkout: email?, name?, discount_code?, quantity?, status?;"
    " meta.redirect_url tells where the buyer is sent afterwards",
    "POST /control/subscriptions/{id}/renew": "the next period: an invoice, paid after an hour",
    "POST /control/subscriptions/{id}/fail": "the payment fails: past due, four retries, unpaid, expired",
    "POST /control/subscriptions/{id}/recover": "the failed payment succeeds after all",
    "POST /control/subscriptions/{id}/cancel": "cancel, with grace until the period ends",
    "POST /control/subscriptions/{id}/resume": "take the cancellation back",
    "POST /control/subscriptions/{id}/pause": "pause: mode? (void or free), resumes_in_days?",
    "POST /control/subscriptions/{id}/unpause": "go on",
    "POST /control/subscriptions/{id}/expire": "end it now",
    "POST /control/subscriptions/{id}/plan": "another variant: variant_id, invoice_immediately?, prorate?",
    "POST /control/subscriptions/{id}/seats": "another quantity: quantity, invoice_immediately?, prorate?",
    "POST /control/subscription-invoices/{id}/refund": "give back amount? (minor units), or all that remains",
    "POST /control/variants": "something to sell: name, price (minor units), product_id?, interval? (day, week,"
    " month, year), trial_days?, license_keys?, test_mode?",
    "POST /control/webhooks/{id}/simulate": "send an event of the dashboard: event, type, id (the object as it is now)",
}


class LemonSqueezyControl:
    """Request -> change of the store -> response."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._store = world.lemon_squeezy
        self._life = world.lemon_squeezy.life

    def routes(self) -> list[Route]:
        """Return the routes under /control."""
        life, orders, invoices = self._life, "orders", "subscription-invoices"
        paths: dict[str, Handler] = {
            "orders": self.place_order,
            "orders/{id:int}/refund": self._refund(orders, life.refund_order),
            "orders/{id:int}/settle": self.settle_order,
            "orders/{id:int}/fraudulent": self._act(orders, life.mark_fraudulent),
            "orders/{id:int}/license-key": self._act(orders, life.issue_license_key, status=201),
            "checkouts/{id}/pay": self.pay_checkout,
            "subscriptions/{id:int}/pause": self.pause,
            "subscriptions/{id:int}/plan": self.change_plan,
            "subscriptions/{id:int}/seats": self.change_seats,
            "subscription-invoices/{id:int}/refund": self._refund(invoices, life.refund_invoice),
            "variants": self.add_variant,
            "webhooks/{id:int}/simulate": self.simulate_event,
        }
        plain = (life.renew, life.fail, life.recover, life.cancel, life.resume, life.unpause, life.expire)
        paths |= {f"subscriptions/{{id:int}}/{act.__name__}": self._act("subscriptions", act) for act in plain}
        return [route(f"/control/{path}", "POST", handler) for path, handler in paths.items()]

    # --- purchases --------------------------------------------------------------------------------
    async def place_order(self, request: Request, body: Record) -> Response:
        """Do a purchase; 201 with the order resource."""
        only(
            body,
            "email name variant_id quantity total currency lead_id custom_data discount_code tax_percent age_minutes"
            " test_mode status",
        )
        store, email = self._store, text(body, "email")
        variant = self._variant(body)
        quantity = count(body, "quantity", 1)
        trial_days = checkouts.trial_days(variant)
        test_mode = flag(body, "test_mode", default=store.test_mode_key)
        price, discount = variant["attributes"]["price"] * quantity, None
        off = 0
        if body.get("discount_code") is not None and not trial_days:
            code = text(body, "discount_code")
            discount = self._possible(lambda: checkouts.find_discount(store, code, variant, test_mode=test_mode))
            off = discount_minor(discount["attributes"], price)
        status = text(body, "status", "paid")
        if status not in ORDER_STATUSES:
            raise InputError(f"status must be one of: {', '.join(ORDER_STATUSES)}")
        purchase = store.purchase(
            name=text(body, "name", email.strip().partition("@")[0]),
            email=email,
            variant=variant,
            total_minor=int(number(body, "total", 0 if trial_days else price - off, whole=True)),
            currency=text(body, "currency", "USD").upper(),
            quantity=quantity,
            status=status,
            created=self._world.clock.now() - number(body, "age_minutes", 0) * 60,
            test_mode=test_mode,
            discount_minor=off,
            tax_percent=int(number(body, "tax_percent", 0, whole=True)),
            unit_minor=variant["attributes"]["price"] if trial_days else None,
            trial_days=trial_days,
        )
        placed = self._life.buy(purchase, custom_data=_custom_data(body), discount=discount)
        return self._answer(request, placed.order, 201)

    async def pay_checkout(self, request: Request, body: Record) -> Response:
        """Buy through an issued checkout; 201 with the order. An expired one is refused."""
        only(body, "email name discount_code quantity status")
        checkout = self._found("checkouts", request.path_params["id"])
        status = text(body, "status", "paid")
        if status not in ("paid", "pending", "failed"):
            raise InputError("status must be one of: paid, pending, failed")
        typed = {name: text(body, name) for name in ("email", "name", "discount_code") if body.get(name) is not None}
        quantity = None if body.get("quantity") is None else count(body, "quantity", 1)
        buyer = Buyer(**typed, quantity=quantity, status=status)
        placed = self._possible(lambda: checkouts.pay(self._store, self._life, checkout, buyer))
        where = checkouts.redirect_after(checkout, placed.order)
        return self._answer(request, placed.order, 201, meta={"redirect_url": where} if where else None)

    async def settle_order(self, request: Request, body: Record) -> Response:
        """Let a pending order be paid or fail."""
        only(body, "status")
        order, status = self._found("orders", request.path_params["id"]), text(body, "status")
        return self._answer(request, self._possible(lambda: self._life.settle(order, status)))

    async def add_variant(self, request: Request, body: Record) -> Response:
        """Add a variant, with a product of its own unless one is named; 201 with the variant."""
        only(body, "name price product_id interval trial_days license_keys test_mode")
        store, now = self._store, self._world.clock.now()
        name, price = text(body, "name"), int(number(body, "price", None, whole=True))
        interval = None if body.get("interval") is None else text(body, "interval")
        if interval not in (None, *INTERVALS):
            raise InputError(f"interval must be one of: {', '.join(INTERVALS)}")
        test_mode = flag(body, "test_mode", default=store.test_mode_key)
        if body.get("product_id") is None:
            product = store.add("products", goods.product(store.store_id, name, price, now, test_mode=test_mode))
        else:
            product = self._found("products", body["product_id"])
        attributes = goods.variant(
            int(product["id"]),
            name,
            price,
            sort=len(store.tables["variants"].having("product_id", product["id"])) + 1,
            slug=store.new_uuid(),
            at=now,
            interval=interval,
            trial_days=int(number(body, "trial_days", 0, whole=True)),
            license_keys=flag(body, "license_keys", default=False),
            test_mode=test_mode,
        )
        return self._answer(request, store.add("variants", attributes), 201)

    # --- subscriptions ----------------------------------------------------------------------------
    async def pause(self, request: Request, body: Record) -> Response:
        """Pause the collection of payments."""
        only(body, "mode resumes_in_days")
        subscription, mode = self._found("subscriptions", request.path_params["id"]), text(body, "mode", "void")
        if mode not in ("void", "free"):
            raise InputError("mode must be one of: void, free")
        days = None if body.get("resumes_in_days") is None else number(body, "resumes_in_days", None)
        until = None if days is None else self._world.clock.now() + days * DAY_S
        return self._answer(request, self._possible(lambda: self._life.pause(subscription, mode, until)))

    async def change_plan(self, request: Request, body: Record) -> Response:
        """Change the plan, charged for at once unless told otherwise."""
        only(body, "variant_id invoice_immediately prorate")
        subscription = self._found("subscriptions", request.path_params["id"])
        if "variant_id" not in body:
            raise InputError("variant_id is missing")
        variant, how = self._variant(body), _how_to_charge(body)
        return self._answer(request, self._possible(lambda: self._life.change_plan(subscription, variant, **how)))

    async def change_seats(self, request: Request, body: Record) -> Response:
        """Change the quantity, charged for at once unless told otherwise."""
        only(body, "quantity invoice_immediately prorate")
        subscription = self._found("subscriptions", request.path_params["id"])
        quantity, how = int(number(body, "quantity", None, whole=True)), _how_to_charge(body)
        return self._answer(request, self._possible(lambda: self._life.change_quantity(subscription, quantity, **how)))

    # --- webhooks ---------------------------------------------------------------------------------
    async def simulate_event(self, request: Request, body: Record) -> Response:
        """Send the current object under any event's name, as the dashboard does; 201 with the delivery."""
        only(body, "event type id")
        webhook = self._found("webhooks", request.path_params["id"])
        name = text(body, "event")
        if name not in events.NAMES:
            raise InputError(f"event must be one of: {', '.join(events.NAMES)}")
        if "secret" not in webhook.get("hidden", {}):
            raise InputError("the secret of a recorded webhook is not known")
        kind = text(body, "type")
        if kind not in self._store.tables:
            raise InputError(f"there are no {kind}")
        record = self._found(kind, body.get("id"))
        return JSONResponse(self._store.events.send(webhook, name, record).shown(), 201)

    # --- parts ------------------------------------------------------------------------------------
    def _act(self, kind: str, action: Callable[[Record], Record], *, status: int = 200) -> Handler:
        """Return a handler that does something to one resource, without more to say."""

        async def handler(request: Request, body: Record) -> Response:
            only(body, "")
            record = self._found(kind, request.path_params["id"])
            return self._answer(request, self._possible(lambda: action(record)), status)

        return handler

    def _refund(self, kind: str, action: Callable[[Record, int | None], Record]) -> Handler:
        async def handler(request: Request, body: Record) -> Response:
            only(body, "amount")
            record = self._found(kind, request.path_params["id"])
            amount = None if body.get("amount") is None else int(number(body, "amount", 0, whole=True))
            return self._answer(request, self._possible(lambda: action(record, amount)))

        return handler

    def _found(self, kind: str, resource_id: object) -> Record:
        record = self._store.find(kind, resource_id)
        if record is None:
            raise InputError(f"there is no {kind.rstrip('s')} {resource_id}", 404)
        return record

    def _possible(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except NotPossible as reason:
            raise InputError(str(reason)) from None

    def _variant(self, body: Record) -> Record:
        variants = self._store.tables["variants"]
        variant_id = body.get("variant_id", next(iter(variants.ids()), None))
        variant = self._store.find("variants", variant_id)
        if variant is None:
            raise InputError(f"there is no variant {variant_id}; known are: {', '.join(map(str, variants.ids()))}")
        return variant

    def _answer(self, request: Request, record: Record, status: int = 200, meta: Record | None = None) -> Response:
        documents = wire.Documents(self._store, f"{mounted_at(request)}/lemonsqueezy/v1")
        return wire.answer({**documents.single(record), **({"meta": meta} if meta else {})}, status)


def _custom_data(body: Record) -> dict[str, str]:
    custom = body.get("custom_data") or {}
    if not isinstance(custom, dict):
        raise InputError("custom_data must be an object")
    lead_id = body.get("lead_id")
    return checkouts.custom_strings({**custom, **({} if lead_id is None else {"kommo_lead_id": lead_id})})


def _how_to_charge(body: Record) -> dict[str, bool]:
    return {name: flag(body, name, default=True) for name in ("invoice_immediately", "prorate")}
