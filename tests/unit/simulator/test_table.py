"""The table answers as a plain scan would, whatever was put, changed and removed before, and with less work."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dealsync.simulator.seed import seeded
from dealsync.simulator.table import Between, Kept, Record, Table
from tests.unit.simulator.bench import NOW, Bench, bench

values = st.tuples(st.integers(0, 5), st.sampled_from("ab"), st.one_of(st.none(), st.integers(0, 3)))
steps = st.lists(st.tuples(st.integers(1, 12), st.one_of(st.none(), values), st.booleans()), max_size=40)
ends = st.one_of(st.none(), st.integers(0, 5))


def a_table() -> Table:
    orders = {"time": lambda r: r["time"], "closed": lambda r: r["closed"]}
    return Table(orders, {"kind": lambda r: r["kind"]})


@given(steps=steps, low=ends, closed_high=ends, kind=st.sampled_from("ab"), descending=st.booleans(), odd=st.booleans())
def test_select__equals_a_scan(
    steps: list[Any], low: int | None, closed_high: int | None, kind: str, descending: bool, odd: bool
) -> None:
    table = a_table()
    plain: dict[int, Record] = {}
    for record_id, value, read in steps:
        if value is None:
            table.remove(record_id)
            plain.pop(record_id, None)
        else:
            record = plain.setdefault(record_id, {})  # changed in place, as the account does
            record.update(zip(("time", "kind", "closed"), value, strict=True))
            table.put(record_id, record)
        if read:
            table.select("time", where={"kind": frozenset("a")})

    found = table.select(
        "time",
        descending=descending,
        where={"kind": frozenset([kind])},
        between=[Between("time", low, None), Between("closed", None, closed_high)],
        kept=[Kept(("odd", odd), lambda record: record["time"] % 2 == odd)],
    )
    expected = [
        i
        for i, r in plain.items()
        if r["kind"] == kind
        and (low is None or r["time"] >= low)
        and r["closed"] is not None
        and (closed_high is None or r["closed"] <= closed_high)
        and r["time"] % 2 == odd
    ]
    assert found == sorted(expected, key=lambda i: (plain[i]["time"], i), reverse=descending)
    assert table.having("kind", kind) == [plain[i] for i in sorted(plain) if plain[i]["kind"] == kind]


def test_load__replaces_what_was_filed() -> None:
    table = a_table()
    table.put(1, {"time": 1, "kind": "a", "closed": None})
    assert table.select("time", where={"kind": frozenset("a")}) == [1]
    table.load([(3, {"time": 9, "kind": "a", "closed": 1}), (2, {"time": 2, "kind": "b", "closed": 1})])
    assert (list(table.ids()), table.select("time"), len(table)) == ([3, 2], [2, 3], 2)
    assert table.select("time", where={"kind": frozenset("a")}) == [3]


# --- work done ------------------------------------------------------------------------------------
class Counting:
    """A sort key that counts the records it looked at."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.looked_at = 0

    def __call__(self, record: Record) -> Any:
        self.looked_at += 1
        return record[self._name]


def test_put__looks_at_nothing_until_a_list_is_asked_for() -> None:
    time, kind = Counting("time"), Counting("kind")
    table = Table({"time": time}, {"kind": kind})
    for i in range(1000):
        table.put(i, {"time": i, "kind": i % 3})
    assert (time.looked_at, kind.looked_at) == (0, 0)
    table.select("time")
    assert (time.looked_at, kind.looked_at) == (1000, 0)


def test_select__looks_again_only_at_what_changed() -> None:
    time, kind = Counting("time"), Counting("kind")
    table = Table({"time": time}, {"kind": kind})
    for i in range(1000):
        table.put(i, {"time": i, "kind": i % 3})
    for i in range(20):  # a walk over pages, a write before each
        table.put(i, {"time": 5000 + i, "kind": 1})
        table.select("time", where={"kind": frozenset([1])})
    assert (time.looked_at, kind.looked_at) == (1000 + 19, 1000 + 19)


def test_kept__is_tested_once_for_a_walk_over_pages() -> None:
    table = a_table()
    for i in range(1000):
        table.put(i, {"time": i, "kind": "a", "closed": None})
    tested: list[int] = []

    def test(record: Record) -> bool:
        tested.append(record["time"])
        return bool(record["time"] < 500)

    for _ in range(10):
        assert len(table.select("time", kept=[Kept("below 500", lambda record: test(record))])) == 500
    assert len(tested) == 1000


LEAD_FILTERS = (
    "",
    "order[updated_at]=desc",
    "filter[pipeline_id][]=7001",
    "filter[responsible_user_id][]=501&filter[responsible_user_id][]=502",
    "filter[statuses][0][pipeline_id]=7001&filter[statuses][0][status_id]=142",
    "filter[created_by][]=501",
    "filter[updated_by][]=501",
    "filter[price][from]=1&filter[price][to]=99999",
    "filter[created_at][from]=1",
    "filter[updated_at][from]=1",
    "filter[closed_at][from]=1",
    "filter[name]=Nobody",
    "query=example",
    "query=starter&filter[pipeline_id][]=7001&order[created_at]=asc",
)
LS_LISTS = ("/orders?", "/orders?filter[store_id]=4101&", "/customers?filter[store_id]=4101&", "/subscriptions?")


@pytest.fixture(scope="module")
def reading() -> Any:
    with bench(seeded(orders=60, now=NOW)) as one:
        yield one


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the orders in which records were gone through, one entry each time."""
    found: list[str] = []
    narrow: Callable[..., Any] = Table._narrowed

    def noted(self: Table, *given: Any) -> Any:
        found.append("narrowed")
        return narrow(self, *given)

    monkeypatch.setattr(Table, "_narrowed", noted)
    return found


@pytest.mark.parametrize("asked", LEAD_FILTERS)
def test_pages__of_a_kommo_list_are_cut_from_one_selection(reading: Bench, scans: list[str], asked: str) -> None:
    reading.set(list_lag_s=2.0, search_lag_s=5.0)
    reading.world.kommo.leads._selections.clear()
    for page in range(1, 5):
        assert reading.kommo.get(f"/leads?limit=5&page={page}&{asked}").status_code in (200, 204)
    assert len(scans) == 1


@pytest.mark.parametrize("path", LS_LISTS)
@pytest.mark.parametrize("visible", [True, False])
def test_pages__of_a_lemon_squeezy_list_are_cut_from_one_selection(
    reading: Bench, scans: list[str], path: str, visible: bool
) -> None:
    reading.set(test_mode_visible=visible)
    for table in reading.world.lemon_squeezy.tables.values():
        table._selections.clear()
    for page in range(1, 5):
        assert reading.lemon_squeezy.get(f"{path}page[size]=5&page[number]={page}").status_code == 200
    assert len(scans) == 1
