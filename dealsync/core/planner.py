"""Tables in, plan out: match -> diff -> rules. The only planner there is, whatever woke it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pandas as pd

from dealsync.core import texts
from dealsync.core.alarms import CHECKOUT_ALARMS, episodes_in, lowered, raised
from dealsync.core.candidates import deals_of
from dealsync.core.cases import Alarm, Case, Ground
from dealsync.core.diff import Stand, differing, stand, unquiet, untold
from dealsync.core.drift import drifts, since_when, stuck, surely_never_paid
from dealsync.core.facts import Fact
from dealsync.core.focus import Focus, narrowed
from dealsync.core.match import Matches, match
from dealsync.core.models import Deal
from dealsync.core.paid_links import through_older_links
from dealsync.core.payments import in_scope, money_came
from dealsync.core.plan import (
    REVIEW_EFFECT,
    Action,
    Kind,
    Plan,
    Refusal,
    Review,
    Scope,
    Seen,
    Unfinished,
    in_order,
)
from dealsync.core.policy import Policy
from dealsync.core.rows import ById, rows_of, slices
from dealsync.core.rules import decide
from dealsync.core.sales import SALE_KEYS, counted, wanted_fields
from dealsync.core.self_serve import self_serve
from dealsync.core.tables import Tables, deal_of, invoice_of, order_of, subscription_of, time_of

RESUMED_KINDS = (Kind.TAG, Kind.NOTE, Kind.TASK)
"""Kinds that are sent as they were meant, even when nothing would plan them again: they tell of a fact. What
changes a deal's state is always planned anew, from today's facts."""
HANG_ON = (Kind.TAG, Kind.UNTAG, Kind.NOTE, Kind.TASK)
"""What hangs on a deal, and goes along when it is merged into another one."""
ON_DEALS = (Kind.CLOSE, Kind.ATTENTION, Kind.PRICE, Kind.FIELDS, *HANG_ON)
AT_ONCE = 2_000
"""Rows that differ which are objects at the same time: after an outage, or at first, that may be all."""


def make_plan(
    tables: Tables, policy: Policy, now: datetime, unfinished: Unfinished | None = None, focus: Focus | None = None
) -> Plan:
    """Return what is to be done so that every deal is as its order says. Equal inputs give equal plans.

    With a focus, what of it is about that alone.
    """
    unfinished, tables = unfinished or Unfinished(), counted(tables)
    matches = match(tables, policy, now)
    ground = _ground(tables, policy, now, matches)
    rows = stand(tables, matches, policy)

    outcomes = [out for case in _cases(rows, tables, ground) for out in decide(case)]
    alone = self_serve(matches.self_serve, tables, ground, unfinished)
    alarms = [out for out in outcomes if isinstance(out, Alarm)]
    alarms += _questions(matches.reviews, tables, ground)
    actions = [out for out in outcomes if isinstance(out, Action)]
    actions += alone.actions
    actions += [action for alarm in alarms for action in raised(alarm, ground)]
    actions += lowered(alarms, ground, _looked_at(rows, tables, ground), _gone(tables))
    actions += _resumed(unfinished.actions, actions, matches)
    refusals = tuple(out for out in outcomes if isinstance(out, Refusal))
    plan = Plan(
        actions=tuple(in_order(actions)),
        links=matches.found,
        reviews=matches.reviews,
        refusals=refusals,
        seen=tuple(out for out in outcomes if isinstance(out, Seen)),
        drifts=drifts(rows.sales, tables, matches, policy, now),
        settling=matches.settling,
        other_mode=int((tables.orders["test_mode"] != policy.test_mode).sum()),
        scope=Scope(policy.store_ids, policy.test_mode),
        oddities=(*matches.oddities, *alone.oddities),
        questions=replace(
            matches.questions,
            customer_ids=alone.customer_ids,
            company_names=alone.company_names,
            entered_lead_ids=since_when(tables.deals, policy, now),
            moved_lead_ids=_moved_by_whom(refusals, tables),
            lists=True,
        ),
    )
    return plan if focus is None else narrowed(plan, focus, matches)


def _ground(tables: Tables, policy: Policy, now: datetime, matches: Matches) -> Ground:
    states = dict(zip(tables.ledger["idempotency_key"].to_numpy(), tables.ledger["state"].to_numpy(), strict=True))
    episodes = {stem: e for stem, e in episodes_in(tables.ledger).items() if e.name not in CHECKOUT_ALARMS}
    undone = tables.ledger[(tables.ledger["kind"] == Kind.RESTORE) & tables.ledger["lead_id"].notna()]["lead_id"]
    return Ground(policy, now, states, episodes, frozenset(undone.astype(int)), _elsewhere(tables, matches))


def _elsewhere(tables: Tables, matches: Matches) -> frozenset[str]:
    """The effects on deals to which their payment does not belong any more: deleted ones, wrong ones, merged ones.

    Whatever hung on a deal that was merged is on the other one now. Alarms keep to themselves.
    """
    ledger = tables.ledger
    on_deals = (ledger["alarm"].fillna("") == "") & ledger["kind"].isin(ON_DEALS) & ledger["lead_id"].notna()
    rows = ledger[["idempotency_key", "kind", "order_id", "lead_id"]][on_deals]
    rows = rows.merge(matches.links[["order_id", "lead_id"]], on="order_id", suffixes=("", "_now"))
    rows = rows[rows["lead_id"] != rows["lead_id_now"]]
    merged = tables.merges.dropna(subset="lead_id")["gone_id"]
    came_along = rows["lead_id"].isin(merged) & rows["kind"].isin(HANG_ON)
    return frozenset(rows[~came_along]["idempotency_key"])


def _alarmed(ground: Ground) -> frozenset[str]:
    """The objects whose alarms may have to end. That of an end stays: nothing comes after it."""
    ongoing = [episode for episode in ground.episodes.values() if not (episode.is_over and episode.is_closed)]
    ended = {episode.source for episode in ongoing if episode.name == "churned"}
    return frozenset(
        e.source for e in ongoing if e.name != "churned" and not (e.name == "cancelled" and e.source in ended)
    )


def _cases(rows: Stand, tables: Tables, ground: Ground) -> Iterator[Case]:
    """Every sale, subscription, renewal and deal on which something is owed."""
    alarmed = _alarmed(ground)
    sales = differing(rows.sales, ground, alarmed)
    yield from _sale_cases(sales, tables, ground)
    yield from _later_cases(unquiet(rows.subscriptions, ground, alarmed), rows, tables, ground)
    yield from _later_cases(untold(rows.renewals, ground), rows, tables, ground)
    if ground.policy.test_mode:
        return  # these deals are real, and what is known of payments is not
    paid = rows.sales[money_came(rows.sales)]["lead_id"]
    waiting = stuck(tables.deals, ground.policy, ground.now)
    waiting = waiting[~waiting["lead_id"].isin(paid)]
    for fact, found in ((Fact.NEVER_PAID, surely_never_paid(tables, ground.policy)), (Fact.STUCK, waiting)):
        for deal in map(deal_of, rows_of(found)):
            yield Case(ground, deal, "the deal as it stands in Kommo", lone_fact=fact)


def _sale_cases(sales: pd.DataFrame, tables: Tables, ground: Ground) -> Iterator[Case]:
    orders, deals = ById(tables.orders, "order_id", order_of), ById(tables.deals, "lead_id", deal_of)
    older = through_older_links(sales, tables)
    columns = ["order_id", "lead_id", "evidence", "first_order_id", "changed_at"]
    for part in slices(sales, AT_ONCE):
        order, deal = orders.of(part["order_id"]), deals.of(part["lead_id"])
        wanted = rows_of(wanted_fields(part)[list(SALE_KEYS)])
        for row, values in zip(rows_of(part[columns]), wanted, strict=True):
            yield Case(
                ground,
                deal[row.lead_id],
                str(row.evidence),
                order=order[row.order_id],
                first_order_id=str(row.first_order_id),
                wanted=dict(zip(SALE_KEYS, values, strict=True)),
                changed_at=time_of(row.changed_at),
                through_older_link=row.order_id in older,
            )


def _later_cases(later: pd.DataFrame, rows: Stand, tables: Tables, ground: Ground) -> Iterator[Case]:
    """Subscriptions, or renewals with their subscriptions."""
    if later.empty:
        return
    orders, deals = ById(tables.orders, "order_id", order_of), ById(tables.deals, "lead_id", deal_of)
    subscriptions = ById(tables.subscriptions, "subscription_id", subscription_of)
    paid = rows.renewals[rows.renewals["subscription_id"].isin(later["subscription_id"])]
    last_paid = paid.groupby("subscription_id")["created_at"].max()
    sales = rows.sales[rows.sales["order_id"].isin(later["order_id"])]
    firsts = dict(zip(sales["order_id"], sales["first_order_id"], strict=True))
    are_invoices = "invoice_id" in later
    for part in slices(later, AT_ONCE):
        order, subscription = orders.of(part["order_id"]), subscriptions.of(part["subscription_id"])
        deal = _with_people(deals.of(part["lead_id"]), tables, ground)
        for row in rows_of(part):
            at = last_paid.get(row.subscription_id)
            yield Case(
                ground,
                deal[row.lead_id],
                str(row.evidence),
                order=order[row.order_id],
                first_order_id=str(firsts[row.order_id]),
                subscription=subscription[row.subscription_id],
                invoice=invoice_of(row) if are_invoices else None,
                last_paid_at=None if at is None else at.to_pydatetime(),
            )


def _with_people(deals: dict[int, Deal], tables: Tables, ground: Ground) -> dict[int, Deal]:
    """The deals, with their contacts where a renewal gets a deal of its own."""
    if ground.policy.renewal_deals:
        people = tables.lead_contacts[tables.lead_contacts["lead_id"].isin(deals)].sort_values("contact_id")
        for lead_id, contact_id in zip(people["lead_id"], people["contact_id"], strict=True):
            deals[lead_id] = replace(deals[lead_id], contact_ids=(*deals[lead_id].contact_ids, int(contact_id)))
    return deals


def _questions(reviews: Iterable[Review], tables: Tables, ground: Ground) -> Iterator[Alarm]:
    """One task a review, on the likeliest deal for its owner; on no deal, for the default owner, if none is known."""
    asked, policy = list(reviews), ground.policy
    orders = ById(tables.orders, "order_id", order_of).of(pd.Series([r.order_id for r in asked], dtype="str"))
    deals = deals_of((r.details[0].lead_id for r in asked if r.details), tables.deals)
    for review in asked:
        order, deal = orders[review.order_id], deals.get(review.details[0].lead_id) if review.details else None
        if review.key not in ground.episodes and not policy.notifies(order.paid_at or order.created_at):
            continue  # old facts are listed, nobody is called
        named = ", ".join(str(candidate.lead_id) for candidate in review.details)
        yield Alarm(
            stem=review.key,
            name=REVIEW_EFFECT,
            source=f"order:{order.id}",
            sale=order.id,
            lead_id=deal.lead_id if deal else 0,
            values={**texts.order_values(order), "reason": review.reason, "deals": named},
            evidence="a person must place it",
            reason=review.reason,
            owner=policy.owner_of(deal) if deal else policy.owners.default,
        )


def _looked_at(rows: Stand, tables: Tables, ground: Ground) -> dict[str, dict[str, Any]]:
    """What texts may say about the objects whose alarms could end; those that were not looked at are left out."""
    ids: dict[str, set[str]] = {"order": set(), "subscription": set(), "lead": set()}
    for source in {episode.source for episode in ground.episodes.values()}:
        kind, _, object_id = source.partition(":")
        ids[kind].add(object_id)
    found: dict[str, dict[str, Any]] = {}
    if not ground.policy.test_mode:
        found |= {f"lead:{lead_id}": {} for lead_id in ids["lead"]}
    orders = in_scope(tables.orders, ground.policy)
    found |= {f"order:{i}": {} for i in orders[orders["order_id"].isin(ids["order"])]["order_id"]}
    alarmed = _alarmed(ground)
    alarmed_ids = [source.removeprefix("subscription:") for source in alarmed if source.startswith("subscription:")]
    ongoing = rows.subscriptions[rows.subscriptions["subscription_id"].isin(alarmed_ids)]
    for subscription in map(subscription_of, rows_of(ongoing)):
        found[f"subscription:{subscription.id}"] = texts.subscription_values(subscription)
    return found


def _gone(tables: Tables) -> frozenset[int]:
    return frozenset(tables.deals[tables.deals["is_deleted"]]["lead_id"].astype(int))


def _moved_by_whom(refusals: Iterable[Refusal], tables: Tables) -> frozenset[int]:
    """Deals that a person moved, and Kommo's events were not asked yet by whom."""
    moved = {r.lead_id for r in refusals if r.rule == "person_moved_it" and r.part == "status_id"}
    rows = tables.deals[tables.deals["lead_id"].isin(moved) & tables.deals["entered_at"].isna()]
    return frozenset(rows["lead_id"].astype(int))


def _resumed(unfinished: Iterable[Action], planned: Iterable[Action], matches: Matches) -> list[Action]:
    """Notes, tasks and tags that an earlier run meant, did not send, and that nothing plans again."""
    unfinished, again = list(unfinished), {action.key for action in planned}
    links = matches.links[matches.links["order_id"].isin([action.order_id for action in unfinished])]
    lead_ids = dict(zip(links["order_id"], links["lead_id"], strict=True))
    resumed = []
    for action in unfinished:
        # Only a deal that is there: an order whose deal was deleted has no link, and its notes wait for a new one.
        lead_id = lead_ids.get(action.order_id)
        # An alarm is planned as long as it holds; one that does not is not raised late, and ends by being planned. The
        # note that tells of its end is planned once, and is a fact like any other.
        is_alarms = bool(action.alarm) and not action.key.endswith(":ended")
        if action.kind in RESUMED_KINDS and not is_alarms and action.key not in again and lead_id is not None:
            resumed.append(replace(action, lead_id=int(lead_id)))
    return resumed
