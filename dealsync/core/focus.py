"""A plan on a narrower scope: what a webhook asked to look at. Planned with everything in sight, then cut down to it.

So schedule and webhook cannot disagree: there is only one planner, and it saw the same tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from dealsync.core.match import Matches
from dealsync.core.models import Tier
from dealsync.core.plan import NewDeal, Plan

NAMED = frozenset({Tier.EXPLICIT, Tier.LEDGER, Tier.CLAIM, Tier.PERSON})
"""Tiers that name their deal, whatever other deals and contacts there are."""


@dataclass(frozen=True, slots=True)
class Focus:
    """What is looked at: these orders, these deals, and all that hangs on them."""

    order_ids: frozenset[str] = frozenset()
    lead_ids: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.order_ids or self.lead_ids)


def narrowed(plan: Plan, focus: Focus, matches: Matches) -> Plan:
    """Return what of a plan is about the focus: its orders, the deals they belong to, and these deals' other orders."""
    order_ids, lead_ids = _widened(focus, matches)

    def is_ours(order_id: str, lead_id: int | None) -> bool:
        return order_id in order_ids or lead_id in lead_ids

    def is_about(source: str, lead_id: int | None = None) -> bool:
        kind, _, object_id = source.partition(":")
        return lead_id in lead_ids or (kind == "order" and object_id in order_ids)

    reviews = tuple(r for r in plan.reviews if r.order_id in order_ids)
    links = tuple(link for link in plan.links if is_ours(link.order_id, link.lead_id))
    asked = plan.questions
    kept = {a.key for a in plan.actions if is_ours(a.order_id, a.lead_id)} | _companions(plan, is_ours)
    return replace(
        plan,
        actions=tuple(a for a in plan.actions if a.key in kept),
        links=links,
        reviews=reviews,
        refusals=tuple(r for r in plan.refusals if is_about(r.source, r.lead_id)),
        drifts=tuple(d for d in plan.drifts if is_about(d.source, d.lead_id)),
        settling=tuple(i for i in plan.settling if i in order_ids),
        seen=tuple(seen for seen in plan.seen if seen.lead_id in lead_ids),
        oddities=tuple(oddity for oddity in plan.oddities if is_about(oddity.source)),
        scope=None if plan.scope is None else replace(plan.scope, order_ids=frozenset(order_ids)),
        questions=replace(
            asked,
            entered_lead_ids=asked.entered_lead_ids & lead_ids,
            moved_lead_ids=asked.moved_lead_ids & lead_ids,
            lists=any(link.tier not in NAMED for link in links)
            or bool(reviews)
            or any(order.id in order_ids for order in matches.self_serve),
        ),
    )


def _companions(plan: Plan, is_ours: Callable[[str, int | None], bool]) -> set[str]:
    """The contacts and companies that new deals of the focus need, whichever order of their buyer brought them."""
    deals = [a.change for a in plan.actions if isinstance(a.change, NewDeal) and is_ours(a.order_id, a.lead_id)]
    return {key for deal in deals for key in (deal.contact_key, deal.company_key) if key}


def _widened(focus: Focus, matches: Matches) -> tuple[set[str], set[int]]:
    """The deals of the orders, and all orders of these deals: what one pays decides what the other counts for."""
    placed: Iterable[tuple[str, int]] = zip(matches.links["order_id"], matches.links["lead_id"], strict=True)
    pairs = [(order_id, int(lead_id)) for order_id, lead_id in placed]
    lead_ids = {lead_id for order_id, lead_id in pairs if order_id in focus.order_ids} | focus.lead_ids
    return {order_id for order_id, lead_id in pairs if lead_id in lead_ids} | focus.order_ids, lead_ids
