"""What buyers and people do in a seed's history, played through the simulator's control routes.

The opening is done and swept before anything fails. Two epochs follow, each ended by a sweep. Inside an epoch nothing
depends on when dealsync looked: no object is touched twice, and what only a webhook can tell (custom data) has arrived
before any program looks, as it has in production before `settle_minutes` are over.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx

from dealsync.core.evidence import LEAD_ID_KEY
from tests.accounts import ATTENTION, INVOICE_SENT, LOST, NEW, QUALIFIED

MONTHLY, OTHER_PRODUCT, DEARER = 81002, 81003, 81004
SELLER = 502
OFTEN = 0.65
"""Chance of an act that a history can do without."""


@dataclass(frozen=True)
class Act:
    """One thing that happens: what, to the object of this name. `body` as the control route wants it.

    `told_first`: its webhook arrives before any program looks. `after`: the act of the first epoch without which this
    one is left out.
    """

    what: str
    name: str
    body: dict[str, Any] = field(default_factory=dict)
    told_first: bool = False
    after: str = ""

    def __str__(self) -> str:
        details = " ".join(f"{key}={value}" for key, value in self.body.items())
        return f"{self.what} {self.name} {details}".rstrip()


@dataclass(frozen=True)
class History:
    """A seed's history."""

    opening: tuple[Act, ...]
    epochs: tuple[tuple[Act, ...], ...]


def draw_history(seed: int) -> History:
    """Return the history of a seed; equal seeds, equal histories."""
    return _Author(random.Random(f"history {seed}")).write()  # noqa: S311


class _Author:
    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._prices: dict[str, int] = {}

    def write(self) -> History:
        opening = [*self._deals(), *self._first_sales()]
        first = self._some([*self._payments_that_name_their_deal(), *self._first_epoch()])
        done = {"", *(act.name for act in first)}
        second = self._some(act for act in self._second_epoch() if act.after in done)
        return History(tuple(opening), (tuple(first), tuple(second)))

    def _some(self, acts: Iterable[Act]) -> list[Act]:
        kept = [act for act in acts if self._dice.random() < OFTEN]
        self._dice.shuffle(kept)
        return kept

    # --- the opening ------------------------------------------------------------------------------
    def _deals(self) -> list[Act]:
        named = ["named", "named too", "lost", "twice", "dearer", "in euro", "plan", "refunded", "partly", "fraud"]
        named += ["cancelling", "resuming", "failing", "past due", "pausing", "changing"]
        named += ["by contact", "by contact too", "edited", "left alone"]
        deals = [self._deal(name) for name in named]
        deals += [self._deal(name, email="two.deals@example.com", price=350) for name in ("one of two", "other of two")]
        deals += [self._deal(name) for name in ("invoice", "invoice edited", "invoice deleted", "invoice paid")]
        deals += [self._deal(name, status_id=INVOICE_SENT) for name in ("waiting", "waiting edited", "waiting paid")]
        deals.append(Act("move", "lost", {"status_id": LOST}))
        return deals

    def _deal(self, name: str, *, email: str = "", price: int = 0, status_id: int = NEW) -> Act:
        self._prices[name] = price or self._dice.randint(2, 180) * 5
        contact = {"name": name.title(), "email": email or self._email(name)}
        return Act("deal", name, {"price": self._prices[name], "contact": contact, "status_id": status_id})

    def _first_sales(self) -> list[Act]:
        sold = [self._names(name, name) for name in ("refunded", "partly", "fraud")]
        plans = ("cancelling", "resuming", "failing", "past due", "pausing", "changing")
        sold += [self._names(name, name, variant_id=MONTHLY, total=2900) for name in plans]
        sold.append(Act("cancel", "resuming"))
        sold.append(Act("fail", "past due"))
        sold.append(self._buys("pending", status="pending"))
        return sold

    # --- the epochs -------------------------------------------------------------------------------
    def _payments_that_name_their_deal(self) -> list[Act]:
        company = {"company": "Acme GmbH", "utm_source": "ads", "utm_campaign": "spring"}
        return [
            self._names("named", "named"),
            self._names("named too", "named too"),
            self._names("lost", "lost"),
            self._names("twice", "twice"),
            self._names("twice again", "twice"),
            self._names("dearer", "dearer", total=self._prices["dearer"] * 100 + 1500),
            self._names("in euro", "in euro", currency="EUR"),
            self._names("plan", "plan", variant_id=MONTHLY, total=2900),
            self._buys("company", custom_data=company, told_first=True),
            self._buys("company too", custom_data=company, told_first=True),
            self._buys("stranger", custom_data={LEAD_ID_KEY: "99999999"}, told_first=True),
        ]

    def _first_epoch(self) -> list[Act]:
        return [
            *(self._buys(name, email=self._email(name), total=self._prices[name] * 100) for name in self._contacts()),
            self._buys("of two", email="two.deals@example.com", total=12300),
            self._buys("buyer"),
            self._buys("buyer again", email=self._email("buyer")),
            self._buys("buyer thrice", email=self._email("buyer").upper()),
            self._buys("subscriber", variant_id=MONTHLY, total=2900),
            self._buys("failed", status="failed"),
            *(Act("move", name, {"status_id": INVOICE_SENT}) for name in self._invoices()),
            Act("edit", "edited", {"price": 777, "user_id": SELLER}),
            Act("edit", "waiting edited", {"price": self._prices["waiting edited"] + 10, "user_id": SELLER}),
            Act("pay", "waiting paid"),
            Act("refund", "refunded"),
            Act("refund", "partly", {"amount": 150}),
            Act("fraudulent", "fraud"),
            Act("cancel", "cancelling"),
            Act("resume", "resuming"),
            Act("fail", "failing"),
            Act("recover", "past due"),
            Act("pause", "pausing"),
            Act("seats", "changing", {"quantity": 3, "invoice_immediately": False}),
        ]

    def _second_epoch(self) -> list[Act]:
        return [
            self._after("named", "refund", "named"),
            self._after("by contact", "refund", "by contact", amount=200),
            self._after("buyer", "refund", "buyer"),
            self._after("company", "refund", "company", amount=300),
            self._after("partly", "refund", "partly", amount=100),
            self._after("invoice paid", "pay", "invoice paid"),
            self._after("invoice edited", "edit", "invoice edited", price=995, user_id=SELLER),
            self._after("invoice deleted", "delete", "invoice deleted"),
            self._after("invoice", "move", "invoice", status_id=QUALIFIED),
            self._after("waiting edited", "pay", "waiting edited"),
            self._after("failing", "recover", "failing"),
            self._after("pausing", "unpause", "pausing"),
            self._after("cancelling", "resume", "cancelling"),
            self._after("subscriber", "cancel", "subscriber"),
            self._after("plan", "plan", "plan", variant_id=DEARER, invoice_immediately=False),
            self._after("refunded", "move", "refunded", status_id=QUALIFIED),
            self._after("named too", "complete tasks", "named too"),
            Act("settle", "pending", {"status": "paid"}),
            Act("move", "waiting", {"status_id": LOST}),
            Act("move", "left alone", {"status_id": ATTENTION}),
            self._buys("late buyer"),
            self._buys("late plan", variant_id=MONTHLY, total=2900),
        ]

    @staticmethod
    def _after(earlier: str, what: str, name: str, **body: Any) -> Act:
        return Act(what, name, body, after=earlier)

    @staticmethod
    def _contacts() -> tuple[str, ...]:
        return ("by contact", "by contact too")

    @staticmethod
    def _invoices() -> tuple[str, ...]:
        return ("invoice", "invoice edited", "invoice deleted", "invoice paid")

    def _names(self, name: str, deal: str, **body: Any) -> Act:
        """A stranger's payment that names its deal in the custom data."""
        total = self._prices[deal] * 100
        return Act("buy", name, {"email": f"payer.of.{self._email(name)}", "total": total, "deal": deal, **body}, True)

    def _buys(self, name: str, *, told_first: bool = False, **body: Any) -> Act:
        # Not what the checkouts sell: such a payment goes to a person, with the deals that wait at that moment.
        sold = {"email": self._email(name), "total": self._dice.randint(3, 900) * 100, "variant_id": OTHER_PRODUCT}
        return Act("buy", name, {**sold, **body}, told_first)

    @staticmethod
    def _email(name: str) -> str:
        return f"{name.replace(' ', '.')}@example.com"


class Stage:
    """Where acts happen: one simulator, and the ids that names stand for."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.deals: dict[str, int] = {}
        self.orders: dict[str, int] = {}
        self.subscriptions: dict[str, int] = {}

    def at(self, url: str) -> Stage:
        """Return the same on a copy of the simulator."""
        copy = Stage(url)
        copy.deals, copy.orders = dict(self.deals), dict(self.orders)
        copy.subscriptions = dict(self.subscriptions)
        return copy

    def control(self, route: str, **body: Any) -> dict[str, Any]:
        """Do what a person or a buyer does; return the answer."""
        response = httpx.post(f"{self._url}/control/{route}", json=body, timeout=30)
        if response.is_error:
            raise ValueError(f"{route} {body}: {response.text}")
        return dict(response.json())

    def state(self) -> dict[str, Any]:
        """Return the whole state of the simulator."""
        return dict(httpx.get(f"{self._url}/control/state", timeout=30).raise_for_status().json())

    def perform(self, act: Act) -> None:
        """Let something happen."""
        what, name, body = act.what, act.name, dict(act.body)
        if what == "deal":
            self.deals[name] = int(self.control("leads", name=f"Deal {name}", **body)["id"])
        elif what == "buy":
            self._buy(name, body)
        elif what == "pay":
            self._pay(name)
        elif what in ("move", "edit"):
            self.control(f"leads/{self.deals[name]}/{what}", **{"user_id": SELLER, **body})
        elif what == "delete":
            httpx.delete(f"{self._url}/control/leads/{self.deals[name]}", timeout=30).raise_for_status()
        elif what == "complete tasks":
            self._complete_tasks(self.deals[name])
        elif what in ("refund", "settle", "fraudulent"):
            self.control(f"orders/{self.orders[name]}/{what}", **body)
        else:
            self.control(f"subscriptions/{self.subscriptions[name]}/{what}", **body)

    def _buy(self, name: str, body: dict[str, Any]) -> None:
        deal = body.pop("deal", None)
        if deal is not None:
            body["lead_id"] = self.deals[deal]
        self._placed(name, self.control("orders", **body), is_plan=body.get("variant_id") == MONTHLY)

    def _pay(self, name: str) -> None:
        """Pay through the youngest checkout of a deal."""
        lead_id = str(self.deals[name])
        checkouts = [
            checkout
            for checkout in self.state()["lemon_squeezy"]["checkouts"]
            if checkout["attributes"]["checkout_data"]["custom"].get(LEAD_ID_KEY) == lead_id
        ]
        youngest = max(checkouts, key=lambda checkout: str(checkout["attributes"]["created_at"]))
        self._placed(name, self.control(f"checkouts/{youngest['id']}/pay"), is_plan=False)

    def _placed(self, name: str, order: dict[str, Any], *, is_plan: bool) -> None:
        order_id = self.orders[name] = int(order["data"]["id"])
        for subscription in self.state()["lemon_squeezy"]["subscriptions"] if is_plan else ():
            if subscription["attributes"]["order_id"] == order_id:
                self.subscriptions[name] = int(subscription["id"])

    def _complete_tasks(self, lead_id: int) -> None:
        for task in self.state()["kommo"]["tasks"]:
            if task["entity_id"] == lead_id and not task["is_completed"]:
                self.control(f"tasks/{task['id']}/complete", user_id=SELLER)
