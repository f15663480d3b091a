"""Which deals, contacts and companies a list shows: filters, search, order, lag.

Source: Kommo reference, 2.4 and 5.1.
"""

import functools
from collections.abc import Callable, Hashable

from dealsync.simulator.assumptions import (
    DEFAULT_LEAD_ORDER,
    NAME_FILTER_IS_PARTIAL,
    RANGES_INCLUDE_BOTH_ENDS,
)
from dealsync.simulator.faults import Faults
from dealsync.simulator.kommo.state import KommoAccount
from dealsync.simulator.kommo.wire import Query, branch, values, whole, whole_numbers
from dealsync.simulator.table import Between, Kept, Record, Table

ORDERS = {
    "leads": ("created_at", "updated_at", "id"),
    "contacts": ("updated_at", "id"),
    "companies": ("updated_at", "id"),
}
EXACT = ("pipeline_id", "responsible_user_id", "created_by", "updated_by", "price")
RANGES = {
    "leads": ("created_at", "updated_at", "closed_at", "closest_task_at", "price"),
    "contacts": ("created_at", "updated_at", "closest_task_at"),
    "companies": ("created_at", "updated_at", "closest_task_at"),
}
UNKNOWN_STAGE = (None, -1)


class Lists:
    """Answers lists. The table remembers what it answered, so a walk over pages filters the rows once."""

    def __init__(self, account: KommoAccount, faults: Faults) -> None:
        self._account = account
        self._faults = faults

    def ids(self, kind: str, query: Query) -> list[int]:
        """Return the ids a list of `kind` shows, in order."""
        table, faults = self._account.entities[kind], self._faults
        order, descending = order_of(query, ORDERS[kind], DEFAULT_LEAD_ORDER)
        given = branch(query, "filter") if faults.filters_enabled else None
        wanted = None if branch(given, "id") is None else whole_numbers(branch(given, "id"))
        text = values(branch(query, "query"))
        if text:
            hits = self._account.recency[kind].find(text[0], self._account.clock.now() - faults.search_lag_s)
            wanted = frozenset(hits if wanted is None else wanted & hits)
        ids = table.select(
            order,
            descending=descending,
            where=_where(table, kind, given),
            ids=wanted,
            between=[span for name in RANGES[kind] if (span := between(name, branch(given, name))) is not None],
            kept=_tests(given, custom_fields=faults.custom_field_filter),
        )
        if branch(given, "updated_at") is not None and faults.list_lag_s:
            hidden = self._account.recency[kind].recent(self._account.clock.now() - faults.list_lag_s)
            ids = [i for i in ids if i not in hidden] if hidden else ids
        return ids


def order_of(query: Query, known: tuple[str, ...], default: str) -> tuple[str, bool]:
    """Return the order asked for and whether it descends; unknown orders are ignored."""
    for name in known:
        direction = values(branch(branch(query, "order"), name))
        if direction:
            return name, direction[0].lower() == "desc"
    return default, False


def between(name: str, node: Query | str | None) -> Between | None:
    """Return the range of filter[name]; a bare number means equality on deals and contacts (2.4)."""
    if node is None:
        return None
    if isinstance(node, str):
        return Between(name, whole(node), whole(node))
    low, high = (whole(next(iter(values(branch(node, end))), None)) for end in ("from", "to"))
    if RANGES_INCLUDE_BOTH_ENDS:
        return Between(name, low, high)
    return Between(name, None if low is None else low + 1, None if high is None else high - 1)


def _where(table: Table, kind: str, given: Query | str | None) -> dict[str, frozenset[Hashable]]:
    where: dict[str, frozenset[Hashable]] = {}
    for name in EXACT:
        node = branch(given, name)
        if node is not None and table.has_index(name) and not _is_range(node):
            where[name] = frozenset(whole_numbers(node))
    stages = branch(given, "statuses")
    if kind == "leads" and isinstance(stages, dict):
        where["stage"] = frozenset(_stage(entry) for entry in stages.values())
    return where


def _stage(entry: Query | str) -> Hashable:
    """Return one filter[statuses][n]; both keys are required, one alone matches nothing."""
    pair = [whole(next(iter(values(branch(entry, key))), None)) for key in ("pipeline_id", "status_id")]
    return UNKNOWN_STAGE if None in pair else tuple(pair)


def _tests(given: Query | str | None, *, custom_fields: bool) -> list[Kept]:
    """Return the tests for filters that have no index."""
    tests: list[Kept] = []
    names = [name.casefold() for name in values(branch(given, "name"))]
    if names:
        test = functools.partial(_name_matches, names)
        tests.append(Kept(("name", *names), test))
    fields = branch(given, "custom_fields_values")
    if custom_fields and isinstance(fields, dict):
        for field_id, node in fields.items():
            tests.append(Kept(("field", field_id, str(node)), _field_check(whole(field_id), node)))
    return tests


def _name_matches(wanted: list[str], record: Record) -> bool:
    name = str(record.get("name")).casefold()
    return any(one in name if NAME_FILTER_IS_PARTIAL else one == name for one in wanted)


def _is_range(node: Query | str) -> bool:
    return branch(node, "from") is not None or branch(node, "to") is not None


def _field_check(field_id: int | None, node: Query | str) -> Callable[[Record], bool]:
    """Return the test for one field: a range of a date or number, else texts, enum ids or 1 and 0."""
    wanted = set(values(node))
    span = between("", node) if _is_range(node) else None

    def matches(value: Record) -> bool:
        held = value.get("value")
        if span is not None:
            number = _as_number(held)
            low, high = (span.low, span.high)
            return number is not None and (low is None or low <= number) and (high is None or number <= high)
        text = str(int(held)) if isinstance(held, bool) else str(held)
        return text in wanted or str(value.get("enum_id")) in wanted

    def check(record: Record) -> bool:
        for entry in record.get("custom_fields_values") or ():
            if entry["field_id"] == field_id:
                return any(matches(value) for value in entry["values"])
        return False

    return check


def _as_number(held: object) -> float | None:
    try:
        return float(str(held))
    except ValueError:
        return None
