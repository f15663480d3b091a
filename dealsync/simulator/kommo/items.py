"""Checking one item of a write, and writing a whole batch.

Source: Kommo reference, 1.6 (shapes A and B) and 2.7 (atomicity of a batch).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from starlette.responses import Response

from dealsync.simulator.assumptions import READ_ONLY_ECHO_PASSES, UNKNOWN_ID_CODE, UNKNOWN_KEY_CODE
from dealsync.simulator.faults import Faults
from dealsync.simulator.kommo import wire
from dealsync.simulator.kommo.wire import Problem
from dealsync.simulator.table import Record, Table

Commit: TypeAlias = Callable[[], Record]  # does the write, returns the answer's row
Prepare: TypeAlias = Callable[[Record, str], Commit]  # checks an item under its request_id


class Refused(Exception):
    """The item is not valid (shape A)."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("item refused")
        self.problems = problems


class RuleBroken(Exception):
    """The item is valid but breaks a business rule (shape B)."""

    def __init__(self, entity_id: str, text: str) -> None:
        super().__init__(text)
        self.entity_id = entity_id
        self.text = text


class Item:
    """One object of a write while it is checked; collects every problem before it is refused."""

    def __init__(self, raw: Record, prefix: str = "") -> None:
        self.raw = raw
        self.problems: list[Problem] = []
        self._prefix = prefix

    def __contains__(self, name: str) -> bool:
        return name in self.raw

    def refuse(self, code: str, path: str) -> None:
        """Note a problem at a dotted path inside the item."""
        self.problems.append(Problem(code, self._prefix + path))

    def only(self, known: Iterable[str], stored: Record | None = None) -> None:
        """Refuse keys that cannot be written; one that repeats what is stored may pass."""
        for name in self.raw.keys() - set(known):
            is_echo = stored is not None and name in stored and self.raw[name] == stored[name]
            if not (is_echo and READ_ONLY_ECHO_PASSES):
                self.refuse(UNKNOWN_KEY_CODE, name)

    def need(self, *names: str) -> None:
        """Refuse an item without these keys."""
        for name in names:
            if name not in self.raw:
                self.refuse("FieldMissing", name)

    def types(self, wanted: Mapping[str, type], nullable: Iterable[str] = ()) -> None:
        """Refuse present keys of another JSON type; null passes only where named."""
        for name, kind in wanted.items():
            if name not in self.raw or (self.raw[name] is None and name in nullable):
                continue
            if not is_a(self.raw[name], kind):
                self.refuse("InvalidType", name)

    def sound(self, name: str) -> Any:
        """Return a key's value if it is there and had no problem; else None."""
        broken = any(problem.path == self._prefix + name for problem in self.problems)
        return None if broken else self.raw.get(name)

    def target(self, table: Table) -> Record:
        """Return the record that the item's `id` names. Raises Refused."""
        record = table.get(self.raw["id"]) if is_a(self.raw.get("id"), int) else None
        if record is None:
            self.refuse(UNKNOWN_ID_CODE if "id" in self.raw else "FieldMissing", "id")
            raise Refused(self.problems)
        return record

    def finish(self) -> None:
        """Raise Refused if anything was wrong."""
        if self.problems:
            raise Refused(self.problems)


def is_a(value: object, kind: type) -> bool:
    """Tell whether a JSON value has this type; true and false are no numbers."""
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def request_id_of(item: Record, index: int) -> str:
    """Return the item's own request_id, else its array index, as text (2.5)."""
    return str(item.get("request_id", index))


def write_one(raw: Record, write: Callable[[], None]) -> Response | None:
    """Do a checked write of one object; return the 400 if it was refused."""
    try:
        write()
    except Refused as reason:
        return wire.validation({request_id_of(raw, 0): reason.problems})
    return None


def write_batch(items: Sequence[Record], prepare: Prepare, faults: Faults) -> list[Record] | Response:
    """Check every item, then write; return the rows of the answer, or the 400.

    By default one bad item refuses all; with `batch_mode` "apply_valid" the others are written first.
    """
    commits: list[Commit] = []
    refused: dict[str, Sequence[Problem]] = {}
    broken: dict[str, str] = {}
    for index, item in enumerate(items):
        try:
            commits.append(prepare(item, request_id_of(item, index)))
        except Refused as reason:
            refused[request_id_of(item, index)] = reason.problems
        except RuleBroken as reason:
            broken[reason.entity_id] = reason.text
    if (refused or broken) and faults.batch_mode == "all_or_nothing":
        commits = []
    rows = [commit() for commit in commits]
    if refused:
        return wire.validation(refused)
    if broken:
        return wire.rule(broken)
    if faults.shuffle_batch_answers:
        rows.reverse()  # always another order than the input, and always the same one
    return rows
