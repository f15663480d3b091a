"""What a scene of labelled orders is played with: people, deals, evidence, and the truth about every order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import count
from random import Random
from typing import Any

from dealsync.core.evidence import IssuedCheckout
from dealsync.core.models import Contact, Deal, Link, Order, Subscription, Tier, normal_email
from tests.builders import INVOICE_SENT, NEW, World, checkout, claim, contact, deal, order, subscription, webhook

DEFAULT_ORDERS = 2_000
PRICES = (49, 99, 290, 490, 990)
HIGH_PRICES = (1001, 1490, 4990)
VARIANTS = ("31", "32", "33")
OTHER_VARIANT = "99"
DOMAINS = ("example.com", "example.org", "example.net")
FIRST_NAMES = ("ann", "anna", "joan", "john", "jon", "maria", "marie")
LAST_NAMES = ("lee", "leigh", "smith", "smyth", "meyer", "meier")
BLANKS = ("", " ", "  ", "\t", "\N{NO-BREAK SPACE}")
ID_STEP, ID_PRIME = 1_103_515_245, 2_147_483_647
"""Multiples of the step modulo the prime: ids that are all different and say nothing about what came first."""


class Answer(StrEnum):
    """The truth about an order that is no deal's id."""

    SELF_SERVE = "self-serve"
    PERSON = "a person"  # design 3: no automatic tier may take it


@dataclass(frozen=True, slots=True)
class Label:
    """What is known about one order."""

    situation: str
    truth: int | Answer  # the id of the deal that the buyer paid for, or what else is right
    tier: Tier | None = None  # the strongest evidence there is for that deal; None where no tier can name it


@dataclass(frozen=True, slots=True)
class Labelled:
    """An account and the truth about its orders, by order id."""

    world: World
    labels: Mapping[str, Label]


@dataclass
class Account:
    """Everything that the scenes have put into one account so far."""

    numbers: count[int]
    orders: list[Order] = field(default_factory=list)
    deals: list[Deal] = field(default_factory=list)
    contacts: list[Contact] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    subscriptions: list[Subscription] = field(default_factory=list)
    hints: list[tuple[Any, ...]] = field(default_factory=list)
    checkouts: list[IssuedCheckout] = field(default_factory=list)
    merges: list[tuple[int, int | None]] = field(default_factory=list)
    labels: dict[str, Label] = field(default_factory=dict)

    def new_id(self) -> int:
        """Return an id that no object has, and that says nothing about when it was made."""
        return next(self.numbers) * ID_STEP % ID_PRIME


@dataclass
class Scene:
    """One thing that happens: somebody pays `price` at `at` for `variant`."""

    account: Account
    chance: Random
    at: datetime
    price: int
    variant: str

    def hours(self, least: float, most: float) -> timedelta:
        """A random time between two numbers of hours."""
        return timedelta(seconds=self.chance.randint(int(least * 3600), int(most * 3600)))

    def email(self, domain: str | None = None) -> str:
        """A new address."""
        names = f"{self.chance.choice(FIRST_NAMES)}.{self.chance.choice(LAST_NAMES)}"
        return f"{names}{next(self.account.numbers)}@{domain or self.chance.choice(DOMAINS)}"

    def contact(self, *emails: str) -> Contact:
        """Add a contact with these addresses; with a new one, if none is given."""
        card = contact(self.account.new_id(), *(emails or (self.email(),)))
        self.account.contacts.append(card)
        return card

    def deal(self, *contacts: Contact, **changes: Any) -> int:
        """Add a deal of `price` that was open before the payment; return its id."""
        created_at = changes.pop("created_at", self.at - self.hours(1, 600))
        ordinary: dict[str, Any] = {
            "status_id": self.chance.choice((NEW, INVOICE_SENT)),
            "price": self.price,
            "updated_at": created_at + self.hours(0, 1),
        }
        closed_at = changes.pop("closed_at", self.at + self.hours(-20, 48))
        cards = [card.contact_id for card in contacts]
        made = deal(self.account.new_id(), contacts=cards, created_at=created_at, **(ordinary | changes))
        if not made.is_open:
            made = replace(made, closed_at=closed_at, updated_at=max(made.updated_at, closed_at))
        self.account.deals.append(made)
        return made.lead_id

    def pays(
        self, situation: str, truth: int | Answer, email: str, *, by: Tier | None = Tier.CONTACT, **changes: Any
    ) -> str:
        """Add a labelled order; return its id. Every fifth buyer types with capitals and blanks."""
        order_id = str(changes.pop("order_id", None) or self.account.new_id())
        ordinary: dict[str, Any] = {"total": self.price * 100, "created_at": self.at, "variant_id": self.variant}
        typed = as_typed(email, self.chance) if self.chance.random() < 0.2 else email
        self.account.orders.append(order(order_id, user_email=typed, **(ordinary | changes)))
        self.account.labels[order_id] = Label(situation, truth, by if isinstance(truth, int) else None)
        return order_id

    def webhook(self, lead: int | str | None, order_id: str | None, subscription_id: str | None = None) -> None:
        """Add a verified webhook of some minutes after the payment."""
        at = self.at + self.hours(0, 1)
        self.account.hints.append(webhook(lead, order_id=order_id, subscription_id=subscription_id, at=at))

    def claim(self, lead_id: int, order_id: str, receipt: str, **changes: Any) -> None:
        """Add a visit to the claim link of a deal."""
        ordinary = {"identifier": receipt, "variant_id": self.variant, "issued_at": self.at - self.hours(1, 48)}
        self.account.hints.append(claim(lead_id, order_id=order_id, **(ordinary | changes)))

    def checkout(self, lead: int | str, email: str, **changes: Any) -> None:
        """Add a checkout of this scene's variant that was opened for a deal before the payment."""
        ordinary = {"email": normal_email(email), "variant_id": self.variant, "created_at": self.at - self.hours(1, 48)}
        made = checkout(lead, checkout_id=f"c{self.account.new_id()}", **(ordinary | changes))
        self.account.checkouts.append(made)

    def subscription(self, order_id: str) -> str:
        """Add the subscription that an order started; return its id."""
        subscription_id = str(self.account.new_id())
        self.account.subscriptions.append(subscription(subscription_id, order_id=order_id))
        return subscription_id

    def link(self, order_id: str, lead_id: int) -> None:
        """Add a link that an earlier run made."""
        self.account.links.append(Link(order_id, lead_id, Tier.CONTACT, "an earlier run"))


def as_typed(email: str, chance: Random) -> str:
    """Return an address as people type it: with capitals, and blanks around it."""
    letters = "".join(chance.choice((c.upper(), c)) for c in email)
    return chance.choice(BLANKS) + letters + chance.choice(BLANKS)
