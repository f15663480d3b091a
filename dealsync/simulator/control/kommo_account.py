"""What an admin does in the Kommo account's settings. Never rate limited."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dealsync.simulator.control.parts import InputError, flag, number, only, route, text
from dealsync.simulator.table import Record
from dealsync.simulator.world import World

INDEX = {
    "POST /control/users/{id}": "what a Kommo user may do: is_active?, is_admin?, is_free?",
    "GET /control/kommo": "the integration, the account's switches, webhooks and digital-pipeline hooks",
    "POST /control/kommo": "change the account: user_id? (the token's), duplicate_control?, subdomain?, currency?",
    "POST /control/kommo/integration": "on: false switches the integration off, its tokens are dead (401)",
    "POST /control/kommo/code": "a fresh authorisation code, as the consent page gives",
    "POST /control/kommo/triggers": "a digital-pipeline hook: url, status_id, pipeline_id?",
    "DELETE /control/kommo/triggers/{id}": "take a digital-pipeline hook away",
}


class KommoAccountControl:
    """Request -> change of the account's settings -> response."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._account = world.kommo

    def routes(self) -> list[Route]:
        """Return the routes under /control."""
        base = "/control/kommo"
        return [
            route("/control/users/{id:int}", "POST", self.set_user),
            route(base, "GET", self.show),
            route(base, "POST", self.set_account),
            route(f"{base}/integration", "POST", self.switch_integration),
            route(f"{base}/code", "POST", self.new_code),
            route(f"{base}/triggers", "POST", self.add_trigger),
            route(f"{base}/triggers/{{id:int}}", "DELETE", self.delete_trigger),
        ]

    async def set_user(self, request: Request, body: Record) -> Response:
        """Change a user's flags; the answer is the user."""
        only(body, "is_active is_admin is_free")
        user = self._account.users.get(request.path_params["id"])
        if user is None:
            raise InputError(f"there is no user {request.path_params['id']}", 404)
        rights = user["rights"]
        rights.update({name: flag(body, name, default=rights.get(name, False)) for name in body})
        return JSONResponse(user)

    async def show(self, request: Request, body: Record) -> Response:
        """Show what these routes set, and who gets webhooks."""
        account = self._account
        return JSONResponse(
            {
                "integration_on": self._world.tokens.switched_on,
                "duplicate_control": account.duplicate_control,
                "user_id": account.account["current_user_id"],
                "webhooks": list(account.hooks.registered.values()),
                "triggers": list(account.hooks.triggers.values()),
            }
        )

    async def set_account(self, request: Request, body: Record) -> Response:
        """Change the account."""
        only(body, "user_id duplicate_control subdomain currency")
        account = self._account
        user_id = int(number(body, "user_id", account.account["current_user_id"], whole=True))
        if user_id not in account.users:
            raise InputError(f"there is no user {user_id}")
        duplicate_control = flag(body, "duplicate_control", default=account.duplicate_control)
        texts: Record = {name: text(body, name) for name in ("subdomain", "currency") if name in body}
        account.duplicate_control = duplicate_control
        account.account.update({**texts, "current_user_id": user_id})
        return await self.show(request, body)

    async def switch_integration(self, request: Request, body: Record) -> Response:
        """Switch the integration off or on again."""
        only(body, "on")
        self._world.tokens.switch(on=flag(body, "on", default=True))
        return JSONResponse({"on": self._world.tokens.switched_on})

    async def new_code(self, request: Request, body: Record) -> Response:
        """Give consent once more."""
        only(body, "")
        return JSONResponse({"code": self._world.tokens.new_code()}, 201)

    async def add_trigger(self, request: Request, body: Record) -> Response:
        """Let a hook fire whenever a deal comes into a stage; 201 with its id."""
        only(body, "url status_id pipeline_id")
        account = self._account
        status_id = int(number(body, "status_id", None, whole=True))
        default = account.pipeline_of_status(status_id) or account.main_pipeline["id"]
        pipeline_id = int(number(body, "pipeline_id", default, whole=True))
        if account.status(pipeline_id, status_id) is None:
            raise InputError(f"there is no status {status_id} in pipeline {pipeline_id}")
        trigger: Record = {
            "id": account.next_id("triggers"),
            "url": text(body, "url"),
            "pipeline_id": pipeline_id,
            "status_id": status_id,
        }
        account.hooks.triggers[trigger["id"]] = trigger
        return JSONResponse(trigger, 201)

    async def delete_trigger(self, request: Request, body: Record) -> Response:
        """Take a hook away."""
        trigger_id = request.path_params["id"]
        if self._account.hooks.triggers.pop(trigger_id, None) is None:
            raise InputError(f"there is no trigger {trigger_id}", 404)
        return JSONResponse({"deleted": trigger_id})
