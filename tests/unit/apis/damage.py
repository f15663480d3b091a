"""Documented objects as an API of another day might send them."""

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from hypothesis import strategies as st

from dealsync.errors import UnexpectedAnswer

Value = TypeVar("Value")

EMAIL = "planted.person@private.example"
NOTHINGS: list[Any] = [None, [], {}, "", 0, False]
ODD_NUMBERS: list[Any] = ["17", 10**40, "9" * 40, -1, 1.5, True, 2**63]
ODD_TEXTS: list[Any] = ["unheard-of", EMAIL, "\u202eright", "x" * 300]
UNSTORABLE_TEXTS = ["a\x00b", "lone \ud800 surrogate"]  # no database holds a NUL, no UTF-8 a lone surrogate
BEYOND_UTC = ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"]
ODD_TIMES: list[Any] = [
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999Z",
    "2026-06-01T12:00:00",
    "2026-06-01",
    10**18,
    -(10**18),
]
ODD_SHAPES: list[Any] = [[EMAIL], {"email": EMAIL}, [None], [[]]]
ODD = st.sampled_from([*NOTHINGS, *ODD_NUMBERS, *ODD_TEXTS, *ODD_TIMES, *ODD_SHAPES])
"""Values for any place. The unstorable texts and times have tests of their own, field by field."""
Path = tuple[str | int, ...]


def paths(value: Any, here: Path = ()) -> list[Path]:
    """Every key and index inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, part in inner for path in ((*here, key), *paths(part, (*here, key)))]


@st.composite
def damaged(draw: st.DrawFn, whole: Mapping[str, Any], keep: tuple[Path, ...] = ()) -> dict[str, Any]:
    """`whole` with unknown keys, and up to four of its values replaced or dropped."""
    found: dict[str, Any] = copy.deepcopy(dict(whole))
    for _ in range(draw(st.integers(0, 4))):
        known = [path for path in paths(found) if path not in keep]
        path = draw(st.sampled_from(known))
        parent: Any = found
        for key in path[:-1]:
            parent = parent[key]
        if draw(st.booleans()):
            parent[path[-1]] = copy.deepcopy(draw(ODD))
        else:
            del parent[path[-1]]
    return {**found, "key_of_tomorrow": copy.deepcopy(draw(ODD))}


def texts_of(value: object) -> list[str]:
    """Every text inside a value of ours."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, tuple | list | frozenset):
        return [text for part in value for text in texts_of(part)]
    if isinstance(value, Mapping):
        return texts_of([*value.keys(), *value.values()])
    slots = getattr(value, "__dataclass_fields__", {})
    return [text for name in slots for text in texts_of(getattr(value, name))]


def unstorable(value: object) -> list[str]:
    """The texts inside a value of ours that PostgreSQL or UTF-8 would refuse."""
    return [text for text in texts_of(value) if re.search("[\x00\ud800-\udfff]", text)]


def built(build: Callable[[Any], Value], data: Mapping[str, Any], name: str) -> Value | None:
    """What `build` makes of an object; None if it refuses it by its name, without showing a value of it."""
    refusal = ""
    try:
        value = build(data)
    except UnexpectedAnswer as error:
        refusal = str(error)
    if refusal:
        assert refusal.startswith(f"{name} cannot be read: ")
        assert EMAIL not in refusal
        return None
    assert unstorable(value) == []
    return value
