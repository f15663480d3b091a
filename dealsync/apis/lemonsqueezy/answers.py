"""What goes around the rows of an answer, and whether the rows are those that were asked for.

Source: Lemon Squeezy reference, "Envelope", "Lists" and "Errors".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

import httpx
from pydantic import ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from dealsync.apis.border import Int64, Refused, Wire, named, parse, words
from dealsync.apis.lemonsqueezy.pages import Dated, Part
from dealsync.errors import UnexpectedAnswer

Row = TypeVar("Row", bound=Dated)
ADDRESSES = ("email", "user_email")


def _or_nothing(value: object, read: ValidatorFunctionWrapHandler) -> object:
    try:
        return read(value)
    except ValidationError:
        return None


IfReadable = WrapValidator(_or_nothing)
"""What goes around the rows: in an odd shape it counts as absent, and the rows are read all the same."""


class _PageMeta(Wire):
    lastPage: Annotated[Int64 | None, IfReadable] = None  # noqa: N815 - the API's own name
    total: Annotated[Int64 | None, IfReadable] = None


class _Meta(Wire):
    page: Annotated[_PageMeta | None, IfReadable] = None


class _Links(Wire):
    next: Annotated[str | None, IfReadable] = None


class _List(Wire):
    meta: Annotated[_Meta | None, IfReadable] = None
    links: Annotated[_Links | None, IfReadable] = None
    data: list[Any]

    @property
    def page(self) -> _PageMeta:
        return (self.meta.page if self.meta else None) or _PageMeta()

    def last(self, number: int) -> int:
        """The last page, seen from page `number`. A next one is announced by a link or by the count of pages."""
        counted = number if self.page.lastPage is None else self.page.lastPage
        return max(counted, number + 1) if self.links and self.links.next else counted


class _Single(Wire):
    data: Any


def part(
    answer: object, path: str, number: int, filters: Mapping[str, str], build: Callable[[object], Row], refused: Refused
) -> Part[Row]:
    """Return a page of a list; rows that cannot be read are remembered in `refused`.

    Raises UnexpectedAnswer for an answer that is no list, and for one that a filter was ignored in.
    """
    page = parse(_List, answer, f"page {number} of {path}")
    _ensure_filtered(page.data, path, filters)
    ids = tuple(_id_of(row) for row in page.data)
    return Part(number, page.last(number), page.page.total, ids, tuple(refused.keep(build, page.data)))


def single(answer: object, name: str) -> object:
    """Return the resource of an answer that holds one."""
    return parse(_Single, answer, name).data


def read_error(response: httpx.Response) -> tuple[str, dict[str, str]]:
    """Words of a JSON:API error, else of the plain forms that a 5xx or gateway sends."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return words(), {}
    errors = body.get("errors")
    listed = [e for e in errors if isinstance(e, dict)] if isinstance(errors, list) else []
    said = [_place(e.get("source")) + words(e.get("detail"), e.get("title")) for e in listed[:3]]
    return "; ".join(said) or words(body.get("error"), body.get("message")), {}


def _place(source: object) -> str:
    """Where in the request a value was refused: the details alone do not say, e.g. "The {0} field must be a string"."""
    pointer = source.get("pointer") if isinstance(source, dict) else None
    return f"{words(pointer)}: " if isinstance(pointer, str) and pointer else ""


def _id_of(row: object) -> str:
    found = row.get("id") if isinstance(row, Mapping) else None
    return str(found) if isinstance(found, int | str) else ""


def _ensure_filtered(rows: list[Any], path: str, filters: Mapping[str, str]) -> None:
    """Parameters that the API does not take for a filter are ignored without a word: see whether it took ours."""
    for row in rows:
        attributes = row.get("attributes") if isinstance(row, Mapping) else None
        if not isinstance(attributes, Mapping):
            continue  # refused by name when it is read
        ignored = [name for name, wanted in filters.items() if _differs(attributes.get(name), name, wanted)]
        if ignored:
            raise UnexpectedAnswer(
                f"{path} ignored filter[{ignored[0]}]: {named('object', row)} of its answer has another {ignored[0]}; "
                "nothing of this page was taken"
            )


def _differs(found: object, name: str, wanted: str) -> bool:
    if not isinstance(found, str | int):
        return False  # what is missing or odd is refused by name when the row is read
    text = str(found).lower() if isinstance(found, bool) else str(found)
    return text.strip().casefold() != wanted.strip().casefold() if name in ADDRESSES else text != wanted
