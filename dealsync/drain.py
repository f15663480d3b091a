"""The hot path, told without Prefect: what waits in the inbox -> deals. `flows/process_inbox.py` tells it as tasks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError

from dealsync.apply import apply_actions
from dealsync.core.focus import Focus
from dealsync.core.inbox import Failure, InboxItem
from dealsync.core.plan import Action, Outcome, Plan
from dealsync.core.states import State
from dealsync.doubts import settle_doubts
from dealsync.drained import Drained, Processed, Waiting
from dealsync.errors import DealsyncError
from dealsync.issuing import issue_checkouts, waiting_among
from dealsync.ledger.inbox import Handled, Inbox
from dealsync.ledger.runs import DRAIN, utc_now
from dealsync.look import Looked, look
from dealsync.planning import make_plan, record_intent
from dealsync.report import make_report
from dealsync.run import Progress, Run, open_run
from dealsync.settings import Settings, build_store, load_settings

ACCOUNT_AGE = timedelta(hours=2)
"""How old the names of the Kommo account may be: the hourly run reads them anew."""
LINGER = timedelta(seconds=0.25)
"""How long a run that has drained the inbox waits for more: what belongs together arrives within moments."""
LINGER_S = LINGER.total_seconds()
SOON = timedelta(seconds=6)
"""A second attempt that is due so soon is waited for."""
LONGEST = timedelta(minutes=1)
"""After so long a run leaves the rest to the next one, so that others get the lock."""

log = logging.getLogger(__name__)


class Batches:
    """What waits, batch by batch, until nothing has come for a moment."""

    def __init__(self, inbox: Inbox, event_ids: Collection[str] = (), *, longest: timedelta | None = None) -> None:
        """After `longest` the rest is left to another run."""
        self._inbox = inbox
        self._event_ids = frozenset(event_ids)
        self._ends_at = None if longest is None else utc_now() + longest

    async def next(self) -> list[InboxItem]:
        """Return the next batch; empty when the run is over."""
        if self._ends_at is not None and utc_now() >= self._ends_at:
            return []
        waits_until = self._waits_until()
        # Asked again and again: whatever arrives meanwhile is not kept waiting.
        while not (batch := self._inbox.due(utc_now(), self._event_ids)) and utc_now() < waits_until:  # noqa: ASYNC110
            await asyncio.sleep(LINGER_S)
        return batch

    def _waits_until(self) -> datetime:
        """A moment from now, or until a second attempt that is due soon."""
        now = utc_now()
        due_at = None if self._event_ids else self._inbox.next_due_at()
        return max(now + LINGER, due_at) if due_at and due_at <= now + SOON else now + LINGER


async def drain(*, event_ids: Collection[str] = (), progress: Progress = print) -> Drained:
    """Handle the events that wait, or those named of them. An empty inbox costs no request.

    Deals that came into the invoice stage get their checkouts afterwards, when payments need not wait for the lock.
    Raises any DealsyncError; the events of the batch that met it wait for another attempt.
    """
    settings, drained = load_settings(), Drained()
    if not waiting(settings, event_ids):
        return drained
    async with open_drain(settings, progress) as run:
        batches = Batches(run.store.inbox, event_ids)
        while batch := await batches.next():
            one = run.anew()
            with kept(one, batch):
                await settle_doubts(one)
                looked = await look(one, batch)
                plan = await make_plan(one, looked.focus)
                outcomes = await apply_actions(one, record_intent(one, plan))
                close(one, drained, batch, looked, plan, outcomes)
        tidy(run)
    if drained.invoiced:
        drained.issued = await issue_checkouts(lead_ids=drained.invoiced, progress=progress)
    return drained


def waiting(settings: Settings, event_ids: Collection[str] = ()) -> Waiting:
    """Return what is due, or what of the events that are named. Asks the database only."""
    store = build_store(settings.environment)
    try:
        return Waiting(tuple(store.inbox.due(utc_now(), event_ids)), utc_now())
    finally:
        store.close()


@asynccontextmanager
async def open_drain(settings: Settings, progress: Progress) -> AsyncIterator[Run]:
    """Take the run lock for urgent work. Raises as `open_run`."""
    async with open_run(DRAIN, settings=settings, progress=progress, urgent=True, account_age=ACCOUNT_AGE) as run:
        yield run


@contextmanager
def kept(run: Run, batch: Sequence[InboxItem]) -> Iterator[None]:
    """Whatever stops the work on a batch: its events wait for another attempt, later."""
    try:
        yield
    except Exception as error:
        # An outage is nobody's own fault; anything unforeseen may be an event's own, which is alone in the end.
        shared = isinstance(error, DealsyncError | SQLAlchemyError | OSError) or len(batch) > 1
        reason = str(error) if isinstance(error, DealsyncError) else f"an unforeseen {type(error).__name__}"
        failure = Failure(reason, is_its_own=not shared)
        _alert(run.store.inbox.close((Handled(i.event.event_id, failure=failure) for i in batch), utc_now()), reason)
        raise


def tidy(run: Run) -> None:
    """Empty raw bodies, and erase history, that are older than they have to be kept."""
    days = run.settings.config.inbox.keep_days
    if days and (erased := run.store.inbox.erase_bodies(utc_now() - timedelta(days=days))):
        log.info("%d raw webhooks are older than %d days: their bodies are erased", erased, days)
    if days := run.settings.config.history.keep_days:
        run.store.history.forget_before(utc_now() - timedelta(days=days))


def close(
    run: Run, drained: Drained, batch: Sequence[InboxItem], looked: Looked, plan: Plan, outcomes: Sequence[Outcome]
) -> None:
    """Write down what became of a batch's events, and add it to the report."""
    handled = [_handled(item.event.event_id, looked, plan, outcomes) for item in batch]
    parked = set(run.store.inbox.close(handled, utc_now()))
    events = [
        Processed(item, one, is_parked=item.event.event_id in parked) for item, one in zip(batch, handled, strict=True)
    ]
    for event in events:
        if event.is_parked:
            _alert([event.event_id], event.words)
    drained.add(make_report(run, plan, outcomes), events)
    drained.invoiced |= waiting_among(run, looked.focus.lead_ids, looked.told_lead_ids)


def _alert(parked: Sequence[str], reason: str) -> None:
    for event_id in parked:
        log.critical("event %s is parked: %s. See: dealsync inbox show %s", event_id, reason, event_id)


def _handled(event_id: str, looked: Looked, plan: Plan, outcomes: Sequence[Outcome]) -> Handled:
    if event_id in looked.passed:
        return Handled(event_id, looked.passed[event_id])
    if event_id in looked.failed:
        return Handled(event_id, failure=looked.failed[event_id])
    focus = looked.focus_of[event_id]
    about = {a.key for a in plan.actions if _is_about(a, focus)}
    mine = [outcome for outcome in outcomes if outcome.key in about]
    undone = next((o for o in mine if o.state is not State.APPLIED), None)
    if undone is not None:
        return Handled(event_id, failure=Failure(f"{undone.key}: {undone.error or undone.state}"))
    if any(review.order_id in focus.order_ids for review in plan.reviews):
        return Handled(event_id, "a person must place the payment", len(mine))
    return Handled(event_id, f"{len(mine)} changes" if mine else "nothing to change", len(mine))


def _is_about(action: Action, focus: Focus) -> bool:
    return action.order_id in focus.order_ids or action.lead_id in focus.lead_ids
