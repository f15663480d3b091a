"""The tables of an account in which everything occurs that the planner looks at, and one sale in a hundred has drifted.

As many deals as orders. Three in ten orders started a subscription, renewed once; every deal has a contact with the
buyer's e-mail; what was done before is in the ledger. Per 1,000 orders: 5 paid ones whose deal is open, 2 that nobody
has linked yet, one refunded whose deal is won, one deal with an edited field, one subscription cancelled.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from dealsync.core.mapping import FIELD_KEYS
from dealsync.core.owners import Owners, RotaUser
from dealsync.core.policy import Funnel, Policy
from dealsync.core.tables import Tables
from tests.builders import World

NOW = datetime(2026, 6, 1, tzinfo=UTC)
POLICY = Policy(
    frozenset({"1"}), False, (Funnel(1, 3, 4),), "USD", Owners(users=(RotaUser(501),), default=501),
    notify_since=NOW - timedelta(days=2000),
)  # fmt: skip
PER_THOUSAND = 10
"""Sales that have drifted."""
OPEN, WON = 2, 142


def build(size: int) -> Tables:
    """Return the tables of an account with `size` orders and as many deals."""
    number = np.arange(size)
    place = number % 1000  # where an order stands in its thousand decides what it is
    subscribed = number % 10 < 3
    orders = _orders(number, place)
    subscriptions = _subscriptions(orders[subscribed].reset_index(drop=True), place[subscribed])
    invoices = _invoices(subscriptions)
    linked = ~np.isin(place, (205, 405))
    links = pd.DataFrame({"order_id": orders["order_id"], "lead_id": number, "tier": "field", "evidence": "x"})
    return replace(
        World().tables(),
        orders=orders,
        subscriptions=subscriptions,
        invoices=invoices,
        deals=_deals(orders, subscriptions, place),
        contact_emails=pd.DataFrame({"contact_id": number, "email": orders["user_email"]}),
        lead_contacts=pd.DataFrame({"lead_id": number, "contact_id": number}),
        links=links[linked].reset_index(drop=True),
        ledger=_ledger(orders, invoices, place, linked),
    )


def _orders(number: np.ndarray[Any, Any], place: np.ndarray[Any, Any]) -> pd.DataFrame:
    ids = pd.Series(number.astype(str), dtype="str")
    at = _times(number)
    price = 4900 + (number % 40) * 1000
    back = place == 505
    receipts = "https://app.lemonsqueezy.com/my-orders/" + ids
    return pd.DataFrame(
        {"order_id": ids, "store_id": _same("1", ids), "number": number,
         "order_status": pd.Series(np.where(back, "refunded", "paid"), dtype="str"), "total_minor": price,
         "refunded_minor": np.where(back, price, 0), "currency": _same("USD", ids),
         "user_email": "buyer" + ids + "@example.com", "user_name": "Buyer " + ids, "product_name": _same("Pro", ids),
         "variant_name": _same("Yearly", ids), "variant_id": _same("31", ids), "quantity": 1, "test_mode": False,
         "created_at": at, "updated_at": at, "refunded_at": at.where(pd.Series(back)),
         "receipt_url": receipts + "?signature=" + ids, "identifier": ids, "customer_id": ids,
         "product_id": _same("21", ids), "subtotal_minor": pd.Series(price, dtype="Int64"), "discount_minor": 0,
         "tax_minor": 0, "setup_fee_minor": 0}
    )  # fmt: skip


def _subscriptions(orders: pd.DataFrame, place: np.ndarray[Any, Any]) -> pd.DataFrame:
    ids, at = "s" + orders["order_id"], orders["created_at"]
    cancelled = pd.Series(place == 602)
    return pd.DataFrame(
        {"subscription_id": ids, "store_id": _same("1", ids), "order_id": orders["order_id"],
         "subscription_status": pd.Series(np.where(cancelled, "cancelled", "active"), dtype="str"),
         "user_email": orders["user_email"], "product_name": orders["product_name"],
         "variant_name": orders["variant_name"], "test_mode": False, "created_at": at, "updated_at": at,
         "renews_at": at + timedelta(days=730), "ends_at": (at + timedelta(days=730)).where(cancelled),
         "trial_ends_at": _none(ids, at.dtype), "resumes_at": _none(ids, at.dtype), "is_cancelled": cancelled,
         "quantity": pd.Series(5, index=ids.index, dtype="Int64"), "variant_id": orders["variant_id"],
         "portal_url": "https://store.lemonsqueezy.com/billing/" + ids + "?signature=x"}
    )  # fmt: skip


def _invoices(subscriptions: pd.DataFrame) -> pd.DataFrame:
    """What came with each order, and one renewal a year later."""
    first = pd.DataFrame(
        {"invoice_id": "i" + subscriptions["order_id"], "store_id": subscriptions["store_id"],
         "subscription_id": subscriptions["subscription_id"], "billing_reason": _same("initial", subscriptions),
         "invoice_status": _same("paid", subscriptions), "total_minor": 4900, "tax_minor": 0, "refunded_minor": 0,
         "currency": _same("USD", subscriptions), "test_mode": False, "created_at": subscriptions["created_at"],
         "updated_at": subscriptions["created_at"],
         "refunded_at": _none(subscriptions, subscriptions["created_at"].dtype)}
    )  # fmt: skip
    at = subscriptions["created_at"] + timedelta(days=365)
    renewed = first.assign(
        invoice_id="r" + subscriptions["order_id"], billing_reason=_same("renewal", first), created_at=at, updated_at=at
    )
    return pd.concat([first, renewed], ignore_index=True)


def _deals(orders: pd.DataFrame, subscriptions: pd.DataFrame, place: np.ndarray[Any, Any]) -> pd.DataFrame:
    ids, at = orders["order_id"], orders["created_at"]
    price = orders["total_minor"] // 100
    amounts = price.astype("str")
    unlinked = pd.Series(np.isin(place, (205, 405)))
    status = np.where(np.isin(place, (5, 15, 25, 35, 45)) | unlinked, OPEN, WON)
    mine = subscriptions.set_index("order_id").reindex(ids).set_index(ids.index)
    subscribed = mine["subscription_id"].notna()
    memory = '{"subscription:' + mine["subscription_id"] + ':plan": "Pro (Yearly)", "subscription:'
    memory += mine["subscription_id"] + ':seats": "5"}'
    renews = mine["renews_at"].dt.strftime("%Y-%m-%dT%H:%M:%SZ").astype("str")
    ends = mine["ends_at"].dt.strftime("%Y-%m-%dT%H:%M:%SZ").astype("str")
    stored = {
        "order_id": ids,
        "order_number": ids,
        "subscription_id": mine["subscription_id"],
        "status": orders["order_status"],
        "amount_paid": amounts,
        "refunded": amounts.where(orders["refunded_minor"] > 0, None),
        "currency": orders["currency"].mask(pd.Series(place == 705), "EUR"),
        "receipt_link": "https://app.lemonsqueezy.com/my-orders/" + ids,
        "subscription_status": mine["subscription_status"].where(pd.Series(place != 602), "active"),
        "plan": pd.Series("Pro (Yearly)", index=ids.index, dtype="str").where(subscribed, None),
        "seats": pd.Series("5", index=ids.index, dtype="str").where(subscribed, None),
        "renews_at": renews,
        "ends_at": ends.where(pd.Series(place != 602), None),
        "lifetime_revenue": (price * (orders["refunded_minor"] == 0) + 49 * subscribed).astype("str"),
        "customer_portal": "https://store.lemonsqueezy.com/billing/" + mine["subscription_id"],
    }
    held = {
        f"ls_{key}": stored.get(key, _none(ids, "str")).mask(unlinked, None).astype("str") for key in FIELD_KEYS
    }  # what is not linked was never written to
    return pd.DataFrame(
        {"lead_id": np.arange(len(orders)), "name": "Deal " + ids, "pipeline_id": 1, "status_id": status,
         "price": price, "responsible_user_id": pd.Series(501, index=ids.index, dtype="Int64"),
         "created_at": at - timedelta(days=3), "updated_at": at, "closed_at": at.where(pd.Series(status == WON)),
         "is_deleted": False, "written": memory.fillna("{}").mask(unlinked, None),
         "entered_at": at - timedelta(days=1), "entered_by": _none(ids, "Int64"), **held}
    )  # fmt: skip


def _ledger(
    orders: pd.DataFrame, invoices: pd.DataFrame, place: np.ndarray[Any, Any], linked: np.ndarray[Any, Any]
) -> pd.DataFrame:
    """Every deal was closed and noted, every renewal noted; what has drifted was not."""
    done = orders[linked & ~np.isin(place, (5, 15, 25, 35, 45))]
    source = "order:" + done["order_id"]
    renewals = invoices[invoices["billing_reason"] == "renewal"]
    of_renewals = "invoice:" + renewals["invoice_id"]
    parts = (
        (source + ":won", "close", source, done["order_id"]),
        (source + ":note:paid", "note", source, done["order_id"]),
        (of_renewals + ":renewal", "note", of_renewals, renewals["subscription_id"].str.removeprefix("s")),
    )
    return pd.concat(
        [
            pd.DataFrame(
                {"idempotency_key": keys, "kind": _same(kind, keys), "state": _same("applied", keys), "source": sources,
                 "order_id": order_ids, "lead_id": order_ids.astype("int64").astype("Int64"),
                 "alarm": _same("", keys)}
            )
            for keys, kind, sources, order_ids in parts
        ],
        ignore_index=True,
    )  # fmt: skip


def _times(number: np.ndarray[Any, Any]) -> pd.Series:
    """A time for each order, all different, over the year before last."""
    seconds = pd.to_timedelta((number * 7919) % 31_000_000, unit="s")
    return pd.Series(pd.Timestamp(NOW - timedelta(days=400 + 359)) + seconds, dtype="datetime64[us, UTC]")


def _same(text: str, like: pd.Series | pd.DataFrame) -> pd.Series:
    return pd.Series(text, index=like.index, dtype="str")


def _none(like: pd.Series | pd.DataFrame, dtype: Any) -> pd.Series:
    missing: Any = pd.NaT if str(dtype).startswith("datetime") else None
    column: pd.Series[Any] = pd.Series(missing, index=like.index, dtype=dtype)
    return column
