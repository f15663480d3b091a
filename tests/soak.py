"""Some simulated weeks of sales: buyers, sellers who edit deals, webhooks that get lost or come twice, lost answers.

Played in this process on a simulated pair of accounts, by a seed. Only what the simulator could see is noted here.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from dealsync import doubts, drain, issuing
from dealsync.core import inbox
from dealsync.errors import DealsyncError
from dealsync.issuing import issue_checkouts
from dealsync.ledger.journal import Journal
from dealsync.ledger.tables import RunRow
from dealsync.reviewing import list_reviews, resolve_review
from dealsync.settings import build_store, load_environment
from tests.accounts import INVOICE_SENT, LOST, QUALIFIED, Accounts
from tests.webhooks import Hooks

SELLERS = (502, 503)
DECIDER = "the tester"
DAY_S = 24 * 3600
LOSSES = ("apply_then_drop", "apply_then_504", "drop", "apply_then_cut")
WRITES = (("PATCH", "/leads"), ("POST", "/leads/notes"), ("POST", "/tasks"), ("POST", "/leads"))


class Killed(BaseException):
    """The process is gone: whatever was sent, nobody wrote its answer down."""


@dataclass(frozen=True)
class Edit:
    """What a person did to a deal: the column of the mirror, and what it was set to."""

    lead_id: int
    part: str
    value: Any
    user_id: int


@dataclass
class Log:
    """What happened, by those who did it."""

    made: set[int] = field(default_factory=set)  # deals that people made
    deleted: set[int] = field(default_factory=set)
    edits: list[Edit] = field(default_factory=list)
    webhooks: set[tuple[str, str]] = field(default_factory=set)  # of Lemon Squeezy, stored: event, id of its object
    refunds: set[str] = field(default_factory=set)  # orders that runs had seen before
    decisions: dict[str, int] = field(default_factory=dict)  # of people: order and deal
    findings: set[tuple[str, int | None]] = field(default_factory=set)  # drift or rule that a run reported, and deal
    killed_runs: set[str] = field(default_factory=set)


@dataclass
class Soak:
    """The world, and what is known of it."""

    accounts: Accounts
    hooks: Hooks
    patch: pytest.MonkeyPatch
    seed: int
    log: Log = field(default_factory=Log)
    monthly: str = ""
    open_leads: dict[int, str] = field(default_factory=dict)  # made by people, not paid yet: the contact's address
    seen: set[int] = field(default_factory=set)  # deals that a run has seen
    orders: list[str] = field(default_factory=list)
    orders_seen: list[str] = field(default_factory=list)
    subscriptions: list[str] = field(default_factory=list)
    buyers: int = 0
    handed: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)  # noqa: S311
        self.monthly = self.accounts.control("variants", name="Monthly", price=2900, interval="month")["data"]["id"]

    # --- what happens in the world ----------------------------------------------------------------
    def deal(self, **changes: Any) -> int:
        """A seller makes a deal."""
        self.buyers += 1
        email = f"buyer{self.buyers}@example.com"
        body = {"price": 490, "contact": {"name": f"B{self.buyers}", "email": email}, **changes}
        lead_id = int(self.accounts.control("leads", **body)["id"])
        self.log.made.add(lead_id)
        self.open_leads[lead_id] = email
        return lead_id

    def pay(self, lead_id: int | None, email: str, **changes: Any) -> str:
        """A buyer pays: through a checkout that names the deal, or not."""
        custom = {} if lead_id is None else {"custom_data": {"kommo_lead_id": str(lead_id)}}
        order = self.accounts.control("orders", **{"email": email, "total": 49000, **custom, **changes})
        self.orders.append(str(order["data"]["id"]))
        return self.orders[-1]

    def subscribe(self, lead_id: int | None, email: str) -> None:
        """A buyer begins to pay by the month."""
        self.pay(lead_id, email, variant_id=self.monthly, total=2900)
        state = httpx.get(f"{self.accounts.simulator.url}/control/state", timeout=30).json()
        self.subscriptions = [str(one["id"]) for one in state["lemon_squeezy"]["subscriptions"]]

    def edit(self, lead_id: int, part: str, value: Any) -> None:
        """A seller changes one part of a deal."""
        user_id = self.dice.choice(SELLERS)
        if part == "status_id":
            self.accounts.control(f"leads/{lead_id}/move", status_id=value, user_id=user_id)
        elif part == "is_deleted":
            url = f"{self.accounts.simulator.url}/control/leads/{lead_id}"
            httpx.request("DELETE", url, json={"user_id": user_id}, timeout=10).raise_for_status()
            self.log.deleted.add(lead_id)
        else:
            self.accounts.control(f"leads/{lead_id}/edit", **{part: value}, user_id=user_id)
        self.log.edits.append(Edit(lead_id, part, value, user_id))

    def sales(self) -> None:
        """What buyers do in a round."""
        dice, often = self.dice, self._often
        ready = [i for i in self.open_leads if i in self.seen and i not in self.log.deleted]
        for lead_id in dice.sample(ready, min(len(ready), 5)):
            email = self.open_leads.pop(lead_id)
            if often(0.25):
                self.subscribe(lead_id, email)
            elif often(0.4):
                self.pay(None, email)  # found by its contact
            else:
                self.pay(lead_id, email, total=dice.choice((49000, 49000, 45000)))
        for _ in range(dice.choice((1, 2))):
            self.buyers += 1
            self.pay(None, f"self.serve{self.buyers}@example.com")
        if often(0.4):
            self._tie()
        paid = [order_id for order_id in self.orders_seen if order_id not in self.log.refunds]
        for order_id in dice.sample(paid, min(len(paid), dice.choice((0, 1, 2)))):
            self.log.refunds.add(order_id)
            amount = {"amount": 1000} if often(0.4) else {}
            self._if_possible(f"orders/{order_id}/refund", **amount)
        for subscription_id in self.subscriptions:
            if often(0.3):
                act = dice.choice(("renew", "renew", "fail", "recover", "cancel", "resume", "pause", "unpause"))
                self._if_possible(f"subscriptions/{subscription_id}/{act}")

    def people(self) -> None:
        """What sellers do in a round: at most one thing to a deal, so that each can be seen."""
        for _ in range(self.dice.choice((4, 5, 6))):
            lead_id = self.deal()
            if self._often(0.2):
                self.accounts.control(f"leads/{lead_id}/move", status_id=INVOICE_SENT, user_id=SELLERS[0])
        known = {lead["id"]: lead for lead in self.accounts.kommo()["leads"] if lead["id"] in self.seen}
        chosen = self.dice.sample(sorted(known), min(len(known), self.dice.choice((3, 4, 5))))
        for lead_id in chosen:
            lead = known[lead_id]
            part, value = self.dice.choice(
                (
                    ("price", lead["price"] + self.dice.randint(1, 90)),
                    ("responsible_user_id", 503 if lead["responsible_user_id"] == 502 else 502),
                    ("status_id", QUALIFIED if lead["status_id"] != QUALIFIED else LOST),
                )
            )
            self.edit(lead_id, part, value)
        spare = sorted(set(self.open_leads) & self.seen - set(chosen) - self.log.deleted)
        if spare and self._often(0.3):
            self.open_leads.pop(spare[0])
            self.edit(spare[0], "is_deleted", True)

    def webhooks(self) -> None:
        """Of both accounts' webhooks some are lost, some come twice, and all in any order."""
        for sender, share in (("lemonsqueezy", 0.7), ("kommo", 0.5)):
            everything = [one for one in self.accounts.simulator.world.deliveries.all() if one.sender == sender]
            fresh = everything[self.handed.get(sender, 0) :]
            self.handed[sender] = len(everything)
            kept = [one for one in fresh if self._often(share)]
            kept += [one for one in kept if self._often(0.2)]
            self.dice.shuffle(kept)
            answers = self.hooks.deliver(kept) if kept else []
            assert set(answers) <= {200}
            if sender == "lemonsqueezy":
                told = (json.loads(one.body) for one in kept)
                self.log.webhooks |= {(body["meta"]["event_name"], str(body["data"]["id"])) for body in told}

    # --- what goes wrong, and what dealsync does ---------------------------------------------------
    def trouble(self) -> None:
        """Some writes meet a fault."""
        for _ in range(self.dice.choice((0, 1, 2, 3))):
            method, path = self.dice.choice(WRITES)
            lost = {"how": self.dice.choice(LOSSES)}
            how = lost if self._often(0.7) else {"how": "answer", "status": 400, "times": 4}
            self.accounts.inject(method, path, **how)

    def work(self) -> None:
        """One program runs, and perhaps is killed between a request and the writing down of its answer."""
        programs: list[Callable[[], None]] = [self._drain, self._drain, self._reconcile, self._checkouts]
        program = self.dice.choice(programs)
        if self._often(0.35):
            self._killed(program)
        else:
            program()

    def round(self) -> None:
        """Some days: everything above, and the hourly run at their end."""
        self.sales()
        self.people()
        self.webhooks()
        self.accounts.control("clock", advance_s=self.dice.choice((3, 4, 5, 7)) * DAY_S)
        self.trouble()
        self.work()
        self._reconcile()
        self.seen = {lead["id"] for lead in self.accounts.kommo()["leads"]}
        self.orders_seen = list(self.orders)
        if self._often(0.5):
            self._decide()

    def calm(self) -> None:
        """Nothing fails any more: everything that is left is done."""
        self.accounts.control("faults", inject=None)
        self.accounts.control("clock", advance_s=DAY_S)
        for program in (self._drain, self._reconcile, self._checkouts, self._reconcile):
            program()

    def _often(self, share: float) -> bool:
        return self.dice.random() < share

    def _if_possible(self, route: str, **body: Any) -> None:
        with suppress(httpx.HTTPStatusError):
            self.accounts.control(route, **body)

    def _tie(self) -> None:
        """Two deals of one contact, and a payment that fits both."""
        lead_id = self.deal()
        email = self.open_leads.pop(lead_id)
        other = self.deal(contact={"name": "B", "email": email})
        self.open_leads.pop(other)
        self.pay(None, email)

    def _killed(self, program: Callable[[], None]) -> None:
        def dies(*_: Any, **__: Any) -> None:
            raise Killed

        with self.patch.context() as patch:
            patch.setattr(Journal, "close", dies)
            try:
                program()
            except Killed:
                self.log.killed_runs.add(_latest_run())

    def _reconcile(self) -> None:
        with suppress(DealsyncError):
            plan = self.accounts.run().plan
            self.log.findings |= {(drift.drift, drift.lead_id) for drift in plan.drifts}
            self.log.findings |= {(refusal.rule, refusal.lead_id) for refusal in plan.refusals}

    def _drain(self) -> None:
        with suppress(DealsyncError):
            asyncio.run(drain.drain(progress=lambda _text: None))

    def _checkouts(self) -> None:
        with suppress(DealsyncError):
            asyncio.run(issue_checkouts(progress=lambda _text: None))

    def _decide(self) -> None:
        waiting = [item for item in list_reviews(load_environment()) if item.details]
        if not waiting:
            return
        item = self.dice.choice(waiting)
        there = [c.lead_id for c in item.details if c.lead_id not in self.log.deleted]
        if there:
            lead_id = self.dice.choice(there)
            asyncio.run(resolve_review(load_environment(), item.order_id, lead_id, decided_by=DECIDER))
            self.log.decisions[item.order_id] = lead_id


def _latest_run() -> str:
    with closing(build_store(load_environment())) as store, store.limits.database.connect() as db:
        return str(db.scalar(select(RunRow.run_id).order_by(RunRow.started_at.desc()).limit(1)))


def hurry(patch: pytest.MonkeyPatch) -> None:
    """Wait for nothing: the simulated account shows at once what was written, and nobody here speaks TLS."""
    tls = ssl.create_default_context()
    patch.setattr(ssl, "create_default_context", lambda *_, **__: tls)
    patch.setattr(doubts, "KOMMO_READ_LAG", timedelta(0))
    patch.setattr(drain, "LINGER", timedelta(0))
    patch.setattr(drain, "LINGER_S", 0.001)
    patch.setattr(issuing, "BREATH_S", 0.0)
    patch.setattr(inbox, "RETRY_DELAYS", tuple(timedelta(milliseconds=1) for _ in inbox.RETRY_DELAYS))


def play(accounts: Accounts, patch: pytest.MonkeyPatch, *, seed: int, rounds: int) -> Soak:
    """Return the world after so many rounds, calm again."""
    hurry(patch)
    soak = Soak(accounts, Hooks(accounts).register(), patch, seed)
    for _ in range(rounds):
        soak.round()
    soak.calm()
    return soak
