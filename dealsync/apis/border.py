"""Shared by both clients: text that every database can hold, and refusing an object by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from dealsync.errors import UnexpectedAnswer

Model = TypeVar("Model", bound=BaseModel)
Value = TypeVar("Value")
NOTHINGS: tuple[object, ...] = (None, [], {})
"""What PHP sends where there is nothing."""
ID_PATTERN = r"^[0-9A-Za-z][0-9A-Za-z-]{0,63}$"
"""Digits or UUIDs, and the letters and digits of Kommo's events: nothing that a message could not show."""
ADDRESS = re.compile(r"[^\s@<>(\"',;:]+@[^\s@<>)\"',;:]+")
NO_REASON = "refused without a reason"


def storable(text: str) -> str:
    """Return text without NUL and lone surrogates, which PostgreSQL and UTF-8 refuse."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def words(*candidates: object, limit: int = 200) -> str:
    """Return the first text among what an error body offers, cut to `limit` characters and fit to be stored.

    Error bodies may repeat what was sent: e-mail addresses are left out of it.
    """
    found = next((text for text in candidates if isinstance(text, str) and text), NO_REASON)
    return ADDRESS.sub("(an e-mail address)", storable(found[: limit * 4]))[:limit]


def _clean(value: object) -> object:
    return storable(value) if isinstance(value, str) else value


def _utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("beyond the times that UTC can hold") from error


Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""A whole number that a database column and a pandas column can hold."""
Text = Annotated[str, BeforeValidator(_clean)]
Time = Annotated[AwareDatetime, AfterValidator(_utc)]


class Wire(BaseModel):
    """A JSON object of an API: unknown keys are ignored, numbers may come as strings."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_absent(cls, data: object) -> object:
        """Optional fields that hold nothing have their default; required ones are refused as they are."""
        if not isinstance(data, dict):
            return data
        optional = (info.alias or name for name, info in cls.model_fields.items() if not info.is_required())
        empty = {key for key in optional if data.get(key) in NOTHINGS}
        return {key: value for key, value in data.items() if key not in empty}


def parse(model: type[Model], data: object, name: str) -> Model:
    """Return `data` as `model`, or raise UnexpectedAnswer naming the object and the fields, never their values."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'it'}: {e['msg']}" for e in error.errors(include_input=False)
        )
        raise UnexpectedAnswer(f"{name} cannot be read: {faults}") from error


def named(kind: str, row: object) -> str:
    """Return what messages call a row: `deal 17`. An id of another form is not shown, for it may be anything."""
    found = row.get("id") if isinstance(row, Mapping) else None
    is_id = isinstance(found, int | str) and re.fullmatch(ID_PATTERN, str(found))
    return f"{kind} {found}" if is_id else f"{kind} without an id"


@dataclass(slots=True)
class Refused:
    """The objects of a walk that could not be read, each with its reason; the walk goes on without them."""

    reasons: list[str] = field(default_factory=list)

    def keep(self, build: Callable[[Any], Value], rows: Iterable[object]) -> Iterator[Value]:
        """Yield what `build` makes of each row; rows that it refuses are remembered."""
        for row in rows:
            try:
                yield build(row)
            except UnexpectedAnswer as error:
                self.reasons.append(str(error))
