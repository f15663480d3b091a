import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from dealsync.core.rows import by_distinct, where
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
