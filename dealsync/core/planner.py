"""Tables in, plan out: match -> diff -> rules. The only planner there is, whatever woke it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

import pandas as pd

from dealsync.core import texts
from dealsync.core.candidates import deals_of
from dealsync.core.diff import differing, drift, sales
from dealsync.core.match import Matches, match
from dealsync.core.payments import in_scope
from dealsync.core.plan import (
    REVIEW_EFFECT,
    Action,
    CompleteTask,
    Kind,
    Plan,
    Refusal,
    Review,
    Scope,
    Seen,
    State,
    Task,
    Unfinished,
)
from dealsync.core.policy import Policy
from dealsync.core.rules import Case, decide
from dealsync.core.self_serve import self_serve
from dealsync.core.tables import Tables, deal_of, order_of, subscription_of

ORDER_OF_KINDS = {kind: place for place, kind in enumerate(Kind)}
RESUMED_KINDS = (Kind.TAG, Kind.NOTE, Kind.TASK)
"""Kinds that are sent as they were meant, even when nothing would plan them again: they tell of a fact. What
changes a deal's state is always planned anew, from today's facts."""
T = TypeVar("T")


def make_plan(tables: Tables, policy: Policy, now: datetime, unfinished: Unfinished | None = None) -> Plan:
    """Return what is to be done so that every deal is as its order says. Equal inputs give equal plans."""
    unfinished = unfinished or Unfinished()
    matches = match(tables, policy, now)
    rows = sales(tables, matches, policy)
    states = dict(zip(tables.ledger["idempotency_key"], tables.ledger["state"], strict=True))

    outcomes = [
        out
        for case in _cases(differing(rows, tables.ledger, policy), tables, policy, states, now)
        for out in decide(case)
    ]
    actions = [out for out in outcomes if isinstance(out, Action)]
    alone = self_serve(matches.self_serve, tables, policy, states, unfinished, now)
    actions += alone.actions
    actions += _review_tasks(matches.reviews, tables, policy, states, now)
    actions += _settled_questions(matches.reviews, tables, states, policy)
    actions += _resumed(unfinished.actions, actions, matches)
    in_mode = tables.orders["test_mode"] == policy.test_mode
    return Plan(
        actions=tuple(sorted(actions, key=lambda a: (ORDER_OF_KINDS[a.kind], a.source, a.key))),
        links=matches.found,
        reviews=matches.reviews,
        refusals=tuple(out for out in outcomes if isinstance(out, Refusal)),
        seen=tuple(out for out in outcomes if isinstance(out, Seen)),
        drift=drift(rows, tables, matches, policy, now),
        settling=matches.settling,
        other_mode=int((~in_mode).sum()),
        scope=Scope(policy.store_ids, policy.test_mode),
        oddities=(*matches.oddities, *alone.oddities),
        questions=replace(matches.questions, customer_ids=alone.customer_ids, company_names=alone.company_names),
    )


def _cases(
    rows: pd.DataFrame, tables: Tables, policy: Policy, states: Mapping[str, str], now: datetime
) -> Iterable[Case]:
    orders = _by_id(tables.orders, "order_id", rows["order_id"], order_of)
    deals = _by_id(tables.deals, "lead_id", rows["lead_id"], deal_of)
    subscriptions = _by_id(tables.subscriptions, "subscription_id", rows["subscription_id"], subscription_of)
    for row in rows[["order_id", "lead_id", "subscription_id", "evidence", "first_order_id"]].itertuples(index=False):
        yield Case(
            order=orders[row.order_id],
            deal=deals[row.lead_id],
            subscription=subscriptions.get(row.subscription_id),
            evidence=str(row.evidence),
            first_order_id=str(row.first_order_id),
            states=states,
            policy=policy,
            now=now,
        )


def _by_id(table: pd.DataFrame, column: str, ids: pd.Series, build: Callable[[Any], T]) -> dict[Any, T]:
    rows = table[table[column].isin(ids)]
    return {getattr(row, column): build(row) for row in rows.itertuples(index=False)}


def _review_tasks(
    reviews: Iterable[Review], tables: Tables, policy: Policy, states: Mapping[str, str], now: datetime
) -> Iterable[Action]:
    """One task a review, on the likeliest deal for its owner; on no deal, for the default owner, if none is known."""
    owed = [r for r in reviews if r.key not in states]
    ids = pd.Series([r.order_id for r in owed], dtype="str")
    orders = _by_id(tables.orders, "order_id", ids, order_of)
    deals = deals_of((r.details[0].lead_id for r in owed if r.details), tables.deals)
    for review in owed:
        order, deal = orders[review.order_id], deals.get(review.details[0].lead_id) if review.details else None
        if not policy.notifies(order.created_at):
            continue  # old facts are listed, nobody is called
        named = ", ".join(str(candidate.lead_id) for candidate in review.details)
        text = texts.render("task_review", review.key, order, locale=policy.locale, reason=review.reason, deals=named)
        owner = deal.responsible_user_id if deal else policy.owners.default
        task = Task(text, now + policy.task_due, owner, on_deal=deal is not None)
        lead_id = deal.lead_id if deal else None
        yield Action(review.key, Kind.TASK, f"order:{order.id}", lead_id, review.reason, "a person must place it", task)


def _settled_questions(
    reviews: Iterable[Review], tables: Tables, states: Mapping[str, str], policy: Policy
) -> Iterable[Action]:
    """The tasks about payments that nobody asks any more: placed since, or decided by a person."""
    asked = {review.key for review in reviews}
    tasks = tables.ledger[(tables.ledger["kind"] == Kind.TASK) & (tables.ledger["state"] == State.APPLIED)]
    mine = in_scope(tables.orders, policy)["order_id"]
    tasks = tasks[tasks["order_id"].isin(mine)]
    for key, order_id, deal in zip(tasks["idempotency_key"], tasks["order_id"], tasks["lead_id"], strict=True):
        source, lead_id = f"order:{order_id}", None if pd.isna(deal) else int(deal)
        is_question = key.startswith(f"{source}:{REVIEW_EFFECT}")
        if is_question and key not in asked and f"{key}:done" not in states:
            done = CompleteTask(key, "Decided: nobody needs to place this payment any more.")
            reason = "what the task asked for was decided"
            yield Action(f"{key}:done", Kind.COMPLETE, source, lead_id or None, reason, reason, done)


def _resumed(unfinished: Iterable[Action], planned: Iterable[Action], matches: Matches) -> list[Action]:
    """Notes, tasks and tags that an earlier run meant, did not send, and that nothing plans again."""
    again = {action.key for action in planned}
    lead_ids = dict(zip(matches.links["order_id"], matches.links["lead_id"], strict=True))
    resumed = []
    for action in unfinished:
        # Only a deal that is there: an order whose deal was deleted has no link, and its notes wait for a new one.
        lead_id = lead_ids.get(action.order_id)
        # A question is planned as long as it is open; one that was decided is not asked late.
        is_question = action.key.startswith(f"{action.source}:{REVIEW_EFFECT}")
        if action.kind in RESUMED_KINDS and not is_question and action.key not in again and lead_id is not None:
            resumed.append(replace(action, lead_id=int(lead_id)))
    return resumed
