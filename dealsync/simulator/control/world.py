"""State, time, switches and counts of the whole simulator. Never rate limited."""

from collections.abc import Callable
from typing import get_args

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dealsync.simulator.control.parts import InputError, flag, number, only, route
from dealsync.simulator.courier import Courier
from dealsync.simulator.deliveries import Sender
from dealsync.simulator.saved import LoadError
from dealsync.simulator.table import Record
from dealsync.simulator.world import World

INDEX = {
    "GET /control/state": "the whole state, both sides, with the planted truth and the clock",
    "PUT /control/state": "replace everything by a state that was read before",
    "POST /control/clock": "advance_s?: let time pass, with all that falls due; running?: false stops the clock",
    "GET /control/faults": "all switches with their values",
    "POST /control/faults": "set switches by name; `inject` adds one-shot faults",
    "GET /control/deliveries": "webhooks sent, with their attempts; ?sender=lemonsqueezy|kommo",
    "POST /control/deliveries/{id}/resend": "send a webhook's stored body again",
    "GET /control/requests": "requests counted by API, method and route; busiest Kommo second; 429s",
    "POST /control/requests/reset": "count from zero, forget the rate windows, lift a block",
}


class WorldControl:
    """Request -> change of the world, or a look at it -> response."""

    def __init__(self, world: World, courier: Courier, unblock: Callable[[], None]) -> None:
        self._world = world
        self._courier = courier
        self._unblock = unblock

    def routes(self) -> list[Route]:
        """Return the routes under /control."""
        return [
            route("/control/state", "GET", self.state),
            route("/control/state", "PUT", self.replace_state),
            route("/control/clock", "POST", self.advance_clock),
            route("/control/faults", "GET", self.show_faults),
            route("/control/faults", "POST", self.set_faults),
            route("/control/deliveries", "GET", self.deliveries),
            route("/control/deliveries/{id:int}/resend", "POST", self.resend),
            route("/control/requests", "GET", self.requests),
            route("/control/requests/reset", "POST", self.reset_requests),
        ]

    async def state(self, request: Request, body: Record) -> Response:
        """Show everything."""
        return JSONResponse(self._world.state())

    async def replace_state(self, request: Request, body: Record) -> Response:
        """Go on from a saved state."""
        try:
            self._world.load(body)
        except LoadError as reason:
            raise InputError(f"this is not a saved state: {reason}") from None
        return JSONResponse(self._clock())

    async def advance_clock(self, request: Request, body: Record) -> Response:
        """Let time pass, or stop and start the clock."""
        only(body, "advance_s running")
        clock = self._world.clock
        seconds = number(body, "advance_s", 0 if "running" in body else None)
        clock.set(clock.now(), running=flag(body, "running", default=clock.running))
        await self._courier.advance(seconds)
        return JSONResponse(self._clock())

    def _clock(self) -> Record:
        return {"now": self._world.clock.now(), "running": self._world.clock.running}

    async def show_faults(self, request: Request, body: Record) -> Response:
        """Show the switches."""
        return JSONResponse(self._world.faults.settings())

    async def set_faults(self, request: Request, body: Record) -> Response:
        """Set switches by name."""
        try:
            self._world.faults.update(body)
        except ValueError as reason:
            raise InputError(str(reason)) from None
        return JSONResponse(self._world.faults.settings())

    async def deliveries(self, request: Request, body: Record) -> Response:
        """Show the webhooks of one sender or both, without headers and bodies."""
        senders = get_args(Sender)
        sender = request.query_params.get("sender")
        if sender not in (None, *senders):
            raise InputError(f"sender must be one of: {', '.join(senders)}")
        found = [one for one in self._world.deliveries.all() if sender in (None, one.sender)]
        return JSONResponse({"deliveries": [one.shown() for one in found]})

    async def resend(self, request: Request, body: Record) -> Response:
        """Send a webhook again; 201 with the new delivery."""
        delivery_id = request.path_params["id"]
        try:
            delivery = self._world.deliveries.resend(delivery_id)
        except KeyError:
            raise InputError(f"there is no delivery {delivery_id}", 404) from None
        return JSONResponse(delivery.shown(), 201)

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
