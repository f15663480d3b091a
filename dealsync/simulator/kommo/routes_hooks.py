"""The routes of webhooks and of lead sources. Source: Kommo reference, 5.7 and 5.8."""

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dealsync.simulator.assumptions import (
    INVALID_DESTINATION_CODE,
    REFUSED_SETUP_STATUS,
    REGISTERING_SWITCHES_ON,
    REPEATED_WEBHOOK_REPLACES,
    WEBHOOK_CREATED_STATUS,
)
from dealsync.simulator.kommo import views, wire
from dealsync.simulator.kommo.endpoints import Endpoints, admin_only, answering
from dealsync.simulator.kommo.hooks import MAX_HOOKS, SETTINGS
from dealsync.simulator.kommo.items import Commit, Item, write_batch
from dealsync.simulator.kommo.wire import branch, values
from dealsync.simulator.table import Record

MAX_SOURCES = 100
SOURCE_TYPES = {"name": str, "pipeline_id": int, "external_id": str, "default": bool, "services": list}


class HookRoutes(Endpoints):
    """Webhooks and sources: request -> response."""

    def routes(self) -> list[Route]:
        """Return the routes, to be mounted at the API's root."""
        api = "/api/v4"
        return [
            Route(f"{api}/webhooks", self.webhooks, methods=["GET"]),
            Route(f"{api}/webhooks", self.register, methods=["POST"]),
            Route(f"{api}/webhooks", self.unregister, methods=["DELETE"]),
            Route(f"{api}/sources", self.sources, methods=["GET"]),
            Route(f"{api}/sources", self.write_sources, methods=["POST", "PATCH"]),
            Route(f"{api}/sources/{{id:int}}", self.source, methods=["GET"]),
            Route(f"{api}/sources/{{id:int}}", self.delete_source, methods=["DELETE"]),
        ]

    # --- webhooks ---------------------------------------------------------------------------------
    @answering
    @admin_only
    async def webhooks(self, request: Request) -> Response:
        """GET /webhooks (admin only); filter[destination] is exact."""
        query = wire.parse_query(request.query_params.multi_items())
        wanted = branch(branch(query, "filter"), "destination")
        hooks = self._account.hooks.registered.values()
        rows = [hook for hook in hooks if wanted is None or hook["destination"] in values(wanted)]
        return wire.hal({"_total_items": len(rows), "_embedded": {"webhooks": rows}})

    @answering
    @admin_only
    async def register(self, request: Request) -> Response:
        """POST /webhooks (admin only): an object in, the object at the root out; a known destination is updated."""
        raw = await wire.read_object(request)
        item = Item(raw)
        item.only(("destination", "settings", "sort"))
        item.need("destination", "settings")
        item.types({"destination": str, "settings": list, "sort": int})
        for index, setting in enumerate(item.sound("settings") or ()):
            if setting not in SETTINGS:
                item.refuse("NotSupportedChoice", f"settings.{index}")
        destination = item.sound("destination")
        if destination is not None and not _is_address(destination):
            item.refuse(INVALID_DESTINATION_CODE, "destination.destination")
        if item.problems:
            return wire.validation({"0": item.problems})
        hooks = self._account.hooks
        hook = hooks.at(raw["destination"])
        if hook is None and len(hooks.registered) >= MAX_HOOKS:
            return wire.plain(REFUSED_SETUP_STATUS, f"An account has at most {MAX_HOOKS} webhooks")
        return wire.hal(self._registered(hook, raw), WEBHOOK_CREATED_STATUS)

    @answering
    @admin_only
    async def unregister(self, request: Request) -> Response:
        """DELETE /webhooks (admin only): the destination is in the body; 404 for an unknown one."""
        raw = await wire.read_object(request)
        hook = self._account.hooks.at(str(raw.get("destination")))
        if hook is None:
            return wire.plain(404, "Webhook not found")
        del self._account.hooks.registered[hook["id"]]
        return wire.empty()

    def _registered(self, hook: Record | None, raw: Record) -> Record:
        account, now = self._account, self._account.clock.seconds()
        if hook is None:
            hook = {
                "id": account.next_id("webhooks"),
                "destination": raw["destination"],
                "created_at": now,
                "updated_at": now,
                "account_id": account.account_id,
                "created_by": account.current_user_id,
                "sort": raw.get("sort", len(account.hooks.registered) + 1),
                "disabled": False,
                "settings": [],
            }
            account.hooks.registered[int(hook["id"])] = hook
        kept = [] if REPEATED_WEBHOOK_REPLACES else hook["settings"]
        hook["settings"] = list(dict.fromkeys([*kept, *raw["settings"]]))
        hook.update(updated_at=now, sort=raw.get("sort", hook["sort"]))
        hook["disabled"] = hook["disabled"] and not REGISTERING_SWITCHES_ON
        return hook

    # --- sources ----------------------------------------------------------------------------------
    @answering
    async def sources(self, request: Request) -> Response:
        """GET /sources: 204 when there are none; filter[external_id]."""
        query = wire.parse_query(request.query_params.multi_items())
        wanted = branch(branch(query, "filter"), "external_id")
        found = [s for s in self._account.sources.values() if wanted is None or s["external_id"] in values(wanted)]
        address = f"{wire.api_root(request)}/sources"
        return wire.collection(address, "sources", views.linked_rows(found, address)) if found else wire.empty()

    @answering
    async def source(self, request: Request) -> Response:
        """GET /sources/{id}."""
        source = self._account.sources.get(request.path_params["id"])
        if source is None:
            return wire.unknown_path(request)
        return wire.hal(views.linked_rows([source], f"{wire.api_root(request)}/sources")[0])

    @answering
    async def write_sources(self, request: Request) -> Response:
        """POST and PATCH /sources: arrays; at most 100 of an integration."""
        items = await wire.read_array(request)
        new = request.method == "POST"
        if new and len(self._account.sources) + len(items) > MAX_SOURCES:
            return wire.plain(REFUSED_SETUP_STATUS, f"An integration has at most {MAX_SOURCES} sources")
        rows = write_batch(items, self._prepare_new if new else self._prepare_change, self._faults)
        if isinstance(rows, Response):
            return rows
        address = f"{wire.api_root(request)}/sources"
        return wire.collection(address, "sources", views.linked_rows(rows, address))

    @answering
    async def delete_source(self, request: Request) -> Response:
        """DELETE /sources/{id}: 204."""
        if self._account.sources.pop(request.path_params["id"], None) is None:
            return wire.unknown_path(request)
        return wire.empty()

    def _prepare_new(self, raw: Record, request_id: str) -> Commit:
        item = self._checked(raw)
        item.need("name", "external_id")
        item.finish()

        def commit() -> Record:
            source = {
                "id": self._account.next_id("sources"),
                "name": raw["name"],
                "pipeline_id": raw.get("pipeline_id", self._account.main_pipeline["id"]),
                "external_id": raw["external_id"],
                "default": raw.get("default", False),
                "origin_code": None,
                "services": raw.get("services", []),
            }
            self._account.sources[int(source["id"])] = source
            return {**source, "request_id": request_id}

        return commit

    def _prepare_change(self, raw: Record, request_id: str) -> Commit:
        item = self._checked(raw)
        source = self._account.sources.get(raw.get("id") or 0)
        if source is None:
            item.refuse("NotSupportedChoice", "id")
        item.finish()

        def commit() -> Record:
            held: Record = source or {}
            held.update({name: raw[name] for name in SOURCE_TYPES if name in raw})
            return {**held, "request_id": request_id}

        return commit

    def _checked(self, raw: Record) -> Item:
        item = Item(raw)
        item.only((*SOURCE_TYPES, "id", "request_id"))
        item.types(SOURCE_TYPES)
        pipeline_id = item.sound("pipeline_id")
        if pipeline_id is not None and pipeline_id not in self._account.pipelines:
            item.refuse("NotSupportedChoice", "pipeline_id")
        return item


def _is_address(destination: str) -> bool:
    """Tell whether Kommo would take it for an address (5.8): no non-ASCII domain, and its host must resolve.

    Nothing is looked up, so only `.invalid`, which never resolves, stands for a host that is not known (yet).
    """
    try:
        parts = urlsplit(destination)
        host = parts.hostname or ""
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(host) and host.isascii() and not host.endswith(".invalid")
