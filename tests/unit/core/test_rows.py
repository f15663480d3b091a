from typing import Any

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from dealsync.core.rows import ById, by_distinct, rows_of, slices, where
from dealsync.core.sales import times_text

PAIRS = st.lists(st.tuples(st.integers(-3, 3), st.sampled_from(["USD", "EUR", ""])))


@given(PAIRS)
def test_by_distinct__asks_once_for_what_is_the_same(pairs: list[tuple[int, str]]) -> None:
    asked: list[tuple[int, str]] = []

    def answer(number: int, text: str) -> str:
        asked.append((number, text))
        return f"{number} {text}"

    numbers, texts = (pd.Series([pair[i] for pair in pairs], dtype=kind) for i, kind in enumerate(("int64", "str")))
    assert list(by_distinct(answer, numbers, texts)) == [f"{number} {text}" for number, text in pairs]
    assert sorted(asked) == sorted(set(pairs))


def test_where__copies_nothing_if_every_row_stays() -> None:
    frame = pd.DataFrame({"order_id": ["17", "18"]})
    assert where(frame, pd.Series([True, True])) is frame
    assert list(where(frame, pd.Series([False, True]))["order_id"]) == ["18"]


def test_times_text__is_in_utc_to_the_second_and_empty_where_there_is_none() -> None:
    times = pd.Series([pd.Timestamp("2026-06-01T12:00:00.987654Z"), pd.NaT], index=[5, 3], dtype="datetime64[us, UTC]")
    assert times_text(times).to_dict() == {5: "2026-06-01T12:00:00Z", 3: ""}


def test_rows_of__has_the_values_of_every_kind_of_column_as_they_are() -> None:
    at = pd.Timestamp("2026-06-01T12:00:00Z")
    frame = pd.DataFrame({"text": pd.Series(["a", None], dtype="str"), "number": [1, 2], "at": [at, pd.NaT]})
    first, second = rows_of(frame)
    assert (first.text, first.number, first.at) == ("a", 1, at)
    assert type(first.number) is int
    assert pd.isna(second.text)
    assert second.at is pd.NaT


@given(st.lists(st.integers(0, 9), unique=True), st.lists(st.integers(0, 12)))
def test_by_id__builds_what_there_is_of_what_is_asked_for_and_nothing_else(there: list[int], asked: list[int]) -> None:
    built: list[int] = []

    def build(row: Any) -> str:
        built.append(row.lead_id)
        return f"deal {row.lead_id}"

    deals = ById(pd.DataFrame({"lead_id": pd.Series(there, dtype="int64")}), "lead_id", build)
    assert deals.of(pd.Series(asked, dtype="int64")) == {i: f"deal {i}" for i in there if i in asked}
    assert sorted(built) == sorted(set(there) & set(asked))


@given(st.integers(0, 20), st.integers(1, 7))
def test_slices__are_all_rows_in_order_and_none_is_longer(count: int, size: int) -> None:
    parts = list(slices(pd.DataFrame({"row": range(count)}), size))
    assert [row for part in parts for row in part["row"]] == list(range(count))
    assert all(0 < len(part) <= size for part in parts)
