"""The figures of a month as one HTML page: charts inline, no script, nothing from outside, made to be printed."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_datetime
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dealsync.addresses import deal_url, order_url
from dealsync.charts import drift_over_time, payments_per_day, time_to_close
from dealsync.core.figures import Figures, due
from dealsync.core.models import Money
from dealsync.core.month_words import duration, headline, joined, month_name
from dealsync.core.texts import format_money
from dealsync.report import DRIFT_WORDS

NOTHING = "–"  # noqa: RUF001 - an en dash is what stands for nothing in a table of amounts
MOST_ROWS = 50
"""Rows of a list on the page; the CSV has every payment."""


def page(figures: Figures, *, locale: str, kommo_url: str) -> str:
    """Return the page. Equal figures give an equal page."""
    environment = Environment(
        loader=PackageLoader("dealsync", "reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    zone = ZoneInfo(figures.zone)
    environment.filters |= {
        "money": lambda minor, currency: format_money(Money(minor, currency), locale) if minor else NOTHING,
        "day": lambda at: format_date(at.astimezone(zone).date(), "medium", locale=locale),
        "moment": lambda at: format_datetime(at, "medium", tzinfo=zone, locale=locale),
        "duration": duration,
    }
    runs = [(at, {DRIFT_WORDS[name]: count for name, count in counts.items()}) for at, counts in figures.drift_runs]
    return environment.get_template("month.html.j2").render(
        f=figures,
        sha256=figures.sha256,
        name=month_name(figures, locale),
        headline=headline(figures, locale),
        utc=_utc,
        drift_words=DRIFT_WORDS,
        due=joined(format_money(amount, locale) for amount in due(figures)),
        most=MOST_ROWS,
        deal_url=lambda lead_id: deal_url(kommo_url, lead_id),
        order_url=order_url,
        charts={
            "payments": _inline(payments_per_day(figures.payments_by_day, figures.refunds_by_day)),
            "close": _inline(time_to_close({way: found for way, found in figures.seconds.items() if found})),
            "drift": _inline(drift_over_time(runs, zone=zone)),
        },
    )


def _inline(svg: bytes) -> Markup:
    """A chart as it may stand in a page. Its words are dealsync's own, and Matplotlib escapes them."""
    text = svg.decode()
    return Markup(text[text.index("<svg") :])  # noqa: S704


def _utc(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
