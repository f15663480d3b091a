"""The report on a month: made from the database alone, shown in the UI, sent."""

from __future__ import annotations

from prefect import get_run_logger, task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE

from dealsync import monthly
from dealsync.ledger.runs import utc_now
from dealsync.monthly import Monthly, Sent
from dealsync.settings import Settings, Store
from tasks.retry import RETRIES, RETRY_DELAYS_S, if_transient


@task(name="make report", cache_policy=NO_CACHE)
async def make_report(settings: Settings, store: Store, month: str | None) -> Monthly:
    """Read the figures. Reading changes nothing, so it is safe to repeat."""
    now = utc_now()
    chosen = month or monthly.month_of_yesterday(settings, store, now)
    return monthly.make_report(settings, store, chosen, now)


@task(name="publish figures", cache_policy=NO_CACHE)
async def publish_figures(report: Monthly) -> None:
    """The figures in Markdown, without names of persons."""
    await acreate_markdown_artifact(markdown=report.as_markdown(), key="daily-report", description=report.lines()[0])
    get_run_logger().info(report.lines()[0])


@task(
    name="send report",
    cache_policy=NO_CACHE,
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=if_transient,
)
async def send_report(settings: Settings, store: Store, report: Monthly) -> Sent:
    """Send it once a day; what did not reach everybody is tried again for all."""
    return await monthly.send(settings, store, report)
