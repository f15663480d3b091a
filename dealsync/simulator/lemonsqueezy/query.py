"""The parameters of a read: filters, page, includes.

Source: Lemon Squeezy reference, section 3.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from dealsync.simulator.assumptions import INCLUDE_IS_ECHOED, TOO_LARGE_PAGE_STATUS, UNKNOWN_FILTER_STATUS
from dealsync.simulator.lemonsqueezy.catalogue import Relation, ResourceType
from dealsync.simulator.lemonsqueezy.wire import PageLink, bad_query

DEFAULT_SIZE, MAX_SIZE = 10, 100
FAMILY = re.compile(r"(filter|page)\[([^\]]*)\]")


@dataclass(frozen=True)
class Query:
    """What a read asks for."""

    kind: ResourceType
    filters: dict[str, str]
    number: int
    size: int
    includes: tuple[Relation, ...]

    def link(self, address: str) -> PageLink:
        """Return the links of a list at `address`."""
        include = ",".join(one.name for one in self.includes) if INCLUDE_IS_ECHOED else ""
        return PageLink(address, self.filters, self.number, self.size, self.kind.sort, include)


def read_query(pairs: Iterable[tuple[str, str]], kind: ResourceType) -> Query:
    """Return what is asked. Parameters outside the JSON:API families are ignored, own sorts too.

    Raises ApiError for an unknown filter, page parameter or include.
    """
    filters: dict[str, str] = {}
    page = {"number": 1, "size": DEFAULT_SIZE}
    includes: tuple[Relation, ...] = ()
    for key, value in pairs:
        if key == "include":
            includes = _includes(value, kind)
        family = FAMILY.fullmatch(key)
        if family is None:
            continue
        name = family[2]
        if family[1] == "filter":
            if name not in kind.filters:
                raise bad_query(f"Filter parameter {name} is not allowed.", UNKNOWN_FILTER_STATUS)
            filters[name] = value
        elif name not in page or not (value.isascii() and value.isdigit()) or int(value) < 1:
            raise bad_query(f"Page parameter {name} is not valid.", UNKNOWN_FILTER_STATUS)
        else:
            page[name] = int(value)
    if page["size"] > MAX_SIZE:
        raise bad_query(f"The page size must not be greater than {MAX_SIZE}.", TOO_LARGE_PAGE_STATUS)
    return Query(kind, filters, page["number"], page["size"], includes)


def _includes(text: str, kind: ResourceType) -> tuple[Relation, ...]:
    """Return the named relations; an empty parameter, as the official client sends it, names none."""
    found = []
    for name in dict.fromkeys(filter(None, text.split(","))):
        relation = kind.relation(name)
        if relation is None:
            raise bad_query(f"Include path {name} is not allowed.", UNKNOWN_FILTER_STATUS)
        found.append(relation)
    return tuple(found)
