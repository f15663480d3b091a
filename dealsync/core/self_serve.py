"""A deal of its own for a payment that nobody in Kommo is known for: contact, owner, name, tags, fields."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pandas as pd

from dealsync.core.candidates import custom_data
from dealsync.core.cases import Case, Ground
from dealsync.core.models import WON_STATUS_ID, Deal, Order, Subscription, normal_email, normal_name
from dealsync.core.owners import owner_at, rota_of
from dealsync.core.plan import Action, Kind, NewCompany, NewContact, NewDeal, Oddity, Unfinished
from dealsync.core.policy import Policy
from dealsync.core.products import deal_name, rule_for
from dealsync.core.rows import rows_of
from dealsync.core.rules import decide
from dealsync.core.sales import wanted_fields
from dealsync.core.tables import Tables, subscription_of
from dealsync.core.texts import NAME_LIMIT

NUMBER = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,10})?")
NOBODY_KNOWN = (
    "no webhook, field, claim or checkout names a deal for this order, and no deal of a contact with the buyer's "
    "e-mail fits it"
)


@dataclass(frozen=True, slots=True)
class SelfServe:
    """Actions for the payments of nobody, and the customers whose country must be known before more are planned."""

    actions: tuple[Action, ...]
    customer_ids: frozenset[str]
    oddities: tuple[Oddity, ...] = ()
    company_names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Card:
    """The contact of a buyer: one that is there, or one that an action makes."""

    contact_id: int | None
    key: str | None
    words: str


@dataclass(frozen=True, slots=True)
class _Company:
    """The company of a buyer: one that is there, or one that an action makes."""

    company_id: int | None
    key: str | None


@dataclass(frozen=True, slots=True)
class _Buyer:
    """Everything about one order that its deal is made from."""

    order: Order
    subscription: Subscription | None
    fields: Mapping[str, str]  # LS fields by key
    custom: Mapping[str, str]
    owner: int | None
    rota: str
    card: _Card
    company: _Company | None


def self_serve(orders: Sequence[Order], tables: Tables, ground: Ground, unfinished: Unfinished) -> SelfServe:
    """Return what makes a won deal for each of these orders, and a contact where there is none; oldest order first."""
    policy, states, now = ground.policy, ground.states, ground.now
    # What was sent before is being looked up: the resolver reports on it.
    waiting = [order for order in orders if f"order:{order.id}:deal" not in states]
    ids = pd.Series([order.id for order in waiting], dtype="str")
    custom, started, fields = custom_data(ids, tables), _started(ids, tables), _fields(ids, tables)
    countries = dict(zip(tables.customers["customer_id"], tables.customers["country"], strict=True))
    unknown = _unknown_customers(waiting, countries, policy)
    turns = _Turns(policy, unfinished, now)
    cards, companies = _Cards(waiting, tables), _Companies(tables, policy)
    actions: list[Action] = []
    for order in waiting:
        if order.customer_id in unknown:
            continue  # planned once its customer's country was read
        told = custom.get(order.id, {})
        owner, rota = turns.owner_of(order, told, countries.get(order.customer_id))
        card = cards.of(order)
        # One that was made and that no list shows yet has its key in the ledger: the deal takes it from there.
        if card.key == f"order:{order.id}:contact" and card.key not in states:
            actions.append(_new_contact(order, card, owner))
        company = companies.of(order, told)
        if company and company.key == f"order:{order.id}:company" and company.key not in states:
            actions.append(_new_company(order, companies.name_in(told), owner))
        buyer = _Buyer(order, started.get(order.id), fields[order.id], told, owner, rota, card, company)
        creation = _new_deal(buyer, policy)
        actions += [creation, *_companions(buyer, creation, ground)]
    odd = (oddity for order in waiting for oddity in _odd_numbers(order, custom.get(order.id, {}), policy))
    return SelfServe(tuple(actions), frozenset(unknown), tuple(odd), frozenset(companies.wanted))


class _Turns:
    """Whose turn it is; an order whose deal was meant before keeps its owner while he is there."""

    def __init__(self, policy: Policy, unfinished: Unfinished, now: datetime) -> None:
        self._owners = policy.owners
        self._today = now.date()
        self._positions = dict(unfinished.rota_positions)
        self._meant = {a.order_id: a.change for a in unfinished.actions if isinstance(a.change, NewDeal)}

    def owner_of(self, order: Order, custom: Mapping[str, str], country: str | None) -> tuple[int | None, str]:
        """Return the owner, and the rota whose turn this was."""
        rota = rota_of(order, custom, country, self._owners)
        meant = self._meant.get(order.id)
        if meant is not None and meant.responsible_user_id in self._everybody():
            return meant.responsible_user_id, meant.rota
        position = self._positions.get(rota, 0)
        self._positions[rota] = position + 1
        return owner_at(self._owners, rota, position, self._today), rota

    def _everybody(self) -> set[int | None]:
        rotas = (self._owners.users, *self._owners.zones.values())
        return {self._owners.default, *(user.user_id for users in rotas for user in users)}


class _Cards:
    """The contact of each buyer: the one with his e-mail, of several the one with the newest deal."""

    def __init__(self, orders: Iterable[Order], tables: Tables) -> None:
        emails = {normal_email(order.user_email) for order in orders} - {""}
        rows = tables.contact_emails[tables.contact_emails["email"].isin(emails)]
        live = tables.deals[~tables.deals["is_deleted"]][["lead_id", "created_at"]]
        theirs = tables.lead_contacts[tables.lead_contacts["contact_id"].isin(rows["contact_id"])]
        newest = theirs.merge(live, on="lead_id").groupby("contact_id")["created_at"].max()
        self._known: dict[str, list[int]] = {}
        self._newest: dict[int, float] = {}
        for email, contact_id in sorted(zip(rows["email"], rows["contact_id"].astype(int), strict=True)):
            self._known.setdefault(email, []).append(contact_id)
            made = newest.get(contact_id)
            self._newest[contact_id] = made.timestamp() if made is not None else 0.0
        self._made: dict[str, str] = {}

    def of(self, order: Order) -> _Card:
        """Return the card of an order's buyer. Without an e-mail there is none."""
        email = normal_email(order.user_email)
        if not email:
            return _Card(None, None, "the order has no e-mail, so there is no contact")
        if known := self._known.get(email):
            # The newest deal; of equals the oldest card: every run picks the same.
            best = max(known, key=lambda contact_id: (self._newest[contact_id], -contact_id))
            if len(known) == 1:
                return _Card(best, None, f"contact {best} has the buyer's e-mail")
            others = ", ".join(map(str, known))
            return _Card(best, None, f"contacts {others} have the buyer's e-mail; {best} has the newest deal")
        key = self._made.setdefault(email, f"order:{order.id}:contact")
        return _Card(None, key, "no contact has the buyer's e-mail, so one is made")


class _Companies:
    """The company that a buyer named in the custom data: one of that name, or a new one."""

    def __init__(self, tables: Tables, policy: Policy) -> None:
        names, ids = tables.companies["name"], tables.companies["company_id"]
        self._known = {name: None if pd.isna(i) else int(i) for name, i in zip(names, ids, strict=True)}
        self._key = policy.company_key
        self._made: dict[str, str] = {}
        self.wanted: set[str] = set()

    def name_in(self, custom: Mapping[str, str]) -> str:
        """Return the name as the buyer typed it, on one line."""
        return " ".join(custom.get(self._key, "").split())[:NAME_LIMIT] if self._key else ""

    def of(self, order: Order, custom: Mapping[str, str]) -> _Company | None:
        """Return the company of an order's buyer; None where he named none, or while it must be looked for."""
        name = normal_name(self.name_in(custom))
        if not name:
            return None
        self.wanted.add(name)
        if name not in self._known:
            return None
        if (company_id := self._known[name]) is not None:
            return _Company(company_id, None)
        return _Company(None, self._made.setdefault(name, f"order:{order.id}:company"))


def _new_company(order: Order, name: str, owner: int | None) -> Action:
    reason = "the buyer named a company that Kommo does not know"
    company = NewCompany(name, owner)
    return Action(f"order:{order.id}:company", Kind.CREATE_COMPANY, f"order:{order.id}", None, reason, reason, company)


def _new_contact(order: Order, card: _Card, owner: int | None) -> Action:
    contact = NewContact(order.user_name.strip() or "Buyer", order.user_email.strip(), owner)
    key = f"order:{order.id}:contact"
    return Action(key, Kind.CREATE_CONTACT, f"order:{order.id}", None, "the buyer is new", card.words, contact)


def _new_deal(buyer: _Buyer, policy: Policy) -> Action:
    order, special = buyer.order, rule_for(buyer.order, policy.products)
    deal = NewDeal(
        name=deal_name(special.name, order, buyer.custom),
        pipeline_id=special.pipeline_id or policy.home.pipeline_id,
        status_id=WON_STATUS_ID,
        price=policy.units_of(order) if order.total.currency == policy.account_currency else None,
        responsible_user_id=buyer.owner,
        fields=buyer.fields,
        tags=tuple(tag for tag in dict.fromkeys((policy.self_serve_tag, special.tag)) if tag),
        contact_id=buyer.card.contact_id,
        contact_key=buyer.card.key,
        company_id=buyer.company.company_id if buyer.company else None,
        company_key=buyer.company.key if buyer.company else None,
        custom=_custom_fields(buyer.custom, policy),
        rota=buyer.rota,
    )
    reason = f"paid without a deal; {buyer.card.words}"
    source = f"order:{order.id}"
    return Action(f"{source}:deal", Kind.CREATE_DEAL, source, None, reason, NOBODY_KNOWN, deal)


def _custom_fields(custom: Mapping[str, str], policy: Policy) -> dict[int, str]:
    """The custom data that the configuration wants in fields of the deal, by field id; empty values stay out."""
    return {
        field_id: custom[key].strip()
        for key, field_id in policy.custom_fields.items()
        if custom.get(key, "").strip() and not _is_odd(custom[key], field_id, policy)
    }


def _odd_numbers(order: Order, custom: Mapping[str, str], policy: Policy) -> Iterator[Oddity]:
    for key, field_id in policy.custom_fields.items():
        if custom.get(key, "").strip() and _is_odd(custom[key], field_id, policy):
            yield Oddity(f"order:{order.id}", f"its custom data {key} is no number, so the deal's field stays empty")


def _is_odd(text: str, field_id: int, policy: Policy) -> bool:
    """Whether a text would be refused by a field that holds numbers, and the whole deal with it."""
    return field_id in policy.numeric_fields and not NUMBER.fullmatch(text.strip())


def _companions(buyer: _Buyer, creation: Action, ground: Ground) -> Iterator[Action]:
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
        created_at=ground.now,
        updated_at=ground.now,
        fields=new.fields,
        written=new.as_written(),
    )
    sale = Case(ground, to_be, NOBODY_KNOWN, order=buyer.order, first_order_id=buyer.order.id, wanted=new.fields)
    outcomes = decide(sale)
    if buyer.subscription is not None:
        outcomes += decide(replace(sale, subscription=buyer.subscription))
    return (replace(out, lead_id=None) for out in outcomes if isinstance(out, Action))


def _fields(order_ids: pd.Series, tables: Tables) -> dict[str, dict[str, str]]:
    """The LS fields of each sale, those that have a value."""
    if order_ids.empty:
        return {}
    rows = tables.orders[tables.orders["order_id"].isin(order_ids)]
    wanted = wanted_fields(rows).to_dict("records")
    return {
        order_id: {str(key): value for key, value in values.items() if value}
        for order_id, values in zip(rows["order_id"], wanted, strict=True)
    }


def _started(order_ids: pd.Series, tables: Tables) -> dict[str, Subscription]:
    """The first subscription that each order started."""
    rows = tables.subscriptions[tables.subscriptions["order_id"].isin(order_ids)]
    rows = rows.sort_values("subscription_id", ascending=False)
    return {s.order_id: s for s in map(subscription_of, rows_of(rows))}


def _unknown_customers(orders: Iterable[Order], countries: Mapping[str, str], policy: Policy) -> set[str]:
    if policy.owners.strategy != "zone" or policy.owners.zone_by != "country":
        return set()
    return {order.customer_id for order in orders if order.customer_id} - countries.keys()
