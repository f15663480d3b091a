"""Charts as bytes, SVG or PNG. Equal values give equal bytes: no date, no random ids, no letters of this machine's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, tzinfo
from io import BytesIO
from threading import Lock
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

Format = Literal["svg", "png"]

INK, QUIET, LINE = "#1f2933", "#66727f", "#d5dbe1"
GOOD, BAD = "#2f6f4f", "#b4552d"
COLOURS = (GOOD, "#3d6fa3", "#c08a1e", BAD, "#7a5c99", "#4b9a9a", "#8a8f3c", "#9a4b6b")
"""Told apart also by people who do not see red and green alike, and in grey print."""
SIZE = (7.2, 2.5)  # inches; the width of an A4 page's text
DPI = 160
EPOCH, DAY_S = date(1970, 1, 1).toordinal(), 86_400
"""Matplotlib counts days since then."""
BINS = (
    ("under 10 s", 10.0),
    ("10 to 60 s", 60.0),
    ("1 to 10 min", 600.0),
    ("10 to 60 min", 3600.0),
    ("1 to 24 h", 86_400.0),
    ("1 to 7 days", 604_800.0),
    ("longer", float("inf")),
)
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: it can be read aloud, searched, and takes the page's own letters
    "font.family": ["DejaVu Sans"],  # comes with Matplotlib, so that the layout is the same everywhere
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": QUIET,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.5,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": QUIET,
    "ytick.labelcolor": QUIET,
    "legend.frameon": False,
    "path.simplify": False,
    "timezone": "UTC",
}
_drawing = Lock()
"""Matplotlib's settings are one set for the whole process: one chart at a time borrows them."""


def payments_per_day(
    payments: Mapping[date, int],
    refunds: Mapping[date, int] | None = None,
    *,
    format: Format = "svg",  # noqa: A002 - Matplotlib's own word
) -> bytes:
    """Return bars: how many payments came on each day, and below the line how many refunds. Give days of 0, too."""
    given = refunds or {}
    days = sorted({*payments, *given})

    def draw(axes: Axes) -> None:
        places = [day.toordinal() - EPOCH for day in days]
        axes.bar(places, [payments.get(day, 0) for day in days], width=0.72, color=GOOD, label="payments")
        if any(given.values()):
            axes.bar(places, [-given.get(day, 0) for day in days], width=0.72, color=BAD, label="refunds")
            axes.axhline(0, color=QUIET, linewidth=0.8)
            _legend(axes, 2)
        _dates(axes)
        _counts(axes)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):.0f}"))

    is_empty = not any(payments.values()) and not any(given.values())
    return _drawn("payments", draw, format, "No payments" if is_empty else "")


def time_to_close(
    seconds: Mapping[str, Sequence[float]],
    *,
    format: Format = "svg",  # noqa: A002
) -> bytes:
    """Return bars: how many deals were won how long after their payment, by the way it was noticed (webhook, poll)."""

    def draw(axes: Axes) -> None:
        below = [0] * len(BINS)
        for colour, (way, found) in zip(COLOURS, seconds.items(), strict=False):
            heights = _in_bins(found)
            axes.bar(range(len(BINS)), heights, bottom=below, width=0.72, color=colour, label=way)
            below = [low + height for low, height in zip(below, heights, strict=True)]
        for place, height in enumerate(below):
            if height:
                axes.annotate(f"{height}", (place, height), (0, 2), textcoords="offset points", ha="center", color=INK)
        axes.set_ylim(0, 1.16 * max(below))
        axes.set_xticks(range(len(BINS)), [words for words, _ in BINS])
        _counts(axes)
        if len(seconds) > 1:
            _legend(axes, len(seconds))

    return _drawn("close", draw, format, "" if any(seconds.values()) else "No deal was won")


def drift_over_time(
    counts: Sequence[tuple[datetime, Mapping[str, int]]],
    *,
    zone: tzinfo = UTC,
    format: Format = "svg",  # noqa: A002
) -> bytes:
    """Return a line for each class of drift: how many were out of step from each time (aware) to the next."""
    found = sorted(counts, key=lambda point: point[0])
    names = list(dict.fromkeys(name for _, classes in found for name, count in classes.items() if count))

    def draw(axes: Axes) -> None:
        places = [at.timestamp() / DAY_S for at, _ in found]
        for number, name in enumerate(names):
            heights = [classes.get(name, 0) for _, classes in found]
            style = "-" if number < len(COLOURS) else "--"
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(places, heights, style, drawstyle="steps-post", color=colour, linewidth=1.4, label=name)
        axes.set_ylim(bottom=0)
        _dates(axes, zone)
        _counts(axes)
        _legend(axes, 2)

    return _drawn("drift", draw, format, "" if names else "Nothing was out of step")


def _in_bins(seconds: Sequence[float]) -> list[int]:
    heights = [0] * len(BINS)
    for one in seconds:
        heights[next(place for place, (_, limit) in enumerate(BINS) if one < limit)] += 1
    return heights


def _dates(axes: Axes, zone: tzinfo = UTC) -> None:
    locator = AutoDateLocator(tz=zone, minticks=3, maxticks=9)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=zone, show_offset=False))  # type: ignore[no-untyped-call]


def _counts(axes: Axes) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.grid(axis="y")


def _legend(axes: Axes, columns: int) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=columns, borderaxespad=0.2, handlelength=1.2)


def _drawn(name: str, draw: Callable[[Axes], None], picture: Format, nothing: str) -> bytes:
    """Return a chart; with `nothing`, a frame that says so in these words. The ids in it follow from its name."""
    with _drawing, mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
        axes = figure.subplots()
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(length=0)
        if nothing:
            axes.set(xticks=[], yticks=[])
            axes.text(0.5, 0.5, nothing, transform=axes.transAxes, ha="center", va="center", color=QUIET)
        else:
            draw(axes)
        out = BytesIO()
        kept = {"Software": None} if picture == "png" else dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(out, format=picture, metadata=kept)
    return _without_names(out.getvalue()) if picture == "svg" else out.getvalue()


def _without_names(svg: bytes) -> bytes:
    """Take out the names of groups, which are the same in each chart: one page may hold several."""
    return re.sub(rb'<g id="[^"]*"', b"<g", svg)
