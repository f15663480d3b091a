"""The table answers as a plain scan would, whatever was put, changed and removed before."""

from hypothesis import given
from hypothesis import strategies as st

from dealsync.simulator.table import Between, Record, Table

steps = st.lists(
    st.tuples(
        st.integers(1, 12), st.one_of(st.none(), st.tuples(st.integers(0, 5), st.sampled_from("ab"))), st.booleans()
    ),
    max_size=40,
)


@given(steps=steps, low=st.integers(0, 5), kind=st.sampled_from(["a", "b"]), descending=st.booleans())
def test_select__equals_a_scan(
    steps: list[tuple[int, tuple[int, str] | None, bool]], low: int, kind: str, descending: bool
) -> None:
    table = Table({"time": lambda r: r["time"]}, {"kind": lambda r: r["kind"]})
    plain: dict[int, Record] = {}
    for record_id, value, read in steps:
        if value is None:
            table.remove(record_id)
            plain.pop(record_id, None)
        else:
            plain[record_id] = {"time": value[0], "kind": value[1]}
            table.put(record_id, plain[record_id])
        if read:
            table.select("time")

    found = table.select(
        "time", descending=descending, where={"kind": frozenset([kind])}, between=Between("time", low, None)
    )
    expected = [i for i, r in plain.items() if r["kind"] == kind and r["time"] >= low]
    assert found == sorted(expected, key=lambda i: (plain[i]["time"], i), reverse=descending)
