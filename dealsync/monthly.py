"""`dealsync report`: the figures of a month from the database alone, as page, CSV and message; no request is made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from dealsync.account import find_zone
from dealsync.core.figures import Figures, figures
from dealsync.core.month import parse_month
from dealsync.core.month_words import month_name, summary
from dealsync.core.sheet import sheet
from dealsync.errors import ConfigError, NotSent
from dealsync.ledger.books import Books
from dealsync.ledger.sendings import Sendings
from dealsync.month_page import page
from dealsync.settings import Settings, Store

EVER = datetime.fromtimestamp(0, UTC)


class Sent(StrEnum):
    """What became of sending a report."""

    SENT = "sent"
    BEFORE = "sent before on this day, so not again"
    NOBODY = "nobody to send it to: DEALSYNC_REPORT_URLS and DEALSYNC_ALERT_URLS are empty"
    OFF = "not sent: report.send is false"


@dataclass(frozen=True)
class Monthly:
    """A report, ready to be shown."""

    figures: Figures
    locale: str
    kommo_url: str
    made_at: datetime

    @cached_property
    def html(self) -> bytes:
        """The page."""
        return page(self.figures, locale=self.locale, kommo_url=self.kommo_url).encode()

    @cached_property
    def csv(self) -> bytes:
        """A row for each payment and refund."""
        return sheet(self.figures)

    @property
    def name(self) -> str:
        """The name of its files, without ending."""
        return f"report-{self.figures.month}"

    @property
    def title(self) -> str:
        """What it is about: October 2026."""
        return month_name(self.figures, self.locale) + ("" if self.figures.is_over else ", so far")

    def lines(self) -> list[str]:
        """Return it in a few lines without personal data."""
        return list(summary(self.figures, self.locale))

    def as_json(self) -> dict[str, Any]:
        """Return the figures with their digest."""
        return {"report": self.figures.as_json(), "sha256": self.figures.sha256}

    def as_markdown(self) -> str:
        """Return it for the Prefect UI."""
        head, *rest = self.lines()
        return "\n".join([f"# {self.title}", "", head, "", *(f"- {line}" for line in rest), "",
                          f"sha256 of the figures: `{self.figures.sha256}`", ""])  # fmt: skip

    def write(self, folder: Path) -> list[Path]:
        """Write page and CSV into a folder; return their paths. Raises ConfigError when that cannot be done."""
        paths = [folder / f"{self.name}.html", folder / f"{self.name}.csv"]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path, content in zip(paths, (self.html, self.csv), strict=True):
                path.write_bytes(content)
        except OSError as error:
            raise ConfigError(
                f"{folder} cannot be written to ({error.strerror}). Name another folder: --out"
            ) from error
        return paths


def make_report(settings: Settings, store: Store, month: str | None, now: datetime) -> Monthly:
    """Return the report of a month, such as 2026-10; without one, of the present month so far. Raises BadMonth."""
    environment, config = settings.environment, settings.config
    chosen = parse_month(month, zone_of(settings, store), now)
    facts = Books(store.limits.database).facts(
        store_ids=[environment.lemon_squeezy_store_id, *config.lemon_squeezy.stores],
        test_mode=environment.is_test_mode,
        kommo_origin=environment.kommo_origin,
    )
    return Monthly(figures(facts, chosen), config.texts.locale, environment.kommo_url, now)


def zone_of(settings: Settings, store: Store) -> str:
    """Return the time zone in which months begin: that of tasks and dates, by the account as it was last read."""
    view = store.accounts.read_since(settings.environment.kommo_origin, EVER)
    return find_zone(view["account"]["time_zone"] if view else "", settings.config)


def month_of_yesterday(settings: Settings, store: Store, now: datetime) -> str:
    """Return the month that yesterday was in: on the first of a month, the one that is just over."""
    yesterday = now.astimezone(ZoneInfo(zone_of(settings, store))) - timedelta(days=1)
    return f"{yesterday:%Y-%m}"


async def send(settings: Settings, store: Store, report: Monthly) -> Sent:
    """Send a report to the addresses of reports, once a day and month. Raises NotSent when one did not take it."""
    urls = settings.environment.report_urls
    if not settings.config.report.send:
        return Sent.OFF
    if not urls:
        return Sent.NOBODY
    from dealsync.notify import deliver  # only where there is something to send: it takes its time to load

    sendings = Sendings(store.limits.database)
    name = f"{report.figures.month} {report.made_at.astimezone(ZoneInfo(report.figures.zone)):%Y-%m-%d}"
    if not sendings.claim(name, report.made_at):
        return Sent.BEFORE
    done = False
    try:
        title = f"dealsync: {report.title}"
        done = await deliver(urls, title, "\n".join(report.lines()), (f"{report.name}.html", report.html))
    finally:
        if not done:
            sendings.release(name)
    if not done:
        raise NotSent("Not every address of DEALSYNC_REPORT_URLS took the report; it is sent to all of them next time")
    return Sent.SENT
