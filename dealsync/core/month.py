"""A calendar month in a time zone, and what of it is over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from dealsync.errors import BadMonth


@dataclass(frozen=True, slots=True)
class Month:
    """A month of a year, in the account's time zone. It is told up to its end, or up to `now` if that is earlier."""

    year: int
    month: int
    zone: str
    now: datetime

    @property
    def name(self) -> str:
        """2026-10."""
        return f"{self.year:04}-{self.month:02}"

    @property
    def first(self) -> date:
        """Its first day."""
        return date(self.year, self.month, 1)

    @property
    def start(self) -> datetime:
        """When it begins, aware UTC."""
        return self._midnight(self.first)

    @property
    def end(self) -> datetime:
        """When the next one begins, aware UTC."""
        return self._midnight((self.first + timedelta(days=31)).replace(day=1))

    @property
    def is_over(self) -> bool:
        """Whether nothing more can happen in it."""
        return self.now >= self.end

    @property
    def until(self) -> datetime:
        """Up to when it is told."""
        return min(self.now, self.end)

    def holds(self, at: datetime) -> bool:
        """Whether something happened in the part that is told."""
        return self.start <= at < self.until

    def days(self) -> Iterator[date]:
        """Yield the days that are told."""
        day = self.first
        while self._midnight(day) < self.until:
            yield day
            day += timedelta(days=1)

    def day_of(self, at: datetime) -> date:
        """Return the day of the zone in which something happened."""
        return at.astimezone(ZoneInfo(self.zone)).date()

    def _midnight(self, day: date) -> datetime:
        return datetime.combine(day, time(), ZoneInfo(self.zone)).astimezone(UTC)


def parse_month(text: str | None, zone: str, now: datetime) -> Month:
    """Return the month written as 2026-10; without a text, the present one. Raises BadMonth, also for one to come."""
    here = now.astimezone(ZoneInfo(zone))
    if text is None:
        return Month(here.year, here.month, zone, now)
    found = re.fullmatch(r"(\d{4})-(\d{2})", text.strip(), re.ASCII)
    if found is None or not (1 <= int(found[2]) <= 12 and 2000 <= int(found[1]) <= 9998):
        raise BadMonth(f"{text[:20]!r} is no month. Write year and month, such as {here:%Y-%m}")
    month = Month(int(found[1]), int(found[2]), zone, now)
    if month.start > now:
        raise BadMonth(f"{month.name} has not begun in {zone}. The latest month there is a report for is {here:%Y-%m}")
    return month
