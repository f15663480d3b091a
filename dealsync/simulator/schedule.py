"""What is to happen at a simulated moment."""

import heapq
from collections.abc import Callable, Iterable
from typing import TypeAlias

from dealsync.simulator.clock import Clock
from dealsync.simulator.table import Record

Handler: TypeAlias = Callable[[Record], None]


class Schedule:
    """Entries by moment. They are JSON-ready, so they are saved with the state; what they do is registered anew."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._handlers: dict[str, Handler] = {}
        self._entries: list[tuple[float, int, str, Record]] = []  # a heap; numbers keep it in order of adding
        self._last_number = 0

    def on(self, kind: str, handler: Handler) -> None:
        """Say what an entry of this kind does, once: the store and the account do so on construction.

        A handler may add entries. Raises ValueError when the kind has one.
        """
        if kind in self._handlers:
            raise ValueError(f"{kind!r} has a handler")
        self._handlers[kind] = handler

    def at(self, moment: float, kind: str, payload: Record) -> None:
        """Add an entry for a moment in Unix seconds of the simulated clock; one in the past is due at once.

        Raises KeyError for a kind without a handler.
        """
        if kind not in self._handlers:
            raise KeyError(f"no handler for {kind!r}")
        self._last_number += 1
        heapq.heappush(self._entries, (moment, self._last_number, kind, payload))

    def next_moment(self) -> float | None:
        """Return when the next entry is due; None when nothing is planned."""
        return self._entries[0][0] if self._entries else None

    def run_due(self, now: float) -> None:
        """Run every entry due at `now`, in order of moment, then of adding; added ones that are due as well.

        During an entry the clock shows the entry's own moment.
        """
        while self._entries and self._entries[0][0] <= now:
            moment, _, kind, payload = heapq.heappop(self._entries)
            with self._clock.pinned(moment):
                self._handlers[kind](payload)

    def entries(self) -> list[Record]:
        """Return what is planned, in the order it will run."""
        planned = sorted(self._entries, key=lambda entry: entry[:2])
        return [{"at": moment, "kind": kind, "payload": payload} for moment, _, kind, payload in planned]

    def restore(self, entries: Iterable[Record]) -> None:
        """Replace what is planned by what `entries` returned. Raises KeyError for a kind without a handler."""
        self._entries = []
        for entry in entries:
            self.at(entry["at"], entry["kind"], entry["payload"])
