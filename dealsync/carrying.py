"""`dealsync apply FILE`: exactly the plan in the file, or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dealsync.apply import apply_actions
from dealsync.core.approval import still_due
from dealsync.core.plan import Plan
from dealsync.doubts import settle_doubts
from dealsync.errors import ConfigError, PlanOutdated
from dealsync.plan_files import PlanFile
from dealsync.planning import make_plan, record_intent
from dealsync.poll import Reach, poll_kommo, poll_lemon_squeezy, read_deals, side_by_side
from dealsync.report import Report, make_report
from dealsync.run import Progress, Run, open_run
from dealsync.undoing import plan_undo

APPLY = "apply"
SHOWN = 5


async def carry_out(file: PlanFile, *, progress: Progress) -> Report:
    """Carry out a plan. Raises PlanOutdated if a deal in it moved, or an action is not due any more; and as `open_run`.

    Both sides are read again first: what has come about since, and is not in the file, waits for the next run.
    """
    async with open_run(APPLY, progress=progress) as run:
        _ensure_ours(run, file)
        await settle_doubts(run)
        await side_by_side(poll_lemon_squeezy(run, Reach()), poll_kommo(run, Reach()))
        if file.deals:
            await read_deals(run, set(file.deals))
        _ensure_unmoved(run, file)
        plan = await _planned_anew(run, file)
        outcomes = await apply_actions(run, record_intent(run, plan))
        return make_report(run, plan, outcomes)


def _ensure_ours(run: Run, file: PlanFile) -> None:
    """Raise ConfigError for a plan of another account, or of the other mode."""
    if file.kommo_account != run.account_id:
        raise ConfigError(f"The plan is for Kommo account {file.kommo_account}, but the settings name {run.account_id}")
    if file.test_mode != run.directory.policy.test_mode:
        raise ConfigError("The plan was made in the other mode (DEALSYNC_MODE, live or test)")


def _ensure_unmoved(run: Run, file: PlanFile) -> None:
    """Raise PlanOutdated naming the deals that are not as the plan saw them."""
    now = {i: deal.updated_at for i, deal in run.store.mirror.stands(file.deals).items() if not deal.is_deleted}
    moved = [f"deal {i}" for i, at in sorted(file.deals.items()) if now.get(i) != at]
    if moved:
        raise _outdated(file, "changed since", moved)


async def _planned_anew(run: Run, file: PlanFile) -> Plan:
    """The file's actions, in the plan of today. Raises PlanOutdated unless each of them is still due as it stands."""
    fresh = await (plan_undo(run, file.undoes) if file.undoes else make_plan(run))
    due = still_due(file.actions, fresh.actions)
    if missing := [action.key for action in file.actions if action.key not in due]:
        raise _outdated(file, "not due any more, or done already", missing)
    return fresh.only(due.values())


def _outdated(file: PlanFile, what: str, names: Sequence[str]) -> PlanOutdated:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return PlanOutdated(
        f"The plan of {file.made_at:%Y-%m-%d %H:%M} UTC does not hold: {what}: {_listed(names[:SHOWN])}{more}. "
        "Nothing was sent; make a new plan"
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
