"""Many orders at once: self-serve buyers seen by several processes, and the history of an account that starts late."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import httpx
import tomlkit

from tests.accounts import WON, Accounts

Process = subprocess.Popen[str]
OWNERS = (501, 502, 503)
DEADLINE_S = 120


def reconcile(*arguments: str) -> Process:
    command = [sys.executable, "-m", "dealsync", "reconcile", "--apply", "--max-changes", "5000", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: Process) -> int:
    _, complaint = process.communicate(timeout=DEADLINE_S)
    assert process.returncode in (0, 3), complaint
    return process.returncode


def test_self_serve__a_thousand_orders_seen_by_parallel_processes_make_no_deal_or_contact_twice(
    accounts: Accounts,
) -> None:
    """800 buyers; 100 of them buy another product as well, and 100 pay for the same one again."""
    other = accounts.control("variants", name="Other", price=9900)["data"]["id"]

    with httpx.Client(base_url=accounts.simulator.url, timeout=30) as shop:

        def buy(email: str, total: int = 49000, **more: Any) -> None:
            shop.post("/control/orders", json={"email": email, "total": total, **more}).raise_for_status()

        def open_hours(numbers: range) -> None:
            for number in numbers:
                buy(f"Buyer{number}@Example.com")
                if number % 8 == 0:
                    buy(f" buyer{number}@example.com", 9900, variant_id=other)
                elif number % 8 == 4:
                    buy(f"buyer{number}@EXAMPLE.com")

        open_hours(range(400))
        processes = [reconcile() for _ in range(3)]
        open_hours(range(400, 800))
    assert 0 in [ended(process) for process in processes]
    assert ended(reconcile()) == 0

    kommo = accounts.kommo()
    owners = Counter(lead["responsible_user_id"] for lead in kommo["leads"])
    assert (len(kommo["leads"]), len(kommo["contacts"])) == (900, 800)
    assert set(owners) == set(OWNERS)
    assert max(owners.values()) - min(owners.values()) <= 1
    assert len(accounts.run().plan.reviews) == 100


def test_backfill__killed_in_the_middle_goes_on_and_buries_nobody_in_notes(seeded: Accounts) -> None:
    path = seeded.folder / "dealsync.toml"
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    document["policy"] = {"notify_since": datetime.now(UTC)}
    path.write_text(tomlkit.dumps(document), encoding="utf-8")
    seeded.control("faults", latency_ms=150)
    before = len(seeded.kommo()["leads"])
    written = len(seeded.kommo()["notes"]["leads"]), len(seeded.kommo()["tasks"])

    killed = reconcile("--since", "2024-01-01")
    deadline = time.monotonic() + DEADLINE_S
    while not any("PATCH" in name or "POST" in name for name in seeded.requests()["counts"]):
        assert killed.poll() is None, killed.communicate()
        assert time.monotonic() < deadline
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()

    assert ended(reconcile("--since", "2024-01-01")) == 0
    last = seeded.run()
    assert last.plan.actions == ()
    assert {last.plan.drift[name] for name in ("paid_no_deal", "refunded_still_won")} == {0}
    kommo = seeded.kommo()
    carried = Counter(_order_of(lead) for lead in kommo["leads"])
    assert all(count == 1 for order_id, count in carried.items() if order_id)
    assert len(kommo["leads"]) > before
    assert (len(kommo["notes"]["leads"]), len(kommo["tasks"])) == written
    assert {lead["status_id"] for lead in kommo["leads"] if _order_of(lead)} >= {WON}


def _order_of(lead: dict[str, Any]) -> str:
    values = lead["custom_fields_values"] or []
    return next((str(v["values"][0]["value"]) for v in values if v["field_name"] == "LS order id"), "")
