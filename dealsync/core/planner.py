"""Tables in, plan out: match -> diff -> rules. The only planner there is, whatever woke it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

import pandas as pd

from dealsync.core import texts
from dealsync.core.diff import differing, drift, sales
from dealsync.core.mapping import deal_fields
from dealsync.core.match import Matches, match
from dealsync.core.models import WON_STATUS_ID, Deal, Order, Subscription, normal_email
from dealsync.core.plan import Action, Kind, NewContact, NewDeal, Plan, Refusal, Seen, Unfinished
from dealsync.core.policy import Policy
from dealsync.core.rules import Case, decide
from dealsync.core.tables import Tables, deal_of, order_of, subscription_of

ORDER_OF_KINDS = {kind: place for place, kind in enumerate(Kind)}
RESUMED_KINDS = (Kind.TAG, Kind.NOTE, Kind.TASK)
"""Kinds that are sent as they were meant, even when nothing would plan them again: they tell of a fact. What
changes a deal's state is always planned anew, from today's facts."""
SELF_SERVE_TAG = "ls:self-serve"
NOBODY_KNOWN = "no deal carries this order, and no deal of a contact with the buyer's e-mail fits it"
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
    actions += _self_serve(matches, tables, policy, states, unfinished, now)
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


def _self_serve(
    matches: Matches,
    tables: Tables,
    policy: Policy,
    states: Mapping[str, str],
    unfinished: Unfinished,
    now: datetime,
) -> list[Action]:
    """A won deal for every paid order that nobody in Kommo is known for, and a contact where there is none."""
    started = {s.order_id: s for s in map(subscription_of, _started(tables, matches).itertuples(index=False))}
    contacts = _contacts_by_email(tables, matches.self_serve)
    owners = {a.order_id: a.change.responsible_user_id for a in unfinished.actions if isinstance(a.change, NewDeal)}
    position = unfinished.rota_position
    actions: list[Action] = []
    made: dict[str, str] = {}  # e-mail -> key of the action that makes its contact
    for order in matches.self_serve:
        if f"order:{order.id}:deal" in states:
            continue  # sent before and being looked up: the resolver reports on it
        if owners.get(order.id) in policy.owners:
            owner = owners[order.id]
        else:
            owner = policy.owners[position % len(policy.owners)] if policy.owners else None
            position += 1
        email = normal_email(order.user_email)
        if email and email not in contacts and email not in made:
            made[email] = f"order:{order.id}:contact"
            actions.append(_new_contact(order, made[email], owner))
        deal = _new_deal(
            order, started.get(order.id), policy, owner, contact_id=contacts.get(email), contact_key=made.get(email)
        )
        actions.append(deal)
        actions += _companions(order, started.get(order.id), deal, policy, states, now)
    return actions


def _new_contact(order: Order, key: str, owner: int | None) -> Action:
    contact = NewContact(order.user_name.strip() or "Buyer", order.user_email.strip(), owner)
    reason = "no contact has the buyer's e-mail"
    return Action(key, Kind.CREATE_CONTACT, f"order:{order.id}", None, reason, reason, contact)


def _new_deal(
    order: Order,
    subscription: Subscription | None,
    policy: Policy,
    owner: int | None,
    *,
    contact_id: int | None,
    contact_key: str | None,
) -> Action:
    known = contact_id is not None
    deal = NewDeal(
        name=f"{texts.product_name(order)}, order {order.number}",
        pipeline_id=policy.home_pipeline_id,
        status_id=WON_STATUS_ID,
        price=order.total.whole if order.total.currency == policy.account_currency else None,
        responsible_user_id=owner,
        fields=deal_fields(order, subscription),
        tags=(SELF_SERVE_TAG,),
        contact_id=contact_id,
        contact_key=None if known else contact_key,
    )
    reason = f"paid without a deal; the buyer's contact is {'known' if known else 'new'}"
    source = f"order:{order.id}"
    return Action(f"{source}:deal", Kind.CREATE_DEAL, source, None, reason, NOBODY_KNOWN, deal)


def _companions(
    order: Order,
    subscription: Subscription | None,
    creation: Action,
    policy: Policy,
    states: Mapping[str, str],
    now: datetime,
) -> list[Action]:
    """What goes with a new deal: all that the rules would say of it once it is there."""
    if not isinstance(new := creation.change, NewDeal):
        raise TypeError(f"{creation.key} creates no deal")
    to_be = Deal(
        lead_id=0,
        name=new.name,
        pipeline_id=new.pipeline_id,
        status_id=new.status_id,
        price=new.price or 0,
        responsible_user_id=new.responsible_user_id,
        created_at=now,
        updated_at=now,
        fields=new.fields,
        written=new.as_written(),
    )
    case = Case(order, to_be, subscription, NOBODY_KNOWN, order.id, states, policy, now)
    return [replace(out, lead_id=None) for out in decide(case) if isinstance(out, Action)]


def _started(tables: Tables, matches: Matches) -> pd.DataFrame:
    ids = {order.id for order in matches.self_serve}
    return tables.subscriptions[tables.subscriptions["order_id"].isin(ids)].sort_values(
        "subscription_id", ascending=False
    )


def _contacts_by_email(tables: Tables, orders: Iterable[Order]) -> dict[str, int]:
    """The contact to reuse for each e-mail: the oldest card, so that every run picks the same."""
    emails = {normal_email(order.user_email) for order in orders}
    rows = tables.contact_emails[tables.contact_emails["email"].isin(emails)].sort_values("contact_id", ascending=False)
    return {email: int(contact_id) for email, contact_id in zip(rows["email"], rows["contact_id"], strict=True)}


def _resumed(unfinished: Iterable[Action], planned: Iterable[Action], matches: Matches) -> list[Action]:
    """Notes, tasks and tags that an earlier run meant, did not send, and that nothing plans again."""
    again = {action.key for action in planned}
    lead_ids = dict(zip(matches.links["order_id"], matches.links["lead_id"], strict=True))
    resumed = []
    for action in unfinished:
        # Only a deal that is there: an order whose deal was deleted has no link, and its notes wait for a new one.
        lead_id = lead_ids.get(action.order_id)
        if action.kind in RESUMED_KINDS and action.key not in again and lead_id is not None:
            resumed.append(replace(action, lead_id=int(lead_id)))
    return resumed
