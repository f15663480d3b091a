"""The control routes: what happens in the simulated world, and what was asked of it. Never rate limited."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dealsync.simulator import sellers
from dealsync.simulator.addresses import mounted_at
from dealsync.simulator.kommo.items import Item, Refused
from dealsync.simulator.kommo.leads import LeadWriter
from dealsync.simulator.kommo.state import CLOSED
from dealsync.simulator.lemonsqueezy import wire as ls_wire
from dealsync.simulator.lemonsqueezy.state import PAYING, RefundError
from dealsync.simulator.table import Record
from dealsync.simulator.world import World

DAY_S = 24 * 3600
ORDER_STATUSES = (*PAYING, "pending", "failed")
INDEX = {
    "GET /control": "this index",
    "GET /control/state": "the whole state, both sides, with the planted truth and the clock",
    "POST /control/orders": "a purchase: email, name?, variant_id?, quantity?, total? (minor units), currency?,"
    " lead_id? (custom data), age_minutes?, test_mode?, status?",
    "POST /control/orders/{id}/refund": "give back amount? (minor units), or all that remains",
    "POST /control/leads": "a deal made by hand: price, name?, status_id?, pipeline_id?,"
    " contact? {name, email}, age_days?",
    "POST /control/leads/{id}/move": "a person's edit: status_id, pipeline_id?, user_id?",
    "DELETE /control/leads/{id}": "a deal into the recycle bin",
    "POST /control/clock": "advance_s: let time pass",
    "GET /control/faults": "all switches with their values",
    "POST /control/faults": "set switches by name; `inject` adds one-shot faults",
    "GET /control/requests": "requests counted by API, method and route; busiest Kommo second; 429s",
    "POST /control/requests/reset": "count from zero, forget the rate windows, lift a block",
}


class _InputError(ValueError):
    """Control input that makes no sense: a 400, or a 404 for an id that is not there."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


_Handler: TypeAlias = Callable[[Request, Record], Awaitable[Response]]


class ControlRoutes:
    """Request -> change of the world -> response."""

    def __init__(self, world: World, unblock: Callable[[], None]) -> None:
        self._world = world
        self._unblock = unblock

    def routes(self) -> list[Route]:
        """Return the routes under /control."""
        return [
            _route("/control", "GET", self.index),
            _route("/control/state", "GET", self.state),
            _route("/control/orders", "POST", self.place_order),
            _route("/control/orders/{id:int}/refund", "POST", self.refund_order),
            _route("/control/leads", "POST", self.add_lead),
            _route("/control/leads/{id:int}/move", "POST", self.move_lead),
            _route("/control/leads/{id:int}", "DELETE", self.delete_lead),
            _route("/control/clock", "POST", self.advance_clock),
            _route("/control/faults", "GET", self.show_faults),
            _route("/control/faults", "POST", self.set_faults),
            _route("/control/requests", "GET", self.requests),
            _route("/control/requests/reset", "POST", self.reset_requests),
        ]

    async def index(self, request: Request, body: Record) -> Response:
        """List the routes."""
        return JSONResponse(INDEX)

    async def state(self, request: Request, body: Record) -> Response:
        """Show everything."""
        return JSONResponse(self._world.state())

    # --- Lemon Squeezy ----------------------------------------------------------------------------
    async def place_order(self, request: Request, body: Record) -> Response:
        """Do a purchase; 201 with the order resource."""
        _only(body, "email name variant_id quantity total currency lead_id age_minutes test_mode status")
        store = self._world.lemon_squeezy
        email = _text(body, "email")
        variant = self._variant(body)
        quantity = _count(body, "quantity", 1)
        total = _number(body, "total", variant["attributes"]["price"] * quantity, whole=True)
        status = _text(body, "status", "paid")
        if status not in ORDER_STATUSES:
            raise _InputError(f"status must be one of: {', '.join(ORDER_STATUSES)}")
        placed = store.place(
            store.purchase(
                name=_text(body, "name", email.strip().partition("@")[0]),
                email=email,
                variant=variant,
                total_minor=int(total),
                currency=_text(body, "currency", "USD").upper(),
                quantity=quantity,
                status=status,
                created=self._world.clock.now() - _number(body, "age_minutes", 0) * 60,
                test_mode=_flag(body, "test_mode", default=store.test_mode_key),
            )
        )
        if body.get("lead_id") is not None:
            store.custom_data[int(placed.order["id"])] = {"kommo_lead_id": str(body["lead_id"])}
        return self._order(request, placed.order, 201)

    async def refund_order(self, request: Request, body: Record) -> Response:
        """Give money back; the answer is the order."""
        _only(body, "amount")
        order_id = request.path_params["id"]
        amount = None if body.get("amount") is None else int(_number(body, "amount", 0, whole=True))
        try:
            order = self._world.lemon_squeezy.refund(order_id, amount)
        except KeyError:
            raise _InputError(f"there is no order {order_id}", 404) from None
        except RefundError as reason:
            raise _InputError(str(reason)) from None
        return self._order(request, order)

    # --- Kommo ------------------------------------------------------------------------------------
    async def add_lead(self, request: Request, body: Record) -> Response:
        """Add a deal as a seller would; 201 with its id and what is stored."""
        _only(body, "name price status_id pipeline_id contact age_days")
        account = self._world.kommo
        price = int(_number(body, "price", None, whole=True))
        stage = self._stage(body, {"pipeline_id": account.main_pipeline["id"], "status_id": None})
        created = self._world.clock.now() - _number(body, "age_days", 0) * DAY_S
        contact_id = None
        if body.get("contact") is not None:
            contact_id = self._contact(body["contact"], created)
        lead = sellers.add_deal(
            account,
            sellers.HandMade(
                name=_text(body, "name", "Deal"),
                price=price,
                pipeline_id=stage["pipeline_id"],
                status_id=stage["status_id"],
                contact_id=contact_id,
                owner_id=account.current_user_id,
                created=created,
                moved=created,
            ),
            fresh=True,
        )
        return JSONResponse(lead, 201)

    async def move_lead(self, request: Request, body: Record) -> Response:
        """Move a deal as a person does; the answer is what is stored."""
        _only(body, "status_id pipeline_id user_id")
        lead = self._lead(request)
        user_id = body.get("user_id", self._world.kommo.current_user_id)
        if user_id not in self._world.kommo.users:
            raise _InputError(f"there is no user {user_id}")
        if "status_id" not in body:
            raise _InputError("status_id is missing")
        changes = self._stage(body, lead)
        if lead["status_id"] not in CLOSED and changes["status_id"] in CLOSED:
            changes["closed_at"] = self._world.clock.seconds()
        LeadWriter(self._world.kommo, self._world.faults).change(lead, changes, user_id=user_id)
        return JSONResponse(lead)

    async def delete_lead(self, request: Request, body: Record) -> Response:
        """Move a deal to the recycle bin."""
        lead = self._lead(request)
        self._world.kommo.discard(lead["id"])
        return JSONResponse({"deleted": lead["id"]})

    # --- time, switches, counts -------------------------------------------------------------------
    async def advance_clock(self, request: Request, body: Record) -> Response:
        """Let time pass."""
        _only(body, "advance_s")
        self._world.clock.advance(_number(body, "advance_s", None))
        return JSONResponse({"now": self._world.clock.now()})

    async def show_faults(self, request: Request, body: Record) -> Response:
        """Show the switches."""
        return JSONResponse(self._world.faults.settings())

    async def set_faults(self, request: Request, body: Record) -> Response:
        """Set switches by name."""
        try:
            self._world.faults.update(body)
        except ValueError as reason:
            raise _InputError(str(reason)) from None
        return JSONResponse(self._world.faults.settings())

    async def requests(self, request: Request, body: Record) -> Response:
        """Show what was asked since the last reset."""
        log = self._world.log
        return JSONResponse(
            {
                "counts": dict(sorted(log.counts.items())),
                "kommo_max_per_second": log.busiest_kommo_second,
                "refused_429": {api: log.refused[api] for api in ("kommo", "lemonsqueezy")},
            }
        )

    async def reset_requests(self, request: Request, body: Record) -> Response:
        """Count from zero and lift a block."""
        self._world.log.reset()
        self._unblock()
        return JSONResponse({"reset": True})

    # --- parts ------------------------------------------------------------------------------------
    def _variant(self, body: Record) -> Record:
        variants = self._world.lemon_squeezy.tables["variants"]
        variant_id = body.get("variant_id", next(iter(variants.ids()), None))
        variant = self._world.lemon_squeezy.find("variants", str(variant_id))
        if variant is None:
            raise _InputError(f"there is no variant {variant_id}; known are: {', '.join(map(str, variants.ids()))}")
        return variant

    def _order(self, request: Request, order: Record, status: int = 200) -> Response:
        root = f"{mounted_at(request)}/lemonsqueezy/v1"
        return ls_wire.answer(ls_wire.single(order, root), status)

    def _lead(self, request: Request) -> Record:
        lead = self._world.kommo.leads.get(request.path_params["id"])
        if lead is None:
            raise _InputError(f"there is no deal {request.path_params['id']}", 404)
        return lead

    def _stage(self, body: Record, lead: Record) -> Record:
        """Return pipeline_id and status_id a body leads to, as the API would settle it."""
        item = Item({key: body[key] for key in ("pipeline_id", "status_id") if body.get(key) is not None})
        item.types({"pipeline_id": int, "status_id": int})
        try:
            item.finish()
            settled = LeadWriter(self._world.kommo, self._world.faults).settle_status(item, lead)
            item.finish()
        except Refused as refused:
            names = ", ".join(problem.path for problem in refused.problems)
            raise _InputError(f"no such {names} in this account or pipeline") from None
        stage = {**{key: lead[key] for key in ("pipeline_id", "status_id")}, **settled}
        if stage["status_id"] is None:
            stage["status_id"] = self._world.kommo.first_status(stage["pipeline_id"])
        return stage

    def _contact(self, given: Any, created: float) -> int:
        """Return the contact with this e-mail, added when it is new."""
        if not isinstance(given, dict):
            raise _InputError("contact must be an object with name and email")
        email = _text(given, "email")
        account = self._world.kommo
        for contact in account.contacts:
            for custom in contact.get("custom_fields_values") or ():
                if custom.get("field_code") == "EMAIL" and any(v["value"] == email for v in custom["values"]):
                    return int(contact["id"])
        name = _text(given, "name", email.strip().partition("@")[0])
        return int(sellers.add_contact(account, name, email, account.current_user_id, created)["id"])


def _route(path: str, method: str, handler: _Handler) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            return await handler(request, await _body(request))
        except _InputError as bad:
            return JSONResponse({"error": str(bad)}, bad.status)

    return Route(path, endpoint, methods=[method])


async def _body(request: Request) -> Record:
    raw = await request.body()
    if not raw.strip():
        return {}
    try:
        body = json.loads(raw)
    except ValueError:
        raise _InputError("the body is not valid JSON") from None
    if not isinstance(body, dict):
        raise _InputError("the body must be a JSON object")
    return body


def _only(body: Record, names: str) -> None:
    unknown = sorted(set(body) - set(names.split()))
    if unknown:
        raise _InputError(f"unknown key {', '.join(unknown)}; known are: {', '.join(names.split())}")


def _text(body: Record, name: str, default: str | None = None) -> str:
    value = default if body.get(name) is None else body[name]
    if value is None:
        raise _InputError(f"{name} is missing")
    if not isinstance(value, str) or not value.strip():
        raise _InputError(f"{name} must be a text")
    return value


def _flag(body: Record, name: str, *, default: bool) -> bool:
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise _InputError(f"{name} must be true or false")
    return value


def _number(body: Record, name: str, default: float | None, *, whole: bool = False) -> float:
    value = default if body.get(name) is None else body[name]
    if value is None:
        raise _InputError(f"{name} is missing")
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or value < 0:
        raise _InputError(f"{name} must be a {'whole ' if whole else ''}number from 0 up")
    return value


def _count(body: Record, name: str, default: int) -> int:
    value = int(_number(body, name, default, whole=True))
    if value < 1:
        raise _InputError(f"{name} must be at least 1")
    return value
