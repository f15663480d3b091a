"""Deals in the invoice stage -> a checkout each. `dealsync/issuing.py` tells the same story without Prefect."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.deployments.flow_runs import arun_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed
from pydantic import Field

from dealsync.core.evidence import GREATEST_LEAD_ID
from dealsync.errors import RunInProgress
from dealsync.issued import Issued
from dealsync.issuing import open_slice
from dealsync.run import PAUSED
from tasks.apply import apply_plan
from tasks.checkouts import compare_checkouts, publish_issued, read_waiting, record_slice, show_progress
from tasks.naming import name_at_end
from tasks.record import settle_doubts
from tasks.settings import begin

LeadId = Annotated[int, Field(ge=1, le=GREATEST_LEAD_ID)]
# An outage is waited out by the next run, not by one that holds the lock.
settle_at_once = settle_doubts.with_options(retries=0)
FEW = 5
"""Checkouts that a run about something else opens by itself, in a second or two."""
DEPLOYMENT = "issue-checkouts/issue-checkouts"


@flow(name="issue-checkouts", on_completion=[name_at_end], on_failure=[name_at_end], on_crashed=[name_at_end])
async def issue_checkouts(leads: list[LeadId] | None = None) -> State[str]:
    """Give each deal in the invoice stage one live Lemon Squeezy checkout, and put its link where the client sees it.

    Args:
        leads: Ids of deals. Empty: all that are in the invoice stage.
    """
    settings, issued = await begin(), Issued(frozenset(leads or ()))
    if settings.paused:
        return Completed(name="Paused", message=PAUSED)
    try:
        while not issued.is_done:
            async with open_slice(settings, issued, get_run_logger().debug) as run:
                await settle_at_once(run)
                await read_waiting(run, issued)
                plan = await compare_checkouts(run, issued)
                issued.add(run, plan, await apply_plan(run, await record_slice(run, issued, plan)))
            await show_progress(issued)
    except RunInProgress as busy:
        return Completed(name="Skipped", message=f"{busy}. The deals wait for the next run")
    finally:
        await publish_issued(issued)
    issued.raise_if_failed()
    return Completed(message=issued.headline())


async def issue_soon(leads: Collection[int]) -> None:
    """Have these deals served: at once if they are few, else by a run of the deployment, so that payments go first.

    What fails shows as a red run of its own, and is made up for by the next one on the schedule.
    """
    if not leads:
        return
    if len(leads) <= FEW:
        await issue_checkouts(sorted(leads), return_state=True)
        return
    try:
        # The whole stage rather than a long list of ids: the form stays readable, and nobody is served twice.
        await arun_deployment(DEPLOYMENT, timeout=0)
    except ObjectNotFound:
        get_run_logger().warning("%s is not deployed: %d deals wait for a checkout", DEPLOYMENT, len(leads))
