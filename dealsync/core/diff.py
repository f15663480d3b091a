"""Wanted tables against stored tables: the few rows on which something is owed, and the drift counts.

pandas compares whole tables here; what to do about a row is decided in `rules.py`. A row may be kept in vain
(the rules then find nothing to do), but no row that owes something is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import pandas as pd

from dealsync.core.candidates import typed_id
from dealsync.core.mapping import plain_amount, stable_link
from dealsync.core.match import Matches
from dealsync.core.models import LOST_STATUS_ID, WON_STATUS_ID, Money, OrderStatus
from dealsync.core.payments import MONEY_CAME, in_scope, money_came, still_ours
from dealsync.core.plan import DRIFT_CLASSES
from dealsync.core.policy import Policy
from dealsync.core.tables import Tables

ACTIVE_SUBSCRIPTION = ("on_trial", "active", "past_due", "paused", "unpaid")


def sales(tables: Tables, matches: Matches, policy: Policy) -> pd.DataFrame:
    """Return one row per order and its deal: order columns, deal columns prefixed `deal_`, and

    `subscription_id` ("" if none), `whole` (price wanted, whole units), `first_order_id` (the paid order that the
    deal counts for; equal to `order_id` unless the deal was paid twice).
    """
    orders = in_scope(tables.orders, policy)
    deals = tables.deals.add_prefix("deal_").rename(columns={"deal_lead_id": "lead_id"})
    rows = orders.merge(matches.links, on="order_id").merge(deals, on="lead_id")
    started = tables.subscriptions.sort_values("subscription_id").drop_duplicates("order_id")
    rows = rows.merge(started[["order_id", "subscription_id"]], on="order_id", how="left")
    rows["subscription_id"] = rows["subscription_id"].fillna("")
    money = _money(rows)
    rows["whole"] = [m.whole for m in money]
    rows["first_order_id"] = _first_orders(rows)
    return rows.sort_values(["lead_id", "order_id"], ignore_index=True)


def differing(rows: pd.DataFrame, ledger: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """Return the rows of `sales` on which a deal is not as wanted, or a note, task or flag is owed."""
    settled = frozenset(ledger["idempotency_key"])
    first = rows["order_id"] == rows["first_order_id"]
    paid, paying = still_ours(rows), money_came(rows)
    told = _young_enough(rows["created_at"], policy)
    told_refund = _young_enough(rows["refunded_at"].fillna(rows["updated_at"]), policy)
    owed = ~first & paying
    owed |= first & paying & rows["deal_written"].isna()
    owed |= first & paying & _fields_differ(rows)
    owed |= paid & (rows["deal_status_id"] != WON_STATUS_ID)
    owed |= paid & first & _price_differs(rows, policy)
    owed |= paid & first & (rows["currency"] != policy.account_currency)
    owed |= paid & told & _unsettled(rows, "note:paid", settled)
    refund_keys = _keys(rows, "refund").add(":" + rows["refunded_minor"].astype(str))
    owed |= (rows["refunded_minor"] > 0) & told_refund & ~refund_keys.isin(settled)
    owed |= (rows["order_status"] == OrderStatus.REFUNDED) & (rows["deal_status_id"] == WON_STATUS_ID)
    owed |= (rows["order_status"] == OrderStatus.FRAUDULENT) & _unsettled(rows, "fraud", settled)
    owed |= (rows["order_status"] == OrderStatus.FAILED) & _unsettled(rows, "note:failed", settled)
    return rows[owed]


def drift(rows: pd.DataFrame, tables: Tables, matches: Matches, policy: Policy, now: datetime) -> dict[str, int]:
    """Return how many sales are out of step now, by class. What was flagged already still counts."""
    paid = still_ours(rows)
    first = rows["order_id"] == rows["first_order_id"]
    won = rows["deal_status_id"] == WON_STATUS_ID
    counts = {
        "paid_not_won": paid & first & ~won,
        "refunded_still_won": (rows["order_status"] == OrderStatus.REFUNDED) & first & won,
        "paid_twice": paid & ~first,
        "amount_differs": paid & first & _price_differs(rows, policy) & (rows["deal_price"] != 0),
    }
    found = {name: int(mask.sum()) for name, mask in counts.items()}
    found["paid_no_deal"] = len(matches.self_serve)
    found["subscription_no_deal"] = _subscriptions_without_deal(tables, matches, policy)
    found["won_never_paid"] = _won_never_paid(tables)
    found["stuck"] = _stuck(tables.deals, policy, now)
    return {name: found[name] for name in DRIFT_CLASSES}


def _money(rows: pd.DataFrame) -> list[Money]:
    return [Money(int(m), c) for m, c in zip(rows["total_minor"], rows["currency"], strict=True)]


def _first_orders(rows: pd.DataFrame) -> pd.Series:
    """The order each deal counts for: the earliest that still holds its money, else the earliest at all."""
    ranked = rows.assign(spent=~still_ours(rows)).sort_values(["spent", "created_at", "order_id"])
    first = ranked.drop_duplicates("lead_id").set_index("lead_id")["order_id"]
    return rows["lead_id"].map(first)


def _fields_differ(rows: pd.DataFrame) -> pd.Series:
    wanted: Mapping[str, pd.Series] = {
        "order_id": rows["order_id"],
        "order_number": rows["number"].astype(str),
        "subscription_id": rows["subscription_id"],
        "status": rows["order_status"].astype(str),
        "amount_paid": _amounts(rows["total_minor"], rows["currency"]),
        "refunded": _amounts(rows["refunded_minor"], rows["currency"]).where(rows["refunded_minor"] > 0, ""),
        "currency": rows["currency"],
        "receipt_link": rows["receipt_url"].fillna("").map(stable_link),
    }
    differs = pd.Series(data=False, index=rows.index)
    for key, values in wanted.items():
        differs |= (values != "") & (values != rows[f"deal_ls_{key}"].fillna(""))
    return differs


def _amounts(minor: pd.Series, currency: pd.Series) -> pd.Series:
    pairs = pd.DataFrame({"minor": minor, "currency": currency})
    text = {(m, c): plain_amount(Money(int(m), c)) for m, c in pairs.drop_duplicates().itertuples(index=False)}
    return pd.Series([text[pair] for pair in zip(minor, currency, strict=True)], index=minor.index, dtype="str")


def _price_differs(rows: pd.DataFrame, policy: Policy) -> pd.Series:
    return (rows["currency"] == policy.account_currency) & (rows["deal_price"] != rows["whole"])


def _young_enough(times: pd.Series, policy: Policy) -> pd.Series:
    """Whether facts of these times are told in notes and tasks."""
    if policy.notify_since is None:
        return pd.Series(data=True, index=times.index)
    return times >= policy.notify_since


def _keys(rows: pd.DataFrame, effect: str) -> pd.Series:
    return "order:" + rows["order_id"] + ":" + effect


def _unsettled(rows: pd.DataFrame, effect: str, settled: frozenset[str]) -> pd.Series:
    return ~_keys(rows, effect).isin(settled)


def _subscriptions_without_deal(tables: Tables, matches: Matches, policy: Policy) -> int:
    subscriptions = in_scope(tables.subscriptions, policy)
    active = subscriptions["subscription_status"].isin(ACTIVE_SUBSCRIPTION)
    return int((active & ~subscriptions["order_id"].isin(matches.links["order_id"])).sum())


def _won_never_paid(tables: Tables) -> int:
    """Deals won with an LS order id whose order brought no money, or does not exist."""
    deals = tables.deals[~tables.deals["is_deleted"]]
    marked = deals[(deals["status_id"] == WON_STATUS_ID) & (deals["ls_order_id"].fillna("") != "")]
    brought = tables.orders[tables.orders["order_status"].isin(MONEY_CAME)]["order_id"]
    return int((~typed_id(marked["ls_order_id"]).isin(brought)).sum())


def _stuck(deals: pd.DataFrame, policy: Policy, now: datetime) -> int:
    """Deals in the invoice stage on which nothing happened for `stuck_after`, by Kommo's own times."""
    waiting = deals["status_id"].isin([status_id for _, status_id in policy.invoice_statuses]) & ~deals["is_deleted"]
    waiting &= ~deals["status_id"].isin((WON_STATUS_ID, LOST_STATUS_ID))
    return int((waiting & (deals["updated_at"] <= now - policy.stuck_after)).sum())
