"""Payments that were counted on one deal, while evidence that came later names another. A person decides.

He may do so in Kommo: by writing the order's id into the LS field of the deal that is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from dealsync.core.candidacy import review
from dealsync.core.candidates import deals_of, hint_of, hints_about, typed_id
from dealsync.core.evidence import HintKind
from dealsync.core.leads import Leads
from dealsync.core.models import Link, Order, Tier
from dealsync.core.plan import Oddity, Question, Review
from dealsync.core.policy import Policy
from dealsync.core.tables import Tables, order_of
from dealsync.core.tiers import unfit

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
    known = {o.id: o for o in map(order_of, orders[orders["order_id"].isin(pairs["order_id"])].itertuples(index=False))}
    oddities: list[Oddity] = []
    links: list[Link] = []
    reviews: list[Review] = []
    for order_id, group in pairs.groupby("order_id"):
        order, linked = known[str(order_id)], int(group["linked"].iloc[0])
        named = sorted(set(_named(group, order, leads, oddities)) - {linked})
        if not named:
            continue
        if (moved := _moved_by_hand(order, linked, deals)) is not None:
            words = f"a person wrote the id of order {order.id} into the LS field of deal {moved}"
            links.append(Link(order.id, moved, Tier.FIELD, words))
        else:
            reviews.append(_review(order, linked, named, deals, policy))
    return Contradictions(tuple(links), tuple(reviews), tuple(dict.fromkeys(oddities)))


def _named(group: pd.DataFrame, order: Order, leads: Leads, oddities: list[Oddity]) -> Iterator[int]:
    """Yield the deals that believable hints name."""
    for hint in map(hint_of, group.itertuples(index=False)):
        if hint.kind is HintKind.CLAIM and (doubt := unfit(order, hint)):
            oddities.append(Oddity(f"order:{order.id}", f"the {hint.told} was not believed: {doubt}"))
            continue
        found = leads.find(hint.lead_text)
        if found.lead_id is None:
            words = f"the {hint.told} names a deal that is not there: {found.words}"
            oddities.append(Oddity(f"order:{order.id}", words))
        else:
            yield found.lead_id


def _moved_by_hand(order: Order, linked: int, deals: pd.DataFrame) -> int | None:
    """The one deal besides the linked one whose LS field holds the order's id: only a person can have written it."""
    marked = deals[deals["ls_order_id"].notna() & (deals["lead_id"] != linked)]
    ids = marked[typed_id(marked["ls_order_id"]) == order.id]["lead_id"]
    return int(ids.iloc[0]) if len(ids) == 1 else None


def _review(order: Order, linked: int, named: list[int], deals: pd.DataFrame, policy: Policy) -> Review:
    words = ", ".join(f"deal {lead_id}" for lead_id in named)
    reason = f"the payment was counted on deal {linked}, but evidence that came later names {words}"
    there = deals_of((linked, *named), deals)
    return review(order, there.values(), reason, NAMED, policy, Question.CONTRADICTED)
