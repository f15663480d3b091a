"""The routes of /api/v4 for what an account consists of: users, pipelines, custom fields, tags.

Source: Kommo reference, 3.1 and 5.3-5.5.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dealsync.simulator.assumptions import (
    CUSTOM_FIELDS_PAGE_LIMIT,
)
from dealsync.simulator.kommo import views, wire
from dealsync.simulator.kommo.fields import prepare_field
from dealsync.simulator.kommo.items import Item, write_batch
from dealsync.simulator.kommo.routes import answering, kind_of
from dealsync.simulator.kommo.wire import branch, values, whole_numbers
from dealsync.simulator.table import Record
from dealsync.simulator.world import World


class AccountRoutes:
    """Account, users, pipelines, loss reasons, fields, tags: request -> response."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._account = world.kommo

    def routes(self) -> list[Route]:
        """Return the routes, to be mounted at the API's root."""
        api = "/api/v4"
        get, post = ["GET"], ["POST"]
        found = [
            Route(f"{api}/account", self.account, methods=get),
            Route(f"{api}/users", self.users, methods=get),
            Route(f"{api}/users/{{id:int}}", self.user, methods=get),
            Route(f"{api}/leads/pipelines", self.pipelines, methods=get),
            Route(f"{api}/leads/pipelines/{{id:int}}", self.pipeline, methods=get),
            Route(f"{api}/leads/pipelines/{{id:int}}/statuses", self.statuses, methods=get),
            Route(f"{api}/leads/pipelines/{{id:int}}/statuses/{{status_id:int}}", self.status, methods=get),
            Route(f"{api}/leads/loss_reasons", self.loss_reasons, methods=get),
        ]
        for kind in ("leads", "contacts"):
            found += [
                Route(f"{api}/{kind}/custom_fields", self.fields, methods=get),
                Route(f"{api}/{kind}/custom_fields", self.create_fields, methods=post),
                Route(f"{api}/{kind}/custom_fields/{{id:int}}", self.field, methods=get),
                Route(f"{api}/{kind}/tags", self.tags, methods=get),
                Route(f"{api}/{kind}/tags", self.create_tags, methods=post),
            ]
        return found

    # --- account, users, pipelines ----------------------------------------------------------------
    async def account(self, request: Request) -> Response:
        """GET /account; `with` values that are plain keys go to the root, the others into _embedded."""
        root, with_ = wire.api_root(request), wire.with_values(request)
        stored = self._account.account
        shown = {k: v for k, v in stored.items() if k not in ("_with", "_embedded", "_links")}
        extras = stored.get("_with", {})
        shown |= {name: extras[name] for name in extras if name in with_}
        shown["_links"] = stored.get("_links", wire.self_link(f"{root}/account"))
        embedded = {name: part for name, part in stored.get("_embedded", {}).items() if name in with_}
        if embedded:
            shown["_embedded"] = embedded
        return wire.hal(shown)

    @answering
    async def users(self, request: Request) -> Response:
        """GET /users (admin only; our token's user is one)."""
        page = wire.page_of(request, self._world.faults)
        root, with_ = wire.api_root(request), wire.with_values(request)
        rows = [views.user_view(user, root, with_) for user in self._account.users.values()]
        return self._counted(request, page, "users", rows)

    async def user(self, request: Request) -> Response:
        """GET /users/{id}."""
        user = self._account.users.get(request.path_params["id"])
        if user is None:
            return wire.unknown_path(request)
        return wire.hal(views.user_view(user, wire.api_root(request), wire.with_values(request)))

    async def pipelines(self, request: Request) -> Response:
        """GET /leads/pipelines: all in one answer, without paging."""
        root = wire.api_root(request)
        rows = [views.pipeline_view(one, root) for one in self._account.pipelines.values()]
        return _collection(f"{root}/leads/pipelines", "pipelines", rows)

    async def pipeline(self, request: Request) -> Response:
        """GET /leads/pipelines/{id}: the object at the root."""
        pipeline = self._account.pipelines.get(request.path_params["id"])
        if pipeline is None:
            return wire.unknown_path(request)
        return wire.hal(views.pipeline_view(pipeline, wire.api_root(request)))

    async def statuses(self, request: Request) -> Response:
        """GET /leads/pipelines/{id}/statuses."""
        root, pipeline_id = wire.api_root(request), request.path_params["id"]
        if pipeline_id not in self._account.pipelines:
            return wire.unknown_path(request)
        rows = [views.status_view(one, root) for one in self._account.statuses(pipeline_id)]
        return _collection(f"{root}/leads/pipelines/{pipeline_id}/statuses", "statuses", rows)

    async def status(self, request: Request) -> Response:
        """GET /leads/pipelines/{id}/statuses/{status_id}: the object at the root."""
        found = self._account.status(request.path_params["id"], request.path_params["status_id"])
        if found is None:
            return wire.unknown_path(request)
        return wire.hal(views.status_view(found, wire.api_root(request)))

    async def loss_reasons(self, request: Request) -> Response:
        """GET /leads/loss_reasons."""
        root = f"{wire.api_root(request)}/leads/loss_reasons"
        return _collection(root, "loss_reasons", views.linked_rows(self._account.loss_reasons.values(), root))

    # --- fields and tags --------------------------------------------------------------------------
    @answering
    async def fields(self, request: Request) -> Response:
        """GET /{type}/custom_fields: at most 50 a page."""
        page = wire.page_of(request, self._world.faults, CUSTOM_FIELDS_PAGE_LIMIT)
        kind = kind_of(request)
        query = wire.parse_query(request.query_params.multi_items())
        wanted = set(values(branch(branch(query, "filter"), "type")))
        found = [f for f in self._account.custom_fields[kind].values() if not wanted or f["type"] in wanted]
        return self._counted(request, page, "custom_fields", self._field_rows(request, kind, found))

    async def field(self, request: Request) -> Response:
        """GET /{type}/custom_fields/{id}: the object at the root."""
        kind = kind_of(request)
        field = self._account.field(kind, field_id=request.path_params["id"])
        if field is None:
            return wire.unknown_path(request)
        return wire.hal(self._field_rows(request, kind, [field])[0])

    @answering
    async def create_fields(self, request: Request) -> Response:
        """POST /{type}/custom_fields: 201 with full objects."""
        kind = kind_of(request)

        def prepare(raw: Record, request_id: str) -> Any:
            field = prepare_field(self._account, kind, raw)

            def commit() -> Record:
                self._account.custom_fields[kind][field["id"]] = field
                return {**field, "request_id": request_id}

            return commit

        rows = write_batch(await wire.read_array(request), prepare, self._world.faults)
        if isinstance(rows, Response):
            return rows
        shown = self._field_rows(request, kind, rows)
        return wire.hal({"_total_items": len(shown), "_embedded": {"custom_fields": shown}}, 201)

    @answering
    async def tags(self, request: Request) -> Response:
        """GET /{type}/tags; `query` and filter[name], filter[id] narrow it."""
        page = wire.page_of(request, self._world.faults)
        query = wire.parse_query(request.query_params.multi_items())
        rows = list(self._account.tags[kind_of(request)].values())
        names, ids = (branch(branch(query, "filter"), name) for name in ("name", "id"))
        text = request.query_params.get("query", "").casefold()
        rows = [
            tag
            for tag in rows
            if (names is None or tag["name"] in values(names))
            and (ids is None or tag["id"] in whole_numbers(ids))
            and text in tag["name"].casefold()
        ]
        shown = rows[page.start : page.end]
        return wire.page_answer(request, page, "tags", shown, more=len(rows) > page.end)

    @answering
    async def create_tags(self, request: Request) -> Response:
        """POST /{type}/tags: an existing name returns its id."""
        kind = kind_of(request)

        def prepare(raw: Record, request_id: str) -> Any:
            item = Item(raw)
            item.only(("name", "color", "request_id"))
            item.need("name")
            item.types({"name": str, "color": str}, nullable=("color",))
            item.finish()
            return lambda: {
                **self._account.tag_named(kind, raw["name"], raw.get("color")),
                "request_id": request_id,
            }

        rows = write_batch(await wire.read_array(request), prepare, self._world.faults)
        if isinstance(rows, Response):
            return rows
        return wire.hal({"_total_items": len(rows), "_embedded": {"tags": rows}})

    # --- parts ------------------------------------------------------------------------------------
    def _counted(self, request: Request, page: wire.Page, plural: str, rows: list[Record]) -> Response:
        """Return a page that also tells the totals: users and custom fields (1.3)."""
        shown = rows[page.start : page.end]
        if not shown:
            return wire.empty()
        return wire.hal(
            {
                "_total_items": len(rows),
                "_page": page.number,
                "_page_count": -(-len(rows) // page.limit),
                "_links": wire.page_links(request, page, more=len(rows) > page.end),
                "_embedded": {plural: shown},
            }
        )

    def _field_rows(self, request: Request, kind: str, fields: list[Record]) -> list[Record]:
        root = f"{wire.api_root(request)}/{kind}/custom_fields"
        return [{**f, "_links": f.get("_links", wire.self_link(f"{root}/{f['id']}"))} for f in fields]


def _collection(address: str, plural: str, rows: list[Record]) -> Response:
    body = {"_total_items": len(rows), "_links": wire.self_link(address), "_embedded": {plural: rows}}
    return wire.hal(body)
