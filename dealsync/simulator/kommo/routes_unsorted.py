"""Incoming leads that wait to be accepted. Source: Kommo reference, 3.2 and 6.1; kept to what a test needs."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dealsync.simulator.kommo import announce, wire
from dealsync.simulator.kommo.endpoints import Endpoints, answering
from dealsync.simulator.kommo.leads import LeadWriter
from dealsync.simulator.kommo.wire import branch, values
from dealsync.simulator.table import Record


class UnsortedRoutes(Endpoints):
    """Incoming leads: request -> response."""

    def routes(self) -> list[Route]:
        """Return the routes, to be mounted at the API's root."""
        base = "/api/v4/leads/unsorted"
        return [
            Route(base, self.waiting, methods=["GET"]),
            Route(f"{base}/{{uid}}", self.one, methods=["GET"]),
            Route(f"{base}/{{uid}}/accept", self.accept, methods=["POST"]),
            Route(f"{base}/{{uid}}/decline", self.decline, methods=["DELETE"]),
        ]

    @answering
    async def waiting(self, request: Request) -> Response:
        """GET /leads/unsorted; filter[uid], filter[category], filter[pipeline_id]."""
        page = wire.page_of(request, self._faults)
        given = branch(wire.parse_query(request.query_params.multi_items()), "filter")
        tests = [(name, values(branch(given, name))) for name in ("uid", "category", "pipeline_id")]
        found = [
            one
            for one in self._account.unsorted.values()
            if all(not wanted or str(one[name]) in wanted for name, wanted in tests)
        ]
        rows = [self._view(one, request) for one in found[page.start : page.end]]
        return wire.page_answer(request, page, "unsorted", rows, more=len(found) > page.end)

    @answering
    async def one(self, request: Request) -> Response:
        """GET /leads/unsorted/{uid}: 204 for an unknown one."""
        found = self._account.unsorted.get(request.path_params["uid"])
        return wire.empty() if found is None else wire.hal(self._view(found, request))

    @answering
    async def accept(self, request: Request) -> Response:
        """POST /leads/unsorted/{uid}/accept: the deal comes into the stage given, or the first one."""
        found = self._account.unsorted.get(request.path_params["uid"])
        if found is None:
            return wire.unknown_path(request)
        body = await wire.read_object(request) if (await request.body()).strip() else {}
        lead = self._account.leads.get(found["lead_id"])
        if lead is None:
            return wire.unknown_path(request)
        user_id = body.get("user_id") or self._account.current_user_id
        status_id = body.get("status_id", self._account.first_status(lead["pipeline_id"]))
        if self._account.status(lead["pipeline_id"], status_id) is None or user_id not in self._account.users:
            return wire.plain(400, "Invalid request body")
        del self._account.unsorted[found["uid"]]
        changes = {"status_id": status_id, "responsible_user_id": user_id}
        LeadWriter(self._account, self._faults).change(lead, changes, user_id=user_id)
        announce.unsorted_told(self._account, found, "accept", [lead["id"]], user_id)
        return self._done(request, found, lead)

    @answering
    async def decline(self, request: Request) -> Response:
        """DELETE /leads/unsorted/{uid}/decline: the deal goes."""
        found = self._account.unsorted.pop(request.path_params["uid"], None)
        if found is None:
            return wire.unknown_path(request)
        user_id = self._account.current_user_id
        lead = self._account.delete("leads", found["lead_id"], user_id)
        announce.unsorted_told(self._account, found, "decline", [found["lead_id"]], user_id)
        return self._done(request, found, lead or {"id": found["lead_id"]})

    def _done(self, request: Request, found: Record, lead: Record) -> Response:
        embedded = {"leads": [{"id": lead["id"]}], "contacts": [], "companies": []}
        shown = {name: found[name] for name in ("uid", "pipeline_id", "category", "created_at")}
        return wire.hal({**shown, "_embedded": embedded})

    def _view(self, found: Record, request: Request) -> Record:
        root = wire.api_root(request)
        lead = self._account.leads.get(found["lead_id"]) or {"_embedded": {}}
        embedded = {
            "leads": [{"id": found["lead_id"], "_links": wire.self_link(f"{root}/leads/{found['lead_id']}")}],
            **{
                kind: [
                    {"id": one["id"], "_links": wire.self_link(f"{root}/{kind}/{one['id']}")}
                    for one in lead["_embedded"].get(kind, ())
                ]
                for kind in ("contacts", "companies")
            },
        }
        shown = {key: value for key, value in found.items() if key != "lead_id"}
        return {**shown, "_links": wire.self_link(f"{root}/leads/unsorted/{found['uid']}"), "_embedded": embedded}
