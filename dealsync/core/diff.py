"""Wanted tables against stored tables: the few rows on which something is owed.

pandas compares whole tables here; what to do about a row is decided in `rules.py`. A row may be kept in vain
(the rules then find nothing to do), but no row that owes something is dropped.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd

from dealsync.core.cases import Ground
from dealsync.core.match import Matches
from dealsync.core.models import WON_STATUS_ID, Money, OrderStatus, minor_digits
from dealsync.core.payments import in_scope, money_came, still_ours
from dealsync.core.policy import Policy
from dealsync.core.sales import SALE_KEYS, renewals, times_text, wanted_fields
from dealsync.core.tables import Tables
from dealsync.core.texts import plan_name


@dataclass(frozen=True, slots=True)
class Stand:
    """How everything stands that belongs to a deal: a row each, with the deal's columns prefixed `deal_`.

    `sales`: columns of `core.sales` and of the link, `wanted_<key>` a field, `whole` (price wanted, in price units),
    `first_order_id` (the paid order that the deal counts for; equal to `order_id` unless the deal was paid twice).
    `subscriptions` and `renewals`: columns of their tables, and the sale's `order_id`, `lead_id`, `evidence`.
    """

    sales: pd.DataFrame
    subscriptions: pd.DataFrame
    renewals: pd.DataFrame


def stand(tables: Tables, matches: Matches, policy: Policy) -> Stand:
    """Join sales, subscriptions and renewals of our stores and mode with the deals they belong to."""
    deals = tables.deals.add_prefix("deal_").rename(columns={"deal_lead_id": "lead_id"})
    rows = in_scope(tables.orders, policy).merge(matches.links, on="order_id").merge(deals, on="lead_id")
    rows = rows.join(wanted_fields(rows).add_prefix("wanted_"))
    rows["whole"] = _wholes(rows, policy)
    rows["first_order_id"] = _first_orders(rows)
    rows = rows.sort_values(["lead_id", "order_id"], ignore_index=True)
    place = rows[["order_id", "lead_id", "evidence", "total_minor", "deal_written"]]
    place = place.rename(columns={"total_minor": "sale_minor"})
    return Stand(
        sales=rows,
        subscriptions=in_scope(tables.subscriptions, policy).merge(place, on="order_id"),
        renewals=in_scope(renewals(tables), policy).merge(place, on="order_id"),
    )


def differing(rows: pd.DataFrame, ground: Ground, alarmed: Collection[str]) -> pd.DataFrame:
    """Return the sales on whose deal something is not as wanted, or a note, task or flag is owed.

    `alarmed`: sources of alarms that hold.
    """
    if rows.empty:
        return rows
    policy = ground.policy
    first = rows["order_id"] == rows["first_order_id"]
    paid, paying = still_ours(rows), money_came(rows)
    told = _young_enough(rows["paid_at"], policy)
    told_refund = _young_enough(rows["refunded_at"].fillna(rows["updated_at"]), policy)
    owed = ~first & paying
    owed |= ("order:" + rows["order_id"]).isin(alarmed)
    owed |= first & paying & rows["deal_written"].isna()
    owed |= first & (paying | (rows["subscription_id"] != "")) & _fields_differ(rows)
    owed |= paid & (rows["deal_status_id"] != WON_STATUS_ID)
    owed |= paid & first & price_differs(rows, policy)
    owed |= paid & first & (rows["currency"] != policy.account_currency)
    owed |= (
        paid & first & told & _without_cents(rows) & ~_settled("order", rows["order_id"], "flag:zero-decimal", ground)
    )
    owed |= paid & told & ~_settled("order", rows["order_id"], "note:paid", ground)
    refunds = "refund:" + rows["refunded_minor"].astype("str")
    owed |= (rows["refunded_minor"] > 0) & told_refund & ~_settled("order", rows["order_id"], refunds, ground)
    owed |= (rows["order_status"] == OrderStatus.REFUNDED) & (rows["deal_status_id"] == WON_STATUS_ID)
    owed |= (rows["order_status"] == OrderStatus.FRAUDULENT) & ~_settled("order", rows["order_id"], "fraud", ground)
    owed |= (rows["order_status"] == OrderStatus.FAILED) & ~_settled("order", rows["order_id"], "note:failed", ground)
    return rows[owed]


def unquiet(rows: pd.DataFrame, ground: Ground, alarmed: Collection[str]) -> pd.DataFrame:
    """Return the subscriptions that are not simply active or over, that changed, or whose alarms may have to end."""
    if rows.empty:
        return rows
    policy, status = ground.policy, rows["subscription_status"]
    told = _young_enough(rows["updated_at"], policy)
    ends = "churned:" + times_text(rows["ends_at"]) + ":tag"
    over = (status == "expired") & told & ~_settled("subscription", rows["subscription_id"], ends, ground)
    owed = over | ~status.isin(("active", "expired"))
    owed |= ("subscription:" + rows["subscription_id"]).isin(alarmed)
    owed |= (status != "expired") & _plan_differs(rows)
    owed |= (
        (rows["sale_minor"] <= 0)
        & _young_enough(rows["created_at"], policy)
        & ~_settled("subscription", rows["subscription_id"], "note:started", ground)
    )
    if policy.reminder is not None:
        owed |= (rows["renews_at"] > ground.now) & (rows["renews_at"] <= ground.now + policy.reminder)
    return rows[owed]


def untold(rows: pd.DataFrame, ground: Ground) -> pd.DataFrame:
    """Return the renewals that are not noted yet, or of which more was given back than is known in Kommo."""
    if rows.empty:
        return rows
    ids, policy = rows["invoice_id"], ground.policy
    owed = _young_enough(rows["created_at"], policy) & ~_settled("invoice", ids, "renewal", ground)
    told = _young_enough(rows["refunded_at"].fillna(rows["updated_at"]), policy)
    refunds = "refund:" + rows["refunded_minor"].astype("str")
    owed |= (rows["refunded_minor"] > 0) & told & ~_settled("invoice", ids, refunds, ground)
    owed |= (rows["refunded_minor"] >= rows["total_minor"]) & told & ~_settled("invoice", ids, "attention", ground)
    if policy.renewal_deals:
        owed |= _young_enough(rows["created_at"], policy) & ~_settled("invoice", ids, "deal", ground)
    return rows[owed]


def price_differs(rows: pd.DataFrame, policy: Policy) -> pd.Series:
    """Whether a deal's price is not what was paid for it; prices in other currencies cannot be compared."""
    return (rows["currency"] == policy.account_currency) & (rows["deal_price"] != rows["whole"])


def _wholes(rows: pd.DataFrame, policy: Policy) -> list[int]:
    minor = rows["total_minor"] - rows["tax_minor"] if policy.price_is_net else rows["total_minor"]
    pairs = list(zip(minor, rows["currency"], strict=True))
    units = {(m, c): Money(int(m), c).units(policy.price_digits) for m, c in set(pairs)}
    return [units[pair] for pair in pairs]


def _first_orders(rows: pd.DataFrame) -> pd.Series:
    """The order each deal counts for: the earliest that still holds its money, else the earliest that ever did, else
    the earliest at all."""
    ranked = rows.assign(spent=~still_ours(rows), free=~money_came(rows))
    ranked = ranked.sort_values(["spent", "free", "created_at", "order_id"])
    first = ranked.drop_duplicates("lead_id").set_index("lead_id")["order_id"]
    return rows["lead_id"].map(first)


def _fields_differ(rows: pd.DataFrame) -> pd.Series:
    differs = pd.Series(data=False, index=rows.index)
    for key in SALE_KEYS:
        differs |= rows[f"wanted_{key}"] != rows[f"deal_ls_{key}"].fillna("")
    return differs


def _plan_differs(rows: pd.DataFrame) -> pd.Series:
    """Whether the plan or the seats are not those that the deal's memory holds (`subscription.changed_note`)."""
    plans = {pair: json.dumps(plan_name(*pair) or "subscription") for pair in _pairs(rows)}
    seats = rows["quantity"].fillna(0).astype("int64")
    known = [
        f'"subscription:{i}:plan": {plans[pair]}' in memory
        and (not count or f'"subscription:{i}:seats": "{count}"' in memory)
        for i, pair, count, memory in zip(
            rows["subscription_id"], _pairs(rows), seats, rows["deal_written"].fillna(""), strict=True
        )
    ]
    return ~pd.Series(known, index=rows.index, dtype="bool")


def _pairs(rows: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(rows["product_name"], rows["variant_name"], strict=True))


def _without_cents(rows: pd.DataFrame) -> pd.Series:
    return rows["currency"].isin([currency for currency in rows["currency"].unique() if not minor_digits(currency)])


def _young_enough(times: pd.Series, policy: Policy) -> pd.Series:
    """Whether facts of these times are told in notes and tasks."""
    if policy.notify_since is None:
        return pd.Series(data=True, index=times.index)
    return times >= policy.notify_since


def _settled(kind: str, ids: pd.Series, effect: str | pd.Series, ground: Ground) -> pd.Series:
    """Whether an effect of objects is in the ledger, and was for the deal to which they belong now."""
    keys = f"{kind}:" + ids + ":" + effect
    return keys.isin(ground.states.keys()) & ~keys.isin(ground.elsewhere)
