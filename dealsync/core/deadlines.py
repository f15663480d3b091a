"""By when a task is due: working days of the account's time zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

SATURDAY = 5


@dataclass(frozen=True, slots=True)
class Deadline:
    """So many working days (Monday to Friday) after today, at an hour of the account's day."""

    days: int = 1
    hour: int = 18
    zone: str = "UTC"

    def after(self, now: datetime) -> datetime:
        """Return the deadline of a task that is set now, in the account's zone; never in the past."""
        local = now.astimezone(ZoneInfo(self.zone))
        day, left = local.date(), self.days
        while left > 0 or day.weekday() >= SATURDAY:
            day += timedelta(days=1)
            left -= day.weekday() < SATURDAY
        due = datetime.combine(day, time(self.hour), tzinfo=ZoneInfo(self.zone))
        return due if due > now else now + timedelta(hours=1)
