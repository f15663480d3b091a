"""Shared by both normalisers: text that every database can hold, and refusing an object by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from dealsync.errors import UnexpectedAnswer

Model = TypeVar("Model", bound=BaseModel)
Value = TypeVar("Value")


def clean(text: object) -> object:
    """Return text without NUL and lone surrogates, which PostgreSQL and UTF-8 refuse; None becomes ""."""
    if text is None:
        return ""
    if not isinstance(text, str):
        return text
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def _utc(time: datetime) -> datetime:
    return time.astimezone(UTC)


Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""A whole number that a database column and a pandas column can hold."""
Text = Annotated[str, BeforeValidator(clean)]
Time = Annotated[AwareDatetime, AfterValidator(_utc)]


class Wire(BaseModel):
    """A JSON object of an API: unknown keys are ignored, numbers may come as strings."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True, hide_input_in_errors=True)


def parse(model: type[Model], data: object, name: str) -> Model:
    """Return `data` as `model`, or raise UnexpectedAnswer naming the object and the fields, never their values."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'it'}: {e['msg']}" for e in error.errors(include_input=False)
        )
        raise UnexpectedAnswer(f"{name} cannot be read: {faults}") from error


@dataclass(slots=True)
class Refused:
    """The objects of a walk that could not be read, each with its reason; the walk goes on without them."""

    reasons: list[str] = field(default_factory=list)

    def keep(self, build: Callable[[Mapping[str, Any]], Value], rows: Iterable[Mapping[str, Any]]) -> Iterator[Value]:
        """Yield what `build` makes of each row; rows that it refuses are remembered."""
        for row in rows:
            try:
                yield build(row)
            except UnexpectedAnswer as error:
                self.reasons.append(str(error))
