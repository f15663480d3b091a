"""How far the long parts of a run are: pages read of each list, batches written of each kind."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

MANY = 5
"""More pages of one list, or batches of one kind, than this are a lot to do: seconds, or minutes."""


@dataclass(frozen=True, slots=True)
class Step:
    """One list or kind: pages or batches done, and all of them, as far as that is known."""

    words: str
    done: int
    total: int | None
    writes: bool
    is_over: bool = False


@dataclass(slots=True)
class Steps:
    """The steps of one run, by name."""

    _steps: dict[str, Step] = field(default_factory=dict)

    def reach(self, name: str, words: str, done: int, total: int | None = None, *, writes: bool = False) -> None:
        """Tell how far a step is."""
        self._steps[name] = Step(words, done, total, writes)

    def end(self, name: str) -> None:
        """Tell that a step is over: the list was read as far as it had to be, all batches are written."""
        if step := self._steps.get(name):
            whole = step.total or step.done
            self._steps[name] = replace(step, done=whole, total=whole, is_over=True)

    @property
    def are_long(self) -> bool:
        """Whether there is so much to do that somebody may wonder how far it is."""
        return any(max(step.done, step.total or 0) > MANY for step in self._steps.values())

    def percent(self, *, applies: bool) -> float:
        """Return how far the run is: reading is the first half of one that writes. Never 100 before it is over."""
        reading, writing = self._share(writes=False), self._share(writes=True)
        part = (reading + writing) / 2 if applies else reading
        return min(99.0, round(100 * part, 1))

    def words(self) -> str:
        """Return what is under way, in a line."""
        return "; ".join(step.words for step in self._steps.values() if not step.is_over)

    def _share(self, *, writes: bool) -> float:
        known = [s for s in self._steps.values() if s.writes is writes and s.total is not None]
        total = sum(step.total or 0 for step in known)
        return sum(step.done for step in known) / total if total else 0.0
