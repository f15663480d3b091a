"""The routes of /api/v4 for deals and contacts; the rest is in `routes_account` and `routes_activity`.

Source: Kommo reference, 2.1, 2.5-2.7, 5.1 and 5.2.
"""

import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dealsync.simulator.assumptions import DELETED_LEAD_BY_ID_IS_EMPTY
from dealsync.simulator.kommo import wire
from dealsync.simulator.kommo.contacts import ContactWriter
from dealsync.simulator.kommo.items import Commit, Item, Prepare, is_a, write_batch
from dealsync.simulator.kommo.leads import LeadWriter
from dealsync.simulator.kommo.lists import listed, order_of
from dealsync.simulator.kommo.views import contact_view, lead_view, linked_rows
from dealsync.simulator.table import Record
from dealsync.simulator.world import World

MAX_COMPLEX = 50
Handler: TypeAlias = Callable[[Any, Request], Awaitable[Response]]


def answering(handler: Handler) -> Handler:
    """Turn a malformed body into its answer."""

    @functools.wraps(handler)
    async def wrapped(self: object, request: Request) -> Response:
        try:
            return await handler(self, request)
        except wire.Malformed as malformed:
            return malformed.response

    return wrapped


class EntityRoutes:
    """Deals and contacts: request -> response."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._account = world.kommo
        self._leads = LeadWriter(world.kommo, world.faults)
        self._contacts = ContactWriter(world.kommo, world.faults)

    def routes(self) -> list[Route]:
        """Return the routes, to be mounted at the API's root."""
        api = "/api/v4"
        found = [Route(f"{api}/leads/complex", self.create_complex, methods=["POST"])]
        for kind in ("leads", "contacts"):
            found += [
                Route(f"{api}/{kind}", self.list_page, methods=["GET"]),
                Route(f"{api}/{kind}", self.create, methods=["POST"]),
                Route(f"{api}/{kind}", self.change_many, methods=["PATCH"]),
                Route(f"{api}/{kind}/{{id:int}}", self.retrieve, methods=["GET"]),
                Route(f"{api}/{kind}/{{id:int}}", self.change_one, methods=["PATCH"]),
            ]
        return [
            *found,
            Route(f"{api}/leads/{{id:int}}/links", self.links, methods=["GET"]),
            Route(f"{api}/leads/{{id:int}}/link", self.link, methods=["POST"]),
            Route(f"{api}/leads/{{id:int}}/unlink", self.unlink, methods=["POST"]),
        ]

    # --- reading ----------------------------------------------------------------------------------
    @answering
    async def list_page(self, request: Request) -> Response:
        """GET /leads, GET /contacts."""
        kind = kind_of(request)
        page = wire.page_of(request, self._world.faults)
        query = wire.parse_query(request.query_params.multi_items())
        if kind == "leads" and "only_deleted" in wire.with_values(request):
            bin_ = self._account.recycle_bin
            order, descending = order_of(query, ("created_at", "updated_at", "id"), "id")
            ids, table = bin_.select(order, descending=descending), bin_
        else:
            ids = listed(self._account, self._world.faults, kind, query)
            table = self._account.entities[kind]
        rows = [self._view(kind, table.get(i) or {}, request) for i in ids[page.start : page.end]]
        return wire.page_answer(request, page, kind, rows, more=len(ids) > page.end)

    async def retrieve(self, request: Request) -> Response:
        """GET /leads/{id}, GET /contacts/{id}: 204 for an unknown id."""
        kind, record_id = kind_of(request), request.path_params["id"]
        record = self._account.entities[kind].get(record_id)
        if record is None and kind == "leads" and not DELETED_LEAD_BY_ID_IS_EMPTY:
            record = self._account.recycle_bin.get(record_id)
        return wire.empty() if record is None else wire.hal(self._view(kind, record, request))

    def _view(self, kind: str, record: Record, request: Request) -> Record:
        root, with_ = wire.api_root(request), wire.with_values(request)
        if kind == "contacts":
            return contact_view(self._account, record, root, with_)
        return lead_view(self._account, record, root, with_, minor_units=self._world.faults.minor_units)

    # --- writing ----------------------------------------------------------------------------------
    @answering
    async def create(self, request: Request) -> Response:
        """POST /leads, POST /contacts: an array in, ids and request_ids out."""
        kind = kind_of(request)
        prepare = self._leads.prepare_new if kind == "leads" else self._contacts.prepare_new
        return self._write(request, kind, await wire.read_array(request), prepare)

    @answering
    async def change_many(self, request: Request) -> Response:
        """PATCH /leads, PATCH /contacts: an array, each item with its id."""
        kind = kind_of(request)
        return self._write(request, kind, await wire.read_array(request), self._changer(kind))

    @answering
    async def change_one(self, request: Request) -> Response:
        """PATCH /leads/{id}, PATCH /contacts/{id}: one object; the answer's shape is a switch (2.7)."""
        kind = kind_of(request)
        item = {**await wire.read_object(request), "id": request.path_params["id"]}
        if self._world.faults.single_patch_shape == "wrapped":
            return self._write(request, kind, [item], self._changer(kind))
        rows = write_batch([item], self._changer(kind), self._world.faults)
        if isinstance(rows, Response):
            return rows
        return wire.hal(linked_rows(rows, f"{wire.api_root(request)}/{kind}")[0])

    @answering
    async def create_complex(self, request: Request) -> Response:
        """POST /leads/complex: deal and contact in one call; a bare array out (2.6)."""
        items = await wire.read_array(request, MAX_COMPLEX)
        rows = write_batch(items, self._prepare_complex, self._world.faults)
        return rows if isinstance(rows, Response) else wire.hal(rows)

    def _changer(self, kind: str) -> Prepare:
        return self._leads.prepare_change if kind == "leads" else self._contacts.prepare_change

    def _write(self, request: Request, kind: str, items: list[Record], prepare: Prepare) -> Response:
        rows = write_batch(items, prepare, self._world.faults)
        if isinstance(rows, Response):
            return rows
        address = f"{wire.api_root(request)}/{kind}"
        body = {"_links": wire.self_link(address), "_embedded": {kind: linked_rows(rows, address)}}
        return wire.hal(body)

    def _prepare_complex(self, raw: Record, request_id: str) -> Commit:
        embedded = raw.get("_embedded") or {}
        contacts = embedded.get("contacts") or []
        item = Item(raw)
        if embedded.get("companies"):
            item.refuse("NotSupportedChoice", "_embedded.companies")  # the simulator has no companies
        if len(contacts) > 1:
            item.refuse("FieldNotExpected", "_embedded.contacts.1")
        item.finish()
        is_new = bool(contacts) and "id" not in contacts[0]
        kept = {name: part for name, part in embedded.items() if not (name == "contacts" and is_new)}
        new_lead = self._leads.prepare_new({**raw, "_embedded": kept}, request_id)
        new_contact = None
        if is_new:
            prefix = "_embedded.contacts.0."
            new_contact = self._contacts.prepare_new(contacts[0], request_id, prefix)

        def commit() -> Record:
            lead_id = new_lead()["id"]
            contact_id = contacts[0].get("id") if contacts else None
            if new_contact is not None:
                contact_id = new_contact()["id"]
                self._link_contact(self._account.leads.get(lead_id) or {}, contact_id, is_main=True)
            return {
                "id": lead_id,
                "contact_id": contact_id,
                "company_id": None,
                "request_id": [request_id],
                "merged": False,
            }

        return commit

    # --- links ------------------------------------------------------------------------------------
    async def links(self, request: Request) -> Response:
        """GET /leads/{id}/links; is_main reads as main_contact (5.2)."""
        lead = self._account.leads.get(request.path_params["id"])
        if lead is None:
            return wire.empty()
        rows = [_link_row(link["id"], main=link["is_main"]) for link in _contacts_of(lead)]
        address = f"{wire.api_root(request)}/leads/{lead['id']}/links"
        return wire.hal({"_total_items": len(rows), "_links": wire.self_link(address), "_embedded": {"links": rows}})

    @answering
    async def link(self, request: Request) -> Response:
        """POST /leads/{id}/link; linking a linked contact answers 500 (5.2)."""
        lead = self._account.leads.get(request.path_params["id"])
        if lead is None:
            return wire.empty()
        given = await wire.read_array(request)
        refused = self._refused_links(given)
        if refused:
            return wire.validation(refused)
        linked = {link["id"] for link in _contacts_of(lead)}
        if self._world.faults.relink_500 and any(one["to_entity_id"] in linked for one in given):
            return wire.internal()
        rows = []
        for one in given:
            is_main = bool((one.get("metadata") or {}).get("is_main", not linked))
            self._link_contact(lead, one["to_entity_id"], is_main=is_main)
            row = _link_row(one["to_entity_id"], main=is_main)
            rows.append({"entity_id": lead["id"], "entity_type": "leads", **row})
        address = f"{wire.api_root(request)}/leads/{lead['id']}/links"
        return wire.hal({"_total_items": len(rows), "_links": wire.self_link(address), "_embedded": {"links": rows}})

    @answering
    async def unlink(self, request: Request) -> Response:
        """POST /leads/{id}/unlink: 204."""
        lead = self._account.leads.get(request.path_params["id"])
        for one in await wire.read_array(request):
            if lead is not None and self._account.unlink(lead, one.get("to_entity_id", 0)):
                self._account.file("leads", lead, fresh=True)
        return wire.empty()

    def _refused_links(self, given: list[Record]) -> dict[str, list[wire.Problem]]:
        refused = {}
        for index, one in enumerate(given):
            item = Item(one)
            item.need("to_entity_id", "to_entity_type")
            if one.get("to_entity_type", "contacts") != "contacts":
                item.refuse("NotSupportedChoice", "to_entity_type")
            elif not is_a(one.get("to_entity_id"), int) or one["to_entity_id"] not in self._account.contacts:
                item.refuse("NotSupportedChoice", "to_entity_id")
            if item.problems:
                refused[str(index)] = item.problems
        return refused

    def _link_contact(self, lead: Record, contact_id: int, *, is_main: bool) -> None:
        others = [link for link in _contacts_of(lead) if link["id"] != contact_id]
        if is_main:
            others = [{**link, "is_main": False} for link in others]
        lead["_embedded"]["contacts"] = [*others, {"id": contact_id, "is_main": is_main}]
        self._account.file("leads", lead, fresh=True)
        after = [{"link": {"entity": {"type": "contact", "id": contact_id}}}]
        self._account.record("entity_linked", "leads", lead["id"], self._account.current_user_id, after)


def kind_of(request: Request) -> str:
    """Return the entity type in the address: "leads" or "contacts"."""
    path: str = request.scope["path"]
    return path.partition("/api/v4/")[2].partition("/")[0]


def _contacts_of(lead: Record) -> list[Record]:
    found: list[Record] = lead["_embedded"].get("contacts", [])
    return found


def _link_row(contact_id: int, *, main: bool) -> Record:
    return {
        "to_entity_id": contact_id,
        "to_entity_type": "contacts",
        "metadata": {"main_contact": main},
    }
