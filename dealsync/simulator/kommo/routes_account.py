"""The routes of /api/v4 for what an account consists of: users, roles, pipelines, loss reasons.

Source: Kommo reference, 3.1, 3.3 and 5.3.
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dealsync.simulator.assumptions import DELETED_PIPELINE_STATUS, REFUSED_SETUP_STATUS, ROLE_NEEDS_ADMIN
from dealsync.simulator.kommo import views, wire
from dealsync.simulator.kommo.endpoints import Endpoints, Handler, admin_only, answering
from dealsync.simulator.kommo.items import Prepare, write_batch, write_one
from dealsync.simulator.kommo.pipelines import MAX_PIPELINES, MAX_STATUSES, Kept, PipelineWriter
from dealsync.simulator.table import Record
from dealsync.simulator.world import World


def for_roles(handler: Handler) -> Handler:
    """Guard roles as users are guarded, if they are."""
    return admin_only(handler) if ROLE_NEEDS_ADMIN else handler


class AccountRoutes(Endpoints):
    """Account, users, roles, pipelines, loss reasons: request -> response."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._writer = PipelineWriter(world.kommo)

    def routes(self) -> list[Route]:
        """Return the routes, to be mounted at the API's root."""
        api = "/api/v4"
        get, post, patch, delete = ["GET"], ["POST"], ["PATCH"], ["DELETE"]
        one = f"{api}/leads/pipelines/{{id:int}}"
        return [
            Route(f"{api}/account", self.account, methods=get),
            Route(f"{api}/users", self.users, methods=get),
            Route(f"{api}/users/{{id:int}}", self.user, methods=get),
            Route(f"{api}/roles", self.roles, methods=get),
            Route(f"{api}/roles/{{id:int}}", self.role, methods=get),
            Route(f"{api}/leads/pipelines", self.pipelines, methods=get),
            Route(f"{api}/leads/pipelines", self.create_pipelines, methods=post),
            Route(one, self.pipeline, methods=get),
            Route(one, self.change_pipeline, methods=patch),
            Route(one, self.delete_pipeline, methods=delete),
            Route(f"{one}/statuses", self.statuses, methods=get),
            Route(f"{one}/statuses", self.create_statuses, methods=post),
            Route(f"{one}/statuses/{{status_id:int}}", self.status, methods=get),
            Route(f"{one}/statuses/{{status_id:int}}", self.change_status, methods=patch),
            Route(f"{one}/statuses/{{status_id:int}}", self.delete_status, methods=delete),
            Route(f"{api}/leads/loss_reasons", self.loss_reasons, methods=get),
            Route(f"{api}/leads/loss_reasons/{{id:int}}", self.loss_reason, methods=get),
        ]

    # --- account, users, roles --------------------------------------------------------------------
    @answering
    async def account(self, request: Request) -> Response:
        """GET /account; `with` values that are plain keys go to the root, the others into _embedded."""
        root, with_ = wire.api_root(request), wire.with_values(request)
        stored = self._account.account
        shown = {k: v for k, v in stored.items() if k not in ("_with", "_embedded", "_links")}
        shown["current_user_id"] = self._account.current_user_id
        extras = {**stored.get("_with", {}), "is_api_filter_enabled": self._faults.filters_enabled}
        if "invoices_settings" in with_:
            invoices = (c["id"] for c in self._account.catalogs.values() if c["type"] == "invoices")
            extras["invoices_settings"] = {"invoices_catalog_id": next(invoices, None)}
        shown |= {name: extras[name] for name in extras if name in with_}
        shown["_links"] = stored.get("_links", wire.self_link(f"{root}/account"))
        embedded = {name: part for name, part in stored.get("_embedded", {}).items() if name in with_}
        if embedded:
            shown["_embedded"] = embedded
        return wire.hal(shown)

    @answering
    @admin_only
    async def users(self, request: Request) -> Response:
        """GET /users (admin only)."""
        page = wire.page_of(request, self._faults)
        root, with_ = wire.api_root(request), wire.with_values(request)
        rows = [views.user_view(user, root, with_) for user in self._account.users.values()]
        return wire.counted_page(request, page, "users", rows)

    @answering
    @admin_only
    async def user(self, request: Request) -> Response:
        """GET /users/{id} (admin only)."""
        user = self._account.users.get(request.path_params["id"])
        if user is None:
            return wire.unknown_path(request)
        return wire.hal(views.user_view(user, wire.api_root(request), wire.with_values(request)))

    @answering
    @for_roles
    async def roles(self, request: Request) -> Response:
        """GET /roles."""
        address = f"{wire.api_root(request)}/roles"
        page = wire.page_of(request, self._faults)
        return wire.counted_page(request, page, "roles", views.linked_rows(self._account.roles.values(), address))

    @answering
    @for_roles
    async def role(self, request: Request) -> Response:
        """GET /roles/{id}."""
        return self._single(request, self._account.roles, f"{wire.api_root(request)}/roles")

    # --- pipelines --------------------------------------------------------------------------------
    @answering
    async def pipelines(self, request: Request) -> Response:
        """GET /leads/pipelines: all in one answer, without paging."""
        root = wire.api_root(request)
        rows = [views.pipeline_view(one, root) for one in self._account.pipelines.values()]
        return wire.collection(f"{root}/leads/pipelines", "pipelines", rows)

    @answering
    async def pipeline(self, request: Request) -> Response:
        """GET /leads/pipelines/{id}: the object at the root."""
        pipeline = self._account.pipelines.get(request.path_params["id"])
        if pipeline is None:
            return wire.unknown_path(request)
        return wire.hal(views.pipeline_view(pipeline, wire.api_root(request)))

    @answering
    @admin_only
    async def create_pipelines(self, request: Request) -> Response:
        """POST /leads/pipelines: an array in, full pipelines out."""
        items = await wire.read_array(request)
        if len(self._account.pipelines) + len(items) > MAX_PIPELINES:
            return wire.plain(REFUSED_SETUP_STATUS, f"An account has at most {MAX_PIPELINES} pipelines")
        rows = write_batch(items, self._writer.prepare_new, self._faults)
        if isinstance(rows, Response):
            return rows
        root = wire.api_root(request)
        shown = [views.pipeline_view(one, root) for one in rows]
        return wire.collection(f"{root}/leads/pipelines", "pipelines", shown)

    @answering
    @admin_only
    async def change_pipeline(self, request: Request) -> Response:
        """PATCH /leads/pipelines/{id}: an object in, the object at the root out."""
        pipeline = self._account.pipelines.get(request.path_params["id"])
        if pipeline is None:
            return wire.unknown_path(request)
        raw = await wire.read_object(request)
        refused = write_one(raw, lambda: self._writer.change(pipeline, raw))
        if refused is not None:
            return refused
        return wire.hal({**views.pipeline_view(pipeline, wire.api_root(request)), "request_id": "0"})

    @answering
    @admin_only
    async def delete_pipeline(self, request: Request) -> Response:
        """DELETE /leads/pipelines/{id}: not the last one, not one with deals."""
        pipeline = self._account.pipelines.get(request.path_params["id"])
        if pipeline is None:
            return wire.unknown_path(request)
        try:
            self._writer.delete(pipeline)
        except Kept as reason:
            return wire.plain(REFUSED_SETUP_STATUS, str(reason))
        return wire.empty() if DELETED_PIPELINE_STATUS == 204 else wire.hal({}, DELETED_PIPELINE_STATUS)

    # --- statuses ---------------------------------------------------------------------------------
    @answering
    async def statuses(self, request: Request) -> Response:
        """GET /leads/pipelines/{id}/statuses."""
        pipeline_id = request.path_params["id"]
        if pipeline_id not in self._account.pipelines:
            return wire.unknown_path(request)
        rows = [self._status_view(one, request) for one in self._account.statuses(pipeline_id)]
        return wire.hal({"_total_items": len(rows), "_embedded": {"statuses": rows}})

    @answering
    async def status(self, request: Request) -> Response:
        """GET /leads/pipelines/{id}/statuses/{status_id}: the object at the root."""
        found = self._status(request)
        return wire.unknown_path(request) if found is None else wire.hal(self._status_view(found, request))

    @answering
    @admin_only
    async def create_statuses(self, request: Request) -> Response:
        """POST /leads/pipelines/{id}/statuses: an array in, full statuses out."""
        pipeline = self._account.pipelines.get(request.path_params["id"])
        if pipeline is None:
            return wire.unknown_path(request)
        items = await wire.read_array(request)
        if len(pipeline["_embedded"]["statuses"]) + len(items) > MAX_STATUSES:
            return wire.plain(REFUSED_SETUP_STATUS, f"A pipeline has at most {MAX_STATUSES} statuses")
        rows = write_batch(items, self._preparing_status(pipeline), self._faults)
        if isinstance(rows, Response):
            return rows
        root = wire.api_root(request)
        shown = [views.status_view(one, root, descriptions=True) for one in rows]
        return wire.hal({"_total_items": len(shown), "_embedded": {"statuses": shown}})

    @answering
    @admin_only
    async def change_status(self, request: Request) -> Response:
        """PATCH /leads/pipelines/{id}/statuses/{status_id}: an object in, the object at the root out."""
        status = self._status(request)
        if status is None:
            return wire.unknown_path(request)
        raw = await wire.read_object(request)
        pipeline = self._account.pipelines[request.path_params["id"]]
        refused = write_one(raw, lambda: self._writer.change_status(status, pipeline, raw))
        if refused is not None:
            return refused
        return wire.hal({**self._status_view(status, request), "request_id": "0"})

    @answering
    @admin_only
    async def delete_status(self, request: Request) -> Response:
        """DELETE /leads/pipelines/{id}/statuses/{status_id}: not a system one, not one with deals."""
        status = self._status(request)
        if status is None:
            return wire.unknown_path(request)
        try:
            self._writer.delete_status(status, self._account.pipelines[request.path_params["id"]])
        except Kept as reason:
            return wire.plain(REFUSED_SETUP_STATUS, str(reason))
        return wire.empty()

    def _preparing_status(self, pipeline: Record) -> Prepare:
        return lambda raw, request_id: self._writer.prepare_new_status(pipeline, raw, request_id)

    def _status(self, request: Request) -> Record | None:
        return self._account.status(request.path_params["id"], request.path_params["status_id"])

    def _status_view(self, status: Record, request: Request) -> Record:
        wanted = "descriptions" in wire.with_values(request)
        return views.status_view(status, wire.api_root(request), descriptions=wanted)

    # --- loss reasons -----------------------------------------------------------------------------
    @answering
    async def loss_reasons(self, request: Request) -> Response:
        """GET /leads/loss_reasons."""
        root = f"{wire.api_root(request)}/leads/loss_reasons"
        return wire.collection(root, "loss_reasons", views.linked_rows(self._account.loss_reasons.values(), root))

    @answering
    async def loss_reason(self, request: Request) -> Response:
        """GET /leads/loss_reasons/{id}."""
        return self._single(request, self._account.loss_reasons, f"{wire.api_root(request)}/leads/loss_reasons")

    def _single(self, request: Request, held: dict[int, Record], address: str) -> Response:
        record = held.get(request.path_params["id"])
        return wire.unknown_path(request) if record is None else wire.hal(views.linked_rows([record], address)[0])
