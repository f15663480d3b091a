"""What a manager finds in the Prefect UI under a name that stays: each is published anew when it says something new.

No personal data: deals and orders are named by their ids, and by links for those who may see them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dealsync import reviewing
from dealsync.briefly import number
from dealsync.core.plan import Drift, Kind
from dealsync.core.states import State
from dealsync.ledger.reviews import ReviewItem
from dealsync.ledger.runs import APPLYING_JOBS
from dealsync.ledger.trends import Won
from dealsync.report import DRIFT_WORDS, KIND_WORDS, Report, order_link
from dealsync.report_markdown import deals_done

LINKS = 20
"""Deals that a cell or a short list names; the report has them all."""
MENDED_BY = {
    "paid_not_won": Kind.CLOSE,
    "paid_no_deal": Kind.CREATE_DEAL,
    "refunded_still_won": Kind.ATTENTION,
    "amount_differs": Kind.PRICE,
    "subscription_no_deal": Kind.CREATE_DEAL,
}
WINDOWS = (("24 hours", timedelta(hours=24)), ("7 days", timedelta(days=7)))
LONGEST_WINDOW = WINDOWS[-1][1]
HOW_TO_DECIDE = (
    "Any of these places a payment: run the deployment `resolve-review` (its form asks for review, decision and deal), "
    "write the order id into the field *LS order id* of the right deal in Kommo, or use `dealsync reviews`. The next "
    "run acts on it."
)


@dataclass(frozen=True, slots=True)
class Board:
    """Rows of a table, or Markdown, under the key of an artifact. `headline`: the whole of it in a line."""

    key: str
    headline: str
    content: str | list[dict[str, Any]]
    is_empty: bool = False


def summary(report: Report) -> Board:
    """What happened in a run: a line, the figures, the deals."""
    seconds = (report.finished_at - report.started_at).total_seconds()
    figures = {KIND_WORDS[kind]: count for kind, count in report.counts().items()}
    figures |= {"not done": len(report.troubled)} if report.troubled else {}
    figures |= {
        "payments that a person must place": len(report.plan.reviews),
        "out of step as the run began": len(report.plan.drifts),
        "of them mended by it": len(_mended(report)),
        "requests": sum(report.requests.values()),
        "seconds": round(seconds),
    }
    lines = [f"# {report.headline()}", "", "| figure | |", "|---|---|"]
    lines += [f"| {words} | {count:,} |" for words, count in figures.items()]
    lines += deals_done(report, LINKS)
    if report.plan.reviews:
        named = ", ".join(order_link(review.order_id) for review in report.plan.reviews[:LINKS])
        lines += ["", "## Waiting for a person", "", f"Orders {named}{_more(len(report.plan.reviews))}: see `reviews`."]
    lines += ["", *(f"- {remark}" for remark in report.remarks())]
    return Board("summary", report.headline(), "\n".join(lines).rstrip() + "\n")


def drift(report: Report) -> Board:
    """What was out of step as the run began, class by class, with its age (UTC), and how much of it the run mended."""
    rows, mended = [], _mended(report)
    for name, words in DRIFT_WORDS.items():
        found = sorted((d for d in report.plan.drifts if d.drift == name), key=lambda d: d.since)
        if found:
            rows.append(
                {
                    "what": words,
                    "how many": len(found),
                    "mended": sum(d.key in mended for d in found),
                    "age": age(report.started_at - found[0].since),
                    "oldest since": f"{found[0].since:%Y-%m-%d %H:%M}",
                    "deals": ", ".join(_link(report, d) for d in found[:LINKS]) + _more(len(found)),
                    "class": name,
                }
            )
    left = len(report.plan.drifts) - len(mended)
    headline = f"{number(left, 'thing')} out of step" if left else "Nothing is out of step any more"
    headline += f"; {len(mended)} mended by this run" if mended else ""
    return Board("drift", headline, rows or [{"what": "Nothing is out of step"}], is_empty=not rows)


def reviews(items: Sequence[ReviewItem], kommo_url: str) -> Board:
    """Payments that a person must place, their candidates, and how that is done."""
    listed = reviewing.as_markdown(items, kommo_url)
    text = f"# Waiting for a person\n\n{HOW_TO_DECIDE}\n\n{listed}" if items else listed
    return Board("reviews", f"{len(items)} waiting", text, is_empty=not items)


def latency(won: Sequence[Won], now: datetime) -> Board:
    """How long it took from payment to a deal that is won, by the way in which the payment was noticed."""
    rows = []
    for words, window in WINDOWS:
        recent = [one for one in won if one.won_at > now - window and one.paid_at > now - window]
        for way in dict.fromkeys(map(way_of, recent)):
            took = [one.took_s for one in recent if way_of(one) == way]
            rows.append(
                {
                    "last": words,
                    "noticed by": way,
                    "payments": len(took),
                    "p50": duration(percentile(took, 50)),
                    "p95": duration(percentile(took, 95)),
                }
            )
    if not rows:
        return Board("latency", "No payment in 7 days", [{"last": "7 days", "payments": 0}], is_empty=True)
    told = [f"{row['p50']} by {row['noticed by']}" for row in rows if row["last"] == rows[-1]["last"]]
    return Board("latency", f"From payment to won, half of them within: {', '.join(told)} ({rows[-1]['last']})", rows)


def way_of(won: Won) -> str:
    """Return how a payment was noticed."""
    return "poll" if won.job in APPLYING_JOBS else "webhook"


def percentile(values: Iterable[float], percent: int) -> float:
    """Return the smallest value that so many percent of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]


def age(span: timedelta) -> str:
    """Return a span in whole days; under a day, in words that do not change each hour."""
    return number(span.days, "day") if span.days else "under a day"


def duration(seconds: float) -> str:
    """Return seconds as people say them."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _mended(report: Report) -> set[str]:
    """The keys of what was out of step and is no more, by what this run did."""
    done = [a for a in report.plan.actions if report.state_of(a) == State.APPLIED]
    places = {(a.kind, place) for a in done for place in (a.source, a.lead_id) if place is not None}
    return {
        d.key
        for d in report.plan.drifts
        if {(MENDED_BY.get(d.drift), d.source), (MENDED_BY.get(d.drift), d.lead_id)} & places
    }


def _link(report: Report, found: Drift) -> str:
    kind, _, object_id = found.source.partition(":")
    if found.lead_id is not None:
        return report.deal_link(found.lead_id)
    return f"order {order_link(object_id)}" if kind == "order" else found.source


def _more(count: int) -> str:
    return f" and {count - LINKS} more" if count > LINKS else ""
