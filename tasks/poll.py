"""Both sides -> mirror."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from dealsync import poll
from dealsync.poll import Reach
from dealsync.run import Run
from tasks.retry import RETRIES, RETRY_DELAYS_S, if_transient


@task(
    name="read Lemon Squeezy",
    cache_policy=NO_CACHE,
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=if_transient,
)
async def read_lemon_squeezy(run: Run, reach: Reach) -> int:
    """Orders, subscriptions and invoices. Reading changes nothing, so it is safe to retry."""
    return await poll.poll_lemon_squeezy(run, reach)


@task(
    name="read Kommo",
    cache_policy=NO_CACHE,
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=if_transient,
)
async def read_kommo(run: Run, reach: Reach) -> int:
    """Deals and contacts. Reading changes nothing, so it is safe to retry."""
    return await poll.poll_kommo(run, reach)
