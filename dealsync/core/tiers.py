"""The tiers that rest on what somebody told or wrote down: `explicit`, `field`, `claim`, `checkout`.

Each takes an order and what speaks of it, and gives a link, a review item where several deals are named, or None:
then the next tier is asked. Evidence that is not believed is remembered on the desk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from dealsync.core.assumptions import CLOCK_SKEW
from dealsync.core.candidacy import MOST_CANDIDATES
from dealsync.core.candidates import Hint, Issued
from dealsync.core.desk import Desk
from dealsync.core.evidence import HintKind
from dealsync.core.leads import Leads
from dealsync.core.models import Deal, Link, Money, Order, Tier
from dealsync.core.payments import same_purchase
from dealsync.core.plan import Review
from dealsync.core.texts import format_money

Verdict = Link | Review | None
PAID_TWICE = "the same buyer paid the same amount for the same product before: paid twice?"
PAID_BY_ANOTHER = "a deal of this checkout was paid by another order already: a second sale, or paid twice?"
UNPAID_CHECKOUTS = (
    "nobody is known by the buyer's e-mail, but a checkout for this product was opened for a deal and not paid: was it "
    "paid under another address?"
)
OPENED_FOR_IT = "a checkout with the buyer's e-mail was opened for it"


def believed(
    order: Order, hints: Iterable[Hint], leads: Leads, doubt: Callable[[str], None]
) -> Iterator[tuple[Hint, int, str]]:
    """Yield each hint that can be believed, the deal that it names, and the words for how it does; doubt the others."""
    for hint in hints:
        found = leads.find(hint.lead_text)
        if hint.kind is HintKind.CLAIM and (why := unfit(order, hint)):
            doubt(f"the {hint.told} for deal {hint.lead_text} was not believed: {why}")
        elif found.lead_id is None:
            doubt(f"the {hint.told} names a deal that is not there: {found.words}")
        else:
            yield hint, found.lead_id, found.words


def explicit(order: Order, hints: Iterable[Hint], leads: Leads, desk: Desk) -> Verdict:
    """The deal that verified webhooks name; in any pipeline, whatever its status."""
    named: dict[int, str] = {}
    for hint, lead_id, words in believed(order, _of(HintKind.EXPLICIT, hints), leads, partial(desk.doubt, order)):
        named.setdefault(lead_id, f"the {hint.told} names {words} as the one that this payment is for")
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
    for hint, lead_id, words in believed(order, _of(HintKind.CLAIM, hints), leads, partial(desk.doubt, order)):
        named.setdefault(
            lead_id,
            f"the buyer's {hint.told} names {words}, with the receipt's own identifier of this order and the "
            f"variant {order.variant_id} that the link was made for",
        )
    reason = "the buyer came back through the claim links of several deals"
    return _only(order, named, Tier.CLAIM, reason, "the buyer came back through its claim link", desk)


def doubtful_claim(order: Order, hints: Iterable[Hint], leads: Leads, desk: Desk) -> Verdict:
    """For an order of nobody: deals whose claim link was opened with this very receipt, though it does not fit."""
    knew_the_receipt = (hint for hint in _of(HintKind.CLAIM, hints) if _same_receipt(order, hint))
    found = [leads.find(hint.lead_text).lead_id for hint in knew_the_receipt]
    named = dict.fromkeys(lead_id for lead_id in found if lead_id is not None)
    if not named:
        return None
    reason = "the buyer came back through the claim link of a deal, but the payment is not what the link was made for"
    return desk.review(order, named, reason, "the buyer came back through its claim link")


def checkout(order: Order, issued: Iterable[Issued], leads: Leads, desk: Desk) -> Verdict:
    """The one deal for which a checkout was open with this e-mail and variant, and with this price if it set one.

    A deal that another payment holds makes it a question: the same thing paid twice, or another sale?
    """
    named: dict[int, str] = {}
    for made in issued:
        if not _price_fits(order, made):
            continue
        found = leads.find(made.lead_text)
        if found.lead_id is None:
            desk.doubt(order, f"checkout {made.checkout_id} names a deal that is not there: {found.words}")
            continue
        named.setdefault(found.lead_id, f"{_fits_words(order, made, desk)} {found.words}")
    if any(not desk.is_free(lead_id, order) for lead_id in named):
        twice = any(same_purchase(order, desk.holder(lead_id)) for lead_id in named)
        return desk.review(order, named, PAID_TWICE if twice else PAID_BY_ANOTHER, OPENED_FOR_IT)
    if any(_is_over(desk.deals[lead_id], order, desk) for lead_id in named):
        return desk.review(order, named, "the deal of this checkout was closed long before the payment", OPENED_FOR_IT)
    reason = "checkouts with the buyer's e-mail and this product were open for several deals"
    return _only(order, named, Tier.CHECKOUT, reason, OPENED_FOR_IT, desk)


def unpaid_checkouts(order: Order, waiting: Sequence[Issued], leads: Leads, desk: Desk) -> Verdict:
    """For an order of nobody: open deals with an unpaid checkout for this product. A person decides.

    `waiting` holds the checkouts of the product, newest first.
    """
    if not desk.policy.asks_about_unpaid_checkouts:
        return None
    found: dict[int, None] = {}
    for made in waiting:
        if made.created_at < order.created_at - desk.policy.window or len(found) > MOST_CANDIDATES:
            break
        was_open = made.was_open_at(order.created_at)
        lead_id = leads.find(made.lead_text).lead_id if was_open else None
        if lead_id is not None and desk.is_free(lead_id, order) and desk.deals[lead_id].is_open:
            found[lead_id] = None
    if not found:
        return None
    return desk.review(order, found, UNPAID_CHECKOUTS, "a checkout for this product was opened for it and not paid")


def _of(kind: HintKind, hints: Iterable[Hint]) -> Iterator[Hint]:
    return (hint for hint in hints if hint.kind is kind)


def _only(order: Order, named: dict[int, str], tier: Tier, reason: str, known_by: str, desk: Desk) -> Verdict:
    if not named:
        return None
    if len(named) > 1:
        return desk.review(order, named, reason, known_by)
    ((lead_id, words),) = named.items()
    return Link(order.id, lead_id, tier, words)


def unfit(order: Order, hint: Hint) -> str | None:
    """Return why a claim does not fit the order as we read it; None if it does."""
    if not _same_receipt(order, hint):
        return "it does not know the identifier that only the receipt of this order has"
    if hint.variant_id and hint.variant_id != order.variant_id:
        return f"its link was made for variant {hint.variant_id}, variant {order.variant_id} was paid"
    if hint.issued_at is not None and order.created_at < hint.issued_at - CLOCK_SKEW:
        return "its link was made after the payment"
    return None


def _same_receipt(order: Order, hint: Hint) -> bool:
    return hint.order_identifier.casefold() == order.identifier.casefold()


def _is_over(deal: Deal, order: Order, desk: Desk) -> bool:
    return deal.closed_at is not None and not deal.is_open and deal.closed_at < order.created_at - desk.policy.window


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
