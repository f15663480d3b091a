"""A person's decision about a payment, and what still waits for one."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE

from dealsync import reviewing
from dealsync.core.plan import Decision
from dealsync.ledger.reviews import ReviewItem
from dealsync.settings import Environment
from tasks.retry import RETRIES, RETRY_DELAYS_S, if_transient


@task(
    name="decide review",
    cache_policy=NO_CACHE,
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=if_transient,
)
async def decide(environment: Environment, order_id: str, wanted: int | Decision, decided_by: str) -> ReviewItem:
    """Write a decision down. The same decision twice is one, so it is safe to retry."""
    return await reviewing.resolve_review(environment, order_id, wanted, decided_by=decided_by)


@task(name="publish reviews", cache_policy=NO_CACHE)
async def publish_reviews(environment: Environment, decided: ReviewItem) -> None:
    """What was decided, and the list of what still waits."""
    waiting = reviewing.list_reviews(environment)
    head = f"# order:{decided.order_id}: {reviewing.decision_words(decided)}\n\n## Waiting for a person\n\n"
    body = reviewing.as_markdown(waiting, environment.kommo_url)
    await acreate_markdown_artifact(markdown=head + body, key="reviews", description=f"{len(waiting)} waiting")
