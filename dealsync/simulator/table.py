"""Records by id, sorted and indexed when a list first asks for it, so that a page of a long list costs no scan."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Record = dict[str, Any]
SortKey = Callable[[Record], Any]

REMEMBERED_SELECTIONS = 32  # a walk over pages asks the same question again and again
FEW = 64  # up to here, or a hundredth of the table, changes are filed one by one; more are cheaper to sort anew
_NOTHING = float("-inf")  # sorts before every number, as None cannot
_NO_LIMIT = float("inf")


@dataclass(frozen=True)
class Between:
    """Both ends of a range in one of a table's orders, included; None leaves an end open.

    Records without a value (None) are in no range.
    """

    order: str
    low: int | None
    high: int | None


@dataclass(frozen=True)
class Kept:
    """A test for which there is no index. Equal names must mean equal tests: answers are remembered by them."""

    name: Hashable
    test: Callable[[Record], bool]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Kept) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


class _Filed:
    """What an order and an index have in common: the keys they filed records under, and what changed since."""

    def __init__(self, key: SortKey, records: dict[int, Record]) -> None:
        self.key = key
        self.records = records
        self.in_use = False
        self.changed: dict[int, None] = {}
        self.keys: dict[int, Any] = {}  # as filed: a record may have been changed in place since

    def forget(self) -> None:
        """Start over when asked the next time."""
        self.in_use = False
        self.changed.clear()
        self.keys.clear()


class _Order(_Filed):
    """Ids by key, then by id. None sorts before everything."""

    def __init__(self, key: SortKey, records: dict[int, Record]) -> None:
        super().__init__(key, records)
        self._sorted: list[tuple[Any, int]] = []
        self._ids: list[int] | None = None

    def file(self) -> None:
        """Take in what changed; all of it at first."""
        if not self.in_use or len(self.changed) > max(FEW, len(self.records) // 100):
            self.keys = {record_id: self._key(record) for record_id, record in self.records.items()}
            self._sorted = sorted(zip(self.keys.values(), self.keys, strict=True))
            self._ids = None
        elif self.changed:
            for record_id in self.changed:
                self._file_one(record_id)
            self._ids = None
        self.changed.clear()

    def ids(self) -> list[int]:
        """Return all ids in order: a list of its own."""
        if self._ids is None:
            self._ids = [record_id for _, record_id in self._sorted]
        return self._ids.copy()

    def sorted(self, found: Iterable[int]) -> list[int]:
        """Return these ids in order."""
        return sorted(found, key=lambda record_id: (self.keys[record_id], record_id))

    def within(self, low: int | None, high: int | None) -> list[int]:
        """Return the ids whose key lies between both ends."""
        start = bisect_left(self._sorted, (low,)) if low is not None else self._first_with_value()
        end = len(self._sorted) if high is None else bisect_right(self._sorted, (high, _NO_LIMIT))
        return [record_id for _, record_id in self._sorted[start:end]]

    def _first_with_value(self) -> int:
        if not self._sorted or self._sorted[0][0] != _NOTHING:
            return 0
        return bisect_right(self._sorted, (_NOTHING, _NO_LIMIT))

    def _file_one(self, record_id: int) -> None:
        if record_id in self.keys:
            del self._sorted[bisect_left(self._sorted, (self.keys.pop(record_id), record_id))]
        record = self.records.get(record_id)
        if record is not None:
            self.keys[record_id] = key = self._key(record)
            insort(self._sorted, (key, record_id))

    def _key(self, record: Record) -> Any:
        key = self.key(record)
        return _NOTHING if key is None else key


class _Index(_Filed):
    """Ids by value."""

    def __init__(self, key: SortKey, records: dict[int, Record]) -> None:
        super().__init__(key, records)
        self._buckets: dict[Hashable, set[int]] = {}

    def file(self) -> None:
        """Take in what changed; all of it at first."""
        if not self.in_use:
            self.keys.clear()
            self._buckets = {}
        for record_id in self.changed if self.in_use else self.records:
            if record_id in self.keys:
                self._buckets[self.keys.pop(record_id)].discard(record_id)
            record = self.records.get(record_id)
            if record is not None:
                self.keys[record_id] = value = self.key(record)
                self._buckets.setdefault(value, set()).add(record_id)
        self.changed.clear()

    def bucket(self, value: Hashable) -> Collection[int]:
        """Return the ids with this value, in no order."""
        return self._buckets.get(value, ())


_FiledT = TypeVar("_FiledT", _Order, _Index)


class Table:
    """Records (plain JSON objects) by integer id.

    A record may be changed in place; `put` it again afterwards, which files it anew. Orders and indexes are only
    kept up once they were asked for, so declaring many costs nothing.
    """

    def __init__(self, orders: Mapping[str, SortKey], indexes: Mapping[str, SortKey] | None = None) -> None:
        self._records: dict[int, Record] = {}
        self._orders = {name: _Order(key, self._records) for name, key in orders.items()}
        self._indexes = {name: _Index(key, self._records) for name, key in (indexes or {}).items()}
        self._in_use: list[_Order | _Index] = []  # those that were asked for; they hear of every change
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
        self._records[record_id] = record
        if self._in_use or self._selections:
            self._changed(record_id)

    def remove(self, record_id: int) -> Record | None:
        """Take a record out and return it; None when there is none."""
        record = self._records.pop(record_id, None)
        if record is not None:
            self._changed(record_id)
        return record

    def load(self, records: Iterable[tuple[int, Record]]) -> None:
        """Hold exactly these records, in this order of arrival."""
        self._records.clear()
        self._records.update(records)
        self._selections.clear()
        for filed in self._in_use:
            filed.forget()
        self._in_use.clear()

    def having(self, index: str, value: Hashable) -> list[Record]:
        """Return the records with `value` in `index`, by ascending id."""
        return [self._records[i] for i in sorted(self._filed(self._indexes[index]).bucket(value))]

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
        between: Between | Sequence[Between] | None = None,
        kept: Sequence[Kept] = (),
    ) -> list[int]:
        """Return ids in order: those with one of the given values in every named index, id, range and test.

        The list is remembered until the next change of the table: do not alter it.
        """
        where = where or {}
        ranges = (between,) if isinstance(between, Between) else tuple(between or ())
        question = (order, descending, frozenset(where.items()), ids, ranges, tuple(kept))
        answer = self._selections.get(question)
        if answer is None:
            answer = self._select(order, self._narrowed(where, ids, ranges))
            if kept:
                answer = [i for i in answer if all(one.test(self._records[i]) for one in kept)]
            if descending:
                answer.reverse()
            while len(self._selections) >= REMEMBERED_SELECTIONS:
                self._selections.pop(next(iter(self._selections)))
            self._selections[question] = answer
        return answer

    def _narrowed(
        self, where: Mapping[str, frozenset[Hashable]], ids: frozenset[int] | None, ranges: Iterable[Between]
    ) -> list[set[int]]:
        narrowed = []
        for name, wanted in where.items():
            index = self._filed(self._indexes[name])
            if sum(len(index.bucket(value)) for value in wanted) < len(self._records):
                narrowed.append({i for value in wanted for i in index.bucket(value)})
        if ids is not None:
            narrowed.append({i for i in ids if i in self._records})
        narrowed += [set(self._filed(self._orders[one.order]).within(one.low, one.high)) for one in ranges]
        return narrowed

    def _select(self, order_name: str, narrowed: list[set[int]]) -> list[int]:
        order = self._filed(self._orders[order_name])
        if not narrowed:
            return order.ids()
        found = set.intersection(*narrowed)
        if len(found) * 4 > len(self._records):  # walking the sorted list beats sorting anew
            return [record_id for record_id in order.ids() if record_id in found]
        return order.sorted(found)

    def _changed(self, record_id: int) -> None:
        for filed in self._in_use:
            filed.changed[record_id] = None
        if self._selections:
            self._selections.clear()

    def _filed(self, one: _FiledT) -> _FiledT:
        """Return an order or index with all changes filed."""
        one.file()
        if not one.in_use:
            one.in_use = True
            self._in_use.append(one)
        return one
