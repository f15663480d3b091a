"""Which deals and contacts a list shows: filters, search, order, lag.

Source: Kommo reference, 2.4 and 5.1.
"""

from collections.abc import Callable, Hashable

from dealsync.simulator.assumptions import (
    DEFAULT_LEAD_ORDER,
    NAME_FILTER_IS_PARTIAL,
    RANGES_INCLUDE_BOTH_ENDS,
)
from dealsync.simulator.faults import Faults
from dealsync.simulator.kommo.state import KommoAccount
from dealsync.simulator.kommo.wire import Query, branch, values, whole, whole_numbers
from dealsync.simulator.table import Between, Record, Table

ORDERS = {"leads": ("created_at", "updated_at", "id"), "contacts": ("updated_at", "id")}
EXACT = ("created_by", "updated_by", "price")
RANGES = ("created_at", "closed_at", "closest_task_at", "price")
UNKNOWN_STAGE = (None, -1)


def listed(account: KommoAccount, faults: Faults, kind: str, query: Query) -> list[int]:
    """Return the ids a list of `kind` shows, in order."""
    table = account.entities[kind]
    order, descending = order_of(query, ORDERS[kind], DEFAULT_LEAD_ORDER)
    given = branch(query, "filter") if faults.filters_enabled else None
    updated = branch(given, "updated_at")
    ids = table.select(
        order,
        descending=descending,
        where=_indexed(kind, given),
        ids=None if branch(given, "id") is None else whole_numbers(branch(given, "id")),
        between=between("updated_at", updated),
    )
    if updated is not None and faults.list_lag_s:
        hidden = account.recency[kind].recent(account.clock.now() - faults.list_lag_s)
        ids = [i for i in ids if i not in hidden]
    ids = _kept(table, ids, _checks(given, custom_fields=faults.custom_field_filter))
    text = values(branch(query, "query"))
    if text:
        hits = account.recency[kind].find(text[0], account.clock.now() - faults.search_lag_s)
        ids = [i for i in ids if i in hits]
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


def _indexed(kind: str, given: Query | str | None) -> dict[str, frozenset[Hashable]]:
    where: dict[str, frozenset[Hashable]] = {}
    for name in ("pipeline_id", "responsible_user_id") if kind == "leads" else ("responsible_user_id",):
        if branch(given, name) is not None:
            where[name] = frozenset(whole_numbers(branch(given, name)))
    stages = branch(given, "statuses")
    if kind == "leads" and isinstance(stages, dict):
        where["stage"] = frozenset(_stage(entry) for entry in stages.values())
    return where


def _stage(entry: Query | str) -> Hashable:
    """Return one filter[statuses][n]; both keys are required, one alone matches nothing."""
    pair = [whole(next(iter(values(branch(entry, key))), None)) for key in ("pipeline_id", "status_id")]
    return UNKNOWN_STAGE if None in pair else tuple(pair)


def _checks(given: Query | str | None, *, custom_fields: bool) -> list[Callable[[Record], bool]]:
    """Return the tests for filters that have no index."""
    checks: list[Callable[[Record], bool]] = []
    names = [name.casefold() for name in values(branch(given, "name"))]
    if names:
        checks.append(lambda record: _name_matches(str(record.get("name")).casefold(), names))
    for name in {*EXACT, *RANGES}:
        node = branch(given, name)
        if node is not None:
            checks.append(_range_check(name, node) if _is_range(node) else _equals_check(name, node))
    fields = branch(given, "custom_fields_values")
    if custom_fields and isinstance(fields, dict):
        checks += [_field_check(whole(field_id), set(values(node))) for field_id, node in fields.items()]
    return checks


def _name_matches(name: str, wanted: list[str]) -> bool:
    return any(one in name if NAME_FILTER_IS_PARTIAL else one == name for one in wanted)


def _is_range(node: Query | str) -> bool:
    return branch(node, "from") is not None or branch(node, "to") is not None


def _range_check(name: str, node: Query | str) -> Callable[[Record], bool]:
    span = between(name, node)
    low = float("-inf") if span is None or span.low is None else span.low
    high = float("inf") if span is None or span.high is None else span.high
    return lambda record: record.get(name) is not None and low <= record[name] <= high


def _equals_check(name: str, node: Query | str) -> Callable[[Record], bool]:
    wanted = whole_numbers(node)
    return lambda record: record.get(name) in wanted


def _field_check(field_id: int | None, wanted: set[str]) -> Callable[[Record], bool]:
    def check(record: Record) -> bool:
        for entry in record.get("custom_fields_values") or ():
            if entry["field_id"] == field_id:
                return any(
                    str(value.get("value")) in wanted or str(value.get("enum_id")) in wanted
                    for value in entry["values"]
                )
        return False

    return check


def _kept(table: Table, ids: list[int], checks: list[Callable[[Record], bool]]) -> list[int]:
    if not checks:
        return ids
    return [i for i in ids if all(check(table.get(i) or {}) for check in checks)]
