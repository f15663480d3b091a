"""A month's figures -> artifact, message. `dealsync report --send` does the same without Prefect."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from dealsync.settings import build_store, load_settings
from tasks.monthly import make_report, publish_figures, send_report

MonthName = Annotated[str | None, Field(pattern=r"^\d{4}-\d{2}$")]


@flow(name="daily-report")
async def daily_report(month: MonthName = None, send: bool = True) -> State[str]:
    """Make the figures of a month from the database alone, show them here, and send them.

    Args:
        month: Such as 2026-10. Empty: the month that yesterday was in, so the first of a month tells the one before.
        send: Send it to DEALSYNC_REPORT_URLS, unless this day's was sent or `report.send` is false.
    """
    settings = load_settings()
    store = build_store(settings.environment)
    try:
        report = await make_report(settings, store, month)
        await publish_figures(report)
        sent = await send_report(settings, store, report) if send else "not sent: send is off"
    finally:
        store.close()
    return Completed(message=f"{report.title}: {report.lines()[0]} Report: {sent}")
