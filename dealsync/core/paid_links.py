"""Payments through a checkout of ours that another one had replaced: what was asked for had changed since."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from dealsync.core.candidates import custom_data
from dealsync.core.evidence import CHECKOUT_KEY
from dealsync.core.rows import rows_of
from dealsync.core.tables import Tables
from dealsync.core.telling import wish_of


def through_older_links(sales: pd.DataFrame, tables: Tables) -> frozenset[str]:
    """Return those of these sales (by order id) that were paid through an older link of their deal.

    The link in use is the one in the deal's LS field, or the newest where a person wrote something else there. Which
    one was paid is told by the mark in the custom data of a webhook; where none came, by product and price: then only
    a payment that fits an older link alone counts.
    """
    ours = tables.checkouts[(tables.checkouts["mark"] != "") & tables.checkouts["lead_text"].isin(_texts(sales))]
    if ours.empty:
        return frozenset()
    marked = sales[_texts(sales).isin(ours["lead_text"])]
    told = custom_data(marked["order_id"], tables)
    of_deal = {lead_text: list(rows_of(rows)) for lead_text, rows in ours.groupby("lead_text")}
    rows: Iterator[Any] = rows_of(marked)
    return frozenset(
        str(row.order_id)
        for row in rows
        if _is_older(row, told.get(row.order_id, {}).get(CHECKOUT_KEY, ""), of_deal[str(row.lead_id)])
    )


def _texts(sales: pd.DataFrame) -> pd.Series:
    return sales["lead_id"].astype("str")


def _is_older(sale: Any, mark: str, checkouts: list[Any]) -> bool:
    """`checkouts`: of the deal. One that was opened after the payment has replaced nothing by then."""
    known = [c for c in checkouts if c.created_at <= sale.created_at]
    if not known or (mark and wish_of(mark) not in {wish_of(c.mark) for c in known}):
        return False  # a link that came along with a deal that was merged into this one
    newest = max(known, key=lambda c: c.created_at)
    in_use = next((c for c in known if c.url == sale.deal_ls_checkout_link), newest)
    if mark:
        return wish_of(mark) != wish_of(in_use.mark)
    return not _fits(sale, in_use) and any(_fits(sale, c) for c in _others(in_use, known))


def _others(in_use: Any, checkouts: list[Any]) -> Iterator[Any]:
    return (c for c in checkouts if wish_of(c.mark) != wish_of(in_use.mark))


def _fits(sale: Any, checkout: Any) -> bool:
    if checkout.variant_id != sale.variant_id or checkout.created_at > sale.created_at:
        return False
    if pd.isna(checkout.custom_price):
        return True
    amounts = [int(amount) for amount in (sale.total_minor, sale.subtotal_minor) if not pd.isna(amount)]
    return int(checkout.custom_price) * int(sale.quantity) in amounts
