"""Simulated time: real time plus an offset, or a clock that stands still until it is told to move."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache

DAY_S = 24 * 3600


class Clock:
    """Can be started at any moment and advanced, never set back."""

    def __init__(self, start: datetime | None = None, *, running: bool = True) -> None:
        """`start` must be aware; None means the real current time. A clock that is not running only jumps."""
        self._offset_s = 0.0
        self._stopped_at: float | None = None
        self._pinned_at: float | None = None
        self.set(time.time() if start is None else start.timestamp(), running=running)

    @property
    def running(self) -> bool:
        """Whether time passes by itself, at the speed of real time."""
        return self._stopped_at is None

    def now(self) -> float:
        """Return the simulated moment as Unix seconds."""
        if self._pinned_at is not None:
            return self._pinned_at
        return time.time() + self._offset_s if self._stopped_at is None else self._stopped_at

    def seconds(self) -> int:
        """Return the simulated moment in whole Unix seconds, as Kommo writes times."""
        return int(self.now())

    def advance(self, seconds: float) -> None:
        """Jump ahead. Raises ValueError for a negative step."""
        if seconds < 0:
            raise ValueError("the clock only goes forward")
        self._offset_s += seconds
        if self._stopped_at is not None:
            self._stopped_at += seconds

    def set(self, moment: float, *, running: bool) -> None:
        """Go on from `moment` (Unix seconds), as a saved world does when it is loaded."""
        self._offset_s = moment - time.time()
        self._stopped_at = None if running else moment

    @contextmanager
    def pinned(self, moment: float) -> Iterator[None]:
        """Show `moment` as now: what was due then sees its own time, however late it is run."""
        before, self._pinned_at = self._pinned_at, moment
        try:
            yield
        finally:
            self._pinned_at = before


@lru_cache(maxsize=4096)  # one purchase writes the same moment into many places
def iso(seconds: float) -> str:
    """Return Unix seconds as Lemon Squeezy writes times: UTC, whole seconds, `.000000Z`."""
    day, second = divmod(int(seconds), DAY_S)
    minute, second = divmod(second, 60)
    hour, minute = divmod(minute, 60)
    return f"{_date(day)}T{hour:02}:{minute:02}:{second:02}.000000Z"


@lru_cache(maxsize=1024)
def _date(day: int) -> str:
    return datetime.fromtimestamp(day * DAY_S, UTC).date().isoformat()


def unix(text: str) -> int:
    """Return the Unix seconds of a time written as by `iso`."""
    return int(datetime.fromisoformat(text).timestamp())
