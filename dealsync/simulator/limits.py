"""Rate limits in real time, and the figures a test asks for afterwards."""

import time
from collections import Counter, deque


class SlidingWindow:
    """Moments of the last `window_s` seconds. Limits run in real time, whatever the simulated clock says."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._moments: deque[float] = deque()

    def count(self, now: float) -> int:
        """Return how many moments lie in the window that ends at `now`."""
        while self._moments and self._moments[0] <= now - self._window_s:
            self._moments.popleft()
        return len(self._moments)

    def add(self, now: float) -> int:
        """Note one more moment and return the new count."""
        self._moments.append(now)
        return self.count(now)

    def wait_s(self, now: float) -> float:
        """Return the seconds until the oldest moment leaves the window."""
        return max(0.0, self._moments[0] + self._window_s - now) if self._moments else 0.0

    def clear(self) -> None:
        """Forget all moments."""
        self._moments.clear()


class RequestLog:
    """What was asked of both APIs: counts by "API METHOD route-template", the busiest Kommo second, 429s."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start counting at zero."""
        self.counts: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.busiest_kommo_second = 0
        self._kommo_second = SlidingWindow(1.0)

    def note(self, api: str, method: str, template: str) -> None:
        """Count one request that came in, whatever is answered."""
        self.counts[f"{api} {method} {template}"] += 1
        if api == "kommo":
            self.busiest_kommo_second = max(self.busiest_kommo_second, self._kommo_second.add(time.monotonic()))

    def note_refused(self, api: str) -> None:
        """Count one 429."""
        self.refused[api] += 1
