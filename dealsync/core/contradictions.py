"""Payments that were counted on one deal, while evidence that came later names another. A person decides.

He may do so in Kommo: by writing the order's id into the LS field of the deal that is right.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from dealsync.core.candidacy import review
from dealsync.core.candidates import deals_of, hint_of, hints_about, typed_id
from dealsync.core.leads import Leads
from dealsync.core.models import Link, Order, Tier
from dealsync.core.plan import Oddity, Question, Review
from dealsync.core.policy import Policy
from dealsync.core.rows import rows_of
from dealsync.core.tables import Tables, order_of
from dealsync.core.tiers import believed

NAMED = "the payment was counted on it, or its webhook or claim link names it"


@dataclass(frozen=True, slots=True)
class Contradictions:
    """What was found, by ascending order id: links that a person moved, questions, and evidence not believed."""

    links: tuple[Link, ...] = ()
    reviews: tuple[Review, ...] = ()
    oddities: tuple[Oddity, ...] = ()


def against_links(orders: pd.DataFrame, links: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    """Return the hints that name another deal than the one an order is linked to, unless a person decided.

    Columns of `Tables.hints`, and `linked`: the deal of the link.
    """
    if tables.hints.empty:
        return tables.hints.assign(linked=pd.Series(dtype="int64"))
    mine = links[(links["tier"] != Tier.PERSON) & links["order_id"].isin(orders["order_id"])]
    mine = mine[~mine["order_id"].isin(tables.decisions["order_id"])]
    about = hints_about(mine["order_id"], tables)
    about = about[about["lead_text"].notna()]
    pairs = about.merge(mine[["order_id", "lead_id"]].rename(columns={"lead_id": "linked"}), on="order_id")
    return pairs[pairs["lead_text"].str.strip() != pairs["linked"].astype(str)]


def contradicted(
    pairs: pd.DataFrame, orders: pd.DataFrame, deals: pd.DataFrame, leads: Leads, policy: Policy
) -> Contradictions:
    """Return what follows from `against_links`; `deals` are the ones that are there."""
    known = {o.id: o for o in map(order_of, rows_of(orders[orders["order_id"].isin(pairs["order_id"])]))}
    marked = _marked(pairs["order_id"], deals)
    oddities: dict[Oddity, None] = {}
    links: list[Link] = []
    reviews: list[Review] = []
    for order_id, group in pairs.groupby("order_id"):
        order, linked = known[str(order_id)], int(group["linked"].iloc[0])

        def doubt(reason: str, source: str = f"order:{order_id}") -> None:
            oddities[Oddity(source, reason)] = None

        hints = map(hint_of, rows_of(group))
        named = {lead_id for _, lead_id, _ in believed(order, hints, leads, doubt)} - {linked}
        # Only a person can have written the id into another deal than the linked one.
        by_hand = marked.get(order.id, set()) - {linked}
        if named and len(by_hand) == 1:
            (moved,) = by_hand
            words = f"a person wrote the id of order {order.id} into the LS field of deal {moved}"
            links.append(Link(order.id, moved, Tier.FIELD, words))
        elif named:
            reviews.append(_review(order, linked, sorted(named), deals, policy))
    return Contradictions(tuple(links), tuple(reviews), tuple(oddities))


def _marked(order_ids: pd.Series, deals: pd.DataFrame) -> dict[str, set[int]]:
    """The deals whose LS field holds the id of one of these orders, by order id."""
    filled = deals[["lead_id", "ls_order_id"]].dropna() if len(order_ids) else deals.iloc[:0]
    ids = typed_id(filled["ls_order_id"])
    found: dict[str, set[int]] = {}
    for order_id, lead_id in zip(ids[mine := ids.isin(order_ids)], filled["lead_id"][mine], strict=True):
        found.setdefault(order_id, set()).add(int(lead_id))
    return found


def _review(order: Order, linked: int, named: list[int], deals: pd.DataFrame, policy: Policy) -> Review:
    words = ", ".join(f"deal {lead_id}" for lead_id in named)
    reason = f"the payment was counted on deal {linked}, but evidence that came later names {words}"
    there = deals_of((linked, *named), deals)
    return review(order, there.values(), reason, NAMED, policy, Question.CONTRADICTED)
