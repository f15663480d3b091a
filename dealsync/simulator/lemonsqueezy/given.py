"""What a write brings: a JSON:API document, its attributes and relationships, checked one by one.

Source: Lemon Squeezy reference, sections 4 and 6. All faults of the attributes are answered together.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from dealsync.simulator.assumptions import LINKAGE_IDS_MUST_BE_STRINGS, TYPE_MISMATCH_STATUS
from dealsync.simulator.lemonsqueezy.access import visible
from dealsync.simulator.lemonsqueezy.books import Books
from dealsync.simulator.lemonsqueezy.wire import UNPROCESSABLE, ApiError, missing
from dealsync.simulator.table import Record

REQUIRED: Any = object()


def document(body: bytes, kind: str, resource_id: str | None = None) -> Record:
    """Return the `data` of a request body for this type and, in an action or PATCH, id. Raises ApiError."""
    try:
        data = json.loads(body)["data"]
    except (ValueError, KeyError, TypeError):
        data = None
    if not isinstance(data, dict) or not isinstance(data.get("type"), str):
        raise _non_compliant("The request body must be a JSON:API document.")
    wrong_id = resource_id is not None and str(data.get("id")) != resource_id
    if data["type"] != kind or wrong_id:
        raise ApiError(TYPE_MISMATCH_STATUS, "Conflict", ("The resource type or id does not match.", None))
    return data


def relation(books: Books, data: Record, name: str, kind: str) -> Record:
    """Return the resource a required relationship names. Raises ApiError: 422 without one, 404 for an unknown id."""
    linkage = _linkage(data, name)
    if linkage is None:
        raise ApiError(422, UNPROCESSABLE, (f"The {name} field is required.", f"/data/relationships/{name}"))
    return _linked(books, linkage, kind, f"/data/relationships/{name}")


def relations(books: Books, data: Record, name: str, kind: str) -> list[Record]:
    """Return the resources of a relationship to many; none where it is left out. Raises ApiError."""
    linkage = _linkage(data, name)
    pointer = f"/data/relationships/{name}"
    if linkage is None:
        return []
    if not isinstance(linkage, list):
        raise ApiError(422, UNPROCESSABLE, (f"The {name} field must be a to-many relationship.", pointer))
    return [_linked(books, one, kind, pointer) for one in linkage]


def _linkage(data: Record, name: str) -> Any:
    relationships = data.get("relationships")
    one = relationships.get(name) if isinstance(relationships, dict) else None
    return one.get("data") if isinstance(one, dict) else None


def _linked(books: Books, linkage: Any, kind: str, pointer: str) -> Record:
    if not isinstance(linkage, dict) or "id" not in linkage or linkage.get("type") != kind:
        raise ApiError(422, UNPROCESSABLE, (f"The field must be a relationship to {kind}.", pointer))
    if LINKAGE_IDS_MUST_BE_STRINGS and not isinstance(linkage["id"], str):
        raise _non_compliant("The member id must be a string.", f"{pointer}/data/id")
    try:
        return visible(books, kind, str(linkage["id"]))
    except ApiError:
        raise missing("The related resource does not exist.") from None


def _non_compliant(detail: str, pointer: str | None = None) -> ApiError:
    return ApiError(400, "Non-Compliant JSON:API Document", (detail, pointer))


class Attributes:
    """The attributes of a request. Each reader returns the value, or notes what is wrong with it.

    Unknown attributes are ignored. After the last one `finish` raises the refusal, if anything was wrong.
    """

    def __init__(self, values: Any, pointer: str = "/data/attributes") -> None:
        self._values: dict[str, Any] = values if isinstance(values, dict) else {}
        self._pointer = pointer
        self._faults: list[tuple[str, str | None]] = []

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def raw(self, name: str, default: Any = None) -> Any:
        """Return a value as it came, unchecked."""
        return self._values.get(name, default)

    def refuse(self, name: str, detail: str) -> None:
        """Note what is wrong with one attribute, or with a part of it (`custom/key`)."""
        self._faults.append((detail, f"{self._pointer}/{name}"))

    def text(self, name: str, default: Any = REQUIRED, *, least: int = 0, most: int | None = None) -> Any:
        """Return a text of `least` to `most` characters."""
        value = self._value(name, default)
        if value is None or value is default:
            return value
        if not isinstance(value, str):
            self.refuse(name, f"The {words(name)} must be a string.")
        elif len(value) < least:
            self.refuse(name, f"The {words(name)} must be at least {least} characters.")
        elif most is not None and len(value) > most:
            self.refuse(name, f"The {words(name)} must not be greater than {most} characters.")
        return value

    def whole(self, name: str, default: Any = None, *, least: int = 0, most: int | None = None) -> Any:
        """Return a whole number from `least` to `most`."""
        value = self._value(name, default)
        if value is None or value is default:
            return value
        if isinstance(value, bool) or not isinstance(value, int):
            self.refuse(name, f"The {words(name)} must be an integer.")
        elif value < least:
            self.refuse(name, f"The {words(name)} must be at least {least}.")
        elif most is not None and value > most:
            self.refuse(name, f"The {words(name)} must not be greater than {most}.")
        return value

    def flag(self, name: str, default: Any = False) -> Any:
        """Return true or false."""
        value = self._value(name, default)
        if not isinstance(value, bool):
            self.refuse(name, f"The {words(name)} field must be true or false.")
        return value

    def choice(self, name: str, known: Sequence[str], default: Any = REQUIRED) -> Any:
        """Return one of the known values."""
        value = self._value(name, default)
        if value is not default and value is not None and value not in known:
            self.refuse(name, f"The selected {words(name)} is invalid.")
        return value

    def moment(self, name: str, default: Any = None) -> Any:
        """Return a time as Unix seconds; one without zone is UTC, a date alone its midnight (5.3)."""
        value = self._value(name, default)
        if value is None or value is default:
            return value
        try:
            moment = datetime.fromisoformat(value)
        except (TypeError, ValueError):
            self.refuse(name, f"The {words(name)} is not a valid date.")
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()

    def part(self, name: str) -> "Attributes":
        """Return the members of an object attribute, whose faults count as faults of this; `[]` is empty, too."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, dict) and value != []:
            self.refuse(name, f"The {words(name)} must be an array.")  # PHP calls an object so
        inner = Attributes(value, f"{self._pointer}/{name}")
        inner._faults = self._faults
        return inner

    def finish(self) -> None:
        """Raise ApiError (422) for all that was noted."""
        if self._faults:
            raise ApiError(422, UNPROCESSABLE, *self._faults)

    def _value(self, name: str, default: Any) -> Any:
        value = self._values.get(name)
        if value is None or value == "":  # the framework takes an empty text for null
            if default is REQUIRED:
                self.refuse(name, f"The {words(name)} field is required.")
                return None
            return default
        return value


def words(name: str) -> str:
    """Return an attribute's name as messages write it."""
    return name.replace("_", " ")
