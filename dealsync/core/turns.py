"""A turn to send one request: what those who hand them out and those who take them agree on."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_WAIT_S = 60.0
"""An API that asks for more patience than this is handed to the caller, who waits out minutes."""
RECOVERY_S = 60.0
"""For how long after a 429 turns come at half the rate."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast an API may be asked, by all processes together.

    Turns come `per_second`, after a pause up to `at_once` of them together. Never do more than `most` requests count
    in any `window_s` seconds, None where the spacing keeps far enough from what the API bears; the last few of them
    are kept for urgent work. No more than `in_the_air` are under way, but for urgent ones: who is answered that little
    is left of the limit can still hold the others back.
    """

    per_second: float
    at_once: int = 1
    most: int | None = None
    window_s: float = 1.0
    kept_for_urgent: int = 0
    in_the_air: int | None = None

    def most_for(self, *, urgent: bool) -> int | None:
        """How many requests may count in a window when one more wants to leave."""
        return self.most if self.most is None or urgent else max(self.most - self.kept_for_urgent, 1)


@dataclass(frozen=True, slots=True)
class Turn:
    """Go in `wait_s` seconds if `granted`; else what stands in the way, and for how many seconds."""

    wait_s: float = 0.0
    granted: bool = True
    held: bool = False  # the API asked everybody to wait
    blocked: str = ""  # since when and why nothing may be sent until a person says so
    flight: str = ""  # names a request under way, so that its end can be told
