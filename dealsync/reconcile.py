"""The main job, told without Prefect. `flows/reconcile.py` tells the same story as Prefect tasks."""

from __future__ import annotations

from dealsync.apply import apply_actions
from dealsync.doubts import settle_doubts
from dealsync.planning import make_plan, record_intent
from dealsync.poll import Reach, poll_kommo, poll_lemon_squeezy, side_by_side
from dealsync.report import Report, make_report
from dealsync.run import Progress, open_run
from dealsync.settings import load_settings


async def reconcile(
    *, apply: bool = False, reach: Reach | None = None, max_changes: int | None = None, progress: Progress = print
) -> Report:
    """Bring deals in line with orders; plan only, unless `apply` is true. Raises any DealsyncError.

    Records that could not be written do not raise: see `Report.raise_if_failed`.
    """
    settings, reach = load_settings(), reach or Reach()
    async with open_run("reconcile", settings=settings, progress=progress) as run:
        await settle_doubts(run)
        await side_by_side(poll_lemon_squeezy(run, reach), poll_kommo(run, reach))
        plan = await make_plan(run)
        if not apply:
            return make_report(run, plan)
        plan.ensure_within(run.max_changes if max_changes is None else max_changes)
        outcomes = await apply_actions(run, record_intent(run, plan))
        return make_report(run, plan, outcomes)
