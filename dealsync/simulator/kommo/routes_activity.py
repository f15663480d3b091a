"""The routes of /api/v4 for what happens around deals: notes, tasks, events.

Source: Kommo reference, 4.1, 4.2 and 5.7.
"""

from collections.abc import Hashable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dealsync.simulator.assumptions import EVENTS_NEWEST_FIRST, EVENTS_PAGE_LIMIT, LEAD_TASKS_STATUS
from dealsync.simulator.kommo import views, wire
from dealsync.simulator.kommo.items import Prepare, write_batch
from dealsync.simulator.kommo.lists import between, order_of
from dealsync.simulator.kommo.notes_tasks import NoteWriter, TaskWriter
from dealsync.simulator.kommo.routes import answering, kind_of
from dealsync.simulator.kommo.wire import branch, values, whole_numbers
from dealsync.simulator.table import Record, Table
from dealsync.simulator.world import World


class ActivityRoutes:
    """Notes, tasks and events: request -> response."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._account = world.kommo

    def routes(self) -> list[Route]:
        """Return the routes, to be mounted at the API's root."""
        api = "/api/v4"
        get, post, patch = ["GET"], ["POST"], ["PATCH"]
        found = [
            Route(f"{api}/tasks", self.tasks, methods=get),
            Route(f"{api}/tasks", self.write_tasks, methods=[*post, *patch]),
            Route(f"{api}/tasks/{{id:int}}", self.task, methods=get),
            Route(f"{api}/tasks/{{id:int}}", self.change_task, methods=patch),
            Route(f"{api}/leads/{{id:int}}/tasks", self.lead_tasks, methods=[*get, *post, *patch]),
            Route(f"{api}/events", self.events, methods=get),
        ]
        for kind in ("leads", "contacts"):
            found += [
                Route(f"{api}/{kind}/notes", self.notes, methods=get),
                Route(f"{api}/{kind}/notes", self.create_notes, methods=post),
                Route(f"{api}/{kind}/notes/{{note_id:int}}", self.note, methods=get),
                Route(f"{api}/{kind}/{{id:int}}/notes", self.notes, methods=get),
                Route(f"{api}/{kind}/{{id:int}}/notes", self.create_notes, methods=post),
            ]
        return found

    # --- notes and tasks --------------------------------------------------------------------------
    @answering
    async def notes(self, request: Request) -> Response:
        """GET /{type}/notes, GET /{type}/{id}/notes."""
        kind, root = kind_of(request), wire.api_root(request)
        where: dict[str, frozenset[Hashable]] = {}
        if "id" in request.path_params:
            where["entity_id"] = frozenset([request.path_params["id"]])
        order = ("updated_at", "id")
        names = {"entity_id": int, "note_type": str}
        page, ids = self._selected(request, self._account.notes[kind], order, names, where)
        table = self._account.notes[kind]
        rows = [views.note_view(table.get(i) or {}, kind, root) for i in ids[page.start : page.end]]
        return wire.page_answer(request, page, "notes", rows, more=len(ids) > page.end)

    async def note(self, request: Request) -> Response:
        """GET /{type}/notes/{id}: 204 for an unknown id."""
        kind = kind_of(request)
        note = self._account.notes[kind].get(request.path_params["note_id"])
        return wire.hal(views.note_view(note, kind, wire.api_root(request))) if note else wire.empty()

    @answering
    async def create_notes(self, request: Request) -> Response:
        """POST /{type}/notes (each item names its entity), POST /{type}/{id}/notes."""
        kind, root = kind_of(request), wire.api_root(request)
        writer = NoteWriter(self._account, kind, request.path_params.get("id"))
        items = await wire.read_array(request)
        rows = write_batch(items, writer.prepare_new, self._world.faults)
        if isinstance(rows, Response):
            return rows
        shown = [{**row, "_links": wire.self_link(views.note_address(row, kind, root))} for row in rows]
        return wire.hal({"_links": wire.self_link(f"{root}/{kind}/notes"), "_embedded": {"notes": shown}})

    @answering
    async def tasks(self, request: Request) -> Response:
        """GET /tasks. The filter is called task_type, the key in bodies task_type_id (4.2)."""
        names = {"is_completed": bool, "responsible_user_id": int, "task_type": int, "entity_type": str}
        order = ("created_at", "complete_till", "id", "updated_at")
        page, ids = self._selected(request, self._account.tasks, order, names, {})
        query = wire.parse_query(request.query_params.multi_items())
        entity_ids = branch(branch(query, "filter"), "entity_id")
        if entity_ids is not None and self._world.faults.filters_enabled:
            wanted = whole_numbers(entity_ids)
            ids = [i for i in ids if (self._account.tasks.get(i) or {}).get("entity_id") in wanted]
        rows = [self._task_view(self._account.tasks.get(i) or {}, request) for i in ids[page.start : page.end]]
        return wire.page_answer(request, page, "tasks", rows, more=len(ids) > page.end)

    async def task(self, request: Request) -> Response:
        """GET /tasks/{id}: 204 for an unknown id."""
        task = self._account.tasks.get(request.path_params["id"])
        return wire.hal(self._task_view(task, request)) if task else wire.empty()

    @answering
    async def write_tasks(self, request: Request) -> Response:
        """POST /tasks, PATCH /tasks."""
        writer = TaskWriter(self._account)
        prepare = writer.prepare_new if request.method == "POST" else writer.prepare_change
        return self._write_tasks(request, await wire.read_array(request), prepare)

    @answering
    async def change_task(self, request: Request) -> Response:
        """PATCH /tasks/{id}: one object; the answer's shape is a switch (4.2)."""
        item = {**await wire.read_object(request), "id": request.path_params["id"]}
        return self._write_tasks(
            request,
            [item],
            TaskWriter(self._account).prepare_change,
            bare=self._world.faults.single_patch_shape == "bare",
        )

    async def lead_tasks(self, request: Request) -> Response:
        """/leads/{id}/tasks: no such route in any source (4.3)."""
        return wire.plain(LEAD_TASKS_STATUS, f"Cannot {request.method} {request.url}")

    # --- events -----------------------------------------------------------------------------------
    @answering
    async def events(self, request: Request) -> Response:
        """GET /events: history, newest first; filters type, entity, entity_id, created_at."""
        page = wire.page_of(request, self._world.faults, EVENTS_PAGE_LIMIT)
        given = branch(wire.parse_query(request.query_params.multi_items()), "filter")
        where: dict[str, frozenset[Hashable]] = {}
        kinds = _listed(branch(given, "type"))
        if kinds:
            where["type"] = frozenset(kinds)
        entities = _listed(branch(given, "entity"))
        ids = whole_numbers(branch(given, "entity_id"))
        if ids and entities:
            where["entity"] = frozenset((kind, i) for kind in entities for i in ids)
        table, root = self._account.events, wire.api_root(request)
        found = table.select(
            "created_at",
            descending=EVENTS_NEWEST_FIRST,
            where=where,
            between=between("created_at", branch(given, "created_at")),
        )
        if entities:
            found = [i for i in found if (table.get(i) or {})["entity_type"] in entities]
        rows = [_event_view(table.get(i) or {}, root) for i in found[page.start : page.end]]
        return wire.page_answer(request, page, "events", rows, more=len(found) > page.end)

    # --- parts ------------------------------------------------------------------------------------
    def _selected(
        self,
        request: Request,
        table: Table,
        orders: tuple[str, ...],
        names: dict[str, type],
        where: dict[str, frozenset[Hashable]],
    ) -> tuple[wire.Page, list[int]]:
        """Return the page asked for and the ids of a list of notes or tasks.

        Here a bare filter[updated_at] means "after", unlike on deals (2.4).
        """
        page = wire.page_of(request, self._world.faults)
        query = wire.parse_query(request.query_params.multi_items())
        given = branch(query, "filter") if self._world.faults.filters_enabled else None
        for name, kind in names.items():
            node = branch(given, name)
            if node is not None:
                stored = "task_type_id" if name == "task_type" else name
                found = values(node) if kind is str else whole_numbers(node)
                where[stored] = frozenset(found)
        updated = branch(given, "updated_at")
        if isinstance(updated, str):
            updated = {"from": updated}
        order, descending = order_of(query, orders, "id")
        ids = branch(given, "id")
        return page, table.select(
            order,
            descending=descending,
            where=where,
            ids=None if ids is None else whole_numbers(ids),
            between=between("updated_at", updated),
        )

    def _task_view(self, task: Record, request: Request) -> Record:
        own = wire.self_link(f"{wire.api_root(request)}/tasks/{task['id']}")
        return {**task, "_links": task.get("_links", own)}

    def _write_tasks(self, request: Request, items: list[Record], prepare: Prepare, *, bare: bool = False) -> Response:
        rows = write_batch(items, prepare, self._world.faults)
        if isinstance(rows, Response):
            return rows
        address = f"{wire.api_root(request)}/tasks"
        shown = views.linked_rows(rows, address)
        if bare:
            return wire.hal(shown[0])
        return wire.hal({"_links": wire.self_link(address), "_embedded": {"tasks": shown}})


def _listed(node: wire.Query | str | None) -> list[str]:
    """Return values given as an array (amoCRM) or with commas (Kommo)."""
    return [part for value in values(node) for part in value.split(",") if part]


def _event_view(event: Record, root: str) -> Record:
    return {
        **event,
        "_links": wire.self_link(f"{root}/events/{event['id']}"),
        "_embedded": {"entity": {"id": event["entity_id"]}},
    }
