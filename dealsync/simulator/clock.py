"""Simulated time: real time plus an offset."""

import time
from datetime import UTC, datetime


class Clock:
    """Runs at the speed of real time; can be started at any moment and advanced, never set back."""

    def __init__(self, start: datetime | None = None) -> None:
        """`start` must be aware; None means the real current time."""
        self._offset_s = 0.0 if start is None else start.timestamp() - time.time()

    def now(self) -> float:
        """Return the simulated moment as Unix seconds."""
        return time.time() + self._offset_s

    def seconds(self) -> int:
        """Return the simulated moment in whole Unix seconds, as Kommo writes times."""
        return int(self.now())

    def advance(self, seconds: float) -> None:
        """Jump ahead. Raises ValueError for a negative step."""
        if seconds < 0:
            raise ValueError("the clock only goes forward")
        self._offset_s += seconds


def iso(seconds: float) -> str:
    """Return Unix seconds as Lemon Squeezy writes times: UTC, whole seconds, `.000000Z`."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()[:19] + ".000000Z"


def unix(text: str) -> int:
    """Return the Unix seconds of a time written as by `iso`."""
    return int(datetime.fromisoformat(text).timestamp())
