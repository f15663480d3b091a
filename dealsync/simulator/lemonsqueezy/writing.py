"""The REST routes under /v1 that write: each call of section 6 of the Lemon Squeezy reference."""

import re
from typing import Any
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dealsync.simulator.assumptions import (
    CUSTOM_NULLS_ARE_ACCEPTED,
    CUSTOM_NUMBERS_ARE_ACCEPTED,
    DUPLICATE_CODE_IS_REFUSED,
    DUPLICATE_EMAIL_IS_REFUSED,
    IMPOSSIBLE_CHANGE_STATUS,
    REFUND_OVER_THE_REST_STATUS,
    WRONG_VARIANT_STATUS,
)
from dealsync.simulator.clock import iso
from dealsync.simulator.lemonsqueezy import checkouts, events, given, goods, objects, wire
from dealsync.simulator.lemonsqueezy.access import guarded, root_of, visible
from dealsync.simulator.lemonsqueezy.books import NotPossible
from dealsync.simulator.lemonsqueezy.given import Attributes
from dealsync.simulator.lemonsqueezy.wire import UNPROCESSABLE, ApiError, Documents
from dealsync.simulator.lemonsqueezy.words import APP_URL, COUNTRIES, SIGNATURE, status_formatted
from dealsync.simulator.table import Record
from dealsync.simulator.world import World

CODE = re.compile(r"[A-Z0-9]{3,256}")
INVOICE_FIELDS = ("name", "address", "city", "state", "zip_code", "country", "notes")
NOT_A_STRING = "The {0} field must be a string."  # the placeholder is literally unfilled (4)


class Writing:
    """Request -> change of the store -> response."""

    def __init__(self, world: World) -> None:
        self._faults = world.faults
        self._store = world.lemon_squeezy
        self._life = world.lemon_squeezy.life

    def routes(self) -> list[Route]:
        """Return the routes, to be mounted at the API's root."""
        table = (
            ("POST", "checkouts", self.create_checkout),
            ("POST", "webhooks", self.create_webhook),
            ("PATCH", "webhooks/{id}", self.change_webhook),
            ("DELETE", "webhooks/{id}", self.delete_webhook),
            ("POST", "orders/{id}/refund", self.refund_order),
            ("POST", "subscription-invoices/{id}/refund", self.refund_invoice),
            ("POST", "orders/{id}/generate-invoice", self.order_invoice),
            ("POST", "subscription-invoices/{id}/generate-invoice", self.subscription_invoice),
            ("PATCH", "subscriptions/{id}", self.change_subscription),
            ("DELETE", "subscriptions/{id}", self.cancel_subscription),
            ("PATCH", "subscription-items/{id}", self.change_item),
            ("POST", "customers", self.create_customer),
            ("PATCH", "customers/{id}", self.change_customer),
            ("POST", "discounts", self.create_discount),
            ("DELETE", "discounts/{id}", self.delete_discount),
            ("PATCH", "license-keys/{id}", self.change_license_key),
        )
        return [Route(f"/v1/{path}", guarded(handler), methods=[method]) for method, path, handler in table]

    # --- checkouts --------------------------------------------------------------------------------
    async def create_checkout(self, request: Request) -> Response:
        """POST /v1/checkouts: the only required members are the two relationships."""
        data = given.document(await request.body(), "checkouts")
        store = given.relation(self._store, data, "store", "stores")
        variant = given.relation(self._store, data, "variant", "variants")
        attributes = Attributes(data.get("attributes"))
        values: Record = {"custom_price": attributes.whole("custom_price")}
        values |= {name: attributes.raw(name) or {} for name in goods.CHECKOUT_DEFAULTS}
        _check_checkout(attributes)
        expires = attributes.moment("expires_at")
        with_preview = attributes.flag("preview")
        attributes.finish()
        checkout_id = self._store.new_uuid()
        made = goods.checkout(
            checkout_id,
            int(store["id"]),
            int(variant["id"]),
            values,
            self._store.clock.now(),
            expires=expires,
            test_mode=self._store.test_mode_key,
        )
        checkout = self._store.add_checkout(checkout_id, made)
        if not with_preview:
            return self._created(request, checkout)
        discount = self._discount(made["checkout_data"]["discount_code"], variant)
        shown = {**made, "preview": checkouts.preview(checkout, variant, discount)}
        return self._created(request, {**checkout, "attributes": shown})

    def _discount(self, code: str, variant: Record) -> Record | None:
        if not code:
            return None
        try:
            return checkouts.find_discount(self._store, code, variant, test_mode=self._store.test_mode_key)
        except NotPossible:
            return None  # the buyer would be told at the checkout; a preview is just without it

    # --- webhooks ---------------------------------------------------------------------------------
    async def create_webhook(self, request: Request) -> Response:
        """POST /v1/webhooks: url (http and localhost are fine), events, secret of 6 to 40 characters."""
        data = given.document(await request.body(), "webhooks")
        attributes = Attributes(data.get("attributes"))
        url, secret = _url(attributes), attributes.text("secret", least=6, most=40)
        names = _events(attributes)
        attributes.finish()
        store = given.relation(self._store, data, "store", "stores")
        now, test_mode = self._store.clock.now(), self._store.test_mode_key
        made = goods.webhook(int(store["id"]), url, names, now, test_mode=test_mode)
        return self._created(request, self._store.add("webhooks", made, secret=secret))

    async def change_webhook(self, request: Request) -> Response:
        """PATCH /v1/webhooks/{id}: url, events (replaces the list), secret."""
        webhook = self._record(request, "webhooks")
        attributes = Attributes(given.document(await request.body(), "webhooks", webhook["id"]).get("attributes"))
        changes: Record = {}
        if "url" in attributes:
            changes["url"] = _url(attributes)
        if "events" in attributes:
            changes["events"] = _events(attributes)
        secret = attributes.text("secret", None, least=6, most=40)
        attributes.finish()
        if secret is not None:
            webhook.setdefault("hidden", {})["secret"] = secret
        return self._changed(request, webhook, changes)

    async def delete_webhook(self, request: Request) -> Response:
        """DELETE /v1/webhooks/{id}: 204."""
        webhook = self._record(request, "webhooks")
        self._store.tables["webhooks"].remove(int(webhook["id"]))
        return wire.no_content()

    # --- refunds and invoices ---------------------------------------------------------------------
    async def refund_order(self, request: Request) -> Response:
        """POST /v1/orders/{id}/refund: acts at once, has no idempotency; 200 with the order."""
        order = self._record(request, "orders")
        amount = await _refund_amount(request, order)
        return self._refunded(request, self._life.refund_order, order, amount)

    async def refund_invoice(self, request: Request) -> Response:
        """POST /v1/subscription-invoices/{id}/refund: 200 with the invoice."""
        invoice = self._record(request, "subscription-invoices")
        amount = await _refund_amount(request, invoice)
        return self._refunded(request, self._life.refund_invoice, invoice, amount)

    def _refunded(self, request: Request, refund: Any, record: Record, amount: int | None) -> Response:
        try:
            refund(record, amount)
        except NotPossible as reason:
            raise ApiError(
                REFUND_OVER_THE_REST_STATUS, UNPROCESSABLE, (f"{reason}.", "/data/attributes/amount")
            ) from None
        return self._single(request, record)

    async def order_invoice(self, request: Request) -> Response:
        """POST /v1/orders/{id}/generate-invoice: what is on it comes as query parameters."""
        order = self._record(request, "orders")
        return _download(request, order["attributes"]["identifier"], "invoice")

    async def subscription_invoice(self, request: Request) -> Response:
        """POST /v1/subscription-invoices/{id}/generate-invoice."""
        invoice = self._record(request, "subscription-invoices")
        subscription = self._store.get("subscriptions", invoice["attributes"]["subscription_id"])
        order = self._store.get("orders", subscription["attributes"]["order_id"])
        return _download(request, order["attributes"]["identifier"], f"subscription-invoice/{invoice['id']}")

    # --- subscriptions ----------------------------------------------------------------------------
    async def change_subscription(self, request: Request) -> Response:
        """PATCH /v1/subscriptions/{id}: plan, pause, cancellation, trial, anchor; any of them."""
        subscription = self._record(request, "subscriptions")
        data = given.document(await request.body(), "subscriptions", subscription["id"])
        attributes = Attributes(data.get("attributes"))
        changes = self._subscription_changes(attributes)
        attributes.finish()
        before = subscription["attributes"]["first_subscription_item"]
        self._doing(lambda: self._change(subscription, changes))
        if "variant" in changes and self._faults.stale_patch_answer:
            stale = {**subscription["attributes"], "first_subscription_item": before}
            return self._single(request, {**subscription, "attributes": stale})
        return self._single(request, subscription)

    def _subscription_changes(self, attributes: Attributes) -> Record:
        """Return what is asked for, checked."""
        changes: Record = {"invoice_immediately": attributes.flag("invoice_immediately")}
        changes["prorate"] = not attributes.flag("disable_prorations")
        if "cancelled" in attributes:
            changes["cancelled"] = attributes.flag("cancelled")
        if attributes.raw("variant_id") is not None:
            changes["variant"] = self._store.find("variants", attributes.raw("variant_id"))
            if changes["variant"] is None:
                title = UNPROCESSABLE if WRONG_VARIANT_STATUS == 422 else "Not Found"
                detail = ("The selected variant id is invalid.", "/data/attributes/variant_id")
                raise ApiError(WRONG_VARIANT_STATUS, title, detail)
        if "pause" in attributes:
            changes["pause"] = _pause(attributes)
        if attributes.raw("trial_ends_at") is not None:
            changes["trial_ends_at"] = attributes.moment("trial_ends_at")
        if "billing_anchor" in attributes:
            changes["billing_anchor"] = attributes.whole("billing_anchor", most=31)
        return changes

    def _change(self, subscription: Record, changes: Record) -> None:
        life, attributes = self._life, subscription["attributes"]
        if attributes["status"] == "expired":
            raise NotPossible("an expired subscription cannot be changed")
        if changes.get("variant") is not None:
            life.change_plan(
                subscription,
                changes["variant"],
                invoice_immediately=changes["invoice_immediately"],
                prorate=changes["prorate"],
            )
        if "pause" in changes and changes["pause"] is not None:
            life.pause(subscription, **changes["pause"])
        elif "pause" in changes and attributes["status"] == "paused":
            life.unpause(subscription)
        if changes.get("trial_ends_at") is not None:
            life.extend_trial(subscription, changes["trial_ends_at"])
        if "billing_anchor" in changes:
            life.set_anchor(subscription, changes["billing_anchor"])
        if changes.get("cancelled"):
            life.cancel(subscription)
        elif "cancelled" in changes and attributes["cancelled"]:
            life.resume(subscription)

    async def cancel_subscription(self, request: Request) -> Response:
        """DELETE /v1/subscriptions/{id}: 200, in grace until ends_at."""
        subscription = self._record(request, "subscriptions")
        self._doing(lambda: self._life.cancel(subscription))
        return self._single(request, subscription)

    async def change_item(self, request: Request) -> Response:
        """PATCH /v1/subscription-items/{id}: the number of seats."""
        item = self._record(request, "subscription-items")
        data = given.document(await request.body(), "subscription-items", item["id"])
        attributes = Attributes(data.get("attributes"))
        quantity = attributes.whole("quantity", given.REQUIRED)
        immediately, prorate = attributes.flag("invoice_immediately"), not attributes.flag("disable_prorations")
        if item["attributes"]["is_usage_based"]:
            attributes.refuse("quantity", "The quantity of a usage-based item cannot be changed.")
        attributes.finish()
        subscription = self._store.get("subscriptions", item["attributes"]["subscription_id"])
        self._doing(
            lambda: self._life.change_quantity(subscription, quantity, invoice_immediately=immediately, prorate=prorate)
        )
        return self._single(request, item)

    # --- customers, discounts, license keys -------------------------------------------------------
    async def create_customer(self, request: Request) -> Response:
        """POST /v1/customers: name and email, city?, region?, country?."""
        data = given.document(await request.body(), "customers")
        attributes = Attributes(data.get("attributes"))
        name, email = attributes.text("name"), attributes.text("email")
        test_mode = self._store.test_mode_key
        if isinstance(email, str) and "@" not in email:
            attributes.refuse("email", "The email must be a valid email address.")
        elif DUPLICATE_EMAIL_IS_REFUSED and self._store.customer(str(email), test_mode=test_mode):
            attributes.refuse("email", "The email has already been taken.")
        place = _place(attributes)
        attributes.finish()
        store = given.relation(self._store, data, "store", "stores")
        made = objects.customer(int(store["id"]), name, email, self._store.clock.now(), test_mode=test_mode)
        return self._created(request, self._store.add("customers", {**made, **place}))

    async def change_customer(self, request: Request) -> Response:
        """PATCH /v1/customers/{id}: the same, and `status` with `archived` as its only value."""
        customer = self._record(request, "customers")
        data = given.document(await request.body(), "customers", customer["id"])
        attributes = Attributes(data.get("attributes"))
        changes = {name: attributes.text(name) for name in ("name", "email") if name in attributes}
        changes |= _place(attributes)
        if "status" in attributes:
            changes["status"] = attributes.choice("status", ("archived",))
            changes["status_formatted"] = status_formatted("archived")
        attributes.finish()
        return self._changed(request, customer, changes)

    async def create_discount(self, request: Request) -> Response:
        """POST /v1/discounts."""
        data = given.document(await request.body(), "discounts")
        attributes = Attributes(data.get("attributes"))
        kind = attributes.choice("amount_type", ("percent", "fixed"))
        values: Record = {
            "name": attributes.text("name"),
            "code": attributes.text("code"),
            "amount": attributes.whole("amount", given.REQUIRED, least=1, most=100 if kind == "percent" else None),
            "amount_type": kind,
            "is_limited_to_products": attributes.flag("is_limited_to_products"),
            "is_limited_redemptions": attributes.flag("is_limited_redemptions"),
            "max_redemptions": attributes.whole("max_redemptions", 0),
            "duration": attributes.choice("duration", ("once", "repeating", "forever"), "once"),
            "duration_in_months": attributes.whole("duration_in_months", 1, least=1),
        }
        for name in ("starts_at", "expires_at"):
            moment = attributes.moment(name)
            values[name] = None if moment is None else iso(moment)
        test_mode = self._store.test_mode_key
        self._check_code(attributes, values["code"], test_mode=test_mode)
        attributes.finish()
        store = given.relation(self._store, data, "store", "stores")
        variants = given.relations(self._store, data, "variants", "variants")
        made = goods.discount(int(store["id"]), values, self._store.clock.now(), test_mode=test_mode)
        discount = self._store.add("discounts", made, variants=[int(one["id"]) for one in variants])
        return self._created(request, discount)

    def _check_code(self, attributes: Attributes, code: object, *, test_mode: bool) -> None:
        if isinstance(code, str) and not CODE.fullmatch(code):
            attributes.refuse("code", "The code format is invalid.")
        known = {(one["attributes"]["code"], one["attributes"]["test_mode"]) for one in self._store.tables["discounts"]}
        if DUPLICATE_CODE_IS_REFUSED and (code, test_mode) in known:
            attributes.refuse("code", "The code has already been taken.")

    async def delete_discount(self, request: Request) -> Response:
        """DELETE /v1/discounts/{id}: 204."""
        discount = self._record(request, "discounts")
        self._store.tables["discounts"].remove(int(discount["id"]))
        return wire.no_content()

    async def change_license_key(self, request: Request) -> Response:
        """PATCH /v1/license-keys/{id}: activation_limit, expires_at, disabled [SDK]."""
        key = self._record(request, "license-keys")
        data = given.document(await request.body(), "license-keys", key["id"])
        attributes, changes = Attributes(data.get("attributes")), {}
        if "activation_limit" in attributes:
            changes["activation_limit"] = attributes.whole("activation_limit")
        if "expires_at" in attributes:
            moment = attributes.moment("expires_at")
            changes["expires_at"] = None if moment is None else iso(moment)
        if "disabled" in attributes:
            changes["disabled"] = attributes.flag("disabled")
        attributes.finish()
        return self._single(request, self._life.change_license_key(key, changes))

    # --- parts ------------------------------------------------------------------------------------
    def _record(self, request: Request, kind: str) -> Record:
        return visible(self._store, kind, request.path_params["id"])

    def _doing(self, change: Any) -> None:
        try:
            change()
        except NotPossible as reason:
            raise ApiError(IMPOSSIBLE_CHANGE_STATUS, UNPROCESSABLE, (f"{reason}.", None)) from None

    def _created(self, request: Request, record: Record) -> Response:
        documents = Documents(self._store, root_of(request))
        return wire.answer(documents.single(record), 201, {"location": documents.address(record)})

    def _changed(self, request: Request, record: Record, changes: Record) -> Response:
        record["attributes"].update(changes, updated_at=iso(self._store.clock.now()))
        self._store.put(record)
        return self._single(request, record)

    def _single(self, request: Request, record: Record) -> Response:
        return wire.answer(Documents(self._store, root_of(request)).single(record))


async def _refund_amount(request: Request, record: Record) -> int | None:
    data = given.document(await request.body(), record["type"], record["id"])
    attributes = Attributes(data.get("attributes"))
    amount: int | None = attributes.whole("amount")
    attributes.finish()
    return amount


def _download(request: Request, order_identifier: str, what: str) -> Response:
    filled = {name: request.query_params[name] for name in INVOICE_FIELDS if name in request.query_params}
    query = urlencode({**filled, "signature": SIGNATURE})
    address = f"{APP_URL}/my-orders/{order_identifier}/{what}/download?{query}"
    return wire.answer({"jsonapi": wire.JSONAPI, "meta": {"urls": {"download_invoice": address}}})


def _check_checkout(attributes: Attributes) -> None:
    """Check the three objects of a checkout as far as the reference says."""
    options, data = attributes.part("checkout_options"), attributes.part("checkout_data")
    product = attributes.part("product_options")
    for name in ("name", "description", "redirect_url", "receipt_button_text", "receipt_link_url"):
        product.text(name, None)
    if not isinstance(product.raw("enabled_variants", []), list):
        product.refuse("enabled_variants", "The enabled variants must be an array.")
    options.whole("quantity", least=1)
    for name in ("email", "name", "discount_code", "tax_number"):
        data.text(name, None)
    custom, quantities = data.part("custom"), data.raw("variant_quantities") or []
    for key, value in dict(data.raw("custom") or {}).items() if isinstance(data.raw("custom"), dict) else ():
        number = isinstance(value, int | float)
        fine = (isinstance(value, str) and value != "") or (number and CUSTOM_NUMBERS_ARE_ACCEPTED)
        if not fine and not (value is None and CUSTOM_NULLS_ARE_ACCEPTED):
            custom.refuse(key, NOT_A_STRING)
    good = isinstance(quantities, list) and all(
        isinstance(one, dict) and isinstance(one.get("quantity"), int) and one["quantity"] > 0 for one in quantities
    )
    if not good:
        data.refuse("variant_quantities", "The variant quantities must be an array.")


def _url(attributes: Attributes) -> Any:
    url = attributes.text("url")
    if isinstance(url, str) and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc):
        attributes.refuse("url", "The url must be a valid URL.")
    return url


def _events(attributes: Attributes) -> list[str]:
    names = attributes.raw("events")
    if not isinstance(names, list) or not names:
        attributes.refuse("events", "The events field is required.")
        return []
    for number, name in enumerate(names):
        if name not in events.NAMES:
            attributes.refuse(f"events/{number}", f"The selected events.{number} is invalid.")
    return list(dict.fromkeys(map(str, names)))


def _pause(attributes: Attributes) -> Record | None:
    if attributes.raw("pause") is None:
        return None
    pause = attributes.part("pause")
    return {"mode": pause.choice("mode", ("void", "free")), "resumes_at": pause.moment("resumes_at")}


def _place(attributes: Attributes) -> Record:
    place = {name: attributes.text(name, None) for name in ("city", "region", "country") if name in attributes}
    if "country" in place:
        place["country_formatted"] = COUNTRIES.get(place["country"], place["country"])
        if isinstance(place["country"], str) and not re.fullmatch("[A-Z]{2}", place["country"]):
            attributes.refuse("country", "The selected country is invalid.")
    return place
