"""The ledger before and after: what is meant, and what became of what was meant before."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from dealsync import doubts, planning
from dealsync.core.plan import Action, Plan
from dealsync.run import Run
from tasks.retry import RETRIES, RETRY_DELAYS_S, if_transient


@task(
    name="settle doubts",
    cache_policy=NO_CACHE,
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=if_transient,
)
async def settle_doubts(run: Run) -> int:
    """Look up writes whose answer was lost. Reads only, so it is safe to retry."""
    return await doubts.settle_doubts(run)


@task(name="record intent", cache_policy=NO_CACHE)
async def record_intent(run: Run, plan: Plan) -> tuple[Action, ...]:
    """Write the plan down before anything is sent; the unique keys give each effect to one run."""
    return planning.record_intent(run, plan)
