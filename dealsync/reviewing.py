"""Deciding a review: a person names the deal, asks for a new one, or leaves the payment alone."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict
from typing import Any

from dealsync.addresses import deal_url, order_url
from dealsync.core.plan import Decision
from dealsync.core.told import DECISION_WORDS
from dealsync.errors import ConfigError, UnknownDeal
from dealsync.ledger.database import told_as_ours
from dealsync.ledger.reviews import ReviewItem, ReviewState
from dealsync.ledger.runs import KOMMO_ACCOUNT, utc_now
from dealsync.settings import Environment, Store, build_kommo, build_store


def order_id_of(review: str) -> str:
    """Return the order id in the name of a review: `order:17`, or `17`. Raises ConfigError."""
    order_id = review.strip().removeprefix("order:").strip()
    if not (order_id.isascii() and order_id.isdecimal()):
        raise ConfigError(f"{review!r} is no review; give its id, such as order:17. See: dealsync reviews")
    return order_id


def list_reviews(environment: Environment, *, everything: bool = False) -> list[ReviewItem]:
    """Return the reviews that wait, or all that ever were. Raises DatabaseError."""
    with told_as_ours(), closing(build_store(environment)) as store:
        return store.reviews.listed(*(() if everything else (ReviewState.OPEN,)))


async def resolve_review(
    environment: Environment, order_id: str, wanted: int | Decision, *, decided_by: str
) -> ReviewItem:
    """Write down what a person decided; the next run acts on it. A deal must be there, in any pipeline.

    Raises UnknownReview, AlreadyDecided, AlreadyPlaced, UnknownDeal, ConfigError, DatabaseError, Unauthorized,
    Unreachable.
    """
    with told_as_ours(), closing(build_store(environment)) as store:
        if not isinstance(wanted, Decision):
            await _ensure_there(environment, store, wanted)
        return store.reviews.resolve(order_id, wanted, decided_by=decided_by.strip(), now=utc_now())


async def _ensure_there(environment: Environment, store: Store, lead_id: int) -> None:
    kommo = build_kommo(environment, store, urgent=True)
    try:
        store.runs.bind(KOMMO_ACCOUNT, str((await kommo.account()).account_id))
        found = await kommo.deals_by_id([lead_id], {})
    finally:
        await kommo.close()
    if lead_id not in found or found[lead_id].is_deleted:
        raise UnknownDeal(f"Kommo has no deal {lead_id}, or it was deleted. Look at its address in Kommo for the id")


def as_json(items: Iterable[ReviewItem]) -> list[dict[str, Any]]:
    """Return reviews as plain values; the keys are part of the interface."""
    return [
        {
            "id": f"order:{item.order_id}",
            "state": item.state.value,
            "reason": item.reason,
            "candidates": [asdict(candidate) for candidate in item.details],
            "first_seen_at": item.first_seen_at.isoformat(),
            "decision": item.decision,
            "decided_by": item.decided_by,
            "decided_at": item.decided_at.isoformat() if item.decided_at else None,
        }
        for item in items
    ]


def decision_words(item: ReviewItem) -> str:
    """Return what was decided, in words."""
    decision = item.decision or ""
    return DECISION_WORDS.get(decision, f"deal {decision.removeprefix('lead:')}")


def as_markdown(items: Iterable[ReviewItem], kommo_url: str) -> str:
    """Return the reviews that wait as a list, with links into Kommo and Lemon Squeezy."""
    lines = []
    for item in items:
        order = f"[order:{item.order_id}]({order_url(item.order_id)})"
        lines.append(f"- {order}, since {item.first_seen_at:%Y-%m-%d}: {item.reason}")
        for candidate in item.details:
            deal = f"[deal {candidate.lead_id}]({deal_url(kommo_url, candidate.lead_id)})"
            lines.append(f"    - {deal} ({candidate.score}): {'; '.join(candidate.reasons)}")
    return "\n".join(lines or ["Nothing waits for a person."]) + "\n"
