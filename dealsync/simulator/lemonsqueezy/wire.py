"""Bytes on the wire: the JSON:API envelope as PHP writes it, and the error bodies.

Source: Lemon Squeezy reference, sections 1, 2 and 4.
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from dealsync.simulator.assumptions import NOT_FOUND_TITLE
from dealsync.simulator.lemonsqueezy.catalogue import TYPES
from dealsync.simulator.table import Record

MEDIA_TYPE = "application/vnd.api+json"
JSONAPI = {"version": "1.0"}
COMMON_HEADERS = {"cache-control": "no-cache, private", "access-control-allow-origin": "*"}


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return compact JSON with `/` as `\\/` and non-ASCII as `\\uXXXX`."""
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=True).replace("/", "\\/")
    return Response(text, status, {**COMMON_HEADERS, **(headers or {})}, MEDIA_TYPE)


def error(status: int, title: str, detail: str, pointer: str | None = None) -> Response:
    """Return an error document; keys of the item are sorted by name, its status is a string."""
    item: dict[str, Any] = {"detail": detail, "status": str(status), "title": title}
    if pointer is not None:
        item = {"detail": detail, "source": {"pointer": pointer}, "status": str(status), "title": title}
    return answer({"jsonapi": JSONAPI, "errors": [item]}, status)


def unauthorised() -> Response:
    """Return the recorded 401."""
    return error(401, "Unauthorized", "Unauthenticated.")


def not_found() -> Response:
    """Return the 404 of unknown paths and ids alike."""
    return error(404, NOT_FOUND_TITLE, "The resource you requested could not be found.")


def bad_query(detail: str, status: int = 400) -> Response:
    """Return the answer to a JSON:API parameter that is not understood."""
    return error(status, "Invalid Query Parameter", detail)


def resource(record: Record, root: str) -> Record:
    """Return a resource with relationships and links; `root` is the address up to and with `/v1`.

    Recorded resources keep the relationships and links they came with.
    """
    kind, own = record["type"], f"{root}/{record['type']}/{record['id']}"
    relations = {
        name: {"links": {"related": f"{own}/{name}", "self": f"{own}/relationships/{name}"}}
        for name in TYPES[kind].relations
    }
    return {
        "type": kind,
        "id": record["id"],
        "attributes": record["attributes"],
        "relationships": record.get("relationships", relations),
        "links": record.get("links", {"self": own}),
    }


def single(record: Record, root: str) -> Record:
    """Return the document of one resource."""
    data = resource(record, root)
    return {"jsonapi": JSONAPI, "links": {"self": f"{root}/{record['type']}/{record['id']}"}, "data": data}


def page_link(address: str, filters: Mapping[str, str], number: int, size: int, sort: str) -> str:
    """Return a list link: keys in the order filter, page, sort, brackets percent-encoded (section 2)."""
    pairs = [(f"filter[{name}]", value) for name, value in filters.items()]
    pairs += [("page[number]", str(number)), ("page[size]", str(size)), ("sort", sort)]
    return address + "?" + "&".join(f"{quote(key, safe='')}={quote(value, safe='-')}" for key, value in pairs)
