"""Bytes on the wire: HAL answers, the four error shapes, PHP-style queries, paging.

Source: Kommo reference, sections 1.1, 1.3 and 1.6.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from dealsync.simulator.addresses import mounted_at
from dealsync.simulator.assumptions import DEFAULT_LIMIT, INVALID_DESTINATION_CODE, WRONG_CONTAINER_STATUS
from dealsync.simulator.faults import Faults
from dealsync.simulator.kommo.languages import told
from dealsync.simulator.reasons import reason
from dealsync.simulator.table import Record

MAX_LIMIT = 250
MAX_BATCH = 250
DETAILS = {
    "NotSupportedChoice": "The value you selected is not a valid choice.",
    "InvalidType": "This value has an invalid type.",
    "FieldMissing": "This field is missing.",
    "FieldNotExpected": "This field was not expected.",
    INVALID_DESTINATION_CODE: "Invalid URL",
}
BLOCK_PAGE = (
    "<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body>\r\n"
    "<center><h1>403 Forbidden</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
_STEP = re.compile(r"\[([^\]]*)\]")

Query: TypeAlias = dict[str, "Query | str"]


@dataclass(frozen=True)
class Problem:
    """One reason to refuse an item: a code and the dotted path inside the item."""

    code: str
    path: str


# --- answers --------------------------------------------------------------------------------------
def hal(body: Any, status: int = 200) -> Response:
    """Return a success body."""
    return Response(_dump(body), status, media_type="application/hal+json")


def forbidden() -> Response:
    """Return the JSON 403 of a user without the rights (1.6)."""
    return plain(403, "You do not have enough rights for this action")


def empty() -> Response:
    """Return 204 without a body: nothing found."""
    return Response(status_code=204)


def plain(status: int, detail: str, **more: Any) -> Response:
    """Return shape C: title, type, status, detail."""
    body = {
        "title": reason(status),
        "type": f"https://httpstatus.es/{status}",
        "status": status,
        "detail": told(detail),
        **more,
    }
    return _problem(body, status)


def validation(problems: Mapping[str, Sequence[Problem]]) -> Response:
    """Return shape A; `problems` by request_id of the refused item."""
    items = [
        {
            "request_id": request_id,
            "errors": [{"code": p.code, "path": p.path, "detail": told(DETAILS[p.code])} for p in found],
        }
        for request_id, found in problems.items()
    ]
    body = {
        "validation-errors": items,
        "title": "Bad Request",
        "type": "https://httpstatus.es/400",
        "status": 400,
        "detail": told("Request validation failed"),
    }
    return _problem(body, 400)


def rule(errors: Mapping[str, str]) -> Response:
    """Return shape B; `errors` by entity id."""
    body = {
        "errors": {entity_id: told(text) for entity_id, text in errors.items()},
        "title": "Bad Request",
        "type": "https://httpstatus.es/400",
        "status": 400,
        "detail": told("Invalid request body"),
    }
    return _problem(body, 400)


def internal() -> Response:
    """Return shape D, as seen on linking a linked contact."""
    body = {"title": "Internal Server Error", "status": 500, "detail": told("An unknown error occurred.")}
    return _problem(body, 500)


def server_error(status: int) -> Response:
    """Return shape D with its trace."""
    title = "ErrInternalServer" if status == 500 else reason(status)
    detail = told("An unknown error occurred.")
    return _problem({"title": title, "status": status, "detail": detail, "trace_id": "0" * 32}, status)


def too_many(retry_after_s: int) -> Response:
    """Return the 429; the wait is in the body, there is no header (1.5)."""
    detail = "You have sent too many requests in a given amount of time. Try again later."
    return plain(429, detail, retry_after=retry_after_s)


def blocked() -> Response:
    """Return the HTML 403 of a blocked address."""
    return HTMLResponse(BLOCK_PAGE, 403)


def unknown_path(request: Request) -> Response:
    """Return the 404 of a route that does not exist; it names the address."""
    return plain(404, f"Cannot {request.method} {request.url}")


def _problem(body: Any, status: int) -> Response:
    return Response(_dump(body), status, media_type="application/problem+json")


def _dump(body: Any) -> str:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False)


# --- requests -------------------------------------------------------------------------------------
class Malformed(Exception):
    """A request body that is refused as a whole."""

    def __init__(self, response: Response) -> None:
        super().__init__("malformed body")
        self.response = response


async def read_array(request: Request, most: int = MAX_BATCH) -> list[Record]:
    """Return the items of a body that must be an array of objects. Raises Malformed."""
    body = await _read(request)
    if not isinstance(body, list) or not all(isinstance(item, dict) for item in body):
        raise Malformed(plain(WRONG_CONTAINER_STATUS, "The request body must be an array of objects"))
    if len(body) > most:
        raise Malformed(plain(422, f"Limit of {most} per request"))
    return body


async def read_object(request: Request) -> Record:
    """Return a body that must be an object. Raises Malformed."""
    body = await _read(request)
    if not isinstance(body, dict):
        raise Malformed(plain(WRONG_CONTAINER_STATUS, "The request body must be an object"))
    return body


async def _read(request: Request) -> Any:
    raw = await request.body()
    try:
        body = json.loads(raw) if raw.strip() else None
    except ValueError:
        raise Malformed(plain(400, "The request body is not valid JSON")) from None
    if body in (None, [], {}):
        raise Malformed(plain(400, "The request data cannot be blank"))
    return body


def parse_query(pairs: Iterable[tuple[str, str]]) -> Query:
    """Return PHP-style parameters as a tree: `filter[id][]=1` -> {"filter": {"id": {"0": "1"}}}."""
    tree: Query = {}
    for key, value in pairs:
        name, bracket, _ = key.partition("[")
        steps = [name, *(_STEP.findall(key) if bracket else ())]
        node = tree
        for step in steps[:-1]:
            child = node.setdefault(step or str(len(node)), {})
            if isinstance(child, str):
                break
            node = child
        else:
            node[steps[-1] or str(len(node))] = value
    return tree


def branch(node: Query | str | None, name: str) -> Query | str | None:
    """Return what lies under `name`; None where there is nothing."""
    return node.get(name) if isinstance(node, dict) else None


def values(node: Query | str | None) -> list[str]:
    """Return the texts of a parameter that may be given once or several times."""
    if node is None:
        return []
    if isinstance(node, str):
        return [node]
    return [value for value in node.values() if isinstance(value, str)]


def whole(text: str | None) -> int | None:
    """Return the number a text holds; None for anything else."""
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None


def whole_numbers(node: Query | str | None) -> frozenset[int]:
    """Return the numbers of a parameter; what is no number matches nothing and becomes -1."""
    found = (whole(value) for value in values(node))
    return frozenset(-1 if number is None else number for number in found)


def with_values(request: Request) -> frozenset[str]:
    """Return the names in `with=a,b`."""
    return frozenset(name for name in request.query_params.get("with", "").split(",") if name)


# --- paging ---------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Page:
    """Which rows are asked for."""

    number: int
    limit: int

    @property
    def start(self) -> int:
        """Index of the first row."""
        return (self.number - 1) * self.limit

    @property
    def end(self) -> int:
        """Index after the last row."""
        return self.start + self.limit


def page_of(request: Request, faults: Faults, most: int = MAX_LIMIT) -> Page:
    """Return the page asked for. Raises Malformed for a limit the account's switch refuses (1.3)."""
    number = whole(request.query_params.get("page")) or 1
    limit = whole(request.query_params.get("limit")) or DEFAULT_LIMIT
    if limit > MAX_LIMIT:
        if faults.limit_over_250 == "refuse":
            raise Malformed(plain(400, f"Limit of {MAX_LIMIT} per page"))
        limit = DEFAULT_LIMIT if faults.limit_over_250 == "fallback_50" else MAX_LIMIT
    return Page(max(1, number), max(1, min(limit, most)))


def api_root(request: Request) -> str:
    """Return the address up to and with `/api/v4`."""
    return mounted_at(request) + "/api/v4"


def self_link(href: str) -> Record:
    """Return `{"self": {"href": …}}`."""
    return {"self": {"href": href}}


def page_links(request: Request, page: Page, *, more: bool, last: int | None = None) -> Record:
    """Return `self`, and `next` when rows are left: the one sign that the list goes on.

    `last` is the number of the last page, for the lists that tell it.
    """
    links = self_link(_page_address(request, page.number, page.limit))
    if more:
        links["next"] = {"href": _page_address(request, page.number + 1, page.limit)}
    if last is not None:
        links["last"] = {"href": _page_address(request, last, page.limit)}
    return links


def _page_address(request: Request, number: int, limit: int) -> str:
    pairs = [(k, v) for k, v in request.query_params.multi_items() if k not in ("page", "limit")]
    pairs += [("page", str(number)), ("limit", str(limit))]
    query = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in pairs)
    return f"{request.url.replace(query='')}?{query}"


def collection(address: str, plural: str, rows: list[Record]) -> Response:
    """Return a whole collection in one answer: totals, no pages (1.3)."""
    return hal({"_total_items": len(rows), "_links": self_link(address), "_embedded": {plural: rows}})


def counted_page(request: Request, page: Page, plural: str, rows: list[Record], *, last: bool = False) -> Response:
    """Return a page that also tells the totals: users and custom fields (1.3); 204 when it has no rows."""
    shown = rows[page.start : page.end]
    if not shown:
        return empty()
    pages = -(-len(rows) // page.limit)
    return hal(
        {
            "_total_items": len(rows),
            "_page": page.number,
            "_page_count": pages,
            "_links": page_links(request, page, more=page.number < pages, last=pages if last else None),
            "_embedded": {plural: shown},
        }
    )


def page_answer(request: Request, page: Page, plural: str, rows: list[Record], *, more: bool) -> Response:
    """Return one page of a list; 204 when it has no rows."""
    if not rows:
        return empty()
    return hal(
        {
            "_page": page.number,
            "_links": page_links(request, page, more=more),
            "_embedded": {plural: rows},
        }
    )
