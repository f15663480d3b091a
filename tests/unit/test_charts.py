import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from xml.etree import ElementTree

import matplotlib as mpl
import pytest

from dealsync.charts import drift_over_time, payments_per_day, time_to_close

SVG = "{http://www.w3.org/2000/svg}"
OCTOBER = date(2026, 10, 1)
NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)
UTC_PLUS_9 = timezone(timedelta(hours=9))
PAYMENTS = {OCTOBER + timedelta(days=day): day % 4 for day in range(31)}
CHARTS: dict[str, Callable[..., bytes]] = {
    "payments": lambda **format_: payments_per_day(PAYMENTS, {OCTOBER: 2}, **format_),
    "close": lambda **format_: time_to_close({"by webhook": [1, 2, 30], "by poll": [3000.0, 9e9]}, **format_),
    "drift": lambda **format_: drift_over_time([(NOON, {"stuck": 2}), (NOON + timedelta(days=3), {})], **format_),
}


def words(svg: bytes) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314 - our own


@pytest.mark.parametrize("picture", ["svg", "png"])
@pytest.mark.parametrize("chart", CHARTS)
def test_chart__gives_the_same_bytes_again_whatever_others_set_meanwhile(chart: str, picture: str) -> None:
    first = CHARTS[chart](format=picture)
    with mpl.rc_context({"svg.hashsalt": None, "timezone": "Asia/Tokyo"}):
        assert CHARTS[chart](format=picture) == first
    assert first.startswith(b"\x89PNG" if picture == "png" else b"<?xml")


@pytest.mark.parametrize("chart", CHARTS)
def test_chart__leaves_the_settings_of_the_process_as_they_were_and_can_be_drawn_in_threads(chart: str) -> None:
    before, alone, found = dict(mpl.rcParams), CHARTS[chart](), []
    threads = [threading.Thread(target=lambda: found.append(CHARTS[chart]())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [alone] * 3
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("chart", CHARTS)
def test_chart__names_nothing_that_another_chart_on_the_page_names_and_tells_no_date(chart: str) -> None:
    svg = CHARTS[chart]()
    root = ElementTree.fromstring(svg)  # noqa: S314 - our own
    others = {e.get("id") for name in CHARTS if name != chart for e in ElementTree.fromstring(CHARTS[name]()).iter()}  # noqa: S314
    assert {e.get("id") for e in root.iter()} & others == {None}
    assert b"metadata" not in svg


def test_payments_per_day__shows_a_bar_for_each_day_and_refunds_below() -> None:
    assert {"payments", "refunds"} <= set(words(payments_per_day({OCTOBER: 3}, {OCTOBER: 1})))
    assert "refunds" not in words(payments_per_day({OCTOBER: 3}))
    assert payments_per_day({OCTOBER: 3}) != payments_per_day({OCTOBER: 2})


def test_time_to_close__counts_each_deal_once_by_how_long_it_took() -> None:
    found = words(time_to_close({"by webhook": [9.9, 10.0, 20.0], "by poll": [604_800.0]}))
    assert {"by webhook", "by poll"} <= set(found)
    assert sorted(word for word in found[found.index("longer") + 1 :] if word == "2")  # the bar of 10 to 60 s


def test_drift_over_time__draws_classes_that_ever_were_and_days_of_the_zone() -> None:
    points = [(NOON, {"stuck": 0, "paid": 1}), (NOON + timedelta(days=9), {"stuck": 0, "paid": 0})]
    assert "paid" in words(drift_over_time(points))
    assert "stuck" not in words(drift_over_time(points))
    assert drift_over_time(points) == drift_over_time(points[::-1])
    assert drift_over_time(points) != drift_over_time(points, zone=UTC_PLUS_9)


@pytest.mark.parametrize(
    ("chart", "said"),
    [
        (payments_per_day({OCTOBER: 0}), "No payments"),
        (time_to_close({"by poll": []}), "No deal was won"),
        (drift_over_time([(NOON, {"stuck": 0})]), "Nothing was out of step"),
    ],
)
def test_chart__of_nothing_says_so(chart: bytes, said: str) -> None:
    assert words(chart) == [said]
