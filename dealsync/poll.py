"""Both sides -> mirror. Reading changes nothing in either account, so every part may be repeated.

Lemon Squeezy has no filter by time and a refund does not bring an old order to the top again: an hourly poll stops
at the watermark and re-reads a twenty-fourth of the older pages; a deep one re-reads them all.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from dealsync.apis.lemonsqueezy.client import Pages
from dealsync.apis.lemonsqueezy.pages import Dated
from dealsync.core.assumptions import CLOCK_SKEW, KOMMO_LIST_OVERLAP, KOMMO_READ_LAG, LS_PAGE_SIZE
from dealsync.errors import ConfigError, FiltersIgnored
from dealsync.ledger.runs import Watermark
from dealsync.run import Run

REFUND_WINDOW = timedelta(days=120)
"""How old an order may be and still be refunded: the deep poll reads so far back."""
SLICES = 24
"""In how many polls all older pages are read again: hourly ones see every silent change within a day."""

Row = TypeVar("Row", bound=Dated)


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back a poll reads."""

    deep: bool = False
    since: datetime | None = None


async def poll_lemon_squeezy(run: Run, reach: Reach) -> int:
    """Bring orders, subscriptions and invoices of the store up to date; return how many objects were read.

    The three lists are walked at the same time and share one rate. Raises Unauthorized, Unreachable; what was read
    until then is kept, and the watermark stays.
    """
    client, store_id, mirror = run.lemon_squeezy, run.directory.policy.store_id, run.store.mirror
    count = await side_by_side(
        _walk(run, reach, "orders", client.orders, store_id, mirror.keep_orders, REFUND_WINDOW),
        _walk(run, reach, "subscriptions", client.subscriptions, store_id, mirror.keep_subscriptions, None),
        _walk(run, reach, "invoices", client.invoices, store_id, mirror.keep_invoices, REFUND_WINDOW),
    )
    if not mirror.has_orders_of(store_id):
        await _explain_silence(run)
    return count


async def _explain_silence(run: Run) -> None:
    """A store without a single order is new, or not the one that was meant."""
    store_id, stores = run.directory.policy.store_id, await run.lemon_squeezy.stores()
    if store_id not in {store.id for store in stores}:
        known = ", ".join(f"{store.name} ({store.id})" for store in stores) or "none"
        raise ConfigError(f"LEMON_SQUEEZY_STORE_ID = {store_id} is not a store of this key, which sees: {known}")
    run.remarks.append(f"Store {store_id} has no orders yet.")
    if await run.lemon_squeezy.key_is_test_mode() != run.directory.policy.test_mode:
        run.remarks.append("LEMON_SQUEEZY_API_KEY is a key of the other mode (test or live) than DEALSYNC_MODE.")


async def poll_kommo(run: Run, reach: Reach) -> int:
    """Bring deals and contacts of the account up to date; return how many were read. Raises as above."""
    return await side_by_side(_poll_deals(run, reach), _poll_contacts(run, reach))


async def side_by_side(*walks: Coroutine[None, None, int]) -> int:
    """Await all at once and add up their counts; the first failure stops the others and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(walk) for walk in walks]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return sum(task.result() for task in tasks)


async def _walk(
    run: Run,
    reach: Reach,
    name: str,
    pages: Callable[..., Pages[Row]],
    store_id: str,
    keep: Callable[[Sequence[Row]], None],
    window: timedelta | None,
) -> int:
    """Read a newest-first list back to where it is known; then its share of the older pages."""
    mark = run.store.runs.watermark(name)
    stop_at = _stop_at(run, reach, mark, window)
    count = number = last = 0
    async with aclosing(pages(store_id, since=stop_at)) as walk:
        async for page in walk:
            keep(page.rows)
            count, number, last = count + len(page.rows), page.number, page.last
            run.progress(f"Lemon Squeezy {name}: page {number} of {last}")
    next_page = mark.next_page if mark else 0
    if mark and not reach.deep and reach.since is None and number < last:
        end = last if window is None else min(last, _oldest_page(run, name, window))
        count, next_page = await _reread(pages, store_id, keep, count, range(number + 1, end + 1), next_page)
    leaves_a_gap = mark is not None and stop_at is not None and stop_at > mark.polled_at
    if mark is None or not leaves_a_gap:
        run.store.runs.set_watermark(name, Watermark(run.started_at, next_page))
    return count


def _stop_at(run: Run, reach: Reach, mark: Watermark | None, window: timedelta | None) -> datetime | None:
    """Down to which time of creation pages are read; None reads to the end."""
    if reach.since is not None:
        return reach.since
    if mark is None:
        return None
    if reach.deep:
        return None if window is None else run.started_at - window
    return mark.polled_at - CLOCK_SKEW


def _oldest_page(run: Run, name: str, window: timedelta) -> int:
    return run.store.mirror.oldest_page(name, run.started_at - window, LS_PAGE_SIZE)


async def _reread(
    pages: Callable[..., Pages[Row]],
    store_id: str,
    keep: Callable[[Sequence[Row]], None],
    count: int,
    older: range,
    next_page: int,
) -> tuple[int, int]:
    """Read the next slice of the older pages; return the count so far and where the next poll goes on."""
    if not older:
        return count, 0
    size = math.ceil(len(older) / SLICES)
    first = next_page if next_page in older else older.start
    async with aclosing(pages(store_id, first=first)) as walk:
        async for page in walk:
            keep(page.rows)
            count += len(page.rows)
            if page.number >= min(first + size - 1, older.stop - 1):
                break
    return count, first + size


async def _poll_deals(run: Run, reach: Reach) -> int:
    mark = run.store.runs.watermark("deals")
    since = None if reach.deep or mark is None else mark.polled_at - KOMMO_LIST_OVERLAP
    seen = await _unless_ignored(run, lambda start: _walk_deals(run, start), since)
    run.store.runs.set_watermark("deals", Watermark(run.started_at, 0))
    return seen


async def _unless_ignored(
    run: Run, walk: Callable[[datetime | None], Coroutine[None, None, int]], since: datetime | None
) -> int:
    """Read what changed since; or everything, and say so, where Kommo would send everything anyway."""
    try:
        return await walk(since)
    except FiltersIgnored as error:
        run.remarks.append(f"{error}. Everything was read instead, which costs more requests")
        return await walk(None)


async def _walk_deals(run: Run, since: datetime | None) -> int:
    mirror = run.store.mirror
    seen: set[int] = set()
    async for page in run.kommo.deals(run.directory.field_keys, since=since):
        mirror.keep_deals(page)
        seen.update(deal.lead_id for deal in page)
        run.progress(f"Kommo deals: {len(seen)} read")
    if since is None:
        run.deals_read |= seen
        await read_deals(run, mirror.absent_deals(seen, before=_surely_listed(run)))
    else:
        mirror.mark_deals_deleted(await run.kommo.deleted_deal_ids(since=since))
    return len(seen)


async def read_deals(run: Run, lead_ids: AbstractSet[int]) -> None:
    """Read deals by id; those that are not there are marked deleted, unless one of them could not be read."""
    mirror, unreadable = run.store.mirror, len(run.kommo.refused.reasons)
    deals = await run.kommo.deals_by_id(lead_ids, run.directory.field_keys)
    mirror.keep_deals(list(deals.values()))
    run.deals_read |= lead_ids
    if len(run.kommo.refused.reasons) == unreadable:
        mirror.mark_deals_deleted(lead_ids - deals.keys())


async def _poll_contacts(run: Run, reach: Reach) -> int:
    mark = run.store.runs.watermark("contacts")
    since = None if reach.deep or mark is None else mark.polled_at - KOMMO_LIST_OVERLAP
    seen = await _unless_ignored(run, lambda start: _walk_contacts(run, start), since)
    run.store.runs.set_watermark("contacts", Watermark(run.started_at, 0))
    return seen


async def _walk_contacts(run: Run, since: datetime | None) -> int:
    mirror = run.store.mirror
    unreadable = len(run.kommo.refused.reasons)
    seen: set[int] = set()
    async for page in run.kommo.contacts(since=since):
        mirror.keep_contacts(page)
        seen.update(contact.contact_id for contact in page)
        run.progress(f"Kommo contacts: {len(seen)} read")
    if since is None and len(run.kommo.refused.reasons) == unreadable:
        mirror.mark_absent_contacts_deleted(seen, before=_surely_listed(run))
    return len(seen)


def _surely_listed(run: Run) -> datetime:
    """What was last changed before this time was visible to every list of this run."""
    return run.started_at - CLOCK_SKEW - KOMMO_READ_LAG
