"""Whole frames without a loop over their rows, and the few rows that matter as named tuples."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pandas as pd


def rows_of(frame: pd.DataFrame) -> Iterator[Any]:
    """Yield the rows, in order, without the index; columns are attributes.

    pandas' own way takes milliseconds, even where there is no row.
    """
    if frame.empty:
        return iter(())
    columns = (column for _, column in frame.items())
    return map(_row(tuple(frame.columns))._make, zip(*columns, strict=True))


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
