"""The reverse diff: everything that is out of step now, whether a flag was raised about it or not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pandas as pd

from dealsync.core.candidates import typed_id
from dealsync.core.diff import price_differs
from dealsync.core.match import Matches
from dealsync.core.models import LOST_STATUS_ID, WON_STATUS_ID, Order, OrderStatus
from dealsync.core.payments import in_scope, money_came, still_ours
from dealsync.core.plan import Drift, Kind
from dealsync.core.policy import Policy
from dealsync.core.sales import LIVING, TRIAL
from dealsync.core.tables import Tables


def drifts(sales: pd.DataFrame, tables: Tables, matches: Matches, policy: Policy, now: datetime) -> tuple[Drift, ...]:
    """Return a row for each thing that is out of step, by class, then oldest first."""
    paid, won = still_ours(sales), sales["deal_status_id"] == WON_STATUS_ID
    first = sales["order_id"] == sales["first_order_id"]
    refunded_at = sales["refunded_at"].fillna(sales["updated_at"])
    rows = [
        *_of("paid_not_won", sales[paid & first & ~won], "paid_at"),
        *map(_without_deal, matches.self_serve),
        *_of(
            "refunded_still_won",
            sales.assign(since=refunded_at)[(sales["order_status"] == OrderStatus.REFUNDED) & first & won],
            "since",
        ),
        *_of_deals("won_never_paid", never_paid(tables, policy)),
        *_of("paid_twice", sales[paid & ~first], "paid_at"),
        *_of(
            "amount_differs", sales[paid & first & price_differs(sales, policy) & (sales["deal_price"] != 0)], "paid_at"
        ),
        *_subscriptions(tables, matches, policy),
        *_of_deals("stuck", stuck(tables.deals, policy, now)),
    ]
    return tuple(sorted(rows, key=lambda row: (row.drift, row.since, row.source)))


def never_paid(tables: Tables, policy: Policy) -> pd.DataFrame:
    """Return the deals won with an LS order id whose order brought no money, or does not exist."""
    deals = tables.deals
    won = ~deals["is_deleted"] & (deals["status_id"] == WON_STATUS_ID)
    orders = _of_real_money(tables.orders, policy)
    brought = orders[money_came(orders) | orders["subscription_status"].isin(LIVING)]["order_id"]
    # What dealsync won without money, a trial or a free plan, it won by policy.
    ours = tables.ledger[tables.ledger["kind"].isin((Kind.CLOSE, Kind.CREATE_DEAL))]["lead_id"]
    odd = won & (deals["ls_order_id"].fillna("") != "") & ~deals["ls_order_id"].isin(brought)
    marked = deals[odd & ~deals["lead_id"].isin(ours)]
    found = marked[~typed_id(marked["ls_order_id"]).isin(brought)]
    return found.assign(since=found["closed_at"].fillna(found["updated_at"]))


def surely_never_paid(tables: Tables, policy: Policy) -> pd.DataFrame:
    """Return those of them about which there is no doubt: an order from before all that was ever read may be paid."""
    found, orders = never_paid(tables, policy), _of_real_money(tables.orders, policy)
    typed = pd.to_numeric(typed_id(found["ls_order_id"]), errors="coerce")
    oldest = pd.to_numeric(orders["order_id"], errors="coerce").min()
    known = typed_id(found["ls_order_id"]).isin(orders["order_id"])
    doubtless: pd.DataFrame = found[known | (typed >= oldest) | (typed.isna() & (len(orders) > 0))]
    return doubtless


def _of_real_money(orders: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """In live mode, what was bought in test mode paid for nothing. In test mode, nobody knows all that was paid."""
    return orders if policy.test_mode else orders[~orders["test_mode"]]


def stuck(deals: pd.DataFrame, policy: Policy, now: datetime) -> pd.DataFrame:
    """Return the deals in the invoice stage for `stuck_after`, by Kommo's own times."""
    found = waiting(deals, policy)
    since = found["entered_at"].fillna(found["updated_at"])
    return found.assign(since=since)[since <= now - policy.stuck_after]


def since_when(deals: pd.DataFrame, policy: Policy, now: datetime) -> frozenset[int]:
    """Return the deals that may be stuck, though something else about them changed lately: their events tell."""
    found = waiting(deals, policy)
    limit = now - policy.stuck_after
    unclear = found["entered_at"].isna() & (found["updated_at"] > limit) & (found["created_at"] <= limit)
    return frozenset(found[unclear]["lead_id"].astype(int))


def waiting(deals: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """Return the open deals that wait for a payment."""
    stages = frozenset(policy.invoice_statuses)
    in_stage = deals["status_id"].isin([status_id for _, status_id in stages]) & ~deals["is_deleted"]
    in_stage &= ~deals["status_id"].isin((WON_STATUS_ID, LOST_STATUS_ID))
    return deals[in_stage]


def _of(drift: str, rows: pd.DataFrame, since: str) -> Iterator[Drift]:
    for order_id, lead_id, at in zip(rows["order_id"], rows["lead_id"], rows[since], strict=True):
        yield Drift(drift, f"order:{order_id}", int(lead_id), at.to_pydatetime())


def _of_deals(drift: str, deals: pd.DataFrame) -> Iterator[Drift]:
    for lead_id, at in zip(deals["lead_id"], deals["since"], strict=True):
        yield Drift(drift, f"lead:{lead_id}", int(lead_id), at.to_pydatetime())


def _without_deal(order: Order) -> Drift:
    return Drift("paid_no_deal", f"order:{order.id}", None, order.paid_at or order.created_at)


def _subscriptions(tables: Tables, matches: Matches, policy: Policy) -> Iterator[Drift]:
    rows = in_scope(tables.subscriptions, policy)
    active = rows["subscription_status"].isin((*LIVING, TRIAL))
    rows = rows[active & ~rows["order_id"].isin(matches.links["order_id"])]
    for subscription_id, at in zip(rows["subscription_id"], rows["created_at"], strict=True):
        yield Drift("subscription_no_deal", f"subscription:{subscription_id}", None, at.to_pydatetime())
