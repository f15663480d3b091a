"""The REST routes under /v1 that read: lists, single resources, what they are related to.

Source: Lemon Squeezy reference, sections 2 to 5.
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dealsync.simulator.lemonsqueezy import wire
from dealsync.simulator.lemonsqueezy.access import guarded, root_of, visible
from dealsync.simulator.lemonsqueezy.catalogue import TYPES, Relation, ResourceType, filter_key
from dealsync.simulator.lemonsqueezy.query import Query, read_query
from dealsync.simulator.lemonsqueezy.wire import Documents
from dealsync.simulator.lemonsqueezy.writing import Writing
from dealsync.simulator.table import Record
from dealsync.simulator.world import World


class LemonSqueezyRoutes:
    """Request -> response, on one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._store = world.lemon_squeezy
        self._writing = Writing(world)

    def routes(self) -> list[Route]:
        """Return the routes, to be mounted at the API's root."""
        found = [
            Route("/v1/users/me", self.me),
            *self._writing.routes(),
            Route("/v1/subscription-items/{id}/current-usage", guarded(self.current_usage)),
        ]
        for kind in TYPES:
            found += [
                Route(f"/v1/{kind}", guarded(self.list_page)),
                Route(f"/v1/{kind}/{{id}}", guarded(self.retrieve)),
                Route(f"/v1/{kind}/{{id}}/relationships/{{relation}}", guarded(self.relationship)),
                Route(f"/v1/{kind}/{{id}}/{{relation}}", guarded(self.related)),
            ]
        return found

    async def me(self, request: Request) -> Response:
        """GET /v1/users/me: the user behind the key; `meta` comes first."""
        user = self._store.user
        address = f"{root_of(request)}/users/{user['id']}"
        return wire.answer(
            {
                "meta": {"test_mode": self._store.test_mode_key},
                "jsonapi": wire.JSONAPI,
                "links": {"self": address},
                "data": {**user, "links": {"self": address}},
            }
        )

    async def list_page(self, request: Request) -> Response:
        """GET /v1/{type}: one page in the type's default order."""
        query = read_query(request.query_params.multi_items(), _kind(request))
        return self._page(request, query, {}, query.kind.name)

    async def retrieve(self, request: Request) -> Response:
        """GET /v1/{type}/{id}."""
        query = read_query(request.query_params.multi_items(), _kind(request))
        record = self._record(request)
        return wire.answer(self._documents(request).single(record, query.includes))

    async def related(self, request: Request) -> Response:
        """GET /v1/{type}/{id}/{relation}: a page of resources, or one or null."""
        record, relation = self._record(request), _relation(request)
        target = TYPES.get(relation.target)
        if target is None:
            raise wire.missing()
        query = read_query(request.query_params.multi_items(), target)
        path = f"{record['type']}/{record['id']}/{relation.name}"
        if relation.many and relation.key:
            return self._page(request, query, {relation.key: record["id"]}, path)
        found = self._store.related(record, relation)
        documents = self._documents(request)
        if relation.many:
            first = (query.number - 1) * query.size
            link = query.link(f"{documents.root}/{path}")
            rows = found[first : first + query.size]
            return wire.answer(documents.page(rows, total=len(found), link=link, includes=query.includes))
        if found:
            return wire.answer(documents.single(found[0], query.includes))
        return wire.answer({"jsonapi": wire.JSONAPI, "links": {"self": f"{documents.root}/{path}"}, "data": None})

    async def relationship(self, request: Request) -> Response:
        """GET /v1/{type}/{id}/relationships/{relation}: types and ids only."""
        record, relation, documents = self._record(request), _relation(request), self._documents(request)
        own = documents.address(record)
        links = {"related": f"{own}/{relation.name}", "self": f"{own}/relationships/{relation.name}"}
        return wire.answer({"jsonapi": wire.JSONAPI, "links": links, "data": documents.linkage(record, relation)})

    async def current_usage(self, request: Request) -> Response:
        """GET /v1/subscription-items/{id}/current-usage: 404, as no item here is billed by usage (4)."""
        raise wire.missing()

    # --- parts ------------------------------------------------------------------------------------
    def _page(self, request: Request, query: Query, fixed: dict[str, str], path: str) -> Response:
        """Return a page of those that fit the filters and what the path fixes."""
        table, documents = self._store.tables[query.kind.name], self._documents(request)
        where = {name: frozenset([filter_key(name, value)]) for name, value in {**query.filters, **fixed}.items()}
        if not self._world.faults.test_mode_visible:
            where["test_mode"] = frozenset([filter_key("test_mode", self._store.test_mode_key), str(None)])
        ids = table.select("default", descending=query.kind.descending, where=where)
        first = (query.number - 1) * query.size
        rows = [row for i in ids[first : first + query.size] if (row := table.get(i))]
        link = query.link(f"{documents.root}/{path}")
        return wire.answer(documents.page(rows, total=len(ids), link=link, includes=query.includes))

    def _record(self, request: Request) -> Record:
        return visible(self._store, _kind(request).name, request.path_params["id"])

    def _documents(self, request: Request) -> Documents:
        return Documents(self._store, root_of(request))


def _kind(request: Request) -> ResourceType:
    path: str = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    return TYPES[path.split("/")[2]]


def _relation(request: Request) -> Relation:
    relation = _kind(request).relation(request.path_params["relation"])
    if relation is None:
        raise wire.missing()
    return relation
