"""The review queue: payments that a person must place, and what persons decided. What was decided stays decided."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import pandas as pd
from sqlalchemy import ColumnElement, Connection, Engine, exists, select, update

from dealsync.core.models import Link, Tier
from dealsync.core.plan import Candidate, Decision, Review, Scope
from dealsync.core.states import AGAIN
from dealsync.core.tables import DECISION_COLUMNS
from dealsync.errors import AlreadyDecided, AlreadyPlaced, UnknownReview
from dealsync.ledger.frames import stored
from dealsync.ledger.links import keep_links
from dealsync.ledger.past import Former, keep_past
from dealsync.ledger.tables import DealRow, LedgerEntry, LinkRow, OrderRow, ReviewRow
from dealsync.ledger.upsert import chunks, here, insert, table_of

MOST_NAMED = 10


class ReviewState(StrEnum):
    """Where a review stands."""

    OPEN = "open"
    SETTLED = "settled"  # by itself: better evidence came
    RESOLVED = "resolved"  # by a person


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """A review as it is kept. `decision` is "lead:31", "new" or "dismissed"."""

    order_id: str
    state: ReviewState
    reason: str
    details: tuple[Candidate, ...]  # best first
    first_seen_at: datetime
    decision: str | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None


class Reviews:
    """The queue, by order id."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def listed(self, *states: ReviewState) -> list[ReviewItem]:
        """Return the reviews in these states, or all of them, those that wait longest first."""
        query = select(table_of(ReviewRow)).order_by(ReviewRow.first_seen_at, ReviewRow.order_id)
        if states:
            query = query.where(ReviewRow.state.in_([state.value for state in states]))
        with self._engine.connect() as db:
            return [_item(row) for row in db.execute(query)]

    def decisions(self) -> pd.DataFrame:
        """Return what persons decided besides naming a deal, for the matcher."""
        decided = ReviewRow.decision.in_([decision.value for decision in Decision])
        return stored(self._engine, ReviewRow, DECISION_COLUMNS, decided)

    def resolve(self, order_id: str, wanted: int | Decision, *, decided_by: str, now: datetime) -> ReviewItem:
        """Write down a person's decision: the deal, a new deal, or to leave the payment alone.

        The same decision again is fine. Raises UnknownReview, AlreadyDecided, AlreadyPlaced.
        """
        decision = wanted.value if isinstance(wanted, Decision) else f"lead:{wanted}"
        values = {
            "state": ReviewState.RESOLVED.value,
            "decision": decision,
            "decided_by": decided_by,
            "decided_at": now,
        }
        with self._engine.begin() as db:
            mine = update(ReviewRow).where(ReviewRow.order_id == order_id, ReviewRow.state == ReviewState.OPEN.value)
            if db.execute(mine.values(values)).rowcount:
                if not isinstance(wanted, Decision):
                    keep_links(db, [Link(order_id, wanted, Tier.PERSON, "a person decided it in a review")], now)
                elif wanted is Decision.NEW:
                    _ensure_without_deal(db, order_id)
            else:
                _ensure_decided(db, order_id, decision)
            return _item(db.execute(select(table_of(ReviewRow)).where(ReviewRow.order_id == order_id)).one())


def decided_since(db: Connection, since: datetime | None) -> frozenset[str]:
    """Return the orders on which a person decided at or after a time; none without one."""
    if since is None:
        return frozenset()
    return frozenset(db.scalars(select(ReviewRow.order_id).where(ReviewRow.decided_at >= since)))


def keep_reviews(db: Connection, reviews: Sequence[Review], scope: Scope | None, now: datetime) -> None:
    """Write down the reviews of a plan: they are open, the others settled themselves; decided ones stay decided.

    Unless the deal that the payment was counted on is gone: then the question is open again. Reviews of orders outside
    the plan's scope stay as they are.
    """
    is_gone = exists().where(
        LinkRow.order_id == here("reviews.order_id"), DealRow.lead_id == LinkRow.lead_id, DealRow.is_deleted.is_(True)
    )
    undecided = (ReviewRow.state != ReviewState.RESOLVED.value) | is_gone
    _keep_closed(db, [review.order_id for review in reviews], undecided, now)
    table = table_of(ReviewRow)
    statement = insert(db, table)
    opened: dict[str, Any] = {name: statement.excluded[name] for name in ("candidates", "details", "reason", "state")}
    opened |= {"last_seen_at": now, "decision": None, "decided_by": None, "decided_at": None}
    statement = statement.on_conflict_do_update(index_elements=[table.c.order_id], set_=opened, where=undecided)
    for part in chunks({review.order_id: review for review in reviews}.values()):
        db.execute(statement, [_row(review, now) for review in part])
    gone = _open_ids(db, scope) - {review.order_id for review in reviews}
    if scope is not None and scope.order_ids is not None:
        gone &= scope.order_ids
    for ids in chunks(sorted(gone)):
        settled = update(ReviewRow).where(ReviewRow.order_id.in_(ids)).where(ReviewRow.state == ReviewState.OPEN.value)
        db.execute(settled.values(state=ReviewState.SETTLED.value, last_seen_at=now))


def _row(review: Review, now: datetime) -> dict[str, Any]:
    return {
        "order_id": review.order_id,
        "candidates": list(review.candidates),
        "details": [asdict(candidate) for candidate in review.details],
        "reason": review.reason,
        "state": ReviewState.OPEN.value,
        "first_seen_at": now,
        "last_seen_at": now,
    }


def _keep_closed(db: Connection, order_ids: Sequence[str], undecided: ColumnElement[bool], now: datetime) -> None:
    """Write down when reviews that are about to be opened again had ended."""
    kept = (ReviewRow.order_id, ReviewRow.first_seen_at, ReviewRow.state, ReviewRow.decided_at, ReviewRow.last_seen_at)
    for ids in chunks(order_ids):
        query = select(*kept).where(ReviewRow.order_id.in_(ids), ReviewRow.state != ReviewState.OPEN.value, undecided)
        formers = [
            Former("reviews", row.order_id, now, {"first_seen_at": row.first_seen_at, "closed_at": closed_at(row)})
            for row in db.execute(query)
        ]
        keep_past(db, formers)


def closed_at(row: Any) -> datetime | None:
    """Return when a review ended; None as long as it is open."""
    if row.state == ReviewState.OPEN.value:
        return None
    at: datetime | None = row.decided_at if row.state == ReviewState.RESOLVED.value else None
    return at or row.last_seen_at


def _open_ids(db: Connection, scope: Scope | None = None) -> set[str]:
    query = select(ReviewRow.order_id).where(ReviewRow.state == ReviewState.OPEN.value)
    if scope is not None:
        mine = (OrderRow.store_id.in_(scope.store_ids), OrderRow.test_mode.is_(scope.test_mode))
        query = query.where(exists().where(OrderRow.order_id == ReviewRow.order_id, *mine))
    return set(db.scalars(query))


def _ensure_without_deal(db: Connection, order_id: str) -> None:
    """Refuse a new deal where it would not be made, in silence.

    The matcher looks no more at an order whose deal is there; and the key of a deal that was made is used up.
    """
    counted_on = db.scalar(
        select(LinkRow.lead_id)
        .join(DealRow, DealRow.lead_id == LinkRow.lead_id)
        .where(LinkRow.order_id == order_id, DealRow.is_deleted.is_(False))
    )
    if counted_on is not None:
        raise AlreadyPlaced(
            f"order:{order_id} is counted on deal {counted_on}, so no new deal is made for it. "
            "Name another deal (--lead), or leave the payment there (--dismiss)"
        )
    used_up = select(LedgerEntry.lead_id).where(
        LedgerEntry.idempotency_key == f"order:{order_id}:deal",
        LedgerEntry.state.not_in(AGAIN),
    )
    if (made := db.execute(used_up).first()) is not None:
        raise AlreadyPlaced(
            f"For order:{order_id} a deal was made before ({made.lead_id or 'its id is not known yet'}), and none is "
            "made twice. Make one by hand and name it (--lead), or leave the payment alone (--dismiss)"
        )


def _ensure_decided(db: Connection, order_id: str, decision: str) -> None:
    """Explain why there was nothing to decide, unless it was decided just so. Raises UnknownReview, AlreadyDecided."""
    row = db.execute(select(ReviewRow.state, ReviewRow.decision).where(ReviewRow.order_id == order_id)).first()
    if row is None or row.state == ReviewState.SETTLED.value:
        waiting = sorted(_open_ids(db), key=lambda i: (len(i), i))
        named = ", ".join(f"order:{i}" for i in waiting[:MOST_NAMED]) or "none"
        more = f" and {len(waiting) - MOST_NAMED} more" if len(waiting) > MOST_NAMED else ""
        what = "settled itself" if row else "is not known"
        raise UnknownReview(f"The review order:{order_id} {what}. Open ones: {named}{more}. See: dealsync reviews")
    if row.decision != decision:
        raise AlreadyDecided(f"Review order:{order_id} was decided already: {row.decision}. A decision is not changed")


def _item(row: Any) -> ReviewItem:
    return ReviewItem(
        order_id=row.order_id,
        state=ReviewState(row.state),
        reason=row.reason,
        details=tuple(_candidates(row)),
        first_seen_at=row.first_seen_at,
        decision=row.decision,
        decided_by=row.decided_by,
        decided_at=row.decided_at,
    )


def _candidates(row: Any) -> Iterable[Candidate]:
    """The deals in question; rows of before reasons were kept have only their ids."""
    if not row.details:
        return (Candidate(lead_id, 0, ()) for lead_id in row.candidates)
    return (Candidate(d["lead_id"], d["score"], tuple(d["reasons"])) for d in row.details)
