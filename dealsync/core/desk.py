"""The matching in progress: what is known about every deal in question, what is taken, what was decided so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from dealsync.core.candidacy import review
from dealsync.core.models import Deal, Link, Money, Order, normal_email
from dealsync.core.payments import STILL_OURS
from dealsync.core.plan import Oddity, Review
from dealsync.core.policy import Policy

Purchase = tuple[str, str, Money]  # e-mail, variant, total


@dataclass(slots=True)
class Desk:
    """Orders are placed one by one; a deal that is taken is no candidate for another order's guesses."""

    policy: Policy
    now: datetime
    deals: Mapping[int, Deal]  # all that any evidence names
    taken: dict[int, str]  # lead_id -> order_id
    payments: dict[str, Order]
    links: list[Link] = field(default_factory=list)
    self_serve: list[Order] = field(default_factory=list)
    reviews: list[Review] = field(default_factory=list)
    settling: list[str] = field(default_factory=list)
    oddities: dict[Oddity, None] = field(default_factory=dict)  # in the order in which they were met
    alone: dict[Purchase, datetime] = field(default_factory=dict)  # when it was last made by one of `self_serve`

    def clear(self) -> None:
        """Forget the orders that found no deal: a deal taken since may have left them one choice."""
        self.self_serve.clear()
        self.reviews.clear()
        self.settling.clear()
        self.alone.clear()

    def put(self, order: Order, verdict: Link | Review | None) -> None:
        """Write down what was decided about an order; nobody known means a deal of its own, if the money stayed."""
        if isinstance(verdict, Link):
            self.links.append(verdict)
            self.taken.setdefault(verdict.lead_id, order.id)
        elif isinstance(verdict, Review):
            self.reviews.append(verdict)
        elif order.status in STILL_OURS:
            self.self_serve.append(order)
            self.alone[_purchase(order)] = order.created_at

    def doubt(self, order: Order, reason: str) -> None:
        """Remember evidence about an order that was not believed."""
        self.oddities[Oddity(f"order:{order.id}", reason)] = None

    def last_alone(self, order: Order) -> datetime | None:
        """Return when the same buyer last made the same purchase that gets a deal of its own; None if never."""
        return self.alone.get(_purchase(order)) if order.user_email.strip() else None

    def is_free(self, lead_id: int, order: Order) -> bool:
        """Whether no other order holds a deal."""
        return self.taken.get(lead_id, order.id) == order.id

    def holder(self, lead_id: int) -> Order | None:
        """Return the order that holds a deal, if it is known."""
        return self.payments.get(self.taken.get(lead_id, ""))

    def review(self, order: Order, lead_ids: Iterable[int], reason: str, known_by: str) -> Review:
        """Return a review item; see `candidacy.review`."""
        return review(order, [self.deals[lead_id] for lead_id in set(lead_ids)], reason, known_by, self.policy)


def _purchase(order: Order) -> Purchase:
    return normal_email(order.user_email), order.variant_id, order.total
