"""Webhooks -> deals, within seconds. `dealsync/drain.py` tells the same story without Prefect."""

from __future__ import annotations

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import Completed

from dealsync import briefly
from dealsync.drain import LONGEST, Batches, kept, open_drain, tidy, waiting
from dealsync.drained import Drained
from dealsync.errors import RunInProgress
from dealsync.run import PAUSED
from flows.issue_checkouts import issue_soon
from tasks.apply import apply_plan
from tasks.inbox import close_events, look_at, publish_drain
from tasks.naming import name_at_end, tell
from tasks.plan import compare
from tasks.record import record_intent, settle_doubts
from tasks.settings import begin

# An outage is waited out by the events, not by a run that holds the lock.
settle_at_once = settle_doubts.with_options(retries=0)


@flow(name="process-inbox", on_completion=[name_at_end], on_failure=[name_at_end], on_crashed=[name_at_end])
async def process_inbox(events: list[str] | None = None) -> State[str]:
    """Bring in line the deals that the waiting webhooks of Lemon Squeezy and Kommo are about.

    Args:
        events: Ids of events. Empty: all that wait, and what arrives meanwhile.
    """
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    settings, drained = await begin(), Drained()
    found = waiting(settings, events or ())
    if not found:
        tell(briefly.of_drain(drained))
        return Completed(message=drained.headline())
    if settings.paused:
        return Completed(name="Paused", message=f"{PAUSED} The events wait")
    late = found.left_behind if flow_run and flow_run.auto_scheduled else ""
    if late:
        get_run_logger().warning(late)
    try:
        async with open_drain(settings, get_run_logger().debug) as run:
            batches = Batches(run.store.inbox, events or (), longest=LONGEST)
            while batch := await batches.next():
                one = run.anew()
                with kept(one, batch):
                    await settle_at_once(one)
                    looked = await look_at(one, batch)
                    plan = await compare(one, looked.focus)
                    outcomes = await apply_plan(one, await record_intent(one, plan))
                    await close_events(one, drained, batch, looked, plan, outcomes)
            tidy(run)
    except RunInProgress as busy:
        return Completed(name="Skipped", message=f"{busy}. The events wait for the next run")
    finally:
        await publish_drain(drained)
    await issue_soon(drained.invoiced)
    drained.raise_if_failed()
    return Completed(message=f"{drained.headline()}{late and f'. {late}'}")
