"""One row per sale: an order, with what its subscription and invoices add to it.

The money of a subscription comes as its first order and as invoices. The `initial` invoice repeats the order and is
never counted beside it. An order of zero (a trial) is paid by the first invoice that brought money; all other
invoices are renewals. Source: Lemon Squeezy reference, "Money rules for reconciliation".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from dealsync.core.mapping import FIELD_KEYS, plain_amount, stable_link
from dealsync.core.models import Money, OrderStatus
from dealsync.core.rows import by_distinct
from dealsync.core.tables import Tables
from dealsync.core.texts import plan_name

INVOICE_PAID = ("paid", "refunded", "partial_refund", "partial_refunded")
"""Statuses of invoices whose money came. Both spellings of the partial refund are documented."""
INITIAL = "initial"
LIVING = ("active", "past_due", "unpaid", "paused")
"""Statuses of subscriptions that somebody uses."""
TRIAL = "on_trial"
FIRST_MINUTE = timedelta(minutes=1)
"""How long after its start a subscription may give the moment of purchase as its renewal (reference, 7.4)."""
_OF_SUBSCRIPTION = {
    "subscription_id": "subscription_id",
    "subscription_status": "subscription_status",
    "product_name": "plan_product",
    "variant_name": "plan_variant",
    "quantity": "seats",
    "renews_at": "renews_at",
    "ends_at": "ends_at",
    "portal_url": "portal_url",
    "created_at": "started_at",
    "updated_at": "subscription_updated_at",
}


def counted(tables: Tables) -> Tables:
    """Return the tables with sales in place of orders, and of the invoices those whose money came.

    Sales are the orders with money, refunds and status as they count, and the columns `paid_at`, `subscription_id`
    ("" if none) with status, plan, seats and times of the first subscription that the order started,
    `lifetime_minor` (all its money that was not given back, in its currency), `all_refunded_minor`, and `changed_at`
    (the latest change of any of its objects). The invoices have `order_id`, and `is_renewal` for those that brought
    money beside their order's: renewals, and charges for changed plans.
    """
    invoices = _with_orders(tables)
    return replace(tables, orders=_as_sales(tables, invoices), invoices=invoices)


def renewals(tables: Tables) -> pd.DataFrame:
    """Return the renewals of counted tables."""
    return tables.invoices[tables.invoices["is_renewal"]]


def _as_sales(tables: Tables, invoices: pd.DataFrame) -> pd.DataFrame:
    started = tables.subscriptions.sort_values("subscription_id").drop_duplicates("order_id")
    columns = started[["order_id", *_OF_SUBSCRIPTION]].rename(columns=_OF_SUBSCRIPTION)
    rows = tables.orders.merge(columns, on="order_id", how="left")
    for name in ("subscription_id", "subscription_status", "plan_product", "plan_variant"):
        rows[name] = rows[name].fillna("")
    rows = _counted_with_invoices(rows, invoices)
    return _with_sums(rows, invoices)


def _with_orders(tables: Tables) -> pd.DataFrame:
    """Invoices whose money came, each with the order of its subscription and what it counts as."""
    invoices = tables.invoices[
        tables.invoices["invoice_status"].isin(INVOICE_PAID) & (tables.invoices["total_minor"] > 0)
    ]
    orders = tables.orders[["order_id", "total_minor", "currency"]].rename(
        columns={"total_minor": "order_minor", "currency": "order_currency"}
    )
    rows = invoices.merge(tables.subscriptions[["subscription_id", "order_id"]], on="subscription_id")
    rows = rows.merge(orders, on="order_id").sort_values(["created_at", "invoice_id"])
    free = rows["order_minor"] <= 0
    rows["is_first"] = (free & ~rows.duplicated("order_id")) | (~free & (rows["billing_reason"] == INITIAL))
    rows["is_renewal"] = ~rows["is_first"] & (free | (rows["billing_reason"] != INITIAL))
    # Initial invoices of 2023 came in dollars whatever the order's currency: their refunds are not the order's.
    rows["is_first"] &= free | (rows["currency"] == rows["order_currency"])
    return rows.drop(columns=["order_minor", "order_currency"])


def _counted_with_invoices(rows: pd.DataFrame, invoices: pd.DataFrame) -> pd.DataFrame:
    """Orders of zero take the money of their first invoice; a refund counts once, whichever object shows it."""
    first = invoices[invoices["is_first"]].drop_duplicates("order_id").set_index("order_id")
    has_first = rows["order_id"].isin(first.index)
    rows["paid_at"] = rows["created_at"]
    if not has_first.any():
        return rows
    mine = first.reindex(rows["order_id"]).set_index(rows.index)
    free = has_first & (rows["total_minor"] <= 0) & rows["order_status"].isin((OrderStatus.PAID, OrderStatus.REFUNDED))
    rows["total_minor"] = rows["total_minor"].mask(free, mine["total_minor"]).astype("int64")
    rows["currency"] = rows["currency"].mask(free, mine["currency"])
    rows["tax_minor"] = rows["tax_minor"].mask(free, mine["tax_minor"]).astype("int64")
    rows["paid_at"] = rows["paid_at"].mask(free, mine["created_at"])
    rows["order_status"] = rows["order_status"].mask(free, OrderStatus.PAID.value)
    more = has_first & (mine["refunded_minor"].fillna(0) > rows["refunded_minor"])
    rows["refunded_minor"] = rows["refunded_minor"].mask(more, mine["refunded_minor"]).astype("int64")
    rows["refunded_at"] = rows["refunded_at"].mask(more, mine["refunded_at"].fillna(mine["updated_at"]))
    whole = more & (rows["refunded_minor"] >= rows["total_minor"])
    ours = rows["order_status"].isin((OrderStatus.PAID, OrderStatus.PARTIAL_REFUND))
    rows["order_status"] = rows["order_status"].mask(more & ours, OrderStatus.PARTIAL_REFUND.value)
    rows["order_status"] = rows["order_status"].mask(whole & ours, OrderStatus.REFUNDED.value)
    return rows


def _with_sums(rows: pd.DataFrame, invoices: pd.DataFrame) -> pd.DataFrame:
    """Add what came and what went back over the life of each sale."""
    later = invoices[invoices["is_renewal"]].merge(rows[["order_id", "currency"]], on=["order_id", "currency"])
    sums = later.groupby("order_id")[["total_minor", "refunded_minor"]].sum().reindex(rows["order_id"]).fillna(0)
    came, back = (sums[name].astype("int64").to_numpy() for name in ("total_minor", "refunded_minor"))
    counts = rows["order_status"].isin((OrderStatus.PAID, OrderStatus.PARTIAL_REFUND, OrderStatus.REFUNDED))
    kept = (rows["total_minor"] - rows["refunded_minor"]).where(counts, 0).clip(lower=0)
    rows["lifetime_minor"] = kept + came - back
    rows["all_refunded_minor"] = rows["refunded_minor"] + back
    latest = invoices.groupby("order_id")["updated_at"].max().reindex(rows["order_id"]).set_axis(rows.index)
    times = pd.concat([rows["updated_at"], rows["subscription_updated_at"], latest], axis=1)
    rows["changed_at"] = times.max(axis=1)
    return rows


def wanted_fields(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the LS fields that the deals of sales should hold, a column a key; "" where there is nothing to say."""
    return pd.DataFrame(dict(wanted_columns(rows)), index=rows.index)


def wanted_columns(rows: pd.DataFrame) -> Iterator[tuple[str, pd.Series]]:
    """Yield each key of `wanted_fields` with its column, one after the other: a million rows need not hold them all."""
    subscribed, paid = rows["subscription_id"] != "", rows["total_minor"] > 0
    trusted = rows["renews_at"] > rows["started_at"] + FIRST_MINUTE
    currency, given_back = rows["currency"], rows["all_refunded_minor"]
    yield "order_id", rows["order_id"]
    yield "order_number", rows["number"].astype("str")
    yield "subscription_id", rows["subscription_id"]
    yield "status", rows["order_status"].astype("str")
    yield "amount_paid", _amounts(rows["total_minor"], currency).where(paid | ~subscribed, "0")
    yield "refunded", _amounts(given_back, currency).where(given_back > 0, "")
    yield "currency", currency
    yield "receipt_link", _links(rows["receipt_url"])
    yield "subscription_status", rows["subscription_status"]
    yield "plan", _text(by_distinct(plan_name, rows["plan_product"], rows["plan_variant"]), rows)
    yield "seats", rows["seats"].astype("str").where(rows["seats"].fillna(0) > 0, "")
    yield "renews_at", times_text(rows["renews_at"].where(trusted))
    yield "ends_at", times_text(rows["ends_at"])
    yield "lifetime_revenue", _amounts(rows["lifetime_minor"], currency)
    yield "customer_portal", _links(rows["portal_url"])


SALE_KEYS = tuple(key for key in FIELD_KEYS if key not in ("checkout_link", "invoice_id"))
"""The fields that follow from sales; the others are written when a checkout or a renewal's deal is made."""


def _amounts(minor: pd.Series, currency: pd.Series) -> pd.Series:
    return _text(by_distinct(lambda m, c: plain_amount(Money(int(m), c)), minor, currency), minor)


def _links(urls: pd.Series) -> pd.Series:
    """Links without their query. Every one is another, so that there is nothing to save but those that are absent."""
    found, there = np.full(len(urls), "", dtype="object"), urls.notna().to_numpy()
    found[there] = [stable_link(url) for url in urls.to_numpy()[there]]
    return _text(found, urls)


def times_text(times: pd.Series) -> pd.Series:
    """Return times as fields and keys hold them (`mapping.plain_time`); "" where there is none."""
    found, there = np.full(len(times), "", dtype="object"), times.notna().to_numpy()
    utc = times[there].dt.tz_convert(None).to_numpy().astype("datetime64[s]")
    found[there] = np.strings.add(np.datetime_as_string(utc), "Z")
    return _text(found, times)


def _text(values: np.ndarray[Any, Any], like: pd.Series | pd.DataFrame) -> pd.Series:
    return pd.Series(values, index=like.index, dtype="str")
