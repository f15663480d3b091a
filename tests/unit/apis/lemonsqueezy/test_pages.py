"""Walks over a list that changes while it is read: nothing that was there all the time is lost, nothing comes twice."""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dealsync.apis.lemonsqueezy import pages
from dealsync.apis.lemonsqueezy.pages import ABREAST, Page, Part, Walk, back_to, collected
from dealsync.errors import UnexpectedAnswer, Unreachable

START = datetime(2026, 6, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Thing:
    id: str
    created_at: datetime
    updated_at: datetime


def thing(number: int) -> Thing:
    """Things are made a minute apart."""
    made_at = START + timedelta(minutes=number)
    return Thing(str(number), made_at, made_at)


@dataclass(frozen=True, slots=True)
class Event:
    """What happens to the list before a page is looked up, and how long the request and its answer take."""

    add: int = 0
    remove: tuple[float, ...] = ()  # places, as parts of the list
    touch: tuple[float, ...] = ()
    out: int = 0
    back: int = 0


@dataclass
class Shifting:
    """A newest-first list that changes by a script, an event a request; after that it rests."""

    count: int
    size: int
    events: list[Event] = field(default_factory=list)
    add_before_remove: bool = True
    rows: list[Thing] = field(init=False)
    asked: list[int] = field(default_factory=list)
    shown: dict[str, datetime] = field(default_factory=dict)
    under_way: int = 0
    most_under_way: int = 0

    def __post_init__(self) -> None:
        self.rows = [thing(number) for number in reversed(range(self.count))]
        self.made = self.count
        self.script = iter(self.events)

    async def read(self, number: int) -> Part[Thing]:
        self.asked.append(number)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        event = next(self.script, Event())
        for _ in range(event.out):
            await asyncio.sleep(0)
        self.happen(event)
        rows = self.rows[(number - 1) * self.size : number * self.size]
        for row in rows:
            self.shown[row.id] = max(row.updated_at, self.shown.get(row.id, row.updated_at))
        total = len(self.rows)
        for _ in range(event.back):
            await asyncio.sleep(0)
        self.under_way -= 1
        last = max(1, math.ceil(total / self.size))
        return Part(number, last, total, tuple(row.id for row in rows), tuple(rows))

    def happen(self, event: Event) -> None:
        if self.add_before_remove:
            self.add(event.add)
        for place in event.remove:
            if self.rows:
                del self.rows[int(place * len(self.rows))]
        for place in event.touch:
            if self.rows:
                at = int(place * len(self.rows))
                self.rows[at] = replace(self.rows[at], updated_at=self.rows[at].updated_at + timedelta(seconds=1))
        if not self.add_before_remove:
            self.add(event.add)

    def add(self, count: int) -> None:
        for _ in range(count):
            self.rows.insert(0, thing(self.made))
            self.made += 1

    def walk(self) -> Walk[Thing]:
        return Walk(self.read, "/v1/things")


PLACES = st.lists(st.floats(0, 1, exclude_max=True), max_size=3).map(tuple)
EVENTS = st.lists(
    st.builds(
        Event,
        add=st.sampled_from([0, 0, 0, 1, 2, 5]),
        remove=st.one_of(st.just(()), st.just(()), PLACES, st.just((0.0,))),
        touch=st.one_of(st.just(()), PLACES),
        out=st.integers(0, 6),
        back=st.integers(0, 6),
    ),
    max_size=18,
)
SHIFTING = st.builds(Shifting, st.integers(0, 30), st.integers(1, 4), EVENTS, st.booleans())
OFTEN = settings(max_examples=150)


async def told(walk: AsyncIterator[Page[Thing]]) -> list[Page[Thing]]:
    return [page async for page in walk]


def rows_of(found: list[Page[Thing]]) -> list[Thing]:
    return [row for page in found for row in page.rows]


def survivors(shop: Shifting, before: list[Thing]) -> set[str]:
    """What was there from the start to the end."""
    return {row.id for row in before} & {row.id for row in shop.rows}


def never_loses_a_row(shop: Shifting, walk: Callable[[Walk[Thing]], AsyncIterator[Page[Thing]]]) -> None:
    before = list(shop.rows)
    rows = rows_of(asyncio.run(told(walk(shop.walk()))))
    newest = {row.id: row for row in rows}
    assert survivors(shop, before) <= newest.keys()
    assert {row_id: row.updated_at for row_id, row in newest.items()} == {
        row_id: shop.shown[row_id] for row_id in newest
    }
    versions = Counter((row.id, row.updated_at) for row in rows)
    assert set(versions.values()) <= {1}


@OFTEN
@given(SHIFTING)
def test_in_order__never_loses_a_row_and_never_repeats_one(shop: Shifting) -> None:
    never_loses_a_row(shop, lambda walk: walk.in_order())


@OFTEN
@given(SHIFTING)
def test_whole__read_side_by_side_never_loses_a_row_and_never_repeats_one(shop: Shifting) -> None:
    with patch.object(pages, "ABREAST_FROM", 2):
        never_loses_a_row(shop, lambda walk: walk.whole())


@OFTEN
@given(SHIFTING, st.integers(0, 30))
def test_back_to__never_loses_a_row_since_then(shop: Shifting, minute: int) -> None:
    since = START + timedelta(minutes=minute)
    before = list(shop.rows)
    rows = rows_of(asyncio.run(told(shop.walk().in_order(ends=back_to(since)))))
    wanted = {row.id for row in before if row.created_at >= since} & survivors(shop, before)
    assert wanted <= {row.id for row in rows}


@OFTEN
@given(SHIFTING)
def test_collected__has_each_id_once_in_its_newest_version(shop: Shifting) -> None:
    with patch.object(pages, "ABREAST_FROM", 2):
        rows = asyncio.run(collected(shop.walk().whole()))
    assert len({row.id for row in rows}) == len(rows)
    assert all(row.updated_at == shop.shown[row.id] for row in rows)


# --- requests, counted -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 1899])
def test_whole__of_a_short_list_asks_for_each_page_once_in_order(count: int) -> None:
    shop = Shifting(count, 100)
    assert len(rows_of(asyncio.run(told(shop.walk().whole())))) == count
    assert shop.asked == list(range(1, max(1, math.ceil(count / 100)) + 1))
    assert shop.most_under_way == 1


def test_whole__of_a_long_list_has_several_pages_under_way_and_confirms_with_one() -> None:
    shop = Shifting(5000, 100, [Event(back=9)] * 60)
    found = asyncio.run(told(shop.walk().whole()))
    assert [row.id for row in rows_of(found)] == [str(number) for number in reversed(range(5000))]
    assert sorted(shop.asked) == [1, *range(1, 51)]
    assert shop.most_under_way == ABREAST
    assert len(shop.asked) <= 1.05 * 50


def test_whole__of_a_long_list_with_an_arrival_asks_again_for_the_holes_that_it_made() -> None:
    """Page 2 was looked up after an arrival and page 3 before it: the last row of page 2 was on neither."""
    events = [Event(), Event(out=20), Event(), *[Event()] * 3, Event(add=1, out=10)]
    shop = Shifting(5000, 100, events)
    rows = rows_of(asyncio.run(told(shop.walk().whole())))
    assert {str(number) for number in range(5001)} == {row.id for row in rows}
    assert shop.asked[50:] == [1, 3, 51, 1]


def test_whole__of_a_long_list_from_which_a_row_vanished_is_read_again_in_order() -> None:
    shop = Shifting(2500, 100, [Event()] * 10 + [Event(remove=(0.0,))])
    rows = rows_of(asyncio.run(told(shop.walk().whole())))
    assert len({row.id for row in rows}) == len(rows) == 2500
    assert 50 <= len(shop.asked) <= 52


@pytest.mark.parametrize(
    ("minute", "asked"),
    [
        (1000, 1),  # nothing new
        (999, 1),
        (901, 1),  # the newest row of page 1 that is too old stands at its end
        (900, 2),  # all of page 1 is new: only page 2 can tell that it ends there
        (899, 2),
        (801, 2),
        (0, 10),
    ],
)
def test_back_to__asks_for_no_page_behind_the_first_row_that_is_too_old(minute: int, asked: int) -> None:
    shop = Shifting(1000, 100)
    since = START + timedelta(minutes=minute)
    rows = rows_of(asyncio.run(told(shop.walk().in_order(ends=back_to(since)))))
    assert shop.asked == list(range(1, asked + 1))
    assert {row.id for row in rows} >= {str(number) for number in range(minute, 1000)}


def test_back_to__goes_on_where_a_page_is_not_newest_first() -> None:
    shop = Shifting(6, 3)
    shop.rows = [thing(minute) for minute in (5, 0, 1, 4, 3, 2)]
    since = START + timedelta(minutes=2)
    rows = rows_of(asyncio.run(told(shop.walk().in_order(ends=back_to(since)))))
    assert shop.asked == [1, 2]
    assert len(rows) == 6


def test_in_order__steps_back_to_where_rows_vanished() -> None:
    shop = Shifting(9, 3, [Event(), Event(remove=(0.0,))])
    rows = rows_of(asyncio.run(told(shop.walk().in_order())))
    assert [row.id for row in rows] == ["8", "7", "6", "5", "4", "3", "2", "1", "0"]
    assert shop.asked == [1, 2, 1, 2, 3]


def test_in_order__finds_the_new_end_of_a_list_that_lost_most_of_its_rows() -> None:
    shop = Shifting(30, 3, [Event()] * 6 + [Event(remove=(0.0,) * 25)])
    asyncio.run(told(shop.walk().in_order()))
    assert shop.asked == [1, 2, 3, 4, 5, 6, 7, 2, 1, 2]


def test_in_order__gives_up_where_rows_never_stop_to_vanish() -> None:
    async def read(number: int) -> Part[Thing]:
        return Part(number, 9, 100 - number, (f"{number}",), (thing(number),))

    with pytest.raises(UnexpectedAnswer, match="/v1/things: rows vanish faster than the list can be read"):
        asyncio.run(told(Walk(read, "/v1/things").in_order()))


def test_whole__without_counts_is_read_in_order() -> None:
    shop = Shifting(3000, 100)

    async def read(number: int) -> Part[Thing]:
        return replace(await shop.read(number), total=None)

    rows = rows_of(asyncio.run(told(Walk(read, "/v1/things").whole())))
    assert len(rows) == 3000
    assert shop.asked == list(range(1, 31))


def test_whole__with_pages_of_another_size_is_read_in_order() -> None:
    shop = Shifting(250, 10)

    async def read(number: int) -> Part[Thing]:
        found = await shop.read(number)
        return replace(found, ids=found.ids[:7], rows=found.rows[:7])

    assert len(rows_of(asyncio.run(told(Walk(read, "/v1/things").whole())))) == 25 * 7
    assert shop.asked == list(range(1, 26))


# --- leaving early ---------------------------------------------------------------------------------------------


def test_whole__that_fails_on_one_page_leaves_nothing_under_way() -> None:
    shop = Shifting(5000, 100, [Event(back=5)] * 60)

    async def read(number: int) -> Part[Thing]:
        if number == 4:
            raise Unreachable("gone", status=503)
        return await shop.read(number)

    async def story() -> int:
        with pytest.raises(Unreachable, match="gone"):
            await told(Walk(read, "/v1/things").whole())
        return len(asyncio.all_tasks())

    assert asyncio.run(story()) == 1


def test_whole__that_is_left_early_asks_for_nothing_more() -> None:
    shop = Shifting(5000, 100, [Event(back=5)] * 60)

    async def story() -> int:
        async with aclosing(shop.walk().whole()) as walk:
            async for page in walk:
                if page.number == 2:
                    break
        asked = len(shop.asked)
        await asyncio.sleep(0)
        assert len(shop.asked) == asked
        return len(asyncio.all_tasks())

    assert asyncio.run(story()) == 1
    assert len(shop.asked) <= 2 + ABREAST


# --- versions --------------------------------------------------------------------------------------------------

Twice = Literal["older", "same", "newer", "same second"]


@pytest.mark.parametrize(("twice", "kept"), [("older", 1), ("same", 1), ("newer", 2), ("same second", 2)])
def test_in_order__tells_a_row_again_only_when_it_is_news(twice: Twice, kept: int) -> None:
    """Times have whole seconds: of two versions of one second the one that was read later counts."""
    row = thing(1)
    again = {
        "older": replace(row, updated_at=row.updated_at - timedelta(seconds=1)),
        "same": replace(row),
        "newer": replace(row, updated_at=row.updated_at + timedelta(seconds=1)),
        "same second": replace(row, created_at=row.created_at - timedelta(seconds=1)),
    }[twice]

    async def read(number: int) -> Part[Thing]:
        found = row if number == 1 else again
        return Part(number, 2, 2, (found.id,), (found,))

    rows = rows_of(asyncio.run(told(Walk(read, "/v1/things").in_order())))
    assert rows == [row, again][:kept]
