"""Whole frames without a loop over their rows, and the few rows that matter as named tuples."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, Generic, TypeVar

import numpy as np
import pandas as pd

T = TypeVar("T")


def rows_of(frame: pd.DataFrame) -> Iterator[Any]:
    """Yield the rows, in order, without the index; columns are attributes.

    pandas' own way takes milliseconds, even where there is no row.
    """
    if frame.empty:
        return iter(())
    columns = (_values(column) for _, column in frame.items())
    return map(_row(tuple(frame.columns))._make, zip(*columns, strict=True))


def _values(column: pd.Series) -> Iterable[Any]:
    """The values of a column. A column of texts hands them out one by one, each at the price of a look-up."""
    return column.to_numpy(dtype="object") if isinstance(column.dtype, pd.StringDtype) else column


class ById(Generic[T]):
    """What the rows of a table hold, by their ids, built when it is asked for: not all of it fits at once."""

    def __init__(self, table: pd.DataFrame, column: str, build: Callable[[Any], T]) -> None:
        self._table, self._column, self._build = table, column, build
        self._places = pd.Index(table[column])

    def of(self, ids: pd.Series) -> dict[Any, T]:
        """Return what there is of these ids."""
        places = self._places.get_indexer(pd.Index(ids.unique()))
        rows = self._table.take(places[places >= 0])
        return {getattr(row, self._column): self._build(row) for row in rows_of(rows)}


def slices(frame: pd.DataFrame, size: int) -> Iterator[pd.DataFrame]:
    """Yield the rows in order, up to `size` at a time."""
    return (frame.iloc[start : start + size] for start in range(0, len(frame), size))


def where(frame: pd.DataFrame, mask: pd.Series) -> pd.DataFrame:
    """Return the rows for which the mask holds: the frame itself, not a copy, if that is every row."""
    return frame if mask.all() else frame[mask]


def by_distinct(function: Callable[..., Any], *columns: pd.Series) -> np.ndarray[Any, Any]:
    """Return what a function says of each row's values; it is asked once for all rows that have the same."""
    same = pd.DataFrame(dict(enumerate(columns))).groupby(list(range(len(columns))), sort=False, dropna=False)
    answers = [function(*values) for values in rows_of(same.head(1))]
    found = np.empty(len(answers), dtype="object")
    found[:] = answers
    return found[same.ngroup().to_numpy()]


@cache
def _row(columns: tuple[str, ...]) -> Any:
    """Return a class for rows with these columns. Making one compiles code, which takes longer than a row."""
    return namedtuple("Row", columns, rename=True)
