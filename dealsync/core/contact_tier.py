"""The tier that guesses: `contact`. The buyer's e-mail is that of a contact whose deals come into question.

It may act on one open deal at the price paid, or on one that was won around the payment; the rest is for a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from sys import intern

from dealsync.core.assumptions import CLOCK_SKEW
from dealsync.core.desk import Desk
from dealsync.core.models import LOST_STATUS_ID, WON_STATUS_ID, Deal, Link, Money, Order, Tier
from dealsync.core.payments import same_purchase
from dealsync.core.plan import Review
from dealsync.core.policy import Policy
from dealsync.core.texts import format_money
from dealsync.core.tiers import PAID_TWICE, Verdict

EARLY_CLOSE = timedelta(days=1)
"""How long before the payment a person may have marked the deal won: promised in the evening, paid next day."""
HAS_THE_EMAIL = "its contact has the buyer's e-mail"


def by_contact(order: Order, lead_ids: Iterable[int], desk: Desk) -> Verdict:
    """Return what the buyer's contact leads to; see the module."""
    alive = [deal for deal in map(desk.deals.__getitem__, lead_ids) if _alive(deal, order, desk.policy.window)]
    free = [deal for deal in alive if desk.is_free(deal.lead_id, order)]
    verdict = _among_free(order, alive, free, desk)
    if isinstance(verdict, Link) and (others := [d for d in alive if d not in free and _was_free(d, order, desk)]):
        chosen = [d for d in free if d.lead_id == verdict.lead_id]
        return _review(order, chosen + others, "the buyer's contact had several open deals when this was paid", desk)
    return verdict


def _among_free(order: Order, alive: Sequence[Deal], free: Sequence[Deal], desk: Desk) -> Verdict:
    still_open = [d for d in free if d.is_open]
    if still_open:
        # A deal won by hand for this very payment was open when it came: with another open one it is a tie.
        return _among_open(order, still_open + _won_by(order, free, desk.policy), desk)
    if paid := [d for d in alive if d not in free and same_purchase(order, desk.holder(d.lead_id))]:
        return _review(order, paid, PAID_TWICE, desk)
    if _paid_by_self_serve(order, desk):
        return Review(order.id, (), PAID_TWICE)
    return _among_closed(order, free, desk)


def _among_open(order: Order, deals: Sequence[Deal], desk: Desk) -> Link | Review:
    if len(deals) > 1:
        return _review(order, deals, "the buyer's contact has several open deals", desk)
    deal = deals[0]
    if doubt := _doubt(order, deal, desk.policy):
        return _review(order, deals, doubt, desk)
    words = (
        f"it is the only open deal there that was alive within {desk.policy.window.days} days of the payment; "
        f"{_price_words(order, deal, desk.policy)}"
    )
    return _link(order, deal, words)


def _among_closed(order: Order, deals: Sequence[Deal], desk: Desk) -> Verdict:
    won = [d for d in deals if d.status_id == WON_STATUS_ID and _closed_by(d, order, desk.policy.window)]
    equal = _won_by(order, won, desk.policy)
    if len(equal) == 1 and order.total.minor <= desk.policy.max_auto_amount:
        words = (
            "of the deals won there around the payment, it is the only one at that price; "
            f"{_price_words(order, equal[0], desk.policy)}"
        )
        return _link(order, equal[0], words)
    if won:
        several = {
            0: "won deals, none made before the payment and with the price paid",
            1: "a won deal, but the amount is above max_auto_amount",
        }
        words = several.get(len(equal), "several won deals with the price that was paid")
        return _review(order, equal or won, f"the buyer's contact has {words}", desk)
    if lost := [d for d in deals if d.status_id == LOST_STATUS_ID]:
        return _review(order, lost, "the buyer's contact has only deals that were marked lost", desk)
    return None


def _link(order: Order, deal: Deal, words: str) -> Link:
    """The link, with a text that is kept once for all orders of which the same can be said."""
    return Link(
        order.id, deal.lead_id, Tier.CONTACT, intern(f"the buyer's e-mail is that of the deal's contact; {words}")
    )


def _price_words(order: Order, deal: Deal, policy: Policy) -> str:
    paid = format_money(order.total, policy.locale)
    limit = format_money(Money(policy.max_auto_amount, order.total.currency), policy.locale)
    return (
        f"its price {deal.price} {policy.account_currency} is what was paid, {paid}, "
        f"which is not above max_auto_amount, {limit}"
    )


def _doubt(order: Order, deal: Deal, policy: Policy) -> str | None:
    """Why the only open deal of the buyer may not be closed without a person; None when it may."""
    if order.total.currency != policy.account_currency:
        return f"paid in {order.total.currency}, the deal's price is in {policy.account_currency}"
    if deal.price != policy.units_of(order):
        return f"the deal asks {deal.price}, {order.total.major} {order.total.currency} was paid"
    if not deal.price:
        return "the deal has no price to compare with"
    if order.total.minor > policy.max_auto_amount:
        return f"the amount is above max_auto_amount ({policy.max_auto_amount} minor units)"
    if deal.created_at > order.created_at:
        return "the deal was made after the payment"
    return None


def _alive(deal: Deal, order: Order, window: timedelta) -> bool:
    """Whether the deal was there, and somebody worked on it, within `window` of the payment."""
    return deal.created_at <= order.created_at + window and deal.updated_at >= order.created_at - window


def _was_free(deal: Deal, order: Order, desk: Desk) -> bool:
    """Whether a deal that another payment holds was open for this one: made before it, taken by a later one."""
    holder = desk.holder(deal.lead_id)
    return holder is not None and deal.created_at <= order.created_at < holder.created_at


def _won_by(order: Order, deals: Iterable[Deal], policy: Policy) -> list[Deal]:
    """The deals at the price paid that a person can have marked won for this payment."""
    same_currency = order.total.currency == policy.account_currency
    return [
        d
        for d in deals
        if same_currency
        and d.status_id == WON_STATUS_ID
        and _closed_by(d, order, policy.window)
        and d.created_at <= order.created_at + CLOCK_SKEW
        and 0 < d.price == policy.units_of(order)
    ]


def _closed_by(deal: Deal, order: Order, window: timedelta) -> bool:
    """Whether a won deal can have been won by this payment: closed shortly before it, or within the window after."""
    return deal.closed_at is not None and order.created_at - EARLY_CLOSE <= deal.closed_at <= order.created_at + window


def _paid_by_self_serve(order: Order, desk: Desk) -> bool:
    """Whether this very run creates a deal for the same purchase of the same buyer."""
    before = desk.last_alone(order)
    return before is not None and order.created_at - before <= desk.policy.window


def _review(order: Order, deals: Iterable[Deal], reason: str, desk: Desk) -> Review:
    return desk.review(order, (d.lead_id for d in deals), reason, HAS_THE_EMAIL)
