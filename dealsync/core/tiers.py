"""The tiers that rest on what somebody told or wrote down: `explicit`, `field`, `claim`, `checkout`.

Each takes an order and what speaks of it, and gives a link, a review item where several deals are named, or None:
then the next tier is asked. Evidence that is not believed is remembered on the desk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dealsync.core.assumptions import CLOCK_SKEW
from dealsync.core.candidates import Hint, Issued
from dealsync.core.desk import Desk
from dealsync.core.evidence import HintKind
from dealsync.core.leads import Leads
from dealsync.core.models import Link, Money, Order, Tier
from dealsync.core.payments import same_purchase
from dealsync.core.plan import Review
from dealsync.core.texts import format_money

Verdict = Link | Review | None
PAID_TWICE = "the same buyer paid the same amount for the same product before: paid twice?"
UNPAID_CHECKOUTS = (
    "nobody is known by the buyer's e-mail, but a checkout for this product and amount was opened for a deal and not "
    "paid: was it paid under another address?"
)

OPENED_FOR_IT = "a checkout with the buyer's e-mail was opened for it"


def explicit(order: Order, hints: Iterable[Hint], leads: Leads, desk: Desk) -> Verdict:
    """The deal that verified webhooks name; in any pipeline, whatever its status."""
    named: dict[int, str] = {}
    for hint in hints:
        if hint.kind is not HintKind.EXPLICIT:
            continue
        found = leads.find(hint.lead_text)
        if found.lead_id is None:
            desk.doubt(order, f"the {hint.told} names a deal that is not there: {found.words}")
            continue
        named.setdefault(found.lead_id, f"the {hint.told} names {found.words} as the one that this payment is for")
    reason = "webhooks of this payment name several deals"
    verdict = _only(order, named, Tier.EXPLICIT, reason, "a webhook of this payment names it", desk)
    if isinstance(verdict, Link) and desk.deals[verdict.lead_id].pipeline_id not in desk.policy.pipeline_ids:
        desk.doubt(order, f"deal {verdict.lead_id}, which its webhook names, is in a pipeline that is not watched")
    return verdict


def by_field(order: Order, lead_ids: Sequence[int], desk: Desk) -> Verdict:
    """The deal whose LS field holds this order's id, or the id of its subscription."""
    named = {
        i: f"deal {i} carries the id of order {order.id}, or of its subscription, in its LS field" for i in lead_ids
    }
    reason = "several deals carry this order's or its subscription's id"
    return _only(order, named, Tier.FIELD, reason, "it carries the id in its LS field", desk)


def claim(order: Order, hints: Iterable[Hint], leads: Leads, desk: Desk) -> Verdict:
    """The deal through whose claim link the buyer came back, if the visit fits the order as we read it."""
    named: dict[int, str] = {}
    for hint in hints:
        if hint.kind is not HintKind.CLAIM:
            continue
        found = leads.find(hint.lead_text)
        if doubt := _unfit(order, hint):
            desk.doubt(order, f"the {hint.told} for deal {hint.lead_text} was not believed: {doubt}")
        elif found.lead_id is None:
            desk.doubt(order, f"the {hint.told} names a deal that is not there: {found.words}")
        else:
            named.setdefault(
                found.lead_id,
                f"the buyer's {hint.told} names {found.words}, with the receipt's own identifier of this order and the "
                f"variant {order.variant_id} that the link was made for",
            )
    reason = "the buyer came back through the claim links of several deals"
    return _only(order, named, Tier.CLAIM, reason, "the buyer came back through its claim link", desk)


def checkout(order: Order, issued: Iterable[Issued], leads: Leads, desk: Desk) -> Verdict:
    """The one deal for which a checkout was open with this e-mail and variant, and with this price if it set one."""
    named: dict[int, str] = {}
    for made in issued:
        if not made.same_email or not _price_fits(order, made):
            continue
        found = leads.find(made.lead_text)
        if found.lead_id is None:
            desk.doubt(order, f"checkout {made.checkout_id} names a deal that is not there: {found.words}")
            continue
        named.setdefault(found.lead_id, f"{_fits_words(order, made, desk)} {found.words}")
    free = {lead_id: words for lead_id, words in named.items() if desk.is_free(lead_id, order)}
    if named and not free and (twice := [i for i in named if same_purchase(order, desk.holder(i))]):
        return desk.review(order, twice, PAID_TWICE, OPENED_FOR_IT)
    reason = "checkouts with the buyer's e-mail and this product were open for several deals"
    return _only(order, free, Tier.CHECKOUT, reason, OPENED_FOR_IT, desk)


def unpaid_checkouts(order: Order, issued: Iterable[Issued], leads: Leads, desk: Desk) -> Verdict:
    """For an order of nobody: deals that wait for exactly this payment, under another address. A person decides."""
    waiting = []
    for made in issued if desk.policy.asks_about_unpaid_checkouts else ():
        if made.created_at < order.created_at - desk.policy.window:
            continue
        lead_id = leads.find(made.lead_text).lead_id
        if lead_id is None or not desk.is_free(lead_id, order) or not (deal := desk.deals[lead_id]).is_open:
            continue
        in_currency = order.total.currency == desk.policy.account_currency
        asked = in_currency and deal.price == order.total.whole
        if asked if made.custom_price is None else _price_fits(order, made):
            waiting.append(lead_id)
    if not waiting:
        return None
    return desk.review(order, waiting, UNPAID_CHECKOUTS, "a checkout for this product was opened for it and not paid")


def _only(order: Order, named: dict[int, str], tier: Tier, reason: str, known_by: str, desk: Desk) -> Verdict:
    if not named:
        return None
    if len(named) > 1:
        return desk.review(order, named, reason, known_by)
    ((lead_id, words),) = named.items()
    return Link(order.id, lead_id, tier, words)


def _unfit(order: Order, hint: Hint) -> str | None:
    if hint.order_identifier.casefold() != order.identifier.casefold():
        return "it does not know the identifier that only the receipt of this order has"
    if hint.variant_id and hint.variant_id != order.variant_id:
        return f"its link was made for variant {hint.variant_id}, variant {order.variant_id} was paid"
    if hint.issued_at is not None and order.created_at < hint.issued_at - CLOCK_SKEW:
        return "its link was made after the payment"
    return None


def _price_fits(order: Order, made: Issued) -> bool:
    """Whether the price of a checkout, if it set one, is what was paid before discount and tax, or in all."""
    if made.custom_price is None:
        return True
    asked = made.custom_price * order.quantity
    return asked in (order.total.minor, order.subtotal_minor)


def _fits_words(order: Order, made: Issued, desk: Desk) -> str:
    price = ""
    if made.custom_price is not None:
        price = f" and its price {format_money(Money(made.custom_price, order.total.currency), desk.policy.locale)}"
    return (
        f"the buyer's e-mail, variant {order.variant_id}{price} are those of checkout {made.checkout_id}, opened on "
        f"{made.created_at:%Y-%m-%d %H:%M} UTC, before the payment, for"
    )
