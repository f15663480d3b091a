"""Which orders count: of our stores, in our mode, with money that came."""

from __future__ import annotations

import pandas as pd

from dealsync.core.models import Order, OrderStatus
from dealsync.core.policy import Policy
from dealsync.core.rows import where

MONEY_CAME = (OrderStatus.PAID, OrderStatus.PARTIAL_REFUND, OrderStatus.REFUNDED, OrderStatus.FRAUDULENT)
STILL_OURS = (OrderStatus.PAID, OrderStatus.PARTIAL_REFUND)


def money_came(orders: pd.DataFrame) -> pd.Series:
    """Which orders brought money once, whatever became of it. A total of zero is no payment."""
    return orders["order_status"].isin(MONEY_CAME) & (orders["total_minor"] > 0)


def still_ours(orders: pd.DataFrame) -> pd.Series:
    """Which orders brought money that was not all given back."""
    return orders["order_status"].isin(STILL_OURS) & (orders["total_minor"] > 0)


def in_scope(rows: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """Return the rows of the configured stores and mode; the others never touch a deal."""
    return where(rows, rows["store_id"].isin(policy.store_ids) & (rows["test_mode"] == policy.test_mode))


def same_purchase(order: Order, other: Order | None) -> bool:
    """Whether two orders are for the same product at the same price."""
    return other is not None and (other.variant_id, other.total) == (order.variant_id, order.total)
