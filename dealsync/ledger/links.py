"""Which deal an order belongs to: the one statement that writes it down."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, case, exists, or_, select

from dealsync.core.models import Link, Tier
from dealsync.ledger.past import Former, keep_past
from dealsync.ledger.tables import DealRow, LinkRow, PlacingRow
from dealsync.ledger.upsert import insert, table_of


def keep_links(db: Connection, links: Iterable[Link], now: datetime) -> None:
    """Store links; a later one replaces an earlier one: its deal is gone, was merged, or a person says otherwise.

    What a person decided meanwhile stays, as long as that deal is there: a run may have planned before.
    """
    is_there = exists().where(DealRow.lead_id == LinkRow.lead_id, DealRow.is_deleted.is_(False))
    for link in links:
        may_replace = None if link.tier is Tier.PERSON else ~((LinkRow.tier == Tier.PERSON.value) & is_there)
        values = {"lead_id": link.lead_id, "tier": link.tier.value, "evidence": link.evidence}
        differs = or_(LinkRow.lead_id != link.lead_id, LinkRow.tier != link.tier.value)
        _keep_former(db, link.order_id, now, *((differs,) if may_replace is None else (differs, may_replace)))
        statement = insert(db, LinkRow).values(order_id=link.order_id, linked_at=now, **values)
        # What is only said again is known since it was said first.
        linked_at = case((differs, statement.excluded.linked_at), else_=LinkRow.linked_at)
        fresh = {**values, "linked_at": linked_at}
        statement = statement.on_conflict_do_update(index_elements=[LinkRow.order_id], set_=fresh, where=may_replace)
        if db.execute(statement.returning(LinkRow.order_id)).first():
            db.execute(table_of(PlacingRow).insert().values(order_id=link.order_id, at=now, **values))


def _keep_former(db: Connection, order_id: str, now: datetime, *replaced: ColumnElement[bool]) -> None:
    """Write down which deal the order belonged to until now, where that is about to be replaced."""
    query = select(LinkRow.lead_id, LinkRow.tier, LinkRow.linked_at).where(LinkRow.order_id == order_id, *replaced)
    keep_past(db, [Former("links", order_id, now, dict(row._mapping)) for row in db.execute(query)])
