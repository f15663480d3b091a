"""Charts of the last weeks, as PNG: what the Prefect UI shows of many runs. Matplotlib is imported with this module."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta

from dealsync import charts
from dealsync.boards import Board, way_of
from dealsync.ledger.trends import Trends
from dealsync.report import DRIFT_WORDS
from dealsync.settings import Settings

DAYS = 30


def pictures(history: Trends, settings: Settings, now: datetime) -> Iterator[Board]:
    """Yield a chart for each question that there is an answer to."""
    since = datetime.combine(now.date() - timedelta(days=DAYS - 1), datetime.min.time(), now.tzinfo)
    environment = settings.environment
    stores = {environment.lemon_squeezy_store_id, *settings.config.lemon_squeezy.stores}
    payments = history.payments(since, stores, test_mode=environment.is_test_mode)
    refunds = history.refunds(since, stores, test_mode=environment.is_test_mode)
    if payments or refunds:
        words = f"{payments.total()} payments and {refunds.total()} refunds in {DAYS} days (UTC)"
        drawn = charts.payments_per_day(_each_day(payments, since, now), _each_day(refunds, since, now), format="png")
        yield _board("chart-payments-per-day", words, drawn)
    if won := history.won(since):
        took: dict[str, list[float]] = {}
        for one in won:
            took.setdefault(way_of(one), []).append(one.took_s)
        words = f"How long {len(won)} payments took to close their deals, {DAYS} days"
        yield _board("chart-time-to-close", words, charts.time_to_close(took, format="png"))
    drift = [(at, {DRIFT_WORDS[name]: n for name, n in found.items()}) for at, found in history.drift(since)]
    if any(any(found.values()) for _, found in drift):
        words = f"What was out of step as each run began, {DAYS} days"
        yield _board("chart-drift-over-time", words, charts.drift_over_time(drift, format="png"))


def _each_day(counts: Counter[date], since: datetime, now: datetime) -> dict[date, int]:
    days = ((since + timedelta(days=n)).date() for n in range((now.date() - since.date()).days + 1))
    return {day: counts[day] for day in days}


def _board(key: str, headline: str, png: bytes) -> Board:
    """A picture inside Markdown: no server has to hold it, and the UI does not write out its address."""
    return Board(key, headline, f"![{headline}](data:image/png;base64,{b64encode(png).decode()})\n")
