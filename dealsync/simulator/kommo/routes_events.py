"""The account's history. Source: Kommo reference, 5.7."""

from collections.abc import Hashable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dealsync.simulator.assumptions import EVENT_NAME_IN_ENTITY, EVENTS_NEWEST_FIRST, EVENTS_PAGE_LIMIT
from dealsync.simulator.kommo import wire
from dealsync.simulator.kommo.endpoints import Endpoints, answering
from dealsync.simulator.kommo.lists import between
from dealsync.simulator.kommo.state import SINGULAR
from dealsync.simulator.kommo.wire import Query, branch, values, whole, whole_numbers
from dealsync.simulator.table import Record

MOST_VALUES = 10  # of filter[created_by] and filter[entity_id]
PLURAL = {singular: plural for plural, singular in SINGULAR.items()}
TYPES = (
    *(f"{kind}_{what}" for kind in SINGULAR.values() for what in ("added", "deleted", "restored")),
    *("lead_status_changed", "sale_field_changed", "name_field_changed", "entity_responsible_changed"),
    *("entity_merged", "entity_linked", "entity_unlinked", "contact_linked"),
    *("entity_tag_added", "entity_tag_deleted", "common_note_added", "service_note_added"),
    *("task_added", "task_completed", "task_result_added", "task_deadline_changed", "task_type_changed"),
)


class EventRoutes(Endpoints):
    """Events: request -> response."""

    def routes(self) -> list[Route]:
        """Return the routes, to be mounted at the API's root."""
        api = "/api/v4/events"
        return [
            Route(api, self.events, methods=["GET"]),
            Route(f"{api}/types", self.types, methods=["GET"]),
            Route(f"{api}/{{id}}", self.event, methods=["GET"]),
        ]

    @answering
    async def events(self, request: Request) -> Response:
        """GET /events: newest first; filters id, type, entity, entity_id, created_at, created_by, value_*."""
        page = wire.page_of(request, self._faults, EVENTS_PAGE_LIMIT)
        query = wire.parse_query(request.query_params.multi_items())
        given = branch(query, "filter") if self._faults.filters_enabled else None
        self._check(given)
        created = branch(given, "created_at")
        found: Sequence[int] = self._account.events.select(
            "created_at",
            descending=EVENTS_NEWEST_FIRST,
            where=_indexed(given),
            ids=_numbers(given),
            between=between("created_at", {"from": created} if isinstance(created, str) else created),
        )
        for name in ("value_after", "value_before"):
            stages = branch(branch(given, name), "leads_statuses")
            if isinstance(stages, dict):
                found = self._of_stages(found, name, stages)
        rows = [self._view(self._account.events.get(i) or {}, request) for i in found[page.start : page.end]]
        return wire.page_answer(request, page, "events", rows, more=len(found) > page.end)

    @answering
    async def event(self, request: Request) -> Response:
        """GET /events/{id}: ids are texts; 204 for an unknown one."""
        event = self._account.events.get(_number(request.path_params["id"]))
        return wire.empty() if event is None else wire.hal(self._view(event, request))

    @answering
    async def types(self, request: Request) -> Response:
        """GET /events/types: every type with a numeric id, in one answer."""
        rows = [
            {"id": number, "key": key, "type": number, "lang": key.replace("_", " ").capitalize()}
            for number, key in enumerate(TYPES, start=1)
        ]
        return wire.collection(f"{wire.api_root(request)}/events/types", "events_types", rows)

    # --- parts ------------------------------------------------------------------------------------
    def _check(self, given: Query | str | None) -> None:
        """Raise Malformed for more values than documented, or entity ids without exactly one entity type."""
        for name in ("created_by", "entity_id"):
            if len(_listed(branch(given, name))) > MOST_VALUES:
                raise wire.Malformed(wire.plain(400, f"At most {MOST_VALUES} values in filter[{name}]"))
        if branch(given, "entity_id") is not None and len(_listed(branch(given, "entity"))) != 1:
            raise wire.Malformed(wire.plain(400, "filter[entity_id] needs exactly one filter[entity]"))

    def _of_stages(self, ids: Sequence[int], name: str, stages: Query) -> list[int]:
        wanted = {
            tuple(whole(next(iter(values(branch(one, key))), None)) for key in ("pipeline_id", "status_id"))
            for one in stages.values()
        }
        table = self._account.events
        moves = frozenset(table.select("created_at", where={"type": frozenset(["lead_status_changed"])}))
        return [i for i in ids if i in moves and _stage(table.get(i) or {}, name) in wanted]

    def _view(self, event: Record, request: Request) -> Record:
        entity: Record = {"id": event["entity_id"]}
        if EVENT_NAME_IN_ENTITY and f"{event['entity_type']}_name" in wire.with_values(request):
            record = self._account.entities[PLURAL[event["entity_type"]]].get(event["entity_id"]) or {}
            entity["name"] = record.get("name")
        own = wire.self_link(f"{wire.api_root(request)}/events/{event['id']}")
        return {**event, "_links": own, "_embedded": {"entity": entity}}


def _indexed(given: Query | str | None) -> dict[str, frozenset[Hashable]]:
    where: dict[str, frozenset[Hashable]] = {}
    kinds, entities = _listed(branch(given, "type")), _listed(branch(given, "entity"))
    ids = branch(given, "entity_id")
    if kinds:
        where["type"] = frozenset(kinds)
    if ids is not None:
        where["entity"] = frozenset((entities[0], int(i)) for i in _listed(ids) if i.isdigit())
    elif entities:
        where["entity_type"] = frozenset(entities)
    if branch(given, "created_by") is not None:
        where["created_by"] = whole_numbers({str(n): v for n, v in enumerate(_listed(branch(given, "created_by")))})
    return where


def _numbers(given: Query | str | None) -> frozenset[int] | None:
    node = branch(given, "id")
    return None if node is None else frozenset(_number(text) for text in _listed(node))


def _number(event_id: str) -> int:
    """Return the number an event is filed under; -1 for a text that is no id of ours."""
    number = event_id.removeprefix("simulated")
    return int(number) if number.isdigit() and number != event_id else -1


def _stage(event: Record, name: str) -> tuple[int, int]:
    stage = event[name][0]["lead_status"]
    return stage["pipeline_id"], stage["id"]


def _listed(node: Query | str | None) -> list[str]:
    """Return values given as an array (amoCRM) or with commas (Kommo)."""
    return [part for value in values(node) for part in value.split(",") if part]
