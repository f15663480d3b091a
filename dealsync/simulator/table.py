"""Records by id, kept in sort order and indexed, so that a page of a long list costs no scan."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Record = dict[str, Any]
SortKey = Callable[[Record], Any]

REMEMBERED_SELECTIONS = 32  # a walk over pages asks the same question again and again
FEW = 64  # up to here new records are inserted one by one; more of them are cheaper to sort in


@dataclass(frozen=True)
class Between:
    """Both ends of a range in one of a table's orders, included; None leaves an end open."""

    order: str
    low: int | None
    high: int | None


@dataclass
class _Place:
    """Where a record was filed, so that it can be taken out after it was changed in place."""

    sort_keys: dict[str, Any] = field(default_factory=dict)
    index_keys: dict[str, Hashable] = field(default_factory=dict)


class Table:
    """Records (plain JSON objects) by integer id.

    A record may be changed in place; `put` it again afterwards, which files it anew.
    """

    def __init__(self, orders: Mapping[str, SortKey], indexes: Mapping[str, SortKey] | None = None) -> None:
        self._orders = dict(orders)
        self._index_of = dict(indexes or {})
        self._records: dict[int, Record] = {}
        self._sorted: dict[str, list[tuple[Any, int]]] = {name: [] for name in orders}
        self._indexes: dict[str, dict[Hashable, dict[int, None]]] = {name: {} for name in self._index_of}
        self._places: dict[int, _Place] = {}
        self._unsorted: dict[int, None] = {}  # put since the sorted lists were last read
        self._selections: dict[Hashable, list[int]] = {}

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(list(self._records.values()))

    def __contains__(self, record_id: object) -> bool:
        return record_id in self._records

    def get(self, record_id: int) -> Record | None:
        """Return the record itself, not a copy."""
        return self._records.get(record_id)

    def ids(self) -> Iterable[int]:
        """Return all ids in order of arrival."""
        return self._records.keys()

    def put(self, record_id: int, record: Record) -> None:
        """File a new or changed record."""
        self._take_out(record_id)
        self._records[record_id] = record
        place = _Place()
        for name, key in self._orders.items():
            place.sort_keys[name] = key(record)
        for name, key in self._index_of.items():
            place.index_keys[name] = value = key(record)
            self._indexes[name].setdefault(value, {})[record_id] = None
        self._places[record_id] = place
        self._unsorted[record_id] = None
        self._selections.clear()

    def remove(self, record_id: int) -> Record | None:
        """Take a record out and return it; None when there is none."""
        self._take_out(record_id)
        self._selections.clear()
        return self._records.pop(record_id, None)

    def having(self, index: str, value: Hashable) -> list[Record]:
        """Return the records with `value` in `index`, in order of arrival."""
        return [self._records[i] for i in self._indexes[index].get(value, ())]

    def has_index(self, name: str) -> bool:
        """Tell whether `select` can filter by `name`."""
        return name in self._indexes

    def select(
        self,
        order: str,
        *,
        descending: bool = False,
        where: Mapping[str, frozenset[Hashable]] | None = None,
        ids: frozenset[int] | None = None,
        between: Between | None = None,
    ) -> list[int]:
        """Return ids in order: those with one of the given values in every named index, id and range.

        The list is remembered until the next change of the table: do not alter it.
        """
        where = {name: wanted for name, wanted in (where or {}).items() if not self._covers_all(name, wanted)}
        question = (order, descending, frozenset(where.items()), ids, between)
        answer = self._selections.get(question)
        if answer is None:
            self._sort()
            answer = self._select(order, where, ids, between)
            if descending:
                answer.reverse()
            while len(self._selections) >= REMEMBERED_SELECTIONS:
                self._selections.pop(next(iter(self._selections)))
            self._selections[question] = answer
        return answer

    def _select(
        self,
        order: str,
        where: Mapping[str, frozenset[Hashable]],
        ids: frozenset[int] | None,
        between: Between | None,
    ) -> list[int]:
        narrowed: list[set[int]] = [set().union(*self._buckets(name, w)) for name, w in where.items()]
        if ids is not None:
            narrowed.append({i for i in ids if i in self._records})
        if between is not None:
            narrowed.append(set(self._in_range(between)))
        if not narrowed:
            return [record_id for _, record_id in self._sorted[order]]
        found = set.intersection(*narrowed)
        if len(found) * 4 > len(self._records):  # walking the sorted list beats sorting anew
            return [record_id for _, record_id in self._sorted[order] if record_id in found]
        return sorted(found, key=lambda i: (self._places[i].sort_keys[order], i))

    def _sort(self) -> None:
        new = list(self._unsorted)
        self._unsorted.clear()
        for name, keys in self._sorted.items():
            if len(new) <= FEW:
                for record_id in new:
                    insort(keys, (self._places[record_id].sort_keys[name], record_id))
            else:
                keys.extend((self._places[i].sort_keys[name], i) for i in new)
                keys.sort()

    def _buckets(self, name: str, wanted: frozenset[Hashable]) -> list[dict[int, None]]:
        return [self._indexes[name].get(value, {}) for value in wanted]

    def _covers_all(self, name: str, wanted: frozenset[Hashable]) -> bool:
        return sum(map(len, self._buckets(name, wanted))) == len(self._records)

    def _in_range(self, between: Between) -> list[int]:
        keys = self._sorted[between.order]
        start = 0 if between.low is None else bisect_left(keys, (between.low,))
        end = len(keys) if between.high is None else bisect_right(keys, (between.high, float("inf")))
        return [record_id for _, record_id in keys[start:end]]

    def _take_out(self, record_id: int) -> None:
        place = self._places.pop(record_id, None)
        if place is None:
            return
        if record_id in self._unsorted:
            del self._unsorted[record_id]
        else:
            for name, value in place.sort_keys.items():
                keys = self._sorted[name]
                del keys[bisect_left(keys, (value, record_id))]
        for name, value in place.index_keys.items():
            bucket = self._indexes[name][value]
            del bucket[record_id]
            if not bucket:
                del self._indexes[name][value]
