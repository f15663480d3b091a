"""Which deals come into question for which orders: found for all unplaced orders at once, tier by tier."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import pandas as pd

from dealsync.core.assumptions import CLOCK_SKEW
from dealsync.core.evidence import HintKind
from dealsync.core.models import Deal
from dealsync.core.rows import rows_of
from dealsync.core.tables import Tables, deal_of, time_of


@dataclass(frozen=True, slots=True)
class Hint:
    """A webhook or a claim that names a deal for an order. `told` says in words where it is from."""

    kind: HintKind
    told: str
    lead_text: str
    order_identifier: str
    variant_id: str
    issued_at: datetime | None


@dataclass(frozen=True, slots=True)
class Issued:
    """A checkout that names a deal."""

    checkout_id: str
    lead_text: str
    custom_price: int | None  # minor units of the store's currency
    created_at: datetime
    expires_at: datetime | None

    def was_open_at(self, moment: datetime) -> bool:
        """Whether something could be bought through it then."""
        expired = self.expires_at is not None and self.expires_at < moment - CLOCK_SKEW
        return self.created_at <= moment + CLOCK_SKEW and not expired


Key = TypeVar("Key")
SELLS = ["store_id", "variant_id", "test_mode"]
ORDER_CREATED = "order_created"
Sold = tuple[str, str, bool]  # store, variant, test mode


@dataclass(frozen=True, slots=True)
class InQuestion:
    """Everything that may tell the deals of the unplaced orders; all by order id, in a fixed order."""

    by_field: Mapping[str, list[int]]
    by_contact: Mapping[str, list[int]]
    hints: Mapping[str, list[Hint]]
    issued: Mapping[str, list[Issued]]  # with the buyer's e-mail, open when the order was paid
    waiting: Mapping[Sold, list[Issued]]  # every checkout by what it sells, newest first
    webhook_seen: frozenset[str]
    unnamed: frozenset[str]  # a webhook of the purchase was seen, and its checkout named no deal

    def texts(self) -> Iterable[str]:
        """Return every text that may name a deal."""
        yield from (hint.lead_text for hints in self.hints.values() for hint in hints)
        yield from (checkout.lead_text for checkouts in self.waiting.values() for checkout in checkouts)

    def lead_ids(self) -> set[int]:
        """Return the deals that the deals' own fields and contacts name."""
        return {lead_id for found in (self.by_field, self.by_contact) for ids in found.values() for lead_id in ids}


def in_question(unplaced: pd.DataFrame, tables: Tables, deals: pd.DataFrame, watched: frozenset[int]) -> InQuestion:
    """Look everything up for the unplaced orders; `deals` are the ones that are there, `watched` the pipelines."""
    about = hints_about(unplaced["order_id"], tables)
    named, told = about[about["lead_text"].notna()], about[about["kind"] == HintKind.EXPLICIT]
    return InQuestion(
        by_field=_by_field(unplaced, tables, deals),
        by_contact=_by_contact(unplaced, tables, deals[deals["pipeline_id"].isin(watched)]),
        hints=_grouped((str(row.order_id), hint_of(row)) for row in rows_of(named)),
        issued=_issued(unplaced, tables.checkouts),
        waiting=_waiting(unplaced, tables.checkouts),
        webhook_seen=frozenset(told["order_id"]),
        unnamed=frozenset(told[told["event_name"] == ORDER_CREATED]["order_id"]) - set(named["order_id"]),
    )


def hints_about(order_ids: pd.Series, tables: Tables) -> pd.DataFrame:
    """Return the hints about these orders or their subscriptions: a row an order and hint, oldest first."""
    hints = tables.hints
    if hints.empty or order_ids.empty:
        return hints[:0]
    started = tables.subscriptions[tables.subscriptions["order_id"].isin(order_ids)][["subscription_id", "order_id"]]
    direct = hints[hints["order_id"].isin(order_ids)]
    through = hints.drop(columns="order_id").merge(started, on="subscription_id")
    about = pd.concat([direct, through[hints.columns]], ignore_index=True)
    return about.drop_duplicates().sort_values(["seen_at", "event_name", "lead_text", "order_id"])


def custom_data(order_ids: pd.Series, tables: Tables) -> dict[str, dict[str, str]]:
    """Return the custom data that webhooks told of orders; of two values for a key the later one."""
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    about = hints_about(order_ids, tables)
    for order_id, custom in zip(about["order_id"], about["custom"], strict=True):
        found[order_id] |= json.loads(custom or "{}")
    return found


def deals_of(lead_ids: Iterable[int], deals: pd.DataFrame) -> dict[int, Deal]:
    """Return the deals of these ids that are there."""
    wanted = set(lead_ids)
    rows = deals[deals["lead_id"].isin(wanted)] if wanted else deals[:0]
    return {deal.lead_id: deal for deal in map(deal_of, rows_of(rows))}


def typed_id(texts: pd.Series) -> pd.Series:
    """Return ids that people typed, as they are compared: "# 17 " is "17"."""
    plain = [text.strip().removeprefix("#").strip() for text in texts.fillna("").to_numpy()]
    return pd.Series(plain, index=texts.index, dtype="str")


def _by_field(unplaced: pd.DataFrame, tables: Tables, deals: pd.DataFrame) -> dict[str, list[int]]:
    """Deals that carry the id of the order, or of a subscription that it started."""
    if unplaced.empty:
        return {}
    marked = deals[["lead_id", "ls_order_id", "ls_subscription_id"]].dropna(
        how="all", subset=["ls_order_id", "ls_subscription_id"]
    )
    started = tables.subscriptions[["order_id", "subscription_id"]]
    wanted = unplaced[["order_id"]]
    by_order = wanted.merge(marked.assign(order_id=typed_id(marked["ls_order_id"]))[["order_id", "lead_id"]])
    by_subscription = wanted.merge(started).merge(
        marked.assign(subscription_id=typed_id(marked["ls_subscription_id"]))[["subscription_id", "lead_id"]]
    )
    hits = pd.concat([by_order, by_subscription[["order_id", "lead_id"]]]).drop_duplicates()
    return _grouped(sorted(zip(hits["order_id"], hits["lead_id"].astype(int), strict=True)))


def _by_contact(unplaced: pd.DataFrame, tables: Tables, deals: pd.DataFrame) -> dict[str, list[int]]:
    """The deals of every contact that has the buyer's e-mail."""
    if unplaced.empty:
        return {}
    buyers = pd.DataFrame({"order_id": unplaced["order_id"], "email": _emails(unplaced)})
    pairs = (
        buyers[buyers["email"] != ""]
        .merge(tables.contact_emails, on="email")
        .merge(tables.lead_contacts, on="contact_id")[["order_id", "lead_id"]]
        .drop_duplicates()
    )
    pairs = pairs[pairs["lead_id"].isin(deals["lead_id"])]
    return _grouped(sorted(zip(pairs["order_id"], pairs["lead_id"].astype(int), strict=True)))


def _issued(unplaced: pd.DataFrame, checkouts: pd.DataFrame) -> dict[str, list[Issued]]:
    """The checkouts with an order's e-mail, store, variant and mode that were open when it was paid, oldest first."""
    if unplaced.empty or checkouts.empty:
        return {}
    orders = unplaced[["order_id", "created_at", *SELLS]].assign(email=_emails(unplaced))
    pairs = orders.rename(columns={"created_at": "paid_at"}).merge(checkouts[checkouts["email"] != ""])
    pairs = pairs.sort_values(["order_id", "created_at", "checkout_id"])
    found = zip(pairs["order_id"], pairs["paid_at"], map(_checkout, rows_of(pairs)), strict=True)
    return _grouped((order_id, made) for order_id, paid_at, made in found if made.was_open_at(paid_at))


def _waiting(unplaced: pd.DataFrame, checkouts: pd.DataFrame) -> dict[Sold, list[Issued]]:
    """The checkouts of everything that the orders bought."""
    if unplaced.empty or checkouts.empty:
        return {}
    wanted = checkouts.merge(unplaced[SELLS].drop_duplicates())
    wanted = wanted.sort_values(["created_at", "checkout_id"], ascending=False)
    keys = zip(wanted["store_id"], wanted["variant_id"], wanted["test_mode"].astype(bool), strict=True)
    return _grouped(zip(keys, map(_checkout, rows_of(wanted)), strict=True))


def _emails(orders: pd.DataFrame) -> pd.Series:
    return orders["user_email"].str.strip().str.casefold()


def hint_of(row: Any) -> Hint:
    """Return the hint that a row of `Tables.hints` holds."""
    return Hint(
        kind=HintKind(row.kind),
        told=_told(row),
        lead_text=row.lead_text,
        order_identifier=row.order_identifier,
        variant_id=row.variant_id,
        issued_at=time_of(row.issued_at),
    )


def _told(row: Any) -> str:
    """Where a hint is from, in words."""
    at = f"{row.seen_at:%Y-%m-%d %H:%M} UTC"
    return f"visit to the claim link on {at}" if row.kind == HintKind.CLAIM else f"webhook {row.event_name} of {at}"


def _checkout(row: Any) -> Issued:
    return Issued(
        checkout_id=row.checkout_id,
        lead_text=row.lead_text,
        custom_price=None if pd.isna(row.custom_price) else int(row.custom_price),
        created_at=row.created_at.to_pydatetime(),
        expires_at=time_of(row.expires_at),
    )


def _grouped(pairs: Iterable[tuple[Key, Any]]) -> dict[Key, list[Any]]:
    found: defaultdict[Key, list[Any]] = defaultdict(list)
    for key, item in pairs:
        found[key].append(item)
    return dict(found)
