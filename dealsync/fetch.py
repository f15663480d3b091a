"""Lemon Squeezy objects by their ids, for as few requests as it takes: from the top of their list, or one by one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from dealsync.abreast import abreast
from dealsync.apis.lemonsqueezy.client import Pages
from dealsync.apis.lemonsqueezy.pages import Dated
from dealsync.core.assumptions import LS_PAGE_SIZE
from dealsync.core.inbox import LARGEST_BATCH, Failure, Sight, most_by_list
from dealsync.core.sightings import How
from dealsync.errors import Rejected, UnexpectedAnswer, Unreachable
from dealsync.run import Run

Row = TypeVar("Row", bound=Dated)
DEEPEST_PAGE = 20
"""Older objects are read one by one."""
MOMENT = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Hint:
    """Where an object stands in its list: in which store's, and how far down. Only a guess at what reading costs."""

    store_id: str | None = None
    created_at: datetime | None = None


Wanted = dict[Sight, dict[str, Hint]]
"""Objects to be read, by kind and id."""


@dataclass(slots=True)
class Readings:
    """What was read into the mirror, and what could not be, by kind and id."""

    read: set[tuple[Sight, str]] = field(default_factory=set)
    failures: dict[tuple[Sight, str], Failure] = field(default_factory=dict)

    def __contains__(self, key: tuple[Sight, str]) -> bool:
        return key in self.read or key in self.failures


@dataclass(frozen=True, slots=True)
class _Kind(Generic[Row]):
    """A type of object: how one is read, how their list is read, how they are kept, and others of the same page."""

    sight: Sight
    table: str
    one: Callable[[str], Awaitable[Row]]
    pages: Callable[..., Pages[Row]]
    keep: Callable[[Sequence[Row]], None]
    keep_others: Callable[[Sequence[Row]], None]


async def fetch(run: Run, wanted: Wanted, readings: Readings) -> None:
    """Read objects as they are now into the mirror, and add to `readings` what became of each.

    An object that cannot be read is a failure of its own. Raises Unauthorized, Banned, and Unreachable if no object
    at all could be read for want of an answer.
    """
    ls, mirror, by_the_way = run.lemon_squeezy, run.mirror(How.WEBHOOK), run.mirror(How.POLL)
    kinds: list[_Kind[Any]] = [
        _Kind(Sight.ORDER, "orders", ls.order, ls.orders, mirror.keep_orders, by_the_way.keep_orders),
        _Kind(
            Sight.SUBSCRIPTION,
            "subscriptions",
            ls.subscription,
            ls.subscriptions,
            mirror.keep_subscriptions,
            by_the_way.keep_subscriptions,
        ),
        _Kind(Sight.INVOICE, "invoices", ls.invoice, ls.invoices, mirror.keep_invoices, by_the_way.keep_invoices),
    ]
    await abreast(_fetch(run, kind, wanted[kind.sight], readings) for kind in kinds if wanted.get(kind.sight))
    outages = [failure.reason for failure in readings.failures.values() if not failure.is_its_own]
    if outages and not readings.read:
        raise Unreachable(f"lemon_squeezy: none of {len(outages)} objects could be read; the first: {outages[0]}")


async def _fetch(run: Run, kind: _Kind[Row], ids: Mapping[str, Hint], readings: Readings) -> None:
    for store_id in sorted({hint.store_id for hint in ids.values() if hint.store_id} & run.directory.policy.store_ids):
        dated = {i: h.created_at for i, h in ids.items() if h.store_id == store_id and h.created_at is not None}
        await _from_list(run, kind, store_id, dated, readings)
    await abreast(_one(kind, i, readings) for i in sorted(ids) if (kind.sight, i) not in readings.read)


async def _from_list(
    run: Run, kind: _Kind[Row], store_id: str, dated: Mapping[str, datetime], readings: Readings
) -> None:
    """Read from their list those objects for which that takes fewer requests. Some may not be found there."""
    newest_first = sorted(dated, key=lambda i: dated[i], reverse=True)
    if len(newest_first) < 2:  # one request either way
        return
    most = DEEPEST_PAGE * LS_PAGE_SIZE + LARGEST_BATCH
    younger = sorted(run.store.mirror.younger(kind.table, store_id, dated[newest_first[-1]], most))
    places = [len(younger) - bisect_left(younger, dated[i]) + n for n, i in enumerate(newest_first)]
    count = most_by_list([place // LS_PAGE_SIZE + 1 for place in places])
    wanted = set(newest_first[:count])
    if not wanted:
        return
    since = dated[newest_first[count - 1]] - MOMENT
    async with aclosing(kind.pages(store_id, since=since)) as walk:
        async for page in walk:
            found = wanted & {row.id for row in page.rows}
            kind.keep([row for row in page.rows if row.id in found])
            kind.keep_others([row for row in page.rows if row.id not in found])
            readings.read |= {(kind.sight, object_id) for object_id in found}
            wanted -= found
            if not wanted or page.number >= DEEPEST_PAGE:
                return


async def _one(kind: _Kind[Row], object_id: str, readings: Readings) -> None:
    key, about = (kind.sight, object_id), f"{kind.sight}:{object_id}"
    try:
        kind.keep([await kind.one(object_id)])
        readings.read.add(key)
    except Rejected as error:
        why = "Lemon Squeezy does not know it, or not yet" if error.status == 404 else str(error)
        readings.failures[key] = Failure(f"{about}: {why}")
    except UnexpectedAnswer as error:
        readings.failures[key] = Failure(str(error))
    except Unreachable as error:
        readings.failures[key] = Failure(str(error), is_its_own=False)
