"""Actions whose answer was lost: settled by reading, before anything is sent again.

Notes and tasks end in a short reference, new deals carry the order id, new contacts the e-mail, a checkout its deal's
id and what it was opened for; a change of a deal is there or is not. What is found counts as applied, what is not
(after the lag) as failed, to be planned anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from dealsync.apis.kommo.client import Kommo
from dealsync.apis.kommo.normalise import Written
from dealsync.checkouts import find_opened
from dealsync.core.assumptions import CLOCK_SKEW, KOMMO_READ_LAG
from dealsync.core.models import Deal, Link, Tier, normal_email, normal_name
from dealsync.core.plan import (
    Action,
    ChangeNote,
    DealChange,
    Doubt,
    Kind,
    NewCompany,
    NewContact,
    NewDeal,
    Outcome,
    Seen,
    in_order,
    merged,
)
from dealsync.core.sightings import How
from dealsync.core.states import State
from dealsync.core.texts import reference
from dealsync.ledger.runs import utc_now
from dealsync.run import Run

OF_TASKS = (Kind.CHANGE_TASK, Kind.COMPLETE, Kind.REOPEN)
LETTER_LOST = "the mail server's answer was lost: it may have been sent, and is not sent again"
NOT_FOUND = "the answer was lost, and reading Kommo shows that it did not happen"


@dataclass(frozen=True, slots=True)
class Settled:
    """What reading showed, and the links that found deals make."""

    outcomes: tuple[Outcome, ...] = ()
    links: tuple[Link, ...] = ()


async def settle_doubts(run: Run) -> int:
    """Settle every action of earlier runs whose answer is not known; return how many there were."""
    doubts = run.store.journal.doubts()
    if not doubts:
        return 0
    run.progress(f"Looking up {len(doubts)} writes whose answers were lost")
    settled = await look_up(run, doubts)
    run.store.journal.close(settled.outcomes, settled.links, utc_now(), run_id=run.run_id)
    return len(doubts)


async def look_up(run: Run, doubts: Sequence[Doubt]) -> Settled:
    """Read Kommo, after its lag, for each action; all of them end as applied or failed. Raises Unreachable."""
    await _wait_out_lag(max((d.sent_at for d in doubts), default=utc_now() - KOMMO_READ_LAG))
    actions = [d.action for d in doubts]
    since = min((d.sent_at for d in doubts), default=utc_now()) - CLOCK_SKEW
    outcomes = [
        *await find_opened(run, _of(actions, Kind.CHECKOUT), since),
        *await _companies(run, _of(actions, Kind.CREATE_COMPANY), since),
        *await _contacts(run.kommo, _of(actions, Kind.CREATE_CONTACT), since),
        *await _new_deals(run, [a for a in actions if a.lead_id is None and _makes_deal(a)], since),
        *await _changes(run, [a for a in actions if a.lead_id is not None and isinstance(a.change, DealChange)]),
        *await _texts(_of(actions, Kind.NOTE), run.kommo.notes_of),
        *await _changed_notes(run, _of(actions, Kind.CHANGE_NOTE)),
        *await _texts(_of(actions, Kind.TASK), run.kommo.tasks_of),
        *(_lost_letter(a) for a in _of(actions, Kind.EMAIL)),
        # Changed, ticked off, or not: the next run looks, and does it if need be.
        *(_outcome(a, result_id=None, lead_id=a.lead_id) for a in actions if a.kind in OF_TASKS),
        *await _loose_tasks(run.kommo, _of(actions, Kind.TASK), since),
    ]
    made = {o.key: o.lead_id for o in outcomes if o.state is State.APPLIED}
    links = tuple(new_deal_link(a, made[a.key]) for a in actions if is_of_an_order(a) and made.get(a.key))
    return Settled(tuple(outcomes), links)


def is_of_an_order(action: Action) -> bool:
    """Whether an action makes the deal that an order belongs to; a renewal's deal is one beside it."""
    return isinstance(action.change, NewDeal) and action.source.startswith("order:")


def new_deal_link(action: Action, lead_id: int | None) -> Link:
    """Return the link that a created deal makes."""
    if lead_id is None:
        raise ValueError(f"{action.key} made no deal")
    return Link(action.order_id, lead_id, Tier.SELF_SERVE, "dealsync created this deal for the order")


async def _wait_out_lag(newest_write_at: datetime) -> None:
    """Wait until the newest write in doubt must be visible to reads: only then does "absent" count."""
    left = newest_write_at + KOMMO_READ_LAG - utc_now()
    await asyncio.sleep(max(0.0, min(left, KOMMO_READ_LAG).total_seconds()))


def _of(actions: Iterable[Action], kind: Kind) -> list[Action]:
    return [a for a in actions if a.kind is kind]


def _makes_deal(action: Action) -> bool:
    """A created deal, or fields that travelled with its creation."""
    return isinstance(action.change, NewDeal | DealChange)


async def _companies(run: Run, actions: Sequence[Action], since: datetime) -> list[Outcome]:
    """Companies by their names, among the newest: the search may not know them yet."""
    if not actions:
        return []
    newest = await run.kommo.newest_companies(since=since)
    ids = {normal_name(company.name): company.company_id for company in newest}
    wanted = {a.key: normal_name(a.change.name) for a in actions if isinstance(a.change, NewCompany)}
    run.store.evidence.keep_companies({name: ids[name] for name in wanted.values() if name in ids}, utc_now())
    return [_outcome(a, result_id=ids.get(wanted[a.key])) for a in actions]


async def _contacts(kommo: Kommo, actions: Sequence[Action], since: datetime) -> list[Outcome]:
    if not actions:
        return []
    newest = await kommo.newest_contacts(since=since)
    ids = {email: contact.contact_id for contact in newest for email in contact.emails}
    found = {a.key: ids.get(normal_email(a.change.email)) for a in actions if isinstance(a.change, NewContact)}
    return [_outcome(a, result_id=found[a.key]) for a in actions]


async def _new_deals(run: Run, actions: Sequence[Action], since: datetime) -> list[Outcome]:
    if not actions:
        return []
    newest = await run.kommo.newest_deals(run.directory.field_keys, since=since)
    made = {f"{kind}:{deal.fields.get(f'{kind}_id')}": deal.lead_id for deal in newest for kind in ("order", "invoice")}
    found = {a.key: made.get(a.source) for a in actions}
    written = {
        lead_id: a.change.as_written()
        for a in actions
        if (lead_id := found[a.key]) is not None and isinstance(a.change, NewDeal)
    }
    _keep(run, newest, written)
    run.store.mirror.remember(Seen(lead_id, values) for lead_id, values in written.items())
    return [_outcome(a, result_id=found[a.key], lead_id=found[a.key]) for a in actions]


async def _changes(run: Run, actions: Sequence[Action]) -> list[Outcome]:
    """Changes of one deal travelled in one request: they all happened, or none did."""
    if not actions:
        return []
    by_lead: dict[int, list[Action]] = {}
    for action in actions:
        by_lead.setdefault(action.lead_id or 0, []).append(action)
    before = run.store.mirror.updated_at(by_lead)
    deals = await run.kommo.deals_by_id(by_lead, run.directory.field_keys)
    sent, written = dict[int, Mapping[str, str]](), dict[int, Mapping[str, str]]()
    outcomes = []
    for lead_id, group in by_lead.items():
        change = merged(a.change for a in in_order(group) if isinstance(a.change, DealChange))
        happened = lead_id in deals and await _happened(run, deals[lead_id], change, before.get(lead_id))
        sent[lead_id] = change.as_written()
        if happened and not any(a.kind is Kind.RESTORE for a in group):
            written[lead_id] = sent[lead_id]
        outcomes += [_outcome(a, result_id=lead_id if happened else None, lead_id=lead_id) for a in group]
    _keep(run, deals.values(), sent)
    run.store.mirror.remember(Seen(lead_id, values) for lead_id, values in written.items())
    return outcomes


def _keep(run: Run, deals: Iterable[Deal], sent: Mapping[int, Mapping[str, str]]) -> None:
    """Keep deals as they were read; what shows there of what was sent, dealsync wrote and nobody else."""
    run.mirror(How.LOOK_UP).keep_deals([replace(deal, written=sent.get(deal.lead_id, {})) for deal in deals])


async def _happened(run: Run, deal: Deal, change: DealChange, before: datetime | None) -> bool:
    """Whether a request was carried out. A deal that does not show it may have been changed by a person since."""
    if _holds(deal, change):
        return True
    if change.status_id is None or before is None or deal.updated_at <= before:
        return False
    moves = await run.kommo.moves([deal.lead_id], since=before)
    return change.status_id in {move.status_id for move in moves}


def _holds(deal: Deal, change: DealChange) -> bool:
    """Whether a deal shows all that a change asked for."""
    return (
        (change.status_id is None or (deal.status_id, deal.pipeline_id) == (change.status_id, change.pipeline_id))
        and (change.price is None or deal.price == change.price)
        and all(deal.fields.get(key, "") == value for key, value in change.fields.items())
        and set(change.tags_to_add) <= set(deal.tags)
        and not set(change.tags_to_delete) & set(deal.tags)
    )


async def _texts(actions: Sequence[Action], read: Callable[[int], Awaitable[list[Written]]]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for lead_id in sorted({a.lead_id for a in actions if a.lead_id}):
        written = await read(lead_id)
        mine = (a for a in actions if a.lead_id == lead_id)
        outcomes += [_outcome(action, result_id=_find(action, written), lead_id=lead_id) for action in mine]
    return outcomes


async def _changed_notes(run: Run, actions: Sequence[Action]) -> list[Outcome]:
    """Whether notes say what they were to say."""
    wanted = {a.key: a.change for a in actions if isinstance(a.change, ChangeNote)}
    ids = run.store.journal.result_ids(change.note_key for change in wanted.values())
    notes = await run.kommo.notes_by_id(ids.values()) if ids else {}
    outcomes = []
    for action in actions:
        change = wanted[action.key]
        note = notes.get(ids.get(change.note_key, 0))
        says_so = note is not None and note.text.strip() == change.text.strip()
        outcomes.append(_outcome(action, result_id=note.id if note and says_so else None, lead_id=action.lead_id))
    return outcomes


async def _loose_tasks(kommo: Kommo, actions: Sequence[Action], since: datetime) -> list[Outcome]:
    """Tasks that hang on no deal."""
    loose = [a for a in actions if a.lead_id is None]
    written = await kommo.newest_tasks(since=since) if loose else []
    return [_outcome(action, result_id=_find(action, written)) for action in loose]


def _lost_letter(action: Action) -> Outcome:
    """Nobody can look into the client's mailbox, and a second e-mail is worse than a person's question."""
    return Outcome(action.key, State.APPLIED, action.lead_id, error=LETTER_LOST, is_refused=True, by_reading=True)


def _find(action: Action, written: Iterable[Written]) -> int | None:
    """Return the id of the note or task that ends in an action's reference."""
    mark = reference(action.key)
    return next((w.id for w in written if w.text.rstrip().endswith(mark)), None)


def _outcome(action: Action, *, result_id: int | None, lead_id: int | None = None) -> Outcome:
    if result_id is None:
        return Outcome(action.key, State.FAILED, lead_id, error=NOT_FOUND, by_reading=True)
    return Outcome(action.key, State.APPLIED, lead_id, result_id, by_reading=True)
