"""Mirror -> plan."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from dealsync import planning
from dealsync.core.focus import Focus
from dealsync.core.plan import Plan
from dealsync.run import Run


@task(name="plan", cache_policy=NO_CACHE)
async def compare(run: Run, focus: Focus | None = None) -> Plan:
    """What is to be done, everywhere or about a focus. Changes nothing."""
    return await planning.make_plan(run, focus)
