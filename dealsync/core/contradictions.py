"""Payments that were counted on one deal, and whose webhook, which came later, names another. A person decides."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from dealsync.core.candidacy import review
from dealsync.core.candidates import deals_of, hints_about
from dealsync.core.evidence import HintKind
from dealsync.core.leads import leads_named
from dealsync.core.models import Tier
from dealsync.core.plan import Review
from dealsync.core.policy import Policy
from dealsync.core.tables import Tables, order_of

NAMED = "it is the deal that the payment was counted on, or the one that a webhook of the payment names"


def contradicted(orders: pd.DataFrame, links: pd.DataFrame, tables: Tables, policy: Policy) -> Iterator[Review]:
    """Yield a review for each order whose link a webhook contradicts, by ascending id, unless a person made either."""
    mine = links[(links["tier"] != Tier.PERSON) & links["order_id"].isin(orders["order_id"])]
    mine = mine[~mine["order_id"].isin(tables.decisions["order_id"])]
    about = hints_about(mine["order_id"], tables)
    about = about[(about["kind"] == HintKind.EXPLICIT) & about["lead_text"].notna()]
    pairs = about[["order_id", "lead_text"]].merge(mine[["order_id", "lead_id"]], on="order_id")
    pairs = pairs[pairs["lead_text"].str.strip() != pairs["lead_id"].astype(str)].drop_duplicates()
    if pairs.empty:
        return
    leads = leads_named(pairs["lead_text"], tables.deals, tables.merges)
    pairs = pairs.assign(named=[leads.find(text).lead_id or 0 for text in pairs["lead_text"]])
    pairs = pairs[(pairs["named"] != 0) & (pairs["named"] != pairs["lead_id"])]
    deals = deals_of({*pairs["named"], *pairs["lead_id"]}, tables.deals)
    known = {row.order_id: order_of(row) for row in orders[orders["order_id"].isin(pairs["order_id"])].itertuples()}
    for order_id, group in pairs.groupby("order_id"):
        linked, named = int(group["lead_id"].iloc[0]), sorted(map(int, set(group["named"])))
        words = ", ".join(f"deal {lead_id}" for lead_id in named)
        reason = f"the payment was counted on deal {linked}, but its webhook, which came later, names {words}"
        candidates = [deals[lead_id] for lead_id in (linked, *named)]
        yield review(known[str(order_id)], candidates, reason, NAMED, policy)
