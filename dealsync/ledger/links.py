"""Which deal an order belongs to: the one statement that writes it down."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, exists

from dealsync.core.models import Link, Tier
from dealsync.ledger.tables import DealRow, LinkRow, PlacingRow
from dealsync.ledger.upsert import insert, table_of


def keep_links(db: Connection, links: Iterable[Link], now: datetime) -> None:
    """Store links; a later one replaces an earlier one: its deal is gone, was merged, or a person says otherwise.

    What a person decided meanwhile stays, as long as that deal is there: a run may have planned before.
    """
    is_there = exists().where(DealRow.lead_id == LinkRow.lead_id, DealRow.is_deleted.is_(False))
    for link in links:
        may_replace = None if link.tier is Tier.PERSON else ~((LinkRow.tier == Tier.PERSON.value) & is_there)
        row = {"lead_id": link.lead_id, "tier": link.tier.value, "evidence": link.evidence, "linked_at": now}
        statement = insert(db, LinkRow).values(order_id=link.order_id, **row)
        statement = statement.on_conflict_do_update(index_elements=[LinkRow.order_id], set_=row, where=may_replace)
        if db.execute(statement.returning(LinkRow.order_id)).first():
            placing = {
                "order_id": link.order_id,
                "lead_id": link.lead_id,
                "tier": row["tier"],
                "evidence": link.evidence,
            }
            db.execute(table_of(PlacingRow).insert().values(**placing, at=now))
