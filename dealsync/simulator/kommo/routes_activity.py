"""The routes of /api/v4 for what happens around entities: notes and tasks. Source: Kommo reference, 4.1 and 4.2."""

from collections.abc import Hashable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dealsync.simulator.assumptions import LEAD_TASKS_STATUS
from dealsync.simulator.kommo import views, wire
from dealsync.simulator.kommo.endpoints import Endpoints, answering, kind_of
from dealsync.simulator.kommo.items import Prepare, write_batch
from dealsync.simulator.kommo.lists import between, order_of
from dealsync.simulator.kommo.notes_tasks import NoteWriter, TaskWriter
from dealsync.simulator.kommo.state import SINGULAR
from dealsync.simulator.kommo.wire import branch, values, whole_numbers
from dealsync.simulator.table import Record, Table


class ActivityRoutes(Endpoints):
    """Notes and tasks: request -> response."""

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
        ]
        for kind in SINGULAR:
            for base in (f"{api}/{kind}/notes", f"{api}/{kind}/{{id:int}}/notes"):
                found += [
                    Route(base, self.notes, methods=get),
                    Route(base, self.create_notes, methods=post),
                    Route(base, self.change_notes, methods=patch),
                    Route(f"{base}/{{note_id:int}}", self.note, methods=get),
                    Route(f"{base}/{{note_id:int}}", self.change_note, methods=patch),
                    Route(f"{base}/{{note_id:int}}/pin", self.pin, methods=post),
                    Route(f"{base}/{{note_id:int}}/unpin", self.pin, methods=post),
                ]
        return found

    # --- notes ------------------------------------------------------------------------------------
    @answering
    async def notes(self, request: Request) -> Response:
        """GET /{type}/notes, GET /{type}/{id}/notes."""
        kind = kind_of(request)
        where: dict[str, frozenset[Hashable]] = {}
        names = {"note_type": str, "entity_id": int}
        if "id" in request.path_params:
            where["entity_id"] = frozenset([request.path_params["id"]])
            del names["entity_id"]
        table = self._account.notes[kind]
        page, ids = self._selected(request, table, ("updated_at", "id"), names, where)
        rows = [self._note_view(table.get(i) or {}, kind, request) for i in ids[page.start : page.end]]
        return wire.page_answer(request, page, "notes", rows, more=len(ids) > page.end)

    @answering
    async def note(self, request: Request) -> Response:
        """GET /{type}/notes/{id}, GET /{type}/{entity_id}/notes/{id}: 204 for an unknown id."""
        kind, note = kind_of(request), self._note(request)
        return wire.empty() if note is None else wire.hal(self._note_view(note, kind, request))

    @answering
    async def create_notes(self, request: Request) -> Response:
        """POST /{type}/notes (each item names its entity), POST /{type}/{id}/notes."""
        writer = NoteWriter(self._account, kind_of(request), request.path_params.get("id"))
        return self._write_notes(request, await wire.read_array(request), writer.prepare_new)

    @answering
    async def change_notes(self, request: Request) -> Response:
        """PATCH /{type}/notes, PATCH /{type}/{id}/notes: an array, each item with its id."""
        writer = NoteWriter(self._account, kind_of(request), request.path_params.get("id"))
        return self._write_notes(request, await wire.read_array(request), writer.prepare_change)

    @answering
    async def change_note(self, request: Request) -> Response:
        """PATCH /{type}/notes/{id}, PATCH /{type}/{entity_id}/notes/{id}: one object."""
        writer = NoteWriter(self._account, kind_of(request), request.path_params.get("id"))
        item = {**await wire.read_object(request), "id": request.path_params["note_id"]}
        bare = self._faults.single_patch_shape == "bare"
        return self._write_notes(request, [item], writer.prepare_change, bare=bare)

    @answering
    async def pin(self, request: Request) -> Response:
        """POST /{type}/notes/{id}/pin and /unpin: 204, no body."""
        note = self._note(request)
        if note is None:
            return wire.unknown_path(request)
        if request.url.path.endswith("/pin"):
            self._account.pinned_notes[note["id"]] = None
        else:
            self._account.pinned_notes.pop(note["id"], None)
        return wire.empty()

    def _note(self, request: Request) -> Record | None:
        note = self._account.notes[kind_of(request)].get(request.path_params["note_id"])
        entity_id = request.path_params.get("id")
        return note if note is not None and entity_id in (None, note["entity_id"]) else None

    def _note_view(self, note: Record, kind: str, request: Request) -> Record:
        shown = views.note_view(note, kind, wire.api_root(request))
        if "is_pinned" in wire.with_values(request):
            shown["is_pinned"] = note["id"] in self._account.pinned_notes
        return shown

    def _write_notes(self, request: Request, items: list[Record], prepare: Prepare, *, bare: bool = False) -> Response:
        rows = write_batch(items, prepare, self._faults)
        if isinstance(rows, Response):
            return rows
        kind, root = kind_of(request), wire.api_root(request)
        shown = [{**row, "_links": wire.self_link(views.note_address(row, kind, root))} for row in rows]
        if bare:
            return wire.hal(shown[0])
        return wire.hal({"_links": wire.self_link(f"{root}/{kind}/notes"), "_embedded": {"notes": shown}})

    # --- tasks ------------------------------------------------------------------------------------
    @answering
    async def tasks(self, request: Request) -> Response:
        """GET /tasks. The filter is called task_type, the key in bodies task_type_id (4.2)."""
        names = {"is_completed": bool, "responsible_user_id": int, "task_type": int, "entity_type": str}
        where: dict[str, frozenset[Hashable]] = {}
        query = wire.parse_query(request.query_params.multi_items())
        given = branch(query, "filter") if self._faults.filters_enabled else None
        kinds, ids = values(branch(given, "entity_type")), branch(given, "entity_id")
        if kinds and ids is not None:  # entity_id needs entity_type, else it is ignored
            where["entity"] = frozenset((kind, i) for kind in kinds for i in whole_numbers(ids))
            del names["entity_type"]
        order = ("created_at", "complete_till", "id", "updated_at")
        page, found = self._selected(request, self._account.tasks, order, names, where)
        rows = [self._task_view(self._account.tasks.get(i) or {}, request) for i in found[page.start : page.end]]
        return wire.page_answer(request, page, "tasks", rows, more=len(found) > page.end)

    @answering
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
        bare = self._faults.single_patch_shape == "bare"
        return self._write_tasks(request, [item], TaskWriter(self._account).prepare_change, bare=bare)

    @answering
    async def lead_tasks(self, request: Request) -> Response:
        """/leads/{id}/tasks: no such route in any source (4.3)."""
        return wire.plain(LEAD_TASKS_STATUS, f"Cannot {request.method} {request.url}")

    def _task_view(self, task: Record, request: Request) -> Record:
        own = wire.self_link(f"{wire.api_root(request)}/tasks/{task['id']}")
        return {**task, "_links": task.get("_links", own)}

    def _write_tasks(self, request: Request, items: list[Record], prepare: Prepare, *, bare: bool = False) -> Response:
        rows = write_batch(items, prepare, self._faults)
        if isinstance(rows, Response):
            return rows
        address = f"{wire.api_root(request)}/tasks"
        shown = views.linked_rows(rows, address)
        if bare:
            return wire.hal(shown[0])
        return wire.hal({"_links": wire.self_link(address), "_embedded": {"tasks": shown}})

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
        page = wire.page_of(request, self._faults)
        query = wire.parse_query(request.query_params.multi_items())
        given = branch(query, "filter") if self._faults.filters_enabled else None
        for name, kind in names.items():
            node = branch(given, name)
            if node is not None:
                stored = "task_type_id" if name == "task_type" else name
                where[stored] = frozenset(values(node) if kind is str else whole_numbers(node))
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
