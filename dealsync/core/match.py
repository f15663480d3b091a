"""Which deal belongs to which order, and by what evidence. Ties are never decided here: they go to review.

The tiers in their order: a stored link (`ledger`), then `explicit`, `field`, `claim`, `checkout` (`core.tiers`) and
`contact` (`core.contact_tier`); what nobody is known for gets a deal of its own. Orders are placed oldest first; a
deal that is taken is no candidate for another order's guesses, and who was left undecided is looked at again until
nothing moves: the next run would find the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime

import pandas as pd

from dealsync.core import tiers
from dealsync.core.candidates import InQuestion, deals_of, in_question, typed_id
from dealsync.core.contact_tier import by_contact
from dealsync.core.contradictions import against_links, contradicted
from dealsync.core.desk import Desk
from dealsync.core.leads import Leads, leads_named, shown
from dealsync.core.models import LOST_STATUS_ID, WON_STATUS_ID, Link, Order, OrderStatus, Tier
from dealsync.core.payments import in_scope, money_came
from dealsync.core.plan import Decision, Oddity, Question, Questions, Review
from dealsync.core.policy import Policy
from dealsync.core.rows import rows_of, where
from dealsync.core.sales import LIVING, TRIAL
from dealsync.core.tables import LINK_COLUMNS, Tables, order_of
from dealsync.core.tiers import Verdict


@dataclass(frozen=True, slots=True)
class Matches:
    """Where every order belongs that brought money."""

    links: pd.DataFrame  # order_id, lead_id, tier, evidence: stored ones whose deal exists, and new ones
    found: tuple[Link, ...]  # the new ones among them
    self_serve: tuple[Order, ...]  # oldest first
    reviews: tuple[Review, ...]
    settling: tuple[str, ...]
    oddities: tuple[Oddity, ...] = ()
    questions: Questions = field(default_factory=Questions)


def match(tables: Tables, policy: Policy, now: datetime) -> Matches:
    """Find the deal of every order in scope that brought money. Row order of the tables does not matter."""
    orders = in_scope(tables.orders, policy)
    deals = where(tables.deals, ~tables.deals["is_deleted"])
    # A link of the other mode, or of a store that is not watched any more, holds no deal.
    links = where(tables.links, tables.links["order_id"].isin(orders["order_id"]))
    is_there = links["lead_id"].isin(deals["lead_id"])
    stored, lost = where(links, is_there), links[~is_there]
    unplaced = orders[(money_came(orders) | _subscribed(orders)) & ~orders["order_id"].isin(stored["order_id"])]
    asked = in_question(unplaced, tables, deals, policy.pipeline_ids)
    against = against_links(orders, stored, tables)
    texts = (*asked.texts(), *lost["lead_id"].astype(str), *against["lead_text"])
    leads = leads_named(texts, tables.deals, tables.merges)
    named = asked.lead_ids() | leads.live

    followed = _followed(lost, leads)
    moved = contradicted(against, orders, deals, leads, policy)
    kept = _with(stored, (*followed, *moved.links))
    unplaced = unplaced[~unplaced["order_id"].isin([link.order_id for link in followed])]
    desk = Desk(
        policy=policy,
        now=now,
        deals=deals_of(named, deals),
        taken=_taken(kept, deals, orders, named),
        payments=_rivals(orders, kept, deals, named),
    )
    waiting = sorted(map(order_of, rows_of(unplaced)), key=lambda o: (o.created_at, o.id))
    decided = dict(zip(tables.decisions["order_id"], tables.decisions["decision"], strict=True))
    using = frozenset(orders[_in_use(orders, policy)]["order_id"])
    _place_all(waiting, asked, leads, frozenset(lost["order_id"]), decided, using, desk)

    return Matches(
        links=_with(kept, desk.links),
        found=(*followed, *moved.links, *desk.links),
        self_serve=tuple(desk.self_serve),
        reviews=(*desk.reviews, *moved.reviews),
        settling=tuple(desk.settling),
        oddities=(*desk.oddities, *moved.oddities, *_odd_fields(deals, tables.orders, policy)),
        questions=leads.questions(),
    )


def _place_all(
    waiting: list[Order],
    asked: InQuestion,
    leads: Leads,
    lost_their_deal: frozenset[str],
    decided: Mapping[str, str],
    using: AbstractSet[str],
    desk: Desk,
) -> None:
    desk.payments |= {order.id: order for order in waiting}
    while waiting:
        desk.clear()
        placed = len(desk.links)
        for order in waiting:
            if order.id in decided and order.id not in lost_their_deal:
                _as_decided(order, decided[order.id], asked, desk)
            elif (verdict := _told(order, asked, leads, desk)) is not None:
                desk.put(order, verdict)
            elif order.id in lost_their_deal:
                reason = "the deal of this payment was deleted in Kommo"
                desk.put(order, Review(order.id, (), reason, question=Question.DELETED))
            elif desk.now - order.created_at < desk.policy.settle and order.id not in asked.webhook_seen:
                desk.settling.append(order.id)
            elif order.total.minor > 0 or order.id in using:
                desk.put(order, _guessed(order, asked, leads, desk))
            elif verdict := tiers.checkout(order, asked.issued.get(order.id, ()), leads, desk):
                desk.put(order, verdict)
        if len(desk.links) == placed:
            return
        found = {link.order_id for link in desk.links}
        waiting = [order for order in waiting if order.id not in found]


def _subscribed(orders: pd.DataFrame) -> pd.Series:
    """Orders of zero that started a subscription: trials, for the most part."""
    return (orders["order_status"] == OrderStatus.PAID) & (orders["subscription_id"] != "")


def _in_use(orders: pd.DataFrame, policy: Policy) -> pd.Series:
    """Those of them whose subscription somebody uses, though no money came: they get a deal if they have none."""
    return orders["subscription_status"].isin((*LIVING, TRIAL) if policy.trial_wins else LIVING)


def _as_decided(order: Order, decision: str, asked: InQuestion, desk: Desk) -> None:
    """A deal of its own, or nothing; but a person who wrote the order's id into a deal since has the last word."""
    verdict = tiers.by_field(order, asked.by_field.get(order.id, ()), desk)
    if isinstance(verdict, Link) or decision == Decision.NEW:
        desk.put(order, verdict if isinstance(verdict, Link) else None)


def _told(order: Order, asked: InQuestion, leads: Leads, desk: Desk) -> Verdict:
    """What somebody said or wrote down about this very order: it need not settle."""
    hints = asked.hints.get(order.id, ())
    return (
        tiers.explicit(order, hints, leads, desk)
        or tiers.by_field(order, asked.by_field.get(order.id, ()), desk)
        or tiers.claim(order, hints, leads, desk)
    )


def _guessed(order: Order, asked: InQuestion, leads: Leads, desk: Desk) -> Verdict:
    issued, sold = asked.issued.get(order.id, ()), (order.store_id, order.variant_id, order.test_mode)
    verdict = (
        tiers.checkout(order, issued, leads, desk)
        or by_contact(order, asked.by_contact.get(order.id, ()), desk)
        or tiers.doubtful_claim(order, asked.hints.get(order.id, ()), leads, desk)
    )
    if verdict or order.id in asked.unnamed:
        return verdict
    return tiers.unpaid_checkouts(order, asked.waiting.get(sold, ()), leads, desk)


def _followed(lost: pd.DataFrame, leads: Leads) -> tuple[Link, ...]:
    """The stored links of deals that were merged into another one: they follow it."""
    found = []
    for row in rows_of(lost.sort_values("order_id")):
        named = leads.find(str(row.lead_id))
        if named.lead_id is not None:
            evidence = f"{row.evidence}; {named.words}"
            found.append(Link(str(row.order_id), named.lead_id, Tier(str(row.tier)), evidence))
    return tuple(found)


def _with(links: pd.DataFrame, new: Sequence[Link]) -> pd.DataFrame:
    """Return the links with new ones in place of those of the same orders."""
    rows = [(link.order_id, link.lead_id, link.tier.value, link.evidence) for link in new]
    kept = links[LINK_COLUMNS]
    if rows:
        kept = kept[~kept["order_id"].isin([link.order_id for link in new])]
    return pd.concat([kept, pd.DataFrame(rows, columns=LINK_COLUMNS)], ignore_index=True) if rows else kept


def _taken(kept: pd.DataFrame, deals: pd.DataFrame, orders: pd.DataFrame, wanted: AbstractSet[int]) -> dict[int, str]:
    """Which order holds which deal: by a link, else by the deal's own LS field, if that names an order at all."""
    kept, deals = kept[kept["lead_id"].isin(wanted)], deals[deals["lead_id"].isin(wanted)]
    marked = deals[deals["ls_order_id"].notna()]
    marked = marked.assign(marked_by=typed_id(marked["ls_order_id"]))
    marked = marked[marked["marked_by"].isin(orders["order_id"])]
    held = dict(zip(marked["lead_id"].astype(int), marked["marked_by"], strict=True))
    held.update(sorted(zip(kept["lead_id"].astype(int), kept["order_id"], strict=True), reverse=True))
    return held


def _rivals(
    orders: pd.DataFrame, kept: pd.DataFrame, deals: pd.DataFrame, wanted: AbstractSet[int]
) -> dict[str, Order]:
    """The orders that hold a deal which a new payment could be meant for, by id."""
    holders = set(kept[kept["lead_id"].isin(wanted)]["order_id"])
    holders |= set(typed_id(deals[deals["lead_id"].isin(wanted)]["ls_order_id"]))
    rows = orders[orders["order_id"].isin(holders)]
    return {order.id: order for order in map(order_of, rows_of(rows))}


def _odd_fields(deals: pd.DataFrame, orders: pd.DataFrame, policy: Policy) -> list[Oddity]:
    """Open deals whose LS order id is that of no order: somebody mistyped it, or it is from elsewhere."""
    is_open = deals["pipeline_id"].isin(policy.pipeline_ids) & ~deals["status_id"].isin((WON_STATUS_ID, LOST_STATUS_ID))
    marked = deals[is_open & deals["ls_order_id"].notna()]
    marked = marked[~typed_id(marked["ls_order_id"]).isin(orders["order_id"])].sort_values("lead_id")
    return [
        Oddity(f"lead:{lead_id}", f"its field LS order id holds {shown(text)}, which is the id of no order")
        for lead_id, text in zip(marked["lead_id"], marked["ls_order_id"], strict=True)
    ]
