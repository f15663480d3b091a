"""The control routes: what happens in the simulated world, and what was asked of it. Never rate limited."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dealsync.simulator.control import kommo, kommo_account, lemonsqueezy, world
from dealsync.simulator.control.parts import route
from dealsync.simulator.courier import Courier
from dealsync.simulator.table import Record
from dealsync.simulator.world import World

INDEX = {"GET /control": "this index", **world.INDEX, **lemonsqueezy.INDEX, **kommo.INDEX, **kommo_account.INDEX}


class ControlRoutes:
    """Every route under /control, and the index that names them."""

    def __init__(self, world_: World, courier: Courier, unblock: Callable[[], None]) -> None:
        self._parts = (
            world.WorldControl(world_, courier, unblock),
            lemonsqueezy.LemonSqueezyControl(world_),
            kommo.KommoControl(world_),
            kommo_account.KommoAccountControl(world_),
        )

    def routes(self) -> list[Route]:
        """Return the routes."""
        found = [route("/control", "GET", self.index)]
        for part in self._parts:
            found += part.routes()
        return found

    async def index(self, request: Request, body: Record) -> Response:
        """List the routes."""
        return JSONResponse(INDEX)
