"""Checkouts for deals that wait for payment."""

from __future__ import annotations

from prefect import get_run_logger, task
from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.cache_policies import NO_CACHE

from dealsync import briefly, issuing
from dealsync.core.checkouts import CheckoutPlan
from dealsync.core.plan import Action
from dealsync.issued import Issued
from dealsync.run import Run
from tasks.naming import tell


@task(name="read waiting deals", cache_policy=NO_CACHE)
async def read_waiting(run: Run, issued: Issued) -> None:
    """Deals and contacts. Reading changes nothing; what fails is read by the next run, in minutes."""
    await issuing.read_waiting(run, issued)


@task(name="plan checkouts", cache_policy=NO_CACHE)
async def compare_checkouts(run: Run, issued: Issued) -> CheckoutPlan:
    """Which deals lack a checkout, or its link. Changes nothing."""
    return await issuing.plan_slice(run, issued)


@task(name="record intent", cache_policy=NO_CACHE)
async def record_slice(run: Run, issued: Issued, plan: CheckoutPlan) -> tuple[Action, ...]:
    """Write the next slice down before anything is sent; the unique keys give each effect to one run."""
    return issuing.record_slice(run, issued, plan)


async def show_progress(issued: Issued) -> None:
    """Keep a bar in the UI, where there is more to do than one slice."""
    if len(issued.wanted) <= issuing.SLICE:
        return
    percent = 100 * issued.progress
    if issued.progress_artifact is None:
        issued.progress_artifact = await acreate_progress_artifact(
            progress=percent, key="checkouts-progress", description=f"{len(issued.wanted)} checkouts"
        )
    else:
        await aupdate_progress_artifact(artifact_id=issued.progress_artifact, progress=percent)


@task(name="publish checkouts", cache_policy=NO_CACHE)
async def publish_issued(issued: Issued) -> None:
    """How each deal stands, as a table and in Markdown with links into Kommo; the headline in the log."""
    tell(briefly.of_checkouts(issued))
    if not issued.verdicts:
        return
    await acreate_table_artifact(table=issued.rows(), key="checkouts", description=issued.headline())
    await acreate_markdown_artifact(markdown=issued.as_markdown(), key="report", description=issued.headline())
    get_run_logger().info(issued.headline())
