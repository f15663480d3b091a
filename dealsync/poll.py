"""Both sides -> mirror. Reading changes nothing in either account, so every part may be repeated.

Lemon Squeezy has no filter by time and a refund does not bring an old order to the top again: an hourly poll stops
at the watermark and re-reads a twenty-fourth of the older pages; a deep one re-reads them all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from dealsync.abreast import abreast
from dealsync.apis.kommo.client import PAGE
from dealsync.apis.kommo.normalise import Company
from dealsync.apis.lemonsqueezy.client import Pages
from dealsync.apis.lemonsqueezy.pages import Dated
from dealsync.checkouts import issued
from dealsync.core.assumptions import CLOCK_SKEW, KOMMO_IDS_PER_FILTER, KOMMO_LIST_OVERLAP, KOMMO_READ_LAG, LS_PAGE_SIZE
from dealsync.core.models import normal_name
from dealsync.core.sightings import How
from dealsync.errors import ConfigError, FiltersIgnored, Rejected
from dealsync.ledger.runs import Watermark, utc_now
from dealsync.run import Run

REFUND_WINDOW = timedelta(days=120)
"""How old an order may be and still be refunded: the deep poll reads so far back."""
FIELDS_KEPT = "fields of deals that are kept"
MERGES = "merges"
SLICES = 24
"""In how many polls all older pages are read again: hourly ones see every silent change within a day."""

Row = TypeVar("Row", bound=Dated)


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back a poll reads."""

    deep: bool = False
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Listed(Generic[Row]):
    """One list of one store: how it is read and kept, and how far back its objects may still change in silence."""

    name: str
    store_id: str
    pages: Callable[..., Pages[Row]]
    keep: Callable[[Sequence[Row]], None]
    window: timedelta | None = None

    @property
    def watermark(self) -> str:
        """The name under which it is remembered how far it was polled."""
        return f"{self.name}:{self.store_id}"


async def poll_lemon_squeezy(run: Run, reach: Reach) -> int:
    """Bring the stores' orders, subscriptions, invoices and checkouts up to date; return how many objects were read.

    The lists are walked at the same time and share one rate. Raises Unauthorized, Unreachable; what was read until
    then is kept, and the watermark stays.
    """
    client, mirror = run.lemon_squeezy, run.mirror(How.POLL)
    store_ids = sorted(run.directory.policy.store_ids)
    count = await side_by_side(
        *(_walk(run, reach, Listed("orders", i, client.orders, mirror.keep_orders, REFUND_WINDOW)) for i in store_ids),
        *(
            _walk(run, reach, Listed("subscriptions", i, client.subscriptions, mirror.keep_subscriptions))
            for i in store_ids
        ),
        *(
            _walk(run, reach, Listed("invoices", i, client.invoices, mirror.keep_invoices, REFUND_WINDOW))
            for i in store_ids
        ),
        *(_walk_checkouts(run, reach, i) for i in store_ids),
        *(_walk_refunds(run, i) for i in store_ids if reach.deep),
    )
    if silent := [store_id for store_id in store_ids if not mirror.has_orders_of(store_id)]:
        await _explain_silence(run, silent)
    return count


async def _explain_silence(run: Run, silent: Sequence[str]) -> None:
    """A store without a single order is new, or not the one that was meant."""
    stores = await run.lemon_squeezy.stores()
    known = ", ".join(f"{store.name} ({store.id})" for store in stores) or "none"
    for store_id in silent:
        if store_id not in {store.id for store in stores}:
            raise ConfigError(
                f"Store {store_id} (LEMON_SQUEEZY_STORE_ID or lemon_squeezy.stores) is not a store of this key, which "
                f"sees: {known}"
            )
        run.remarks.append(f"Store {store_id} has no orders yet.")
    if await run.lemon_squeezy.key_is_test_mode() != run.directory.policy.test_mode:
        run.remarks.append("LEMON_SQUEEZY_API_KEY is a key of the other mode (test or live) than DEALSYNC_MODE.")


async def poll_kommo(run: Run, reach: Reach) -> int:
    """Bring deals and contacts of the account up to date; return how many were read. Raises as above."""
    count = await side_by_side(_poll_deals(run, reach), _poll_contacts(run, reach))
    run.lists_read = True
    return count


async def side_by_side(*walks: Coroutine[None, None, int]) -> int:
    """Await all at once and add up their counts."""
    return sum(await abreast(walks))


async def _walk(run: Run, reach: Reach, listed: Listed[Row]) -> int:
    """Read a newest-first list back to where it is known; then its share of the older pages."""
    mark = run.store.runs.watermark(listed.watermark)
    stop_at = _stop_at(run, reach, mark, listed.window)
    count = number = last = 0
    async with aclosing(listed.pages(listed.store_id, since=stop_at)) as walk:
        async for page in walk:
            listed.keep(page.rows)
            count, number, last = count + len(page.rows), page.number, page.last
            words = f"Lemon Squeezy {listed.name}: page {number} of {last}"
            run.reach(listed.watermark, words, number, last if stop_at is None else None)
    run.steps.end(listed.watermark)
    next_page = mark.next_page if mark else 0
    if mark and not reach.deep and reach.since is None and number < last:
        end = last if listed.window is None else min(last, _oldest_page(run, listed, listed.window))
        count, next_page = await _reread(run, listed, count, range(number + 1, end + 1), next_page)
    leaves_a_gap = mark is not None and stop_at is not None and stop_at > mark.polled_at
    if mark is None or not leaves_a_gap:
        run.store.runs.set_watermark(listed.watermark, Watermark(run.started_at, next_page))
    return count


async def _walk_refunds(run: Run, store_id: str) -> int:
    """Read the invoices that were refunded in full, however old: unlike orders they can be asked for."""
    count, mirror = 0, run.mirror(How.POLL)
    async with aclosing(run.lemon_squeezy.invoices(store_id, refunded=True)) as walk:
        async for page in walk:
            mirror.keep_invoices(page.rows)
            count += len(page.rows)
            words = f"Lemon Squeezy refunded invoices: page {page.number} of {page.last}"
            run.reach(f"refunds:{store_id}", words, page.number, page.last)
    run.steps.end(f"refunds:{store_id}")
    return count


async def _walk_checkouts(run: Run, reach: Reach, store_id: str) -> int:
    """Read the checkouts that are new; those with a deal's id are evidence, whoever made them. They never change."""
    name, count = f"checkouts:{store_id}", 0
    mark = run.store.runs.watermark(name)
    stop_at = None if reach.deep or mark is None else mark.polled_at - CLOCK_SKEW
    async with aclosing(run.lemon_squeezy.checkouts(store_id, since=stop_at)) as walk:
        async for page in walk:
            run.store.evidence.keep_checkouts(c for c in map(issued, page.rows) if c is not None)
            count += len(page.rows)
            words = f"Lemon Squeezy checkouts: page {page.number} of {page.last}"
            run.reach(name, words, page.number, page.last if stop_at is None else None)
    run.steps.end(name)
    run.store.runs.set_watermark(name, Watermark(run.started_at, 0))
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


def _oldest_page(run: Run, listed: Listed[Row], window: timedelta) -> int:
    return run.store.mirror.oldest_page(listed.name, listed.store_id, run.started_at - window, LS_PAGE_SIZE)


async def _reread(run: Run, listed: Listed[Row], count: int, older: range, next_page: int) -> tuple[int, int]:
    """Read the next slice of the older pages; return the count so far and where the next poll goes on."""
    if not older:
        return count, 0
    size = math.ceil(len(older) / SLICES)
    first = next_page if next_page in older else older.start
    last, name = min(first + size - 1, older.stop - 1), f"{listed.watermark} again"
    async with aclosing(listed.pages(listed.store_id, first=first)) as walk:
        async for page in walk:
            listed.keep(page.rows)
            count += len(page.rows)
            words = f"Lemon Squeezy {listed.name}: older page {page.number}, to {last}"
            run.reach(name, words, page.number - first + 1, last - first + 1)
            if page.number >= last:
                break
    run.steps.end(name)
    return count, first + size


async def _poll_deals(run: Run, reach: Reach) -> int:
    mark = run.store.runs.watermark("deals")
    fields = " ".join(map(str, sorted(run.directory.policy.checkout.field_ids)))
    # Fields that the configuration names since were not kept when the deals were read.
    are_kept = run.store.runs.bound(FIELDS_KEPT) in (None, fields)
    since = None if reach.deep or mark is None or not are_kept else mark.polled_at - KOMMO_LIST_OVERLAP
    seen = await _unless_ignored(run, lambda start: _walk_deals(run, start), since)
    run.store.runs.set_watermark("deals", Watermark(run.started_at, 0))
    run.store.runs.rebind(FIELDS_KEPT, fields)
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


async def _walk_deals(run: Run, since: datetime | None, how: How = How.POLL) -> int:
    mirror = run.mirror(how)
    seen: set[int] = set()
    pages = 0
    async for page in run.kommo.deals(run.directory.field_keys, since=since):
        mirror.keep_deals(page)
        seen.update(deal.lead_id for deal in page)
        pages += 1
        run.reach("deals", f"Kommo deals: {len(seen)} read", pages)
    run.steps.end("deals")
    if since is None:
        run.deals_read |= seen
        await _read_deals_by_id(run, mirror.absent_deals(seen, before=_surely_listed(run)), how)
    else:
        mirror.mark_deals_deleted(await run.kommo.deleted_deal_ids(since=since))
    return len(seen)


async def read_deals(run: Run, lead_ids: AbstractSet[int], how: How = How.POLL) -> None:
    """Read deals as they are now: by id, or with all others where that takes fewer requests.

    Those that are not there are marked deleted, unless one of them could not be read.
    """
    if len(lead_ids) / KOMMO_IDS_PER_FILTER > run.store.mirror.count_deals() / PAGE + 1:
        await _walk_deals(run, None, how)
    await _read_deals_by_id(run, lead_ids - run.deals_read, how)


async def _read_deals_by_id(run: Run, lead_ids: AbstractSet[int], how: How) -> None:
    mirror, unreadable = run.mirror(how), len(run.kommo.refused.reasons)
    deals = await run.kommo.deals_by_id(lead_ids, run.directory.field_keys)
    mirror.keep_deals(list(deals.values()))
    run.deals_read |= lead_ids
    if len(run.kommo.refused.reasons) == unreadable:
        mirror.mark_deals_deleted(lead_ids - deals.keys())


async def read_contacts(run: Run, contact_ids: AbstractSet[int]) -> None:
    """Read contacts by id. One that is not there was deleted, unless it is so young that lists may lack it, or one of
    them could not be read.
    """
    mirror, unreadable = run.store.mirror, len(run.kommo.refused.reasons)
    found = await run.kommo.contacts_by_id(contact_ids)
    mirror.keep_contacts(list(found.values()))
    if len(run.kommo.refused.reasons) == unreadable:
        mirror.mark_contacts_deleted(contact_ids - found.keys(), before=_surely_listed(run))
    run.contacts_read |= contact_ids


async def read_checkouts(run: Run, store_id: str) -> None:
    """Read the checkouts of a store that are new: one may be there of which this database knows nothing."""
    await _walk_checkouts(run, Reach(), store_id)


async def read_merges(run: Run, gone: AbstractSet[int]) -> None:
    """Look for the deals that took in those that are gone, among the merges since they were last looked for."""
    mark = run.store.runs.watermark(MERGES)
    since = None if mark is None else mark.polled_at - KOMMO_LIST_OVERLAP
    found = await run.kommo.merges(since=since)
    none = dict.fromkeys(gone - found.keys())
    run.store.evidence.keep_merges({**none, **found}, utc_now())
    run.merges_sought |= gone
    run.store.runs.set_watermark(MERGES, Watermark(run.started_at, 0))


async def read_entries(run: Run, lead_ids: AbstractSet[int]) -> None:
    """Read since when deals are in their present status, and who moved them there. No event: since they were made."""
    places = run.store.mirror.placed(lead_ids)
    entries: dict[int, tuple[datetime, int | None]] = {i: (made_at, None) for i, (_, made_at) in places.items()}
    for move in await run.kommo.moves(places):
        if move.status_id == places[move.lead_id][0]:
            entries[move.lead_id] = (move.moved_at, move.user_id)
    run.mirror(How.EVENTS).remember_entries(entries)
    run.entries_read |= lead_ids


async def read_countries(run: Run, customer_ids: AbstractSet[str]) -> None:
    """Read the countries of customers; one that is not there, or tells none, has an empty one."""
    for number, customer_id in enumerate(sorted(customer_ids), 1):
        run.progress(f"Lemon Squeezy customers: {number} of {len(customer_ids)}")
        try:
            country = (await run.lemon_squeezy.customer(customer_id)).country or ""
        except Rejected as error:
            run.remarks.append(f"Customer {customer_id} could not be read ({error}); the common rota serves his order.")
            country = ""
        # One by one: a run that is stopped goes on from there.
        run.store.evidence.keep_countries({customer_id: country}, utc_now())
        run.customers_read.add(customer_id)


async def read_companies(run: Run, names: AbstractSet[str]) -> None:
    """Look for companies by their normalised names; of several with one name the oldest counts.

    The search lags: one that we know is kept as long as it is there. A name that Kommo will not search for counts as
    not there: no buyer's text may hold up a run.
    """
    known = {name: company_id for name, company_id in run.store.evidence.company_ids(names).items() if company_id}
    for name in sorted(names):
        hits = [c.company_id for c in await _search(run, name) if normal_name(c.name) == name]
        if not hits and name in known and await run.kommo.has_company(known[name]):
            hits = [known[name]]
        run.store.evidence.keep_companies({name: min(hits, default=None)}, utc_now())
        run.companies_sought.add(name)


async def _search(run: Run, name: str) -> list[Company]:
    try:
        return await run.kommo.companies(name)
    except Rejected as error:
        run.remarks.append(f"Kommo did not look for a company that a buyer named ({error}); it counts as not there.")
        return []


async def _poll_contacts(run: Run, reach: Reach) -> int:
    mark = run.store.runs.watermark("contacts")
    since = None if reach.deep or mark is None else mark.polled_at - KOMMO_LIST_OVERLAP
    seen = await _unless_ignored(run, lambda start: _walk_contacts(run, start), since)
    run.store.runs.set_watermark("contacts", Watermark(run.started_at, 0))
    return seen


async def _walk_contacts(run: Run, since: datetime | None) -> int:
    mirror = run.store.mirror
    unreadable, pages = len(run.kommo.refused.reasons), 0
    seen: set[int] = set()
    async for page in run.kommo.contacts(since=since):
        mirror.keep_contacts(page)
        seen.update(contact.contact_id for contact in page)
        pages += 1
        run.reach("contacts", f"Kommo contacts: {len(seen)} read", pages)
    run.steps.end("contacts")
    if since is None and len(run.kommo.refused.reasons) == unreadable:
        mirror.mark_absent_contacts_deleted(seen, before=_surely_listed(run))
    return len(seen)


def _surely_listed(run: Run) -> datetime:
    """What was last changed before this time was visible to every list of this run."""
    return run.started_at - CLOCK_SKEW - KOMMO_READ_LAG
