"""kill -9 at any moment: what was acknowledged is there, and nothing acts twice."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import delete

from dealsync import doubts
from dealsync.drain import drain
from dealsync.ledger.inbox import Chosen
from dealsync.ledger.runs import utc_now
from dealsync.ledger.tables import LockRow
from dealsync.settings import build_store, load_environment
from tests.accounts import WON, Accounts
from tests.flows.test_inbox import open_deal, pay_for
from tests.receiver.test_serve import receiving, signed
from tests.webhooks import Hooks

SENDERS = 4


@pytest.mark.parametrize("seed", range(3))
def test_receiver__killed_under_load_has_every_event_that_it_acknowledged(accounts: Accounts, seed: int) -> None:
    assert accounts
    dice, acknowledged = random.Random(seed), list[str]()  # noqa: S311

    def send(url: str, sender: int) -> None:
        with httpx.Client(base_url=url, timeout=10) as http:
            for number in range(10_000):
                event_id = f"{sender}-{number}"
                body, headers = signed(event_id)
                try:
                    answer = http.post("/webhooks/lemon-squeezy", content=body, headers=headers)
                except httpx.HTTPError:
                    return
                if answer.status_code == 200:
                    acknowledged.append(event_id)

    with receiving() as (process, url):
        threads = [threading.Thread(target=send, args=(url, sender)) for sender in range(SENDERS)]
        for thread in threads:
            thread.start()
        enough = dice.randint(5, 150)
        while len(acknowledged) < enough:
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        for thread in threads:
            thread.join()
    inbox = build_store(load_environment()).inbox
    kept = {item.event.event_id for item in inbox.listed(Chosen())}
    assert set(acknowledged) <= kept
    assert len(kept) <= len(acknowledged) + SENDERS


@pytest.mark.parametrize("seed", range(3))
def test_drain__killed_at_any_moment_acts_once(
    accounts: Accounts, hooks: Hooks, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Processes are killed one after the other until one gets to the end; every effect has happened once."""
    monkeypatch.setattr(doubts, "KOMMO_READ_LAG", timedelta(0))
    accounts.simulator.world.faults.update({"latency_ms": 30})
    named = [open_deal(accounts, contact={"name": "B", "email": f"b{n}@example.com"}) for n in range(3)]
    accounts.run()
    hooks.sent()
    orders = [pay_for(accounts, lead_id) for lead_id in named]
    orders += [pay_for(accounts, None, email=f"new{n}@example.com") for n in range(2)]
    assert set(hooks.deliver()) == {200}
    dice = random.Random(seed)  # noqa: S311
    for _ in range(2):
        _kill_after_requests(accounts, dice.randint(0, 9), dice.random() * 0.05)
    _let_the_lock_expire()
    replayed = build_store(load_environment()).inbox.replay(Chosen(), utc_now())
    assert len(replayed) == len(orders)
    asyncio.run(drain(progress=lambda _text: None)).raise_if_failed()
    state = accounts.kommo()
    leads: list[dict[str, Any]] = state["leads"]
    assert sorted(accounts.fields(lead["id"])["LS order id"] for lead in leads) == sorted(orders)
    assert {lead["status_id"] for lead in leads} == {WON}
    assert len(state["contacts"]) == len(orders)
    assert [len(accounts.texts(lead["id"])[0]) for lead in leads] == [1] * len(orders)
    assert state["tasks"] == []
    assert accounts.run().plan.actions == ()


def _kill_after_requests(accounts: Accounts, count: int, wait_s: float) -> None:
    """Start a drain and kill it a moment after so many of its requests, unless it is done by then."""
    _let_the_lock_expire()
    before = _sent(accounts)
    process = subprocess.Popen(
        [sys.executable, "-m", "dealsync", "drain", "--json"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and _sent(accounts) - before < count:
        time.sleep(0.002)
    time.sleep(wait_s)
    process.kill()
    process.wait()


def _sent(accounts: Accounts) -> int:
    return sum(accounts.requests()["counts"].values())


def _let_the_lock_expire() -> None:
    """A killed run holds the lock for a while; nobody needs to wait for that here."""
    with build_store(load_environment()).limits.database.begin() as db:
        db.execute(delete(LockRow))
