"""A month in a few sentences, as people read it. Amounts by locale; nothing personal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from babel.dates import format_date

from dealsync.core.figures import Figures
from dealsync.core.models import Money
from dealsync.core.texts import format_money

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400


def month_name(figures: Figures, locale: str) -> str:
    """Return October 2026."""
    day = next(iter(figures.payments_by_day))
    return format_date(day, "LLLL y", locale=locale)


def headline(figures: Figures, locale: str) -> str:
    """Return the month in one line: what came, what was won, what is open."""
    if not figures.has_payments:
        return "No payments came" + ("." if figures.is_over else " so far.")
    paid = joined(format_money(Money(t.paid_minor, t.currency), locale) for t in figures.totals if t.paid_minor)
    payments = sum(t.sales + t.renewals for t in figures.totals)
    parts = [f"{paid} came in {_number(payments, 'payment')}", f"dealsync won {_number(figures.won, 'deal')}"]
    if figures.unplaced:
        parts.append(f"{_number(len(figures.unplaced), 'payment')} {_has(len(figures.unplaced))} no deal")
    return "; ".join(parts) + "."


def summary(figures: Figures, locale: str) -> Iterator[str]:
    """Yield the month in short lines, for a terminal and for messages."""
    yield headline(figures, locale)
    for t in figures.totals:
        back = t.refunded_minor + t.fraud_minor
        yield (
            f"{t.currency}: {format_money(Money(t.paid_minor, t.currency), locale)} paid "
            f"({_number(t.sales, 'sale')}, {_number(t.renewals, 'renewal')}), "
            f"{format_money(Money(back, t.currency), locale)} given back "
            f"({t.refunds} in full, {t.part_refunds} in part{f', {t.frauds} as fraud' if t.frauds else ''})"
        )
    for way, speed in figures.speed.items():
        yield (
            f"From payment to won, {way}: half within {duration(speed.p50_s)}, 95% within {duration(speed.p95_s)} "
            f"({_number(speed.deals, 'deal')})"
        )
    last = figures.subscriptions
    yield (
        f"Subscriptions: {last.active} active, {last.dunning} with a failed payment; in the month {last.started} "
        f"started, {last.cancelled} cancelled, {last.churned} ended"
    )
    yield (
        f"Open: {_number(figures.reviews_waiting, 'payment')} for a person to place, "
        f"{_number(len(figures.stuck), 'deal')} stuck, {len(figures.never_paid)} won but never paid; "
        f"{_number(len(figures.renewals_due), 'renewal')} due within 30 days"
    )


def duration(seconds: int) -> str:
    """Return how long something took, in the two largest units that say something."""
    if seconds < MINUTE_S:
        return f"{seconds} s"
    if seconds < HOUR_S:
        return f"{seconds // MINUTE_S} min"
    if seconds < DAY_S:
        return f"{seconds // HOUR_S} h {seconds % HOUR_S // MINUTE_S} min"
    return f"{_number(seconds // DAY_S, 'day')} {seconds % DAY_S // HOUR_S} h"


def joined(parts: Iterable[str]) -> str:
    """Return a list as it is said: a, b and c."""
    *first, last = list(parts) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _number(count: int, thing: str) -> str:
    return f"{count} {thing}{'s' * (count != 1)}"


def _has(count: int) -> str:
    return "has" if count == 1 else "have"
