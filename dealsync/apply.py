"""Actions -> requests in batches -> outcomes. Everything sent is in the ledger first, as `sent`, with its run.

One request carries up to 250 items; all changes of one deal travel in one item. A refused item is parked with the
API's own words, its neighbours are sent again; an answer that never came leaves its items `unknown`.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from dealsync.apis.kommo import render
from dealsync.checkouts import open_checkouts
from dealsync.core.assumptions import CLOCK_SKEW, KOMMO_REFUSED_BATCH_WRITES_NOTHING
from dealsync.core.batches import batches
from dealsync.core.models import Contact, Deal, normal_email, normal_name
from dealsync.core.plan import (
    Action,
    ChangeNote,
    ChangeTask,
    CompleteTask,
    DealChange,
    Doubt,
    Kind,
    NewCompany,
    NewContact,
    NewDeal,
    Note,
    Outcome,
    ReopenTask,
    Seen,
    Task,
    merged,
)
from dealsync.core.sightings import How
from dealsync.core.states import State
from dealsync.core.undo import way_back
from dealsync.doubts import is_of_an_order, look_up, new_deal_link
from dealsync.errors import ApiError, Banned, Rejected, Unauthorized, Unreachable
from dealsync.ledger.mirror import Accepted
from dealsync.ledger.runs import utc_now
from dealsync.mailing import send_letters
from dealsync.run import Run


@dataclass(frozen=True, slots=True)
class Parcel:
    """One item of a request, and the actions that it carries."""

    request_id: str
    body: dict[str, Any]
    actions: tuple[Action, ...]
    lead_id: int | None = None
    ways_back: Mapping[str, DealChange] = field(default_factory=dict)  # by key of the action


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a parcel. `result_id` is what it made, `updated_at` when a deal was changed."""

    state: State
    result_id: int | None = None
    updated_at: datetime | None = None
    error: str | None = None
    by_reading: bool = False  # see `plan.Outcome`


NOT_MENTIONED = Result(State.UNKNOWN, error="Kommo's answer does not mention it")
NOT_SENT = Result(State.FAILED, error="not sent: the run stopped before")
INTERRUPTED = Result(State.UNKNOWN, error="the run was stopped while this was on its way")
NO_TASK = Result(State.FAILED, error="the task that it changes was not set")
NO_CONTACT = Result(State.FAILED, error="its contact was not created")
ABREAST = 3
"""Batches of one kind that are under way at the same time: enough for an answer that takes half a second."""
SLICE = 20
"""Batches of changes that are got ready together."""
TOO_MUCH, FEW = 504, 25
"""Kommo answers 504 to a batch that is too large for it; one as small as this has another reason."""
Results = dict[str, Result]
Call = Callable[[Sequence[Parcel]], Awaitable[Results]]


async def apply_actions(run: Run, actions: Sequence[Action]) -> list[Outcome]:
    """Send actions that the journal has recorded, and record what became of each.

    Checkouts come first, their links are another plan's. Companies and contacts come before the deals that need them,
    deals before their notes and tasks. Raises Banned, Unauthorized and RunInProgress: what was not sent by then stays
    planned.
    """
    outcomes = await open_checkouts(run, actions)
    outcomes += await _create_companies(run, actions)
    outcomes += await _create_contacts(run, actions)
    outcomes += await _create_deals(run, actions)
    lead_ids = {o.key: o.lead_id for o in outcomes if o.lead_id}
    outcomes += await _change_deals(run, actions)
    outcomes += await _write(run, actions, Kind.NOTE, lead_ids)
    outcomes += await _change_notes(run, actions)
    outcomes += await _write(run, actions, Kind.TASK, lead_ids)
    outcomes += await _update_tasks(run, actions)
    outcomes += await send_letters(run, actions)
    return outcomes


async def _create_companies(run: Run, actions: Sequence[Action]) -> list[Outcome]:
    parcels = [
        Parcel(a.key, render.new_company(a.change, a.key), (a,)) for a in actions if isinstance(a.change, NewCompany)
    ]
    results = await _deliver(run, parcels, _creating(run.kommo.create_companies), "companies")
    made = {
        normal_name(a.change.name): r.result_id
        for p, r in results
        for a in p.actions
        if r.result_id is not None and isinstance(a.change, NewCompany)
    }
    run.store.evidence.keep_companies(made, utc_now())
    return _outcomes(results)


async def _create_contacts(run: Run, actions: Sequence[Action]) -> list[Outcome]:
    parcels = [
        Parcel(a.key, render.new_contact(a.change, a.key), (a,)) for a in actions if isinstance(a.change, NewContact)
    ]
    results = await _deliver(run, parcels, _creating(run.kommo.create_contacts), "contacts")
    made = [
        Contact(r.result_id, a.change.name, (normal_email(a.change.email),), None, utc_now() - CLOCK_SKEW)
        for p, r in results
        for a in p.actions
        if r.result_id is not None and isinstance(a.change, NewContact)
    ]
    run.store.mirror.keep_contacts(made)
    return _outcomes(results)


async def _create_deals(run: Run, actions: Sequence[Action]) -> list[Outcome]:
    field_ids, digits = run.directory.field_ids, run.directory.policy.price_digits
    companions: dict[str, list[Action]] = {}
    for action in actions:
        if action.lead_id is None and isinstance(action.change, DealChange):
            companions.setdefault(action.source, []).append(action)
    creations = [(a, a.change) for a in actions if isinstance(a.change, NewDeal)]
    contact_ids = run.store.journal.result_ids(d.contact_key for _, d in creations if d.contact_key)
    company_ids = run.store.journal.result_ids(d.company_key for _, d in creations if d.company_key)
    parcels, orphans = [], []
    for action, deal in creations:
        contact_id = contact_ids.get(deal.contact_key) if deal.contact_key else deal.contact_id
        carried = (action, *companions.get(action.source, ()))
        if deal.contact_key and contact_id is None:
            orphans.append((Parcel(action.key, {}, carried), NO_CONTACT))
            continue
        # A deal whose company could not be made goes without one: the sale counts.
        company_id = company_ids.get(deal.company_key) if deal.company_key else deal.company_id
        body = render.new_deal(
            deal, _changes(carried), contact_id, field_ids, action.key, company_id=company_id, price_digits=digits
        )
        parcels.append(Parcel(action.key, body, carried))
    _record(run, orphans)
    results = await _deliver(run, parcels, _creating(run.kommo.create_deals), "new deals")
    created = [_as_created(p, r.result_id) for p, r in results if r.result_id is not None]
    run.mirror(How.WRITE).keep_deals(created)
    run.store.mirror.remember(Seen(deal.lead_id, deal.written) for deal in created)
    return _outcomes(results + orphans)


async def _change_deals(run: Run, actions: Sequence[Action]) -> list[Outcome]:
    by_lead: dict[int, list[Action]] = {}
    for action in actions:
        if action.lead_id is not None and isinstance(action.change, DealChange):
            by_lead.setdefault(action.lead_id, []).append(action)
    outcomes: list[Outcome] = []
    done, size = 0, SLICE * run.settings.config.limits.batch_size
    for lead_ids in batches(sorted(by_lead), size):
        groups = {lead_id: by_lead[lead_id] for lead_id in lead_ids}
        outcomes += await _change_slice(run, groups, done, len(by_lead))
        done += len(groups)
    return outcomes


async def _change_slice(run: Run, groups: Mapping[int, list[Action]], done: int, whole: int) -> list[Outcome]:
    """Change some of the deals, after `done` others, of a `whole`: what is looked up and rendered takes memory."""
    field_ids, digits = run.directory.field_ids, run.directory.policy.price_digits
    stands, parcels = run.store.mirror.stands(groups), []
    for lead_id, group in groups.items():
        body = render.deal_change(lead_id, _changes(group), field_ids, price_digits=digits)
        parcels.append(Parcel(str(lead_id), body, tuple(group), lead_id, _ways_back(group, stands.get(lead_id))))

    changes = {lead_id: merged(_changes(group)) for lead_id, group in groups.items()}
    undone = {lead_id for lead_id, group in groups.items() if any(a.kind is Kind.RESTORE for a in group)}

    async def call(batch: Sequence[Parcel]) -> Results:
        times = await run.kommo.update_deals([p.body for p in batch])
        # Before the ledger says so: whoever is killed in between is looked up, and what it wrote is known.
        accepted = [Accepted(lead_id, changes[lead_id], at, lead_id in undone) for lead_id, at in times.items()]
        run.mirror(How.WRITE).apply_changes(accepted)
        return {str(lead_id): Result(State.APPLIED, lead_id, at) for lead_id, at in times.items()}

    return _outcomes(await _deliver(run, parcels, call, "deals", done, whole))


def _ways_back(group: Iterable[Action], deal: Deal | None) -> dict[str, DealChange]:
    """What puts a deal back as it stands, action by action; nothing for one that was never read."""
    changes = ((a.key, a.change) for a in group if isinstance(a.change, DealChange))
    return {key: way_back(change, deal) for key, change in changes} if deal else {}


async def _write(run: Run, actions: Sequence[Action], kind: Kind, lead_ids: Mapping[str, int]) -> list[Outcome]:
    """Notes or tasks. One whose deal could not be created stays planned and is sent when there is one."""
    parcels = []
    for action in actions:
        if action.kind is not kind:
            continue
        lead_id = action.lead_id or lead_ids.get(f"order:{action.order_id}:deal")
        if lead_id is None and not _hangs_on_nothing(action):
            continue
        if isinstance(action.change, Note) and lead_id is not None:
            parcels.append(Parcel(action.key, render.note(lead_id, action.change, action.key), (action,), lead_id))
        elif isinstance(action.change, Task):
            parcels.append(Parcel(action.key, render.task(lead_id, action.change, action.key), (action,), lead_id))
    create = run.kommo.create_notes if kind is Kind.NOTE else run.kommo.create_tasks
    return _outcomes(await _deliver(run, parcels, _creating(create), f"{kind}s"))


async def _change_notes(run: Run, actions: Sequence[Action]) -> list[Outcome]:
    """Let notes of ours say something else."""
    wanted = [(a, a.change) for a in actions if isinstance(a.change, ChangeNote)]
    note_ids = run.store.journal.result_ids(change.note_key for _, change in wanted)
    parcels = [
        Parcel(
            str(note_ids[change.note_key]),
            render.changed_note(note_ids[change.note_key], a.lead_id, change),
            (a,),
            a.lead_id,
        )
        for a, change in wanted
        if a.lead_id is not None
    ]

    async def call(batch: Sequence[Parcel]) -> Results:
        times = await run.kommo.update_notes([p.body for p in batch])
        return {str(note_id): Result(State.APPLIED, note_id, at) for note_id, at in times.items()}

    return _outcomes(await _deliver(run, parcels, call, "changed notes"))


async def _update_tasks(run: Run, actions: Sequence[Action]) -> list[Outcome]:
    """Change tasks of ours and tick them off, those that are still open; people may have done so, or deleted them.

    Only what is ticked off is opened again.
    """
    wanted = [(a, a.change) for a in actions if isinstance(a.change, ChangeTask | CompleteTask | ReopenTask)]
    task_ids = run.store.journal.result_ids(change.task_key for _, change in wanted)
    still_open = await run.kommo.open_tasks(task_ids.values()) if task_ids else set()
    unsent: list[tuple[Parcel, Result]] = []
    changed: dict[int, Parcel] = {}
    for action, change in wanted:
        task_id = task_ids.get(change.task_key)
        is_due = (task_id not in still_open) if isinstance(change, ReopenTask) else task_id in still_open
        if task_id is None or not is_due:
            is_owed = task_id is None and isinstance(change, ChangeTask)
            result = NO_TASK if is_owed else Result(State.APPLIED)
            unsent.append((Parcel(action.key, {}, (action,), action.lead_id), result))
            continue
        body = render.changed_task(task_id, change)
        before = changed.get(task_id, Parcel(str(task_id), {}, (), action.lead_id))
        changed[task_id] = replace(before, body=before.body | body, actions=(*before.actions, action))
    _record(run, unsent)

    async def call(batch: Sequence[Parcel]) -> Results:
        times = await run.kommo.update_tasks([p.body for p in batch])
        return {str(task_id): Result(State.APPLIED, task_id, at) for task_id, at in times.items()}

    return _outcomes([*unsent, *await _deliver(run, list(changed.values()), call, "changed tasks")])


def _hangs_on_nothing(action: Action) -> bool:
    return isinstance(action.change, Task) and not action.change.on_deal


def _creating(create: Callable[[Sequence[dict[str, Any]]], Awaitable[dict[str, int]]]) -> Call:
    async def call(batch: Sequence[Parcel]) -> Results:
        made = await create([p.body for p in batch])
        return {request_id: Result(State.APPLIED, made_id) for request_id, made_id in made.items()}

    return call


async def _deliver(
    run: Run, parcels: Sequence[Parcel], call: Call, what: str, done: int = 0, whole: int | None = None
) -> list[tuple[Parcel, Result]]:
    """Send parcels in batches and record what became of each; every one has a result in the end.

    While a batch is on its way the next ones are got ready. The first failure that ends the run lets those that are
    on their way come to their end. Watchers are told of `done` items before these, of a `whole`.
    """
    size, whole = run.settings.config.limits.batch_size, len(parcels) if whole is None else whole
    waiting = deque(enumerate(batches(parcels, size), done // size))
    workers, delivered = min(ABREAST, len(waiting)), dict[int, list[tuple[Parcel, Result]]]()

    async def deliver() -> None:
        while waiting:
            number, batch = waiting.popleft()
            words = f"Kommo: writing {what}, {done + sum(map(len, delivered.values()))} of {whole} done"
            run.reach(f"writing {what}", words, number, math.ceil(whole / size), writes=True)
            try:
                delivered[number] = await _deliver_batch(run, batch, call)
            except BaseException:
                waiting.clear()
                raise

    ends = await asyncio.gather(*(deliver() for _ in range(workers)), return_exceptions=True)
    for end in ends:
        if end is not None:
            raise end
    if done + len(parcels) == whole:
        run.steps.end(f"writing {what}")
    return [answered for number in sorted(delivered) for answered in delivered[number]]


async def _deliver_batch(run: Run, batch: Sequence[Parcel], call: Call) -> list[tuple[Parcel, Result]]:
    run.store.runs.ensure_held(run.run_id)
    lead_ids = {a.key: p.lead_id for p in batch for a in p.actions}
    ways_back = {key: change for p in batch for key, change in p.ways_back.items()}
    run.store.journal.mark_sent(lead_ids, run.run_id, utc_now(), ways_back)
    results: Results = {}
    try:
        await _send(run, batch, call, results)
    finally:
        answered = [(parcel, results.get(parcel.request_id, NOT_SENT)) for parcel in batch]
        _record(run, answered)
    return answered


async def _send(run: Run, batch: Sequence[Parcel], call: Call, results: Results) -> None:
    """Send one batch and add to `results`. Raises Banned, Unauthorized; whatever else happens is a result."""
    # Stands if the run is stopped, or fails in another way, while the request is on its way or looked up.
    results |= {p.request_id: INTERRUPTED for p in batch}
    try:
        answered = await call(batch)
    except Rejected as error:
        await _isolate(run, batch, call, error, results)
    except (Banned, Unauthorized) as error:
        results |= _all(batch, State.FAILED, error)
        raise
    except Unreachable as error:
        results |= _all(batch, State.FAILED, error)
    except ApiError as error:
        if error.status == TOO_MUCH and len(batch) > FEW:
            await _send_again(run, batch, call, results)
        else:
            results |= _all(batch, State.UNKNOWN, error)
    else:
        results |= {p.request_id: answered.get(p.request_id, NOT_MENTIONED) for p in batch}


async def _isolate(run: Run, batch: Sequence[Parcel], call: Call, error: Rejected, results: Results) -> None:
    """Set the refused items apart; send the others again once it is sure that they did not pass."""
    named = {p.request_id: error.items[p.request_id] for p in batch if p.request_id in error.items}
    if not named and len(batch) == 1:
        named = {batch[0].request_id: str(error)}
    results |= {request_id: Result(State.FAILED, error=words) for request_id, words in named.items()}
    rest = [p for p in batch if p.request_id not in named]
    # Changes of a deal can be sent again unasked; what is created cannot.
    sure = KOMMO_REFUSED_BATCH_WRITES_NOTHING or not rest or isinstance(rest[0].actions[0].change, DealChange)
    await _send_again(run, rest, call, results, look=not sure, halve=not named)


async def _send_again(
    run: Run, batch: Sequence[Parcel], call: Call, results: Results, *, look: bool = True, halve: bool = True
) -> None:
    """Look up what passed all the same, and send the rest: in halves, or as one batch."""
    try:
        passed = await _look_up(run, batch) if look else {}
    except ApiError as doubt:
        results |= _all(batch, State.UNKNOWN, doubt)
        if isinstance(doubt, Banned | Unauthorized):
            raise
        return
    results |= passed
    left = [p for p in batch if p.request_id not in passed]
    middle = len(left) // 2 if halve else 0
    for part in (left[:middle], left[middle:]):
        if part:
            await _send(run, part, call, results)


async def _look_up(run: Run, parcels: Sequence[Parcel]) -> Results:
    """Which of the parcels reading Kommo shows to be there."""
    now = utc_now()
    settled = await look_up(run, [Doubt(replace(a, lead_id=p.lead_id), now) for p in parcels for a in p.actions])
    applied = {o.key: o.result_id for o in settled.outcomes if o.state is State.APPLIED}
    # What travels in one item happened together, so any of its actions tells.
    keys = {p.actions[0].key: p.request_id for p in parcels}
    return {keys[key]: Result(State.APPLIED, made, by_reading=True) for key, made in applied.items() if key in keys}


def _all(batch: Iterable[Parcel], state: State, error: ApiError) -> Results:
    return {p.request_id: Result(state, error=str(error)) for p in batch}


def _record(run: Run, results: Sequence[tuple[Parcel, Result]]) -> None:
    links = [
        new_deal_link(parcel.actions[0], result.result_id)
        for parcel, result in results
        if result.result_id is not None and is_of_an_order(parcel.actions[0])
    ]
    run.store.journal.close(_outcomes(results), links, utc_now(), run_id=run.run_id)


def _outcomes(results: Iterable[tuple[Parcel, Result]]) -> list[Outcome]:
    outcomes = []
    for parcel, result in results:
        makes_deal = isinstance(parcel.actions[0].change, NewDeal)
        lead_id = result.result_id if makes_deal else parcel.lead_id
        outcomes += [
            Outcome(a.key, result.state, lead_id, result.result_id, result.error, by_reading=result.by_reading)
            for a in parcel.actions
        ]
    return outcomes


def _as_created(parcel: Parcel, lead_id: int | None) -> Deal:
    """A new deal as the mirror keeps it until it is read: with a time so old that any real reading replaces it."""
    deal, then = parcel.actions[0].change, utc_now() - CLOCK_SKEW
    if not isinstance(deal, NewDeal) or lead_id is None:
        raise TypeError(f"{parcel.request_id} creates no deal")
    linked = parcel.body["_embedded"].get("contacts", [])
    return Deal(
        lead_id=lead_id,
        name=deal.name,
        pipeline_id=deal.pipeline_id,
        status_id=deal.status_id,
        price=deal.price or 0,
        responsible_user_id=deal.responsible_user_id,
        created_at=then,
        updated_at=then,
        closed_at=then,
        contact_ids=tuple(contact["id"] for contact in linked),
        tags=deal.tags,
        fields=deal.fields,
        written=deal.as_written(),
    )


def _changes(actions: Iterable[Action]) -> list[DealChange]:
    return [a.change for a in actions if isinstance(a.change, DealChange)]
