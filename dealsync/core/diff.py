"""Wanted tables against stored tables: the few rows on which something is owed.

pandas compares whole tables here; what to do about a row is decided in `rules.py`. A row may be kept in vain
(the rules then find nothing to do), but no row that owes something is dropped.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dealsync.core.cases import Ground
from dealsync.core.match import Matches
from dealsync.core.models import WON_STATUS_ID, Money, OrderStatus, minor_digits
from dealsync.core.payments import in_scope, money_came, still_ours
from dealsync.core.policy import Policy
from dealsync.core.rows import by_distinct
from dealsync.core.sales import SALE_KEYS, renewals, times_text, wanted_columns
from dealsync.core.tables import Tables
from dealsync.core.texts import plan_name

DEAL_COLUMNS = ["lead_id", "status_id", "price", "written", "ls_checkout_link", *(f"ls_{key}" for key in SALE_KEYS)]
SALE_COLUMNS = [
    "order_id", "number", "order_status", "total_minor", "refunded_minor", "currency", "variant_id", "quantity",
    "created_at", "updated_at", "refunded_at", "receipt_url", "subtotal_minor", "tax_minor", "paid_at", "changed_at",
    "subscription_id", "subscription_status", "plan_product", "plan_variant", "seats", "renews_at", "ends_at",
    "portal_url", "started_at", "lifetime_minor", "all_refunded_minor",
]  # fmt: skip
LINKED_COLUMNS = ["order_id", "lead_id", "evidence"]
"""What the diff and the rules look at. The rest is not joined: with a million rows every column is felt."""


@dataclass(frozen=True, slots=True)
class Stand:
    """How everything stands that belongs to a deal: a row each, with the deal's columns prefixed `deal_`.

    `sales`: columns of `core.sales` (`SALE_COLUMNS`), of the link and of the deal (`DEAL_COLUMNS`), `whole` (price
    wanted, in price units), `first_order_id` (the paid order that the deal counts for; equal to `order_id` unless the
    deal was paid twice).
    `subscriptions` and `renewals`: columns of their tables, and the sale's `order_id`, `lead_id`, `evidence`.
    """

    sales: pd.DataFrame
    subscriptions: pd.DataFrame
    renewals: pd.DataFrame


def stand(tables: Tables, matches: Matches, policy: Policy) -> Stand:
    """Join sales, subscriptions and renewals of our stores and mode with the deals they belong to."""
    deals = tables.deals[DEAL_COLUMNS].add_prefix("deal_").rename(columns={"deal_lead_id": "lead_id"})
    orders = in_scope(tables.orders, policy)[SALE_COLUMNS]
    rows = orders.merge(matches.links[LINKED_COLUMNS], on="order_id").merge(deals, on="lead_id")
    rows = rows.sort_values(["lead_id", "order_id"], ignore_index=True)
    rows["whole"] = _wholes(rows, policy)
    rows["first_order_id"] = _first_orders(rows)
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
    owed |= _among(rows["order_id"], "order", alarmed)
    owed |= first & paying & rows["deal_written"].isna()
    owed |= paid & (rows["deal_status_id"] != WON_STATUS_ID)
    owed |= paid & first & price_differs(rows, policy)
    owed |= paid & first & (rows["currency"] != policy.account_currency)
    owed |= (rows["order_status"] == OrderStatus.REFUNDED) & (rows["deal_status_id"] == WON_STATUS_ID)
    # What costs more is asked only about rows that are not kept anyway.
    owed |= _unsettled(~owed & paid & first & told & _without_cents(rows), "order", rows, "flag:zero-decimal", ground)
    owed |= _unsettled(~owed & paid & told, "order", rows, "note:paid", ground)
    owed |= _unsettled(~owed & (rows["refunded_minor"] > 0) & told_refund, "order", rows, _refunds(rows), ground)
    fraud, failed = (rows["order_status"] == status for status in (OrderStatus.FRAUDULENT, OrderStatus.FAILED))
    owed |= _unsettled(~owed & fraud, "order", rows, "fraud", ground)
    owed |= _unsettled(~owed & failed, "order", rows, "note:failed", ground)
    unlike = ~owed & first & (paying | (rows["subscription_id"] != ""))
    owed |= unlike & fields_differ(rows, wanted_columns(rows))
    return rows[owed]


def unquiet(rows: pd.DataFrame, ground: Ground, alarmed: Collection[str]) -> pd.DataFrame:
    """Return the subscriptions that are not simply active or over, that changed, or whose alarms may have to end."""
    if rows.empty:
        return rows
    policy, status = ground.policy, rows["subscription_status"]
    told = _young_enough(rows["updated_at"], policy)
    ends = "churned:" + times_text(rows["ends_at"]) + ":tag"
    owed = ~status.isin(("active", "expired"))
    owed |= _among(rows["subscription_id"], "subscription", alarmed)
    owed |= (status != "expired") & _plan_differs(rows)
    owed |= _unsettled((status == "expired") & told, "subscription", rows, ends, ground)
    started = (rows["sale_minor"] <= 0) & _young_enough(rows["created_at"], policy)
    owed |= _unsettled(started, "subscription", rows, "note:started", ground)
    if policy.reminder is not None:
        owed |= (rows["renews_at"] > ground.now) & (rows["renews_at"] <= ground.now + policy.reminder)
    return rows[owed]


def untold(rows: pd.DataFrame, ground: Ground) -> pd.DataFrame:
    """Return the renewals that are not noted yet, or of which more was given back than is known in Kommo."""
    if rows.empty:
        return rows
    policy = ground.policy
    young = _young_enough(rows["created_at"], policy)
    told = _young_enough(rows["refunded_at"].fillna(rows["updated_at"]), policy)
    whole = (rows["refunded_minor"] >= rows["total_minor"]) & told
    owed = _unsettled(young, "invoice", rows, "renewal", ground)
    owed |= _unsettled((rows["refunded_minor"] > 0) & told, "invoice", rows, _refunds(rows), ground)
    owed |= _unsettled(whole, "invoice", rows, "attention", ground)
    if policy.renewal_deals:
        owed |= _unsettled(young, "invoice", rows, "deal", ground)
    return rows[owed]


def price_differs(rows: pd.DataFrame, policy: Policy) -> pd.Series:
    """Whether a deal's price is not what was paid for it; prices in other currencies cannot be compared."""
    return (rows["currency"] == policy.account_currency) & (rows["deal_price"] != rows["whole"])


def _wholes(rows: pd.DataFrame, policy: Policy) -> np.ndarray[Any, Any]:
    minor = rows["total_minor"] - rows["tax_minor"] if policy.price_is_net else rows["total_minor"]
    units = by_distinct(lambda m, c: Money(int(m), c).units(policy.price_digits), minor, rows["currency"])
    return units.astype("int64")


def _first_orders(rows: pd.DataFrame) -> pd.Series:
    """The order each deal counts for: the earliest that still holds its money, else the earliest that ever did, else
    the earliest at all."""
    ranked = rows[["order_id", "lead_id", "created_at"]].assign(spent=~still_ours(rows), free=~money_came(rows))
    ranked = ranked.sort_values(["spent", "free", "created_at", "order_id"])
    first = ranked.drop_duplicates("lead_id").set_index("lead_id")["order_id"]
    return rows["lead_id"].map(first)


def fields_differ(rows: pd.DataFrame, wanted: Iterable[tuple[str, pd.Series]]) -> pd.Series:
    """Whether any LS field of a deal is not as its sale wants it (`sales.wanted_columns`)."""
    differs = pd.Series(data=False, index=rows.index)
    for key, values in wanted:
        differs |= values != rows[f"deal_ls_{key}"].fillna("")
    return differs


def _plan_differs(rows: pd.DataFrame) -> pd.Series:
    """Whether the plan or the seats are not those that the deal's memory holds (`subscription.changed_note`)."""
    plans = by_distinct(
        lambda *pair: json.dumps(plan_name(*pair) or "subscription"), rows["product_name"], rows["variant_name"]
    )
    seats = rows["quantity"].fillna(0).astype("int64")
    # A deal remembers more than one subscription, so its memory is searched, not compared.
    known = [
        f'"subscription:{i}:plan": {plan}' in memory and (not count or f'"subscription:{i}:seats": "{count}"' in memory)
        for i, plan, count, memory in zip(
            rows["subscription_id"].to_numpy(),
            plans,
            seats.tolist(),
            rows["deal_written"].fillna("").to_numpy(),
            strict=True,
        )
    ]
    return ~pd.Series(known, index=rows.index, dtype="bool")


def _without_cents(rows: pd.DataFrame) -> pd.Series:
    return rows["currency"].isin([currency for currency in rows["currency"].unique() if not minor_digits(currency)])


def _young_enough(times: pd.Series, policy: Policy) -> pd.Series:
    """Whether facts of these times are told in notes and tasks."""
    if policy.notify_since is None:
        return pd.Series(data=True, index=times.index)
    return times >= policy.notify_since


def _refunds(rows: pd.DataFrame) -> pd.Series:
    return "refund:" + rows["refunded_minor"].astype("str")


def _among(ids: pd.Series, kind: str, sources: Collection[str]) -> pd.Series:
    """Whether objects are among sources such as "order:17"."""
    prefix = f"{kind}:"
    return ids.isin([source.removeprefix(prefix) for source in sources if source.startswith(prefix)])


def _unsettled(asked: pd.Series, kind: str, rows: pd.DataFrame, effect: str | pd.Series, ground: Ground) -> pd.Series:
    """Whether an effect of an object is asked for, and not in the ledger for the deal to which it belongs now."""
    if not asked.any():
        return asked  # to look into a large ledger takes as long for no key as for all
    ids = rows[f"{kind}_id"][asked]
    keys = f"{kind}:" + ids + ":" + (effect if isinstance(effect, str) else effect[asked])
    unsettled = asked.copy()
    unsettled[asked] = ~keys.isin(ground.states.keys()) | keys.isin(ground.elsewhere)
    return unsettled
