"""Bytes on the wire: the JSON:API envelope as PHP writes it, and the error bodies.

Source: Lemon Squeezy reference, sections 1, 2 and 4.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from dealsync.simulator.assumptions import EMPTY_PAGE_HAS_NULL_RANGE, NOT_FOUND_TITLE, SIGNED_LINK_LIFE_S
from dealsync.simulator.lemonsqueezy.books import Books
from dealsync.simulator.lemonsqueezy.catalogue import TYPES, Relation
from dealsync.simulator.table import Record

MEDIA_TYPE = "application/vnd.api+json"
JSONAPI = {"version": "1.0"}
COMMON_HEADERS = {"cache-control": "no-cache, private", "access-control-allow-origin": "*"}
UNPROCESSABLE = "Unprocessable Entity"
# Attributes that came later (5.1, 5.3, 5.4): captures from before lack them.
LATER = {
    "orders": {"tax_inclusive", *(f"{name}{end}" for name in ("setup_fee", "refunded_amount") for end in
               ("", "_usd", "_formatted"))},
    "subscription-invoices": {"tax_inclusive", "refunded_amount", "refunded_amount_usd", "refunded_amount_formatted"},
    "subscriptions": {"payment_processor"},
}  # fmt: skip


# --- bytes ----------------------------------------------------------------------------------------
def php_json(body: Any) -> str:
    """Return compact JSON with `/` as `\\/` and non-ASCII as `\\uXXXX`."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=True).replace("/", "\\/")


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer with the headers all of them have."""
    return Response(php_json(body), status, {**COMMON_HEADERS, **(headers or {})}, MEDIA_TYPE)


def no_content() -> Response:
    """Return the 204 of a deleted webhook or discount."""
    return Response(None, 204, COMMON_HEADERS)


# --- errors ---------------------------------------------------------------------------------------
class ApiError(Exception):
    """A request that is refused: becomes an error document."""

    def __init__(self, status: int, title: str, *items: tuple[str, str | None]) -> None:
        """`items` are (detail, pointer or None), one for each thing that is wrong."""
        super().__init__(title, items)
        self.status = status
        self.title = title
        self.items = items

    def response(self) -> Response:
        """Return the document; keys of its items are sorted by name, their status is a string."""
        errors = []
        for detail, pointer in self.items:
            source = {} if pointer is None else {"source": {"pointer": pointer}}
            errors.append({"detail": detail, **source, "status": str(self.status), "title": self.title})
        return answer({"jsonapi": JSONAPI, "errors": errors}, self.status)


def error(status: int, title: str, detail: str, pointer: str | None = None) -> Response:
    """Return an error document with one item."""
    return ApiError(status, title, (detail, pointer)).response()


def server_error(status: int) -> Response:
    """Return the body seen with a random 500, which is no error document (4)."""
    body = {"message": "An unexpected error occurred.", "event_id": "0" * 32}
    return Response(php_json(body), status, COMMON_HEADERS, "application/json")


def unauthorised() -> Response:
    """Return the recorded 401."""
    return error(401, "Unauthorized", "Unauthenticated.")


def missing(detail: str = "The resource you requested could not be found.") -> ApiError:
    """Return the refusal of an id that is not there."""
    return ApiError(404, NOT_FOUND_TITLE, (detail, None))


def not_found() -> Response:
    """Return the 404 of unknown paths and ids alike."""
    return missing().response()


def bad_query(detail: str, status: int = 400) -> ApiError:
    """Return the refusal of a JSON:API parameter that is not understood."""
    return ApiError(status, "Invalid Query Parameter", (detail, None))


# --- documents ------------------------------------------------------------------------------------
class Documents:
    """Renders resources of one store; `root` is the address up to and with `/v1`."""

    def __init__(self, books: Books, root: str) -> None:
        self._books = books
        self.root = root

    def resource(self, record: Record, includes: Sequence[Relation] = ()) -> Record:
        """Return a resource with relationships and links; included relations name what they lead to.

        Recorded resources keep the relationships and links they came with.
        """
        kind, own = record["type"], self.address(record)
        relations: Record = record.get("relationships") or {
            relation.name: {
                "links": {"related": f"{own}/{relation.name}", "self": f"{own}/relationships/{relation.name}"}
            }
            for relation in TYPES[kind].relations
        }
        for relation in includes:
            relations = {
                **relations,
                relation.name: {**relations.get(relation.name, {}), "data": self.linkage(record, relation)},
            }
        return {
            "type": kind,
            "id": record["id"],
            "attributes": self._attributes(record),
            "relationships": relations,
            "links": record.get("links", {"self": own}),
        }

    def single(self, record: Record, includes: Sequence[Relation] = ()) -> Record:
        """Return the document of one resource."""
        document: Record = {
            "jsonapi": JSONAPI,
            "links": {"self": self.address(record)},
            "data": self.resource(record, includes),
        }
        return self._with_included(document, [record], includes)

    def page(self, records: list[Record], *, total: int, link: "PageLink", includes: Sequence[Relation] = ()) -> Record:
        """Return one page of a list of `total` resources."""
        number, size = link.number, link.size
        last = max(1, -(-total // size))
        first_row = (number - 1) * size + 1
        empty = EMPTY_PAGE_HAS_NULL_RANGE and not records
        links = {"first": 1, "last": last}
        if number < last:
            links["next"] = number + 1
        if number > 1:
            links["prev"] = number - 1
        document: Record = {
            "meta": {
                "page": {
                    "currentPage": number,
                    "from": None if empty else first_row,
                    "lastPage": last,
                    "perPage": size,
                    "to": None if empty else first_row + len(records) - 1,
                    "total": total,
                }
            },
            "jsonapi": JSONAPI,
            "links": {name: link.to(n) for name, n in links.items()},
            "data": [self.resource(record, includes) for record in records],
        }
        return self._with_included(document, records, includes)

    def linkage(self, record: Record, relation: Relation) -> Any:
        """Return what a relation leads to as `{type, id}`: a list, or one or null."""
        found = [{"type": one["type"], "id": one["id"]} for one in self._books.related(record, relation)]
        if relation.many:
            return found
        return found[0] if found else None

    def address(self, record: Record) -> str:
        """Return a resource's own address."""
        return f"{self.root}/{record['type']}/{record['id']}"

    def _with_included(self, document: Record, records: list[Record], includes: Sequence[Relation]) -> Record:
        if includes:
            found = {
                (one["type"], one["id"]): one
                for record in records
                for relation in includes
                for one in self._books.related(record, relation)
            }
            document["included"] = [self.resource(one) for one in found.values()]
        return document

    def _attributes(self, record: Record) -> Record:
        attributes: Record = record["attributes"]
        if "links" in record:
            return attributes
        if "urls" in attributes:
            attributes = {**attributes, "urls": self._signed(attributes["urls"])}
        if self._books.faults.ls_older_captures and record["type"] in LATER:
            attributes = {name: attributes[name] for name in attributes if name not in LATER[record["type"]]}
        return attributes

    def _signed(self, urls: Mapping[str, str | None]) -> Record:
        """Return signed addresses with their expiry, built anew for each answer (5.3)."""
        expires = int(self._books.clock.now()) + SIGNED_LINK_LIFE_S
        return {name: url and url.replace("?", f"?expires={expires}&", 1) for name, url in urls.items()}


class PageLink:
    """Addresses of a list's pages: keys in the order filter, include, page, sort, brackets percent-encoded (2)."""

    def __init__(
        self, address: str, filters: Mapping[str, str], number: int, size: int, sort: str, include: str = ""
    ) -> None:
        self.number = number
        self.size = size
        self._address = address
        self._before = [(f"filter[{name}]", value) for name, value in filters.items()]
        self._before += [("include", include)] if include else []
        self._sort = sort

    def to(self, number: int) -> str:
        """Return the address of a page."""
        pairs = [*self._before, ("page[number]", str(number)), ("page[size]", str(self.size)), ("sort", self._sort)]
        return self._address + "?" + "&".join(f"{quote(key, safe='')}={quote(text, safe='-')}" for key, text in pairs)
