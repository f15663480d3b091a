"""Lists (catalogs) and their elements, as far as links and invoices need them. Source: Kommo reference, 5.6."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dealsync.simulator.assumptions import ELEMENTS_PAGE_LIMIT, REFUSED_SETUP_STATUS
from dealsync.simulator.kommo import views, wire
from dealsync.simulator.kommo.endpoints import Endpoints, answering
from dealsync.simulator.kommo.fields import field_values, merged
from dealsync.simulator.kommo.items import Commit, Item, write_batch
from dealsync.simulator.kommo.wire import branch, whole_numbers
from dealsync.simulator.table import Record

MAX_CATALOGS = 10
CATALOG_KINDS = ("regular", "products", "invoices", "suppliers")
SINGLE_KINDS = ("products", "invoices")  # an account has one of each
FLAGS = ("can_add_elements", "can_link_multiple", "can_be_deleted", "can_show_in_cards")
CATALOG_TYPES = {"name": str, "type": str, "sort": int, **dict.fromkeys(FLAGS, bool)}


class CatalogRoutes(Endpoints):
    """Catalogs and elements: request -> response."""

    def routes(self) -> list[Route]:
        """Return the routes, to be mounted at the API's root."""
        base = "/api/v4/catalogs"
        return [
            Route(base, self.catalogs, methods=["GET"]),
            Route(base, self.create, methods=["POST"]),
            Route(base, self.change, methods=["PATCH"]),
            Route(f"{base}/{{id:int}}", self.catalog, methods=["GET"]),
            Route(f"{base}/{{id:int}}/elements", self.elements, methods=["GET"]),
            Route(f"{base}/{{id:int}}/elements", self.write_elements, methods=["POST", "PATCH"]),
            Route(f"{base}/{{id:int}}/elements/{{element_id:int}}", self.element, methods=["GET"]),
        ]

    # --- catalogs ---------------------------------------------------------------------------------
    @answering
    async def catalogs(self, request: Request) -> Response:
        """GET /catalogs."""
        page = wire.page_of(request, self._faults)
        rows = views.linked_rows(self._account.catalogs.values(), self._address(request))
        return wire.page_answer(request, page, "catalogs", rows[page.start : page.end], more=len(rows) > page.end)

    @answering
    async def catalog(self, request: Request) -> Response:
        """GET /catalogs/{id}: 204 for an unknown id."""
        catalog = self._account.catalogs.get(request.path_params["id"])
        return wire.empty() if catalog is None else wire.hal(self._rows(request, [catalog])[0])

    @answering
    async def create(self, request: Request) -> Response:
        """POST /catalogs: at most 10 in an account."""
        items = await wire.read_array(request)
        if len(self._account.catalogs) + len(items) > MAX_CATALOGS:
            return wire.plain(REFUSED_SETUP_STATUS, f"An account has at most {MAX_CATALOGS} lists")
        return self._write(request, items, self._prepare_new)

    @answering
    async def change(self, request: Request) -> Response:
        """PATCH /catalogs."""
        return self._write(request, await wire.read_array(request), self._prepare_change)

    def _prepare_new(self, raw: Record, request_id: str) -> Commit:
        item = self._checked(raw)
        item.need("name")
        kind = raw.get("type", "regular")
        taken = {catalog["type"] for catalog in self._account.catalogs.values()}
        if kind not in CATALOG_KINDS or (kind in SINGLE_KINDS and kind in taken):
            item.refuse("NotSupportedChoice", "type")
        item.finish()

        def commit() -> Record:
            account, now = self._account, self._account.clock.seconds()
            catalog = {
                "id": account.next_id("catalogs"),
                "name": raw["name"],
                "created_by": account.current_user_id,
                "updated_by": account.current_user_id,
                "created_at": now,
                "updated_at": now,
                "sort": raw.get("sort", 10 * (len(account.catalogs) + 1)),
                "type": kind,
                **{name: raw.get(name, name != "can_show_in_cards") for name in FLAGS},
                "sdk_widget_code": None,
                "account_id": account.account_id,
            }
            account.catalogs[int(catalog["id"])] = catalog
            return {**catalog, "request_id": request_id}

        return commit

    def _prepare_change(self, raw: Record, request_id: str) -> Commit:
        item = self._checked(raw)
        catalog = self._account.catalogs.get(raw.get("id") or 0)
        if catalog is None:
            item.refuse("NotSupportedChoice", "id")
        item.finish()

        def commit() -> Record:
            held: Record = catalog or {}
            held.update({name: raw[name] for name in CATALOG_TYPES if name in raw and name != "type"})
            held.update(updated_at=self._account.clock.seconds(), updated_by=self._account.current_user_id)
            return {**held, "request_id": request_id}

        return commit

    def _checked(self, raw: Record) -> Item:
        item = Item(raw)
        item.only((*CATALOG_TYPES, "id", "request_id"))
        item.types(CATALOG_TYPES)
        return item

    def _write(self, request: Request, items: list[Record], prepare: Any) -> Response:
        rows = write_batch(items, prepare, self._faults)
        if isinstance(rows, Response):
            return rows
        links = wire.self_link(self._address(request))
        return wire.hal({"_links": links, "_embedded": {"catalogs": self._rows(request, rows)}})

    def _rows(self, request: Request, catalogs: list[Record]) -> list[Record]:
        return views.linked_rows(catalogs, self._address(request))

    def _address(self, request: Request) -> str:
        return f"{wire.api_root(request)}/catalogs"

    # --- elements ---------------------------------------------------------------------------------
    @answering
    async def elements(self, request: Request) -> Response:
        """GET /catalogs/{id}/elements; filter[id] and query."""
        page = wire.page_of(request, self._faults, ELEMENTS_PAGE_LIMIT)
        query = wire.parse_query(request.query_params.multi_items())
        ids = branch(branch(query, "filter"), "id")
        table = self._account.elements
        found = table.select(
            "id",
            where={"catalog_id": frozenset([request.path_params["id"]])},
            ids=None if ids is None else whole_numbers(ids),
        )
        text = request.query_params.get("query", "").casefold()
        if text:
            found = [i for i in found if text in str((table.get(i) or {})["name"]).casefold()]
        rows = self._element_rows(request, [table.get(i) or {} for i in found[page.start : page.end]])
        return wire.page_answer(request, page, "elements", rows, more=len(found) > page.end)

    @answering
    async def element(self, request: Request) -> Response:
        """GET /catalogs/{id}/elements/{element_id}: 204 for an unknown id."""
        element = self._account.elements.get(request.path_params["element_id"])
        if element is None or element["catalog_id"] != request.path_params["id"]:
            return wire.empty()
        return wire.hal(self._element_rows(request, [element])[0])

    @answering
    async def write_elements(self, request: Request) -> Response:
        """POST and PATCH /catalogs/{id}/elements: full objects out."""
        catalog_id = request.path_params["id"]
        if catalog_id not in self._account.catalogs:
            return wire.unknown_path(request)

        def prepare(raw: Record, request_id: str) -> Commit:
            return self._prepare_element(catalog_id, raw, request_id, new=request.method == "POST")

        rows = write_batch(await wire.read_array(request), prepare, self._faults)
        if isinstance(rows, Response):
            return rows
        links = wire.self_link(f"{self._address(request)}/{catalog_id}/elements")
        return wire.hal({"_links": links, "_embedded": {"elements": self._element_rows(request, rows)}})

    def _prepare_element(self, catalog_id: int, raw: Record, request_id: str, *, new: bool) -> Commit:
        item = Item(raw)
        item.only(("id", "name", "custom_fields_values", "request_id"))
        item.types({"name": str})
        if new:
            item.need("name")
        held = None if new else item.target(self._account.elements)
        kind = f"catalogs/{catalog_id}"
        self._account.custom_fields.setdefault(kind, {})
        fields = field_values(self._account, kind, item)
        item.finish()

        def commit() -> Record:
            element = self._blank(catalog_id) if held is None else held
            element["name"] = raw.get("name", element["name"])
            element["custom_fields_values"] = merged(element["custom_fields_values"], fields) or []
            element.update(updated_at=self._account.clock.seconds(), updated_by=self._account.current_user_id)
            self._account.elements.put(element["id"], element)
            return {**element, "request_id": request_id}

        return commit

    def _blank(self, catalog_id: int) -> Record:
        account, now = self._account, self._account.clock.seconds()
        return {
            "id": account.next_id("elements"),
            "name": "",
            "created_by": account.current_user_id,
            "updated_by": account.current_user_id,
            "created_at": now,
            "updated_at": now,
            "is_deleted": False,
            "custom_fields_values": None,
            "catalog_id": catalog_id,
            "account_id": account.account_id,
        }

    def _element_rows(self, request: Request, elements: list[Record]) -> list[Record]:
        return views.linked_rows(elements, f"{self._address(request)}/{request.path_params['id']}/elements")
