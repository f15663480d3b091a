"""What people see of a run in the Prefect UI."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import get_run_logger, task
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.cache_policies import NO_CACHE

from dealsync import briefly
from dealsync.core.plan import Outcome, Plan
from dealsync.report import Report, make_report
from dealsync.report_markdown import as_markdown
from dealsync.run import Run
from tasks.naming import tell


@task(name="publish plan", cache_policy=NO_CACHE)
async def publish_plan(run: Run, plan: Plan) -> None:
    """The plan as a table, before anything is sent."""
    report = make_report(run, plan)
    await acreate_table_artifact(table=report.table(), key="plan", description=report.headline())


@task(name="publish report", cache_policy=NO_CACHE)
async def publish_report(run: Run, plan: Plan, outcomes: Sequence[Outcome] | None) -> Report:
    """The report in Markdown, with links into Kommo and Lemon Squeezy; its headline in the log."""
    report = make_report(run, plan, outcomes)
    await acreate_markdown_artifact(markdown=as_markdown(report), key="report", description=report.headline())
    get_run_logger().info(report.headline())
    tell(f"{'paused, ' if run.settings.paused else ''}{briefly.of_report(report)}")
    return report
