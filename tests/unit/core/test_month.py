from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dealsync.core.month import Month, parse_month
from dealsync.errors import BadMonth

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
ARABIC = "\u0662\u0660\u0662\u0666-10"
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu")


@pytest.mark.parametrize(
    "text",
    ["2026-13", "2026-00", "october", "2026-1", "1999-01", "9999-12", "", "2026-10-01", ARABIC],
)
def test_month__that_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadMonth, match="such as 2026-11"):
        parse_month(text, "UTC", NOW)


def test_month__is_that_of_the_zone() -> None:
    late = datetime(2026, 10, 31, 23, 30, tzinfo=UTC)
    assert (parse_month(None, "UTC", late).name, parse_month(None, "Europe/Berlin", late).name) == (
        "2026-10",
        "2026-11",
    )
    assert parse_month("2026-11", "Europe/Berlin", late).name == "2026-11"
    with pytest.raises(BadMonth, match="2026-11 has not begun in UTC"):
        parse_month("2026-11", "UTC", late)


@given(
    year=st.integers(2000, 2037), month=st.integers(1, 12), zone=st.sampled_from(ZONES), seconds=st.integers(0, 10**8)
)
def test_month__months_follow_each_other_without_gap_and_their_days_are_their_own(
    year: int, month: int, zone: str, seconds: int
) -> None:
    now = datetime(2039, 1, 1, tzinfo=UTC)
    one = Month(year, month, zone, now)
    following = Month(year + month // 12, month % 12 + 1, zone, now)
    assert one.end == following.start
    assert [day.month for day in one.days()] == [month] * ((following.first - one.first).days)
    at = one.start + timedelta(seconds=seconds)
    here = at.astimezone(ZoneInfo(zone))
    assert one.holds(at) == ((here.year, here.month) == (year, month))


def test_month__that_runs_is_told_up_to_now() -> None:
    month = Month(2026, 11, "UTC", NOW)
    assert (month.is_over, month.until, len(list(month.days()))) == (False, NOW, 28)
    assert not month.holds(NOW)
    over = Month(2026, 10, "UTC", NOW)
    assert (over.is_over, over.until) == (True, datetime(2026, 11, 1, tzinfo=UTC))
