"""Which deal an order belongs to: the one statement that writes it down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, case, exists, or_, select

from dealsync.core.models import Link, Tier
from dealsync.ledger.past import Former, keep_past
from dealsync.ledger.tables import DealRow, LinkRow, PlacingRow
from dealsync.ledger.upsert import chunks, here, insert_of, table_of

IS_THERE = exists().where(DealRow.lead_id == here("links.lead_id"), DealRow.is_deleted.is_(False))
"""Whether the deal of a link is there."""


def keep_links(db: Connection, links: Iterable[Link], now: datetime) -> None:
    """Store links; a later one replaces an earlier one: its deal is gone, was merged, or a person says otherwise.

    What a person decided meanwhile stays, as long as that deal is there: a run may have planned before.
    """
    unique = {link.order_id: link for link in links}
    for ids in chunks(unique):
        part = [unique[i] for i in ids]
        _keep_former(db, part, now)
        rows = [{**_placed(link), "order_id": link.order_id, "linked_at": now} for link in part]
        taken = set(db.scalars(_upsert(db.dialect.name), rows))
        placings = [{**_placed(link), "order_id": link.order_id, "at": now} for link in part if link.order_id in taken]
        if placings:
            db.execute(table_of(PlacingRow).insert(), placings)


def _placed(link: Link) -> dict[str, Any]:
    return {"lead_id": link.lead_id, "tier": link.tier.value, "evidence": link.evidence}


@cache
def _upsert(dialect: str) -> Any:
    table, person = table_of(LinkRow), Tier.PERSON.value
    statement = insert_of(dialect, table)
    said = statement.excluded
    differs = or_(table.c.lead_id != said.lead_id, table.c.tier != said.tier)
    fresh = {name: said[name] for name in ("lead_id", "tier", "evidence")}
    # What is only said again is known since it was said first.
    fresh["linked_at"] = case((differs, said.linked_at), else_=table.c.linked_at)
    may_replace = or_(said.tier == person, table.c.tier != person, ~IS_THERE)
    return statement.on_conflict_do_update(index_elements=[table.c.order_id], set_=fresh, where=may_replace).returning(
        table.c.order_id
    )


def _keep_former(db: Connection, links: Sequence[Link], now: datetime) -> None:
    """Write down which deals orders belonged to until now, where that is about to be replaced."""
    table, said = table_of(LinkRow), {link.order_id: link for link in links}
    columns = (table.c.order_id, table.c.lead_id, table.c.tier, table.c.linked_at)
    query = select(*columns, IS_THERE.label("is_there")).where(table.c.order_id.in_(said))
    formers = [
        Former("links", row.order_id, now, {"lead_id": row.lead_id, "tier": row.tier, "linked_at": row.linked_at})
        for row in db.execute(query)
        if (row.lead_id, row.tier) != (said[row.order_id].lead_id, said[row.order_id].tier.value)
        and (said[row.order_id].tier is Tier.PERSON or row.tier != Tier.PERSON.value or not row.is_there)
    ]
    keep_past(db, formers)
