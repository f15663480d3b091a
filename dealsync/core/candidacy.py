"""What a person is told about the deals that a payment may be for: in points, in words, best first."""

from __future__ import annotations

from collections.abc import Iterable

from dealsync.core.models import LOST_STATUS_ID, WON_STATUS_ID, Deal, Order
from dealsync.core.plan import Candidate, Question, Review
from dealsync.core.policy import Policy
from dealsync.core.texts import format_money

MOST_CANDIDATES = 10
"""Deals that a review names: a person does not look through more."""


def review(
    order: Order,
    deals: Iterable[Deal],
    reason: str,
    known_by: str,
    policy: Policy,
    question: Question = Question.WHICH,
) -> Review:
    """Return a review item with its candidates; `known_by` says what led to all of them."""
    weighed = [_weigh(order, deal, known_by, policy) for deal in deals]
    best = sorted(weighed, key=lambda c: (-c.score, c.lead_id))[:MOST_CANDIDATES]
    if len(weighed) > MOST_CANDIDATES:
        reason = f"{reason} (the {MOST_CANDIDATES} likeliest of {len(weighed)} are named)"
    return Review(order.id, tuple(sorted(c.lead_id for c in best)), reason, tuple(best), question)


def _weigh(order: Order, deal: Deal, known_by: str, policy: Policy) -> Candidate:
    """What speaks for a deal. The points only put candidates in an order."""
    parts = [
        (40, known_by),
        _price(order, deal, policy),
        _standing(deal),
        (10, "it was made before the payment")
        if deal.created_at <= order.created_at
        else (0, "it was made after the payment"),
        (5, "") if deal.pipeline_id in policy.pipeline_ids else (0, "its pipeline is not watched"),
    ]
    return Candidate(deal.lead_id, sum(points for points, _ in parts), tuple(words for _, words in parts if words))


def _price(order: Order, deal: Deal, policy: Policy) -> tuple[int, str]:
    paid = format_money(order.total, policy.locale)
    if order.total.currency != policy.account_currency:
        return 0, f"{paid} was paid, the deal is in {policy.account_currency}"
    if deal.price == policy.units_of(order):
        return 30, f"its price, {deal.price} {policy.account_currency}, is what was paid"
    return 0, f"it asks {deal.price} {policy.account_currency}, {paid} was paid"


def _standing(deal: Deal) -> tuple[int, str]:
    if deal.is_open:
        return 15, "it is open"
    return {WON_STATUS_ID: (5, "it is won"), LOST_STATUS_ID: (0, "it was marked lost")}[deal.status_id]
