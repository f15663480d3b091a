"""The routes of custom fields, their groups, and tags. Source: Kommo reference, 5.4 and 5.5."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dealsync.simulator.assumptions import CUSTOM_FIELDS_PAGE_LIMIT, DELETED_FIELD_STATUS, REFUSED_SETUP_STATUS
from dealsync.simulator.kommo import wire
from dealsync.simulator.kommo.definitions import FieldWriter, GroupWriter
from dealsync.simulator.kommo.endpoints import Endpoints, admin_only, answering, kind_of
from dealsync.simulator.kommo.items import Commit, Item, write_batch, write_one
from dealsync.simulator.kommo.lists import order_of
from dealsync.simulator.kommo.state import SINGULAR
from dealsync.simulator.kommo.wire import branch, values, whole_numbers
from dealsync.simulator.table import Record


class FieldRoutes(Endpoints):
    """Custom fields, groups, tags: request -> response."""

    def routes(self) -> list[Route]:
        """Return the routes, to be mounted at the API's root."""
        api = "/api/v4"
        get, post, patch, delete = ["GET"], ["POST"], ["PATCH"], ["DELETE"]
        found = []
        for kind in (*SINGULAR, "catalogs/{catalog_id:int}"):
            base = f"{api}/{kind}/custom_fields"
            found += [
                Route(base, self.fields, methods=get),
                Route(base, self.create_fields, methods=post),
                Route(base, self.change_fields, methods=patch),
                Route(f"{base}/{{id:int}}", self.field, methods=get),
                Route(f"{base}/{{id:int}}", self.change_field, methods=patch),
                Route(f"{base}/{{id:int}}", self.delete_field, methods=delete),
            ]
        for kind in SINGULAR:
            base = f"{api}/{kind}/custom_fields/groups"
            found += [
                Route(base, self.groups, methods=get),
                Route(base, self.create_groups, methods=post),
                Route(f"{base}/{{group_id}}", self.group, methods=get),
                Route(f"{base}/{{group_id}}", self.change_group, methods=patch),
                Route(f"{base}/{{group_id}}", self.delete_group, methods=delete),
                Route(f"{api}/{kind}/tags", self.tags, methods=get),
                Route(f"{api}/{kind}/tags", self.create_tags, methods=post),
            ]
        return found

    # --- fields -----------------------------------------------------------------------------------
    @answering
    async def fields(self, request: Request) -> Response:
        """GET /{type}/custom_fields: at most 50 a page; filter[type][], order sort and id."""
        page = wire.page_of(request, self._faults, CUSTOM_FIELDS_PAGE_LIMIT)
        query = wire.parse_query(request.query_params.multi_items())
        wanted = set(values(branch(branch(query, "filter"), "type")))
        held = self._fields(request)
        if held is None:
            return wire.unknown_path(request)
        found = [f for f in held.values() if not wanted or f["type"] in wanted]
        order, descending = order_of(query, ("sort", "id"), "")
        if order:
            found.sort(key=lambda field: (field.get(order) or 0, field["id"]), reverse=descending)
        return wire.counted_page(request, page, "custom_fields", self._rows(request, found), last=True)

    @answering
    async def field(self, request: Request) -> Response:
        """GET /{type}/custom_fields/{id}: the object at the root."""
        field = (self._fields(request) or {}).get(request.path_params["id"])
        return wire.unknown_path(request) if field is None else wire.hal(self._rows(request, [field])[0])

    @answering
    @admin_only
    async def create_fields(self, request: Request) -> Response:
        """POST /{type}/custom_fields (admin only): 201 with full objects."""
        if self._fields(request) is None:
            return wire.unknown_path(request)
        writer = FieldWriter(self._account, kind_of(request))
        return await self._write(request, writer.prepare_new, 201)

    @answering
    @admin_only
    async def change_fields(self, request: Request) -> Response:
        """PATCH /{type}/custom_fields (admin only): full objects."""
        return await self._write(request, FieldWriter(self._account, kind_of(request)).prepare_change, 200)

    @answering
    @admin_only
    async def change_field(self, request: Request) -> Response:
        """PATCH /{type}/custom_fields/{id} (admin only): the object at the root."""
        item = {**await wire.read_object(request), "id": request.path_params["id"]}
        writer = FieldWriter(self._account, kind_of(request))
        rows = write_batch([item], writer.prepare_change, self._faults)
        return rows if isinstance(rows, Response) else wire.hal(self._rows(request, rows)[0])

    @answering
    @admin_only
    async def delete_field(self, request: Request) -> Response:
        """DELETE /{type}/custom_fields/{id} (admin only)."""
        field = (self._fields(request) or {}).get(request.path_params["id"])
        if field is None:
            return wire.unknown_path(request)
        if not field.get("is_deletable", True):
            return wire.plain(REFUSED_SETUP_STATUS, "The field cannot be deleted")
        FieldWriter(self._account, kind_of(request)).delete(field["id"])
        return Response(status_code=DELETED_FIELD_STATUS)

    def _fields(self, request: Request) -> dict[int, Record] | None:
        """Return the fields of the address; None for a list that is not there."""
        catalog_id = request.path_params.get("catalog_id")
        if catalog_id is not None and catalog_id not in self._account.catalogs:
            return None
        return self._account.custom_fields.setdefault(kind_of(request), {})

    async def _write(self, request: Request, prepare: Any, status: int) -> Response:
        rows = write_batch(await wire.read_array(request), prepare, self._faults)
        if isinstance(rows, Response):
            return rows
        shown = self._rows(request, rows)
        return wire.hal({"_total_items": len(shown), "_embedded": {"custom_fields": shown}}, status)

    def _rows(self, request: Request, fields: list[Record]) -> list[Record]:
        root = f"{wire.api_root(request)}/{kind_of(request)}/custom_fields"
        return [{**f, "_links": f.get("_links", wire.self_link(f"{root}/{f['id']}"))} for f in fields]

    # --- groups -----------------------------------------------------------------------------------
    @answering
    async def groups(self, request: Request) -> Response:
        """GET /{type}/custom_fields/groups."""
        page = wire.page_of(request, self._faults)
        rows = [self._group_row(request, one) for one in self._account.field_groups[kind_of(request)].values()]
        return wire.counted_page(request, page, "custom_field_groups", rows)

    @answering
    async def group(self, request: Request) -> Response:
        """GET /{type}/custom_fields/groups/{id}."""
        group = self._group(request)
        return wire.unknown_path(request) if group is None else wire.hal(self._group_row(request, group))

    @answering
    @admin_only
    async def create_groups(self, request: Request) -> Response:
        """POST /{type}/custom_fields/groups (admin only)."""
        writer = GroupWriter(self._account, kind_of(request))
        rows = write_batch(await wire.read_array(request), writer.prepare_new, self._faults)
        if isinstance(rows, Response):
            return rows
        shown = [self._group_row(request, row) for row in rows]
        return wire.hal({"_total_items": len(shown), "_embedded": {"custom_field_groups": shown}})

    @answering
    @admin_only
    async def change_group(self, request: Request) -> Response:
        """PATCH /{type}/custom_fields/groups/{id} (admin only)."""
        group = self._group(request)
        if group is None:
            return wire.unknown_path(request)
        raw = await wire.read_object(request)
        refused = write_one(raw, lambda: GroupWriter(self._account, kind_of(request)).change(group, raw))
        return wire.hal(self._group_row(request, group)) if refused is None else refused

    @answering
    @admin_only
    async def delete_group(self, request: Request) -> Response:
        """DELETE /{type}/custom_fields/groups/{id} (admin only): its fields lose their group."""
        kind, group = kind_of(request), self._group(request)
        if group is None:
            return wire.unknown_path(request)
        del self._account.field_groups[kind][group["id"]]
        for field in self._account.custom_fields[kind].values():
            if field.get("group_id") == group["id"]:
                field["group_id"] = None
        return wire.empty()

    def _group(self, request: Request) -> Record | None:
        return self._account.field_groups[kind_of(request)].get(request.path_params["group_id"])

    def _group_row(self, request: Request, group: Record) -> Record:
        own = f"{wire.api_root(request)}/{kind_of(request)}/custom_fields/groups/{group['id']}"
        return {**group, "_links": wire.self_link(own)}

    # --- tags -------------------------------------------------------------------------------------
    @answering
    async def tags(self, request: Request) -> Response:
        """GET /{type}/tags; `query` and filter[name], filter[id] narrow it."""
        page = wire.page_of(request, self._faults)
        query = wire.parse_query(request.query_params.multi_items())
        names, ids = (branch(branch(query, "filter"), name) for name in ("name", "id"))
        text = request.query_params.get("query", "").casefold()
        rows = [
            tag
            for tag in self._account.tags[kind_of(request)].values()
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

        def prepare(raw: Record, request_id: str) -> Commit:
            item = Item(raw)
            item.only(("name", "color", "request_id"))
            item.need("name")
            item.types({"name": str, "color": str}, nullable=("color",))
            item.finish()
            return lambda: {
                **self._account.tag_named(kind, raw["name"], raw.get("color")),
                "request_id": request_id,
            }

        rows = write_batch(await wire.read_array(request), prepare, self._faults)
        if isinstance(rows, Response):
            return rows
        return wire.hal({"_total_items": len(rows), "_embedded": {"tags": rows}})
