"""Plan -> Kommo."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE

from dealsync import apply
from dealsync.core.plan import Action, Outcome
from dealsync.run import Run


@task(name="apply", cache_policy=NO_CACHE)
async def apply_plan(run: Run, actions: Sequence[Action]) -> list[Outcome]:
    """Send what was recorded, in batches. Never retried here: the next run looks up what is in doubt first."""
    return await apply.apply_actions(run, actions)
