"""The routes of /api/v4 for deals, contacts and companies: lists, single ones, writes.

Source: Kommo reference, 2.1, 2.5-2.7 and 5.1.
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dealsync.simulator.assumptions import DELETED_LEAD_BY_ID_IS_EMPTY
from dealsync.simulator.kommo import wire
from dealsync.simulator.kommo.complex import ComplexWriter, together
from dealsync.simulator.kommo.contacts import PersonWriter
from dealsync.simulator.kommo.endpoints import Endpoints, answering, kind_of
from dealsync.simulator.kommo.items import Prepare, write_batch
from dealsync.simulator.kommo.leads import LeadWriter
from dealsync.simulator.kommo.lists import Lists, order_of
from dealsync.simulator.kommo.state import SINGULAR
from dealsync.simulator.kommo.views import lead_view, linked_rows, person_view
from dealsync.simulator.table import Record
from dealsync.simulator.world import World

MAX_COMPLEX = 50


class EntityRoutes(Endpoints):
    """Deals, contacts and companies: request -> response."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._lists = Lists(world.kommo, world.faults)
        self._leads = LeadWriter(world.kommo, world.faults)
        self._complex = ComplexWriter(world.kommo, world.faults)
        self._people = {kind: PersonWriter(world.kommo, world.faults, kind) for kind in ("contacts", "companies")}

    def routes(self) -> list[Route]:
        """Return the routes, to be mounted at the API's root."""
        api = "/api/v4"
        found = [Route(f"{api}/leads/complex", self.create_complex, methods=["POST"])]
        for kind in SINGULAR:
            found += [
                Route(f"{api}/{kind}", self.list_page, methods=["GET"]),
                Route(f"{api}/{kind}", self.create, methods=["POST"]),
                Route(f"{api}/{kind}", self.change_many, methods=["PATCH"]),
                Route(f"{api}/{kind}/{{id:int}}", self.retrieve, methods=["GET"]),
                Route(f"{api}/{kind}/{{id:int}}", self.change_one, methods=["PATCH"]),
            ]
        return found

    # --- reading ----------------------------------------------------------------------------------
    @answering
    async def list_page(self, request: Request) -> Response:
        """GET /leads, GET /contacts, GET /companies."""
        kind = kind_of(request)
        page = wire.page_of(request, self._faults)
        query = wire.parse_query(request.query_params.multi_items())
        if kind == "leads" and "only_deleted" in wire.with_values(request):
            table = self._account.recycle_bin
            order, descending = order_of(query, ("created_at", "updated_at", "id"), "id")
            ids = table.select(order, descending=descending)
        else:
            table = self._account.entities[kind]
            ids = self._lists.ids(kind, query)
        rows = [self._view(kind, table.get(i) or {}, request) for i in ids[page.start : page.end]]
        return wire.page_answer(request, page, kind, rows, more=len(ids) > page.end)

    @answering
    async def retrieve(self, request: Request) -> Response:
        """GET /leads/{id}, GET /contacts/{id}, GET /companies/{id}: 204 for an unknown id."""
        kind, record_id = kind_of(request), request.path_params["id"]
        record = self._account.entities[kind].get(record_id)
        if record is None and kind == "leads" and not DELETED_LEAD_BY_ID_IS_EMPTY:
            record = self._account.recycle_bin.get(record_id)
        return wire.empty() if record is None else wire.hal(self._view(kind, record, request))

    def _view(self, kind: str, record: Record, request: Request) -> Record:
        root, with_ = wire.api_root(request), wire.with_values(request)
        if kind == "leads":
            return lead_view(self._account, record, root, with_, minor_units=self._faults.minor_units)
        return person_view(self._account, kind, record, root, with_)

    # --- writing ----------------------------------------------------------------------------------
    @answering
    async def create(self, request: Request) -> Response:
        """POST /leads, /contacts, /companies: an array in, ids and request_ids out."""
        kind = kind_of(request)
        prepare = self._leads.prepare_new if kind == "leads" else self._people[kind].prepare_new
        return self._write(request, kind, await wire.read_array(request), prepare)

    @answering
    async def change_many(self, request: Request) -> Response:
        """PATCH /leads, /contacts, /companies: an array, each item with its id."""
        kind = kind_of(request)
        return self._write(request, kind, await wire.read_array(request), self._changer(kind))

    @answering
    async def change_one(self, request: Request) -> Response:
        """PATCH /leads/{id} and the like: one object; the answer's shape is a switch (2.7)."""
        kind = kind_of(request)
        item = {**await wire.read_object(request), "id": request.path_params["id"]}
        if self._faults.single_patch_shape == "wrapped":
            return self._write(request, kind, [item], self._changer(kind))
        rows = write_batch([item], self._changer(kind), self._faults)
        if isinstance(rows, Response):
            return rows
        return wire.hal(linked_rows(rows, f"{wire.api_root(request)}/{kind}")[0])

    @answering
    async def create_complex(self, request: Request) -> Response:
        """POST /leads/complex: deal, contact and company in one call; a bare array out (2.6)."""
        items = await wire.read_array(request, MAX_COMPLEX)
        rows = write_batch(items, self._complex.prepare, self._faults)
        return rows if isinstance(rows, Response) else wire.hal(together(rows))

    def _changer(self, kind: str) -> Prepare:
        return self._leads.prepare_change if kind == "leads" else self._people[kind].prepare_change

    def _write(self, request: Request, kind: str, items: list[Record], prepare: Prepare) -> Response:
        rows = write_batch(items, prepare, self._faults)
        if isinstance(rows, Response):
            return rows
        address = f"{wire.api_root(request)}/{kind}"
        return wire.hal({"_links": wire.self_link(address), "_embedded": {kind: linked_rows(rows, address)}})
