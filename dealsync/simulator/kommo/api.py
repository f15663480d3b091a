"""All routes of the simulated Kommo."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dealsync.simulator.kommo.oauth import access_token, current_subdomain
from dealsync.simulator.kommo.routes import EntityRoutes
from dealsync.simulator.kommo.routes_account import AccountRoutes
from dealsync.simulator.kommo.routes_activity import ActivityRoutes
from dealsync.simulator.kommo.routes_catalogs import CatalogRoutes
from dealsync.simulator.kommo.routes_events import EventRoutes
from dealsync.simulator.kommo.routes_fields import FieldRoutes
from dealsync.simulator.kommo.routes_hooks import HookRoutes
from dealsync.simulator.kommo.routes_links import LinkRoutes
from dealsync.simulator.kommo.routes_unsorted import UnsortedRoutes
from dealsync.simulator.world import World

GROUPS = (
    EntityRoutes,
    LinkRoutes,
    ActivityRoutes,
    EventRoutes,
    AccountRoutes,
    FieldRoutes,
    CatalogRoutes,
    HookRoutes,
    UnsortedRoutes,
)


def routes(world: World) -> list[Route]:
    """Return every route, relative to the account's host. Fixed paths never clash with "/leads/{id:int}"."""

    async def token(request: Request) -> Response:
        return await access_token(request, world.tokens)

    async def subdomain(request: Request) -> Response:
        return current_subdomain(request, world.tokens, world.kommo.account)

    found = [
        Route("/oauth2/access_token", token, methods=["POST"]),
        Route("/oauth2/account/current/subdomain", subdomain, methods=["GET"]),
    ]
    for group in GROUPS:
        found += group(world).routes()
    return found
