"""Checkouts, told without Prefect: deals in the invoice stage -> one live checkout each, and its link where it belongs.

A run is a series of slices: the lock is let go after each, so that payments never wait behind hundreds of checkouts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

from dealsync.apply import apply_actions
from dealsync.core.alarms import CHECKOUT_ALARMS, episodes_in
from dealsync.core.cases import Ground
from dealsync.core.checkouts import CheckoutPlan, plan_checkouts
from dealsync.core.plan import Action, Kind, Plan, Scope
from dealsync.core.policy import Policy, WhenExpired
from dealsync.core.sightings import How
from dealsync.doubts import settle_doubts
from dealsync.issued import MOST_ATTEMPTS, Issued
from dealsync.ledger.runs import APPLYING_JOBS, DONE, utc_now
from dealsync.poll import Reach, poll_kommo, read_checkouts, read_contacts, read_deals, read_entries
from dealsync.run import Progress, Run, open_run
from dealsync.settings import Settings, load_settings

ACCOUNT_AGE = timedelta(hours=2)
"""How old the names of the Kommo account may be: the hourly run reads them anew."""
SLICE = 25
"""Checkouts in one slice: some five seconds at Lemon Squeezy's rate."""
BREATH_S = 0.3
"""How long the lock is free between two slices: whoever is in a hurry looks more often."""
ONE_BY_ONE = (Kind.CHECKOUT, Kind.EMAIL)
"""Kinds of which a request carries one; a slice holds so many of them, and all that comes in batches."""


async def issue_checkouts(
    *,
    lead_ids: Collection[int] = (),
    reissue: bool = False,
    dry_run: bool = False,
    progress: Progress = print,
) -> Issued:
    """Give every deal in the invoice stage, or those named, its checkout. Raises any DealsyncError.

    `reissue`: also those whose checkout has expired, whatever the configuration says. `dry_run` sends nothing.
    """
    settings, issued = load_settings(), Issued(frozenset(lead_ids), reissue=reissue)
    while not issued.is_done:
        async with open_slice(settings, issued, progress) as run:
            await settle_doubts(run)
            await read_waiting(run, issued)
            plan = await plan_slice(run, issued)
            if dry_run:
                issued.add(run, plan, ())
                return issued
            issued.add(run, plan, await apply_actions(run, record_slice(run, issued, plan)))
    return issued


@asynccontextmanager
async def open_slice(settings: Settings, issued: Issued, progress: Progress) -> AsyncIterator[Run]:
    """Take the run lock for one slice; between two of them it is free for a moment. Raises as `open_run`."""
    if issued.slices:
        await asyncio.sleep(BREATH_S)
    is_urgent = bool(issued.lead_ids)
    async with open_run(
        "issue-checkouts", settings=settings, progress=progress, urgent=is_urgent, account_age=ACCOUNT_AGE
    ) as run:
        run.key_is_right = issued.key_is_right
        yield run
        issued.key_is_right = run.key_is_right


async def read_waiting(run: Run, issued: Issued) -> None:
    """Read what may wait, before the first slice: the deals that are named, or all that changed."""
    if issued.slices:
        return
    if issued.lead_ids:
        await read_deals(run, issued.lead_ids)
    else:
        await poll_kommo(run, Reach())


def waiting_among(run: Run, lead_ids: AbstractSet[int], mentioned: AbstractSet[int] = frozenset()) -> set[int]:
    """Return those of these deals that are in the invoice stage; of those only mentioned, the ones without a link.

    A webhook that a poll has overtaken tells nothing new of its deal, but the poll has opened no checkout.
    """
    waiting = run.store.awaited.in_statuses(run.directory.policy.invoice_statuses)
    return (waiting & lead_ids) | (waiting & mentioned & run.store.awaited.without_link(mentioned))


async def plan_slice(run: Run, issued: Issued) -> CheckoutPlan:
    """Return what is to be done about checkouts. Changes nothing.

    What the next slice would act on is read once more by id, and what a person did meanwhile is planned for.
    """
    run.progress("Comparing")
    plan = _plan(run, issued)
    while await _read_what_is_missing(run, issued, plan):
        plan = _plan(run, issued)
    return plan


def record_slice(run: Run, issued: Issued, plan: CheckoutPlan) -> tuple[Action, ...]:
    """Write the next slice down before anything is sent; return the actions that are this run's to send."""
    none = Scope(frozenset(), run.directory.policy.test_mode, frozenset())
    part = Plan(actions=next_of(issued, plan, _tries(run, plan)), scope=none)
    return run.store.journal.record(part, run.run_id, utc_now(), since=run.started_at)


def next_of(issued: Issued, plan: CheckoutPlan, tries: Mapping[str, int]) -> tuple[Action, ...]:
    """Return the part of a plan that one slice sends. `tries`: of its letters, in earlier runs, by key.

    Those that were never tried go first: mailboxes that are full every time hold up nobody else's letter.
    """
    left = [action for action in plan.actions if issued.attempts[action.key] < MOST_ATTEMPTS]
    left.sort(key=lambda action: tries.get(action.key, 0))
    room = dict.fromkeys(ONE_BY_ONE, SLICE)
    part = []
    for action in left:
        room[action.kind] = room.get(action.kind, len(left)) - 1
        if room[action.kind] >= 0:
            part.append(action)
    return tuple(part)


async def _read_what_is_missing(run: Run, issued: Issued, plan: CheckoutPlan) -> bool:
    """Read what the next slice rests on and this run has not read; False when there is nothing to read."""
    part = next_of(issued, plan, _tries(run, plan))
    stale = {a.lead_id for a in part if a.lead_id is not None} - run.deals_read
    contacts = _contacts_of(part, run) - run.contacts_read
    entries = plan.unsure - run.entries_read
    opening = any(action.kind is Kind.CHECKOUT for action in part)
    stores = run.directory.policy.store_ids - issued.stores_read if opening else frozenset()
    currencies = run.directory.policy.checkout.custom_price and issued.currencies is None and bool(plan.verdicts)
    if stale:
        await read_deals(run, stale, How.CHECK)
        contacts = _contacts_of(part, run) - run.contacts_read
    if contacts:
        await read_contacts(run, contacts)
    if entries:
        await read_entries(run, entries)
    for store_id in sorted(stores):
        await read_checkouts(run, store_id)
        issued.stores_read.add(store_id)
    if currencies:
        issued.currencies = {store.id: store.currency for store in await run.lemon_squeezy.stores()}
    return bool(stale or contacts or entries or stores or currencies)


def _tries(run: Run, plan: CheckoutPlan) -> dict[str, int]:
    return run.store.entries.attempts(action.key for action in plan.actions if action.kind is Kind.EMAIL)


def _contacts_of(part: Sequence[Action], run: Run) -> set[int]:
    return run.store.awaited.main_contacts({a.lead_id for a in part if a.lead_id is not None})


def _plan(run: Run, issued: Issued) -> CheckoutPlan:
    store, policy = run.store, _policy(run, issued)
    episodes = {
        stem: episode
        for stem, episode in episodes_in(store.journal.alarms_of_deals()).items()
        if episode.name in CHECKOUT_ALARMS
    }
    flagged = {e.lead_id for e in episodes.values() if e.lead_id is not None and not (e.is_over and e.is_closed)}
    told_in_vain = store.awaited.with_letters_that_came_back()
    lead_ids = issued.lead_ids or store.awaited.in_statuses(policy.invoice_statuses) | flagged | told_in_vain
    waiting = store.awaited.deals(lead_ids, test_mode=policy.test_mode)
    entries = store.journal.states_of(lead_ids)
    states = dict(zip(entries["idempotency_key"], entries["state"], strict=True))
    gone = {one.deal.lead_id for one in waiting if one.deal.is_deleted}
    ground = Ground(policy, run.started_at, states, episodes)
    last = store.runs.latest(APPLYING_JOBS, (DONE,))
    return plan_checkouts(waiting, ground, issued.currencies or {}, gone, last.started_at if last else None)


def _policy(run: Run, issued: Issued) -> Policy:
    policy = run.directory.policy
    if not issued.reissue:
        return policy
    return replace(policy, checkout=replace(policy.checkout, when_expired=WhenExpired.REISSUE))
