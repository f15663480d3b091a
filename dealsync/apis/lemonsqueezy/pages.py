"""Walks over a list whose rows move while it is read. Knows neither paths nor objects.

Paging is by offset: a row that comes in at the top moves all others down, one that vanishes moves those behind it
up. What a walk promises all the same: a row that is there from its start to its end is not missed, and comes twice
only when it changed in between. Source: Lemon Squeezy reference, "Lists: paging, order, filters, includes".
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Generic, Protocol, TypeVar

from dealsync.errors import UnexpectedAnswer

ABREAST = 6
"""Pages that are under way at the same time. The transport spaces them; this hides how long an answer takes."""
ABREAST_FROM = 20
"""Pages of a list from which on they are read side by side. Side by side costs one request more, to see that nothing
vanished: a twentieth at most. A shorter list has little to win as long as answers come quickly."""
SLOW_S, SLOW_FROM = 0.4, 5
"""How long an answer takes that is waited for rather than the rate, and the pages from which on it is worth a request
to wait for several at once."""
PATIENCE = 20
"""How often a walk starts anew at a place where rows vanish, before it gives up."""


class Dated(Protocol):
    """Anything of Lemon Squeezy's. Lists are in the order of creation, or in one of their own."""

    @property
    def id(self) -> str: ...  # noqa: D102

    @property
    def created_at(self) -> datetime: ...  # noqa: D102

    @property
    def updated_at(self) -> datetime: ...  # noqa: D102


Row = TypeVar("Row", bound=Dated)
Anything = TypeVar("Anything", covariant=True)


@dataclass(frozen=True, slots=True)
class Page(Generic[Anything]):
    """What a page of a list told that was new. `number` counts from 1 to `last`."""

    rows: tuple[Anything, ...]
    number: int
    last: int


@dataclass(frozen=True, slots=True)
class Part(Generic[Row]):
    """One page as it was answered: a run of neighbours at one moment."""

    number: int
    last: int
    total: int | None  # rows of the whole list, where the answer tells
    ids: tuple[str, ...]  # of every row, readable or not; "" where a row has none
    rows: tuple[Row, ...]  # those that could be read

    @property
    def is_last(self) -> bool:
        """Whether there was nothing behind it: so says an empty page as well, whatever it counts."""
        return self.number >= self.last or not self.ids


@dataclass(slots=True)
class Walk(Generic[Row]):
    """One walk over one list. `read` asks for a page by its number."""

    read: Callable[[int], Awaitable[Part[Row]]]
    path: str  # for messages
    answer_s: Callable[[], float] = lambda: 0.0  # how long answers take
    _versions: dict[str, tuple[datetime, int]] = field(default_factory=dict)

    async def in_order(
        self, *, first: int = 1, ends: Callable[[Part[Row]], bool] = lambda part: part.is_last
    ) -> AsyncGenerator[Page[Row]]:
        """Yield pages one after the other from page `first`, to the last or to the one that `ends` the walk.

        Raises UnexpectedAnswer for a list that shrinks faster than it can be read.
        """
        async with aclosing(self._parts(await self.read(first))) as parts:
            async for part in parts:
                yield self._news(part)
                if part.is_last or ends(part):
                    return

    async def whole(self) -> AsyncGenerator[Page[Row]]:
        """Yield every page: those of a long list, or where answers are slow, side by side: told only by the speed.

        Promises what it does for a list that takes in rows at its top alone. Raises as `in_order`.
        """
        first = await self.read(1)
        cover = _cover(first) if first.last >= (SLOW_FROM if self.answer_s() > SLOW_S else ABREAST_FROM) else None
        async with aclosing(self._abreast(first, cover) if cover else self._parts(first)) as parts:
            async for part in parts:
                yield self._news(part)

    async def _parts(self, first: Part[Row]) -> AsyncGenerator[Part[Row]]:
        """Yield `first` and what follows, each joined to what was read before it.

        Two pages join when they share a row: order is kept, so nothing can be between them. Without a shared row they
        join when the list did not shrink from one to the other: only what vanished could have pulled rows over the
        edge. Otherwise the page before is read again.
        """
        part, before, reached = first, first, set(first.ids)
        furthest, retreats = first.number, 0
        while True:
            if part.number == first.number or _is_beside(part, before) or _share(part.ids, reached):
                reached.update(part.ids)
                yield part
                if part.is_last:
                    return
                retreats = 0 if part.number > furthest else retreats
                furthest, before = max(furthest, part.number), part
                part = await self.read(part.number + 1)
            else:
                retreats += 1
                self._ensure_patience(retreats)
                part = await self.read(max(min(part.number - 1, part.last), first.number))

    async def _abreast(self, first: Part[Row], cover: _Cover) -> AsyncGenerator[Part[Row]]:
        """Yield `first` and all others, several under way at a time, until their rows are sure to be complete.

        Which page was answered first cannot be known, so an arrival may pull rows over an edge as well. But where the
        first row stands at the end tells how many came in, and the total then tells whether any vanished. If none did,
        every page says by its total how far it had moved, and holes are found by counting. If one did, the walk in
        order that looks for the first row simply goes on to the end.
        """
        yield first
        wanted: Iterable[int] = range(2, first.last + 1)
        for _ in range(PATIENCE):
            async with aclosing(self._side_by_side(wanted)) as parts:
                async for part in parts:
                    cover.add(part)
                    yield part
            moved_by = None
            async with aclosing(self._parts(await self.read(1))) as parts:
                async for part in parts:
                    cover.add(part)
                    yield part
                    moved_by = cover.moved_by(part, first.ids[0])
                    if moved_by is not None:
                        break
            wanted = [] if moved_by is None else cover.pages_of_holes(moved_by)
            if not wanted:
                return
        self._ensure_patience(PATIENCE + 1)

    async def _side_by_side(self, numbers: Iterable[int]) -> AsyncGenerator[Part[Row]]:
        """Yield pages in the order of `numbers`, up to `ABREAST` of them under way."""
        under_way: deque[asyncio.Task[Part[Row]]] = deque()
        try:
            for number in numbers:
                under_way.append(asyncio.create_task(self._ask(number)))
                if len(under_way) == ABREAST:
                    yield await under_way.popleft()
            while under_way:
                yield await under_way.popleft()
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _ask(self, number: int) -> Part[Row]:
        return await self.read(number)

    def _news(self, part: Part[Row]) -> Page[Row]:
        return Page(tuple(row for row in part.rows if self._is_new(row)), part.number, part.last)

    def _is_new(self, row: Row) -> bool:
        """Whether this is the first or a newer version. Times have whole seconds: on a tie the later read counts."""
        known, version = self._versions.get(row.id), (row.updated_at, hash(row))
        if known is not None and (known == version or row.updated_at < known[0]):
            return False
        self._versions[row.id] = version
        return True

    def _ensure_patience(self, retreats: int) -> None:
        if retreats > PATIENCE:
            raise UnexpectedAnswer(f"{self.path}: rows vanish faster than the list can be read; run again later")


@dataclass(slots=True)
class _Cover:
    """Which of the rows that were there at first have been read, by their places at that time, counted from 0."""

    total: int
    size: int  # of a page
    spans: list[tuple[int, int]] = field(default_factory=list)

    def add(self, part: Part[Row]) -> None:
        """Count a page as read. It holds as long as nothing vanished: all that came in stands above the first row."""
        if part.total is not None:
            start = (part.number - 1) * self.size - (part.total - self.total)
            self.spans.append((start, start + len(part.ids)))

    def moved_by(self, part: Part[Row], first_id: str) -> int | None:
        """By how many places the first row has moved down, if it is on this page and no row has vanished since."""
        if first_id not in part.ids or part.total is None:
            return None
        came_in = (part.number - 1) * self.size + part.ids.index(first_id)
        return came_in if part.total - came_in == self.total else None

    def pages_of_holes(self, moved_by: int) -> list[int]:
        """The pages on which the rows that are still to be read stand now."""
        pages: set[int] = set()
        done = 0
        for start, stop in sorted([*self.spans, (self.total, self.total)]):
            if done < start <= self.total:
                pages.update(range((done + moved_by) // self.size + 1, (start - 1 + moved_by) // self.size + 2))
            done = max(done, stop)
        return sorted(pages)


def _cover(first: Part[Row]) -> _Cover | None:
    """Start counting places, if they can be counted: the total, the pages and the rows of a page agree."""
    size = len(first.ids)
    if first.total is None or not size or not first.ids[0] or first.last != -(-first.total // size):
        return None
    return _Cover(first.total, size, [(0, size)])


def _is_beside(part: Part[Row], before: Part[Row]) -> bool:
    """Whether a page, read after the one before it, follows on it without a hole."""
    shrank = part.total is not None and before.total is not None and part.total < before.total
    return part.number == before.number + 1 and not shrank


def _share(ids: tuple[str, ...], reached: set[str]) -> bool:
    return any(row_id in reached for row_id in ids if row_id)


def back_to(since: datetime) -> Callable[[Part[Row]], bool]:
    """Return what ends a newest-first walk: the page behind which every row was created before `since`."""

    def ends(part: Part[Row]) -> bool:
        times = [row.created_at for row in part.rows]
        if not times:
            return False
        is_newest_first = all(above >= below for above, below in pairwise(times))
        return max(times) < since or (is_newest_first and times[-1] < since)

    return ends


async def collected(pages: AsyncIterator[Page[Row]]) -> list[Row]:
    """Return the rows of a whole walk in its order, each once and in its newest version."""
    found: dict[str, Row] = {}
    async for page in pages:
        found.update((row.id, row) for row in page.rows)
    return list(found.values())
