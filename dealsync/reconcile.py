"""The main job, told without Prefect. `flows/reconcile.py` tells the same story as Prefect tasks."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

from dealsync.apply import apply_actions
from dealsync.approving import weighed
from dealsync.doubts import settle_doubts
from dealsync.ledger.database import told_as_ours
from dealsync.ledger.runs import APPLYING_JOBS, DEEP_SWEEP, RECONCILE
from dealsync.plan_files import keep_plan
from dealsync.planning import make_plan, record_intent
from dealsync.poll import Reach, poll_kommo, poll_lemon_squeezy, side_by_side
from dealsync.report import Report, make_report
from dealsync.run import Progress, open_run
from dealsync.settings import Environment, build_store, load_settings

PLAN = "plan"
NAMES_AGE = timedelta(minutes=10)
"""How old the names of the Kommo account may be: what `init` has just read is not asked for again."""


def job_of(*, apply: bool, reach: Reach) -> str:
    """Return the name under which a run is remembered."""
    return (DEEP_SWEEP if reach.deep else RECONCILE) if apply else PLAN


def made_up_for(job: str, due_at: datetime, environment: Environment) -> str | None:
    """Return a run that began after one of this job was due and has done all of its work; None if there is none.

    After an outage late runs come one behind the other: the first one does what all of them would.
    """
    jobs = (job,) if job == DEEP_SWEEP else APPLYING_JOBS
    with told_as_ours(), closing(build_store(environment)) as store:
        return store.runs.done_since(jobs, due_at)


async def reconcile(
    *,
    apply: bool = False,
    reach: Reach | None = None,
    max_changes: int | None = None,
    out: Path | None = None,
    progress: Progress = print,
) -> Report:
    """Bring deals in line with orders; plan only, unless `apply` is true. Raises any DealsyncError.

    `out`: where to write the plan, for `carrying.carry_out`. Records that could not be written do not raise: see
    `Report.raise_if_failed`.
    """
    settings, reach = load_settings(), reach or Reach()
    job = job_of(apply=apply, reach=reach)
    async with open_run(job, settings=settings, progress=progress, account_age=NAMES_AGE) as run:
        await settle_doubts(run)
        await side_by_side(poll_lemon_squeezy(run, reach), poll_kommo(run, reach))
        plan = await make_plan(run)
        if out is not None:
            keep_plan(run, plan, out)
        if not apply:
            return make_report(run, plan)
        weighed(run, plan, max_changes, can_ask=False)
        outcomes = await apply_actions(run, record_intent(run, plan))
        return make_report(run, plan, outcomes)
