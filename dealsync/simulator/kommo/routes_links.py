"""The routes of links, of one entity and of many. Source: Kommo reference, 5.2."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dealsync.simulator.assumptions import LINKING_IS_AN_UPDATE
from dealsync.simulator.kommo import announce, links, wire
from dealsync.simulator.kommo.endpoints import Endpoints, answering, kind_of
from dealsync.simulator.kommo.items import Item, request_id_of
from dealsync.simulator.kommo.state import SINGULAR
from dealsync.simulator.kommo.wire import Query, branch, values, whole_numbers
from dealsync.simulator.table import Record


class LinkRoutes(Endpoints):
    """Links: request -> response."""

    def routes(self) -> list[Route]:
        """Return the routes, to be mounted at the API's root."""
        found = []
        for kind in SINGULAR:
            root = f"/api/v4/{kind}"
            for base in (root, f"{root}/{{id:int}}"):
                found += [
                    Route(f"{base}/links", self.links, methods=["GET"]),
                    Route(f"{base}/link", self.link, methods=["POST"]),
                    Route(f"{base}/unlink", self.unlink, methods=["POST"]),
                ]
        return found

    @answering
    async def links(self, request: Request) -> Response:
        """GET /{type}/{id}/links, GET /{type}/links?filter[entity_id][]=…; is_main reads as main_contact."""
        kind = kind_of(request)
        given = branch(wire.parse_query(request.query_params.multi_items()), "filter")
        one = request.path_params.get("id")
        wanted = sorted(whole_numbers(branch(given, "entity_id"))) if one is None else [one]
        records = [record for record in map(self._account.entities[kind].get, wanted) if record is not None]
        if one is not None and not records:
            return wire.empty()
        rows = []
        for record in records:
            owner = {} if one is not None else {"entity_id": record["id"], "entity_type": kind}
            rows += [{**owner, **row} for row in links.links_of(self._account, kind, record) if _wanted(row, given)]
        return wire.collection(str(request.url), "links", rows)

    @answering
    async def link(self, request: Request) -> Response:
        """POST /{type}/{id}/link, POST /{type}/link; linking what is linked answers 500 (5.2)."""
        kind, given = kind_of(request), await self._given(request)
        pairs = [(one, self._account.entities[kind].get(one["entity_id"]) or {}) for one in given]
        if self._faults.relink_500 and any(
            links.is_linked(self._account, kind, record, one["to_entity_type"], one["to_entity_id"])
            for one, record in pairs
        ):
            return wire.internal()
        rows = []
        for one, record in pairs:
            metadata = one.get("metadata") or {}
            row = links.link(
                self._account,
                kind,
                record,
                one["to_entity_type"],
                one["to_entity_id"],
                is_main=metadata.get("is_main"),
                metadata=metadata,
            )
            rows.append({"entity_id": record["id"], "entity_type": kind, **row})
        self._announce(kind, [record for _, record in pairs])
        own = f"/{request.path_params['id']}" if "id" in request.path_params else ""
        return wire.collection(f"{wire.api_root(request)}/{kind}{own}/links", "links", rows)

    @answering
    async def unlink(self, request: Request) -> Response:
        """POST /{type}/{id}/unlink, POST /{type}/unlink: 204, also for what was not linked."""
        kind = kind_of(request)
        changed = []
        for one in await self._given(request):
            record = self._account.entities[kind].get(one["entity_id"]) or {}
            if links.unlink(self._account, kind, record, one["to_entity_type"], one["to_entity_id"]):
                changed.append(record)
        self._announce(kind, changed)
        return wire.empty()

    # --- parts ------------------------------------------------------------------------------------
    async def _given(self, request: Request) -> list[Record]:
        """Return the checked objects of a body, each with its entity_id. Raises Malformed with what is wrong."""
        kind, refused = kind_of(request), {}
        given = await wire.read_array(request)
        for index, one in enumerate(given):
            one["entity_id"] = request.path_params.get("id", one.get("entity_id"))
            item = Item(one)
            links.check(self._account, kind, item)
            if one["entity_id"] not in self._account.entities[kind]:
                item.refuse("NotSupportedChoice", "entity_id")
            if item.problems:
                refused[request_id_of(one, index)] = item.problems
        if refused:
            raise wire.Malformed(wire.validation(refused))
        return given

    def _announce(self, kind: str, records: list[Record]) -> None:
        if not LINKING_IS_AN_UPDATE:
            return
        for record in {record["id"]: record for record in records}.values():
            if kind == "leads":
                announce.lead_changed(self._account, record, record)
            else:
                announce.person_changed(self._account, kind, record, record)


def _wanted(row: Record, given: Query | str | None) -> bool:
    """Tell whether a link passes filter[to_entity_type], [to_entity_id] and [to_catalog_id]."""
    kinds, ids, catalogs = (branch(given, f"to_{name}") for name in ("entity_type", "entity_id", "catalog_id"))
    catalog_id = (row["metadata"] or {}).get("catalog_id")
    return (
        (kinds is None or row["to_entity_type"] in values(kinds))
        and (ids is None or kinds is None or row["to_entity_id"] in whole_numbers(ids))
        and (catalogs is None or catalog_id in whole_numbers(catalogs))
    )
