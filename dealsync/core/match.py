"""Which deal belongs to which order, and by what evidence. Ties are never decided here: they go to review.

Tiers built so far: `ledger` (a stored link), `field` (the deal carries the order id), `contact` (the buyer's
e-mail), none. Orders are placed oldest first; a deal that is taken is no candidate for another order, and who was
left undecided is looked at again until nothing moves: the next run would find the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pandas as pd

from dealsync.core.models import LOST_STATUS_ID, WON_STATUS_ID, Deal, Link, Order, OrderStatus, Tier, normal_email
from dealsync.core.plan import Review
from dealsync.core.policy import Policy
from dealsync.core.tables import Tables, deal_of, order_of

MONEY_CAME = (OrderStatus.PAID, OrderStatus.PARTIAL_REFUND, OrderStatus.REFUNDED, OrderStatus.FRAUDULENT)
STILL_OURS = (OrderStatus.PAID, OrderStatus.PARTIAL_REFUND)
PAID_TWICE = "the same buyer paid the same amount for the same product before: paid twice?"
EARLY_CLOSE = timedelta(days=1)
"""How long before the payment a person may have marked the deal won: promised in the evening, paid next day."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Where every order belongs that brought money."""

    links: pd.DataFrame  # order_id, lead_id, tier, evidence: stored ones whose deal exists, and new ones
    found: tuple[Link, ...]  # the new ones among them
    self_serve: tuple[Order, ...]  # oldest first
    reviews: tuple[Review, ...]
    settling: tuple[str, ...]


@dataclass(slots=True)
class _Desk:
    """The matching in progress: what is taken, and what was decided so far."""

    taken: dict[int, str]  # lead_id -> order_id
    payments: dict[str, Order]
    found: list[Link] = field(default_factory=list)
    self_serve: list[Order] = field(default_factory=list)
    reviews: list[Review] = field(default_factory=list)
    settling: list[str] = field(default_factory=list)

    def clear(self) -> None:
        """Forget the orders that found no deal: a deal taken since may have left them one choice."""
        self.self_serve.clear()
        self.reviews.clear()
        self.settling.clear()


def money_came(orders: pd.DataFrame) -> pd.Series:
    """Which orders brought money once, whatever became of it. A total of zero is no payment."""
    return orders["order_status"].isin(MONEY_CAME) & (orders["total_minor"] > 0)


def still_ours(orders: pd.DataFrame) -> pd.Series:
    """Which orders brought money that was not all given back."""
    return orders["order_status"].isin(STILL_OURS) & (orders["total_minor"] > 0)


def in_scope(orders: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """Return the orders of the configured store and mode; the others never touch a deal."""
    return orders[(orders["store_id"] == policy.store_id) & (orders["test_mode"] == policy.test_mode)]


def match(tables: Tables, policy: Policy, now: datetime) -> Matches:
    """Find the deal of every order in scope that brought money. Row order of the tables does not matter."""
    orders = in_scope(tables.orders, policy)
    deals = tables.deals[~tables.deals["is_deleted"]]
    has_deal = tables.links["lead_id"].isin(deals["lead_id"])
    kept = tables.links[has_deal]
    unplaced = orders[money_came(orders) & ~orders["order_id"].isin(kept["order_id"])]

    by_field = _deals_by_field(unplaced, deals)
    by_contact = _deals_by_contact(unplaced, tables, deals[deals["pipeline_id"].isin(policy.pipeline_ids)])
    lost_links = set(tables.links[~has_deal]["order_id"])
    desk = _Desk(taken=_taken(kept, deals), payments=_rivals(orders, kept, deals, by_contact))
    waiting = sorted(map(order_of, unplaced.itertuples(index=False)), key=lambda o: (o.created_at, o.id))
    desk.payments |= {order.id: order for order in waiting}
    while waiting:
        desk.clear()
        placed = len(desk.found)
        for order in waiting:
            _place(order, by_field[order.id], by_contact[order.id], order.id in lost_links, desk, policy, now)
        if len(desk.found) == placed:
            break
        found = {link.order_id for link in desk.found}
        waiting = [order for order in waiting if order.id not in found]

    new = pd.DataFrame(
        [(link.order_id, link.lead_id, link.tier.value, link.evidence) for link in desk.found],
        columns=["order_id", "lead_id", "tier", "evidence"],
    )
    links = pd.concat([kept[new.columns], new], ignore_index=True) if len(new) else kept[new.columns]
    return Matches(links, tuple(desk.found), tuple(desk.self_serve), tuple(desk.reviews), tuple(desk.settling))


def _place(
    order: Order,
    field_deals: Sequence[int],
    candidates: Sequence[Deal],
    lost_its_deal: bool,
    desk: _Desk,
    policy: Policy,
    now: datetime,
) -> None:
    if field_deals:
        verdict: Link | Review | None = _by_field(order, field_deals)
    elif lost_its_deal:
        verdict = Review(order.id, (), "the deal of this payment was deleted in Kommo")
    elif now - order.created_at < policy.settle:
        desk.settling.append(order.id)
        return
    else:
        verdict = _by_contact(order, candidates, desk, policy)
    if isinstance(verdict, Link):
        desk.found.append(verdict)
        desk.taken.setdefault(verdict.lead_id, order.id)
    elif isinstance(verdict, Review):
        desk.reviews.append(verdict)
    elif order.status in STILL_OURS:
        desk.self_serve.append(order)


def _by_field(order: Order, lead_ids: Sequence[int]) -> Link | Review:
    if len(lead_ids) > 1:
        return Review(order.id, tuple(sorted(lead_ids)), "several deals carry this order id in their LS field")
    return Link(order.id, lead_ids[0], Tier.FIELD, f"deal {lead_ids[0]} carries order id {order.id} in its LS field")


def _by_contact(order: Order, candidates: Sequence[Deal], desk: _Desk, policy: Policy) -> Link | Review | None:
    alive = [d for d in candidates if _alive(d, order, policy.window)]
    free = [d for d in alive if desk.taken.get(d.lead_id, order.id) == order.id]
    verdict = _among_free(order, alive, free, desk, policy)
    if isinstance(verdict, Link) and (others := [d for d in alive if d not in free and _was_free(d, order, desk)]):
        chosen = [d for d in free if d.lead_id == verdict.lead_id]
        return _review(order, chosen + others, "the buyer's contact had several open deals when this was paid")
    return verdict


def _among_free(
    order: Order, alive: Sequence[Deal], free: Sequence[Deal], desk: _Desk, policy: Policy
) -> Link | Review | None:
    still_open = [d for d in free if d.is_open]
    if still_open:
        # A deal won by hand for this very payment was open when it came: with another open one it is a tie.
        return _among_open(order, still_open + _won_by(order, free, policy), policy)
    if paid := [d for d in alive if d not in free and _same_purchase(order, desk.payments.get(desk.taken[d.lead_id]))]:
        return _review(order, paid, PAID_TWICE)
    if _paid_by_self_serve(order, desk, policy.window):
        return Review(order.id, (), PAID_TWICE)
    return _among_closed(order, free, policy)


def _was_free(deal: Deal, order: Order, desk: _Desk) -> bool:
    """Whether a deal that another payment holds was open for this one: made before it, taken by a later one."""
    holder = desk.payments.get(desk.taken[deal.lead_id])
    return holder is not None and deal.created_at <= order.created_at < holder.created_at


def _won_by(order: Order, deals: Iterable[Deal], policy: Policy) -> list[Deal]:
    """The deals at the price paid that a person can have marked won for this payment."""
    same_currency = order.total.currency == policy.account_currency
    return [
        d
        for d in deals
        if same_currency and d.status_id == WON_STATUS_ID and _closed_by(d, order) and 0 < d.price == order.total.whole
    ]


def _among_open(order: Order, deals: Sequence[Deal], policy: Policy) -> Link | Review:
    if len(deals) > 1:
        return _review(order, deals, "the buyer's contact has several open deals")
    deal = deals[0]
    if doubt := _doubt(order, deal, policy):
        return _review(order, deals, doubt)
    return Link(
        order.id,
        deal.lead_id,
        Tier.CONTACT,
        f"the buyer's e-mail is that of the deal's contact; it is the only open deal there, and its price "
        f"{deal.price} {policy.account_currency} is what was paid",
    )


def _doubt(order: Order, deal: Deal, policy: Policy) -> str | None:
    """Why the only open deal of the buyer may not be closed without a person; None when it may."""
    if order.total.currency != policy.account_currency:
        return f"paid in {order.total.currency}, the deal's price is in {policy.account_currency}"
    if deal.price != order.total.whole:
        return f"the deal asks {deal.price}, {order.total.major} {order.total.currency} was paid"
    if not deal.price:
        return "the deal has no price to compare with"
    if order.total.minor > policy.max_auto_amount:
        return f"the amount is above max_auto_amount ({policy.max_auto_amount} minor units)"
    if deal.created_at > order.created_at:
        return "the deal was made after the payment"
    return None


def _among_closed(order: Order, deals: Sequence[Deal], policy: Policy) -> Link | Review | None:
    won = [d for d in deals if d.status_id == WON_STATUS_ID and _closed_by(d, order)]
    equal = _won_by(order, won, policy)
    if len(equal) == 1 and order.total.minor <= policy.max_auto_amount:
        return Link(
            order.id,
            equal[0].lead_id,
            Tier.CONTACT,
            f"the buyer's e-mail is that of the deal's contact; of the deals won there around the payment, it is the "
            f"only one whose price, {equal[0].price} {policy.account_currency}, is what was paid",
        )
    if won:
        several = {0: "won deals, none with the price paid", 1: "a won deal, but the amount is above max_auto_amount"}
        words = several.get(len(equal), "several won deals with the price that was paid")
        return _review(order, equal or won, f"the buyer's contact has {words}")
    if lost := [d for d in deals if d.status_id == LOST_STATUS_ID]:
        return _review(order, lost, "the buyer's contact has only deals that were marked lost")
    return None


def _closed_by(deal: Deal, order: Order) -> bool:
    """Whether a won deal can have been won by this payment: it was closed after it, or shortly before."""
    return deal.closed_at is not None and deal.closed_at >= order.created_at - EARLY_CLOSE


def _alive(deal: Deal, order: Order, window: timedelta) -> bool:
    """Whether the deal was there, and somebody worked on it, within `window` of the payment."""
    return deal.created_at <= order.created_at + window and deal.updated_at >= order.created_at - window


def _paid_by_self_serve(order: Order, desk: _Desk, window: timedelta) -> bool:
    """Whether this very run creates a deal for the same purchase of the same buyer."""
    email = normal_email(order.user_email)
    return bool(email) and any(
        normal_email(other.user_email) == email
        and _same_purchase(order, other)
        and order.created_at - other.created_at <= window
        for other in desk.self_serve
    )


def _same_purchase(order: Order, other: Order | None) -> bool:
    return other is not None and (other.variant_id, other.total) == (order.variant_id, order.total)


def _review(order: Order, deals: Iterable[Deal], reason: str) -> Review:
    return Review(order.id, tuple(sorted(d.lead_id for d in deals)), reason)


def _taken(kept: pd.DataFrame, deals: pd.DataFrame) -> dict[int, str]:
    """Which order holds which deal: by a link, else by the deal's own LS field."""
    marked = deals[deals["ls_order_id"].fillna("") != ""]
    held = dict(zip(marked["lead_id"].astype(int), marked["ls_order_id"], strict=True))
    held.update(sorted(zip(kept["lead_id"].astype(int), kept["order_id"], strict=True), reverse=True))
    return held


def _rivals(
    orders: pd.DataFrame, kept: pd.DataFrame, deals: pd.DataFrame, by_contact: Mapping[str, Sequence[Deal]]
) -> dict[str, Order]:
    """The orders that hold a deal which a new payment could be meant for, by id."""
    wanted = {deal.lead_id for candidates in by_contact.values() for deal in candidates}
    holders = set(kept[kept["lead_id"].isin(wanted)]["order_id"])
    holders |= set(deals[deals["lead_id"].isin(wanted)]["ls_order_id"].dropna())
    rows = orders[orders["order_id"].isin(holders)]
    return {order.id: order for order in map(order_of, rows.itertuples(index=False))}


def _deals_by_field(unplaced: pd.DataFrame, deals: pd.DataFrame) -> defaultdict[str, list[int]]:
    hits = unplaced[["order_id"]].merge(deals[["lead_id", "ls_order_id"]], left_on="order_id", right_on="ls_order_id")
    found: defaultdict[str, list[int]] = defaultdict(list)
    for order_id, lead_id in zip(hits["order_id"], hits["lead_id"], strict=True):
        found[order_id].append(int(lead_id))
    return found


def _deals_by_contact(unplaced: pd.DataFrame, tables: Tables, deals: pd.DataFrame) -> defaultdict[str, list[Deal]]:
    """Each unplaced order's candidate deals: those of every contact that has the buyer's e-mail."""
    buyers = pd.DataFrame(
        {"order_id": unplaced["order_id"], "email": unplaced["user_email"].str.strip().str.casefold()}
    )
    buyers = buyers[buyers["email"] != ""]
    pairs = (
        buyers.merge(tables.contact_emails, on="email")
        .merge(tables.lead_contacts, on="contact_id")[["order_id", "lead_id"]]
        .drop_duplicates()
    )
    rows = deals[deals["lead_id"].isin(pairs["lead_id"])].itertuples(index=False)
    by_id = {deal.lead_id: deal for deal in map(deal_of, rows)}
    found: defaultdict[str, list[Deal]] = defaultdict(list)
    for order_id, lead_id in sorted(zip(pairs["order_id"], pairs["lead_id"].astype(int), strict=True)):
        if lead_id in by_id:
            found[order_id].append(by_id[lead_id])
    return found
