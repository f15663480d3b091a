"""What a webhook asked to look at, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import get_run_logger, task
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.cache_policies import NO_CACHE

from dealsync import briefly, drain, look
from dealsync.core.inbox import InboxItem
from dealsync.core.plan import Outcome, Plan
from dealsync.drained import Drained
from dealsync.look import Looked
from dealsync.run import Run
from tasks.naming import tell


@task(name="look where events point", cache_policy=NO_CACHE)
async def look_at(run: Run, batch: Sequence[InboxItem]) -> Looked:
    """Read the objects as they are now. What cannot be read lets its events be tried again."""
    return await look.look(run, batch)


@task(name="close events", cache_policy=NO_CACHE)
async def close_events(
    run: Run, drained: Drained, batch: Sequence[InboxItem], looked: Looked, plan: Plan, outcomes: Sequence[Outcome]
) -> None:
    """Write down what became of each event."""
    drain.close(run, drained, batch, looked, plan, outcomes)


@task(name="publish drain", cache_policy=NO_CACHE)
async def publish_drain(drained: Drained) -> None:
    """The plan as a table, the events and the report in Markdown; the headline in the log."""
    if drained.report is None:
        return
    tell(briefly.of_drain(drained), drained.tags())
    await acreate_table_artifact(table=drained.report.table(), key="plan", description=drained.headline())
    await acreate_markdown_artifact(markdown=drained.as_markdown(), key="report", description=drained.headline())
    get_run_logger().info(drained.headline())
