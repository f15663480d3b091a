"""How quick the database is when its ledger is old: `python -m benchmarks.ledger`.

A SQLite file with a million actions, their steps, their webhooks and what was found out of step, beside 100,000 orders
and as many deals: what a quiet hour asks of it, and what loading the tables of a plan takes.
"""

from __future__ import annotations

import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Engine

from benchmarks.figures import Figure
from benchmarks.keeping import a_contact, a_deal, an_order
from dealsync.core.models import Link, Tier
from dealsync.core.plan import Action, DealChange, Kind, Outcome, Plan
from dealsync.core.states import State
from dealsync.ledger.database import open_database
from dealsync.ledger.entries import ChosenEntries, Entries
from dealsync.ledger.evidence import Evidence
from dealsync.ledger.findings import Findings
from dealsync.ledger.history import History
from dealsync.ledger.inbox import Inbox
from dealsync.ledger.journal import Journal
from dealsync.ledger.mirror import Mirror
from dealsync.ledger.reviews import Reviews

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ENTRIES, ORDERS = 1_000_000, 100_000
QUICK = 10
"""How many times less a quick benchmark has."""
A_PLAN = 100
PAGE_MS, STAGE_MS = 100.0, 1000.0
"""What a person waits for, and what a stage of an hourly run may take."""


def main() -> None:
    """Print the table."""
    for figure in figures("--quick" in sys.argv):
        goal = "" if figure.goal is None else f"  (goal: {figure.goal:,.0f} {figure.unit})"
        print(f"{figure.what:<62} {figure.value:>10,.1f} {figure.unit}{goal}", flush=True)


def figures(quick: bool) -> Iterator[Figure]:
    """Yield how long each thing takes, in milliseconds, and the memory that the tables of a plan need."""
    share = QUICK if quick else 1
    entries, orders = ENTRIES // share, ORDERS // share
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        path = Path(folder) / "old.db"
        engine = open_database(f"sqlite:///{path}")
        _fill_mirror(engine, orders)
        _fill_ledger(path, entries, orders)
        engine.dispose()
        old = f"a ledger of {entries:,}"
        for what, call, goal in _stages(engine, orders):
            yield Figure(f"{old}: {what}", _ms(call), "ms", goal=goal)
        yield from _loading(engine, f"{entries:,} actions, {orders:,} orders and deals")


def _stages(engine: Engine, orders: int) -> list[tuple[str, Callable[[], object], float]]:
    journal, entries, history, inbox = Journal(engine), Entries(engine), History(engine), Inbox(engine)
    plan = _plan(orders)
    keys = {action.key: action.lead_id for action in plan.actions}
    outcomes = [Outcome(key, State.APPLIED, lead_id) for key, lead_id in keys.items()]
    return [
        ("unfinished actions", journal.unfinished, STAGE_MS),
        ("actions in doubt", journal.doubts, PAGE_MS),
        ("LS fields that were given up", lambda: journal.given_up(Kind.FIELDS), PAGE_MS),
        ("alarms of deals", journal.alarms_of_deals, PAGE_MS),
        ("entries of 100 deals", lambda: journal.states_of(range(1, A_PLAN + 1)), PAGE_MS),
        ("record a plan of 100 actions", lambda: journal.record(plan, "run", NOW, since=NOW), PAGE_MS),
        ("mark them sent", lambda: journal.mark_sent(keys, "run", NOW), PAGE_MS),
        ("record their outcomes", lambda: journal.close(outcomes, plan.links, NOW, run_id="run"), PAGE_MS),
        ("keep the findings", lambda: Findings(engine).keep(plan, NOW), PAGE_MS),
        ("webhooks that are due", lambda: inbox.due(NOW), PAGE_MS),
        ("how much waits", inbox.depth, PAGE_MS),
        ("orders without a webhook", lambda: _untold(inbox), PAGE_MS),
        ("dealsync ledger list", lambda: entries.listed(ChosenEntries(), limit=20), PAGE_MS),
        ("dealsync ledger list --state failed", lambda: _failed(entries), PAGE_MS),
        ("dealsync ledger list --order", lambda: entries.listed(ChosenEntries(about="order:17"), limit=20), PAGE_MS),
        ("how many are in each state", entries.counts, PAGE_MS),
        ("explain an order", lambda: history.read(history.of_order("17")), PAGE_MS),
        ("explain a deal", lambda: history.read(history.of_deal(18)), PAGE_MS),
        ("explain a person", lambda: history.read(history.of_person("buyer17@example.com")), PAGE_MS),
    ]


def _untold(inbox: Inbox) -> object:
    return inbox.untold_orders(["4101"], test_mode=False, since=NOW - timedelta(hours=25))


def _failed(entries: Entries) -> object:
    return entries.listed(ChosenEntries(states=(State.FAILED,)), limit=20)


def _loading(engine: Engine, what: str) -> Iterator[Figure]:
    mirror, journal, evidence = Mirror(engine), Journal(engine), Evidence(engine)
    loads: dict[str, Callable[[], object]] = {
        "orders": mirror.orders,
        "deals": mirror.deals,
        "contacts": lambda: (mirror.contact_emails(), mirror.lead_contacts()),
        "links": journal.links,
        "ledger": journal.entries,
        "hints": evidence.hints,
        "the rest": lambda: (mirror.subscriptions(), mirror.invoices(), evidence.checkouts(), evidence.merges(),
                             evidence.customers(), evidence.companies(), Reviews(engine).decisions()),
    }  # fmt: skip
    kept, total = [], 0.0
    for name, load in loads.items():
        began = time.process_time()
        kept.append(load())
        seconds = time.process_time() - began
        total += seconds
        yield Figure(f"load {name}", seconds * 1000, "ms")
    yield Figure(f"load all: {what}", total * 1000, "ms")
    yield Figure("  peak memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MB")


def _ms(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def _plan(orders: int) -> Plan:
    """A plan about orders that came last."""
    ids = range(orders, orders + A_PLAN)
    change = DealChange(pipeline_id=1, status_id=142)
    return Plan(
        actions=tuple(Action(f"order:{i}:won", Kind.CLOSE, f"order:{i}", i + 1, "r", "e", change) for i in ids),
        links=tuple(Link(str(i), i + 1, Tier.EXPLICIT, "its checkout names the deal") for i in ids),
    )


def _fill_mirror(engine: Engine, orders: int) -> None:
    mirror, journal = Mirror(engine), Journal(engine)
    for first in range(0, orders, 1000):
        some = range(first, min(first + 1000, orders))
        mirror.keep_orders([replace(an_order(i), created_at=_at(i, orders)) for i in some])
        mirror.keep_deals([a_deal(i) for i in some])
        mirror.keep_contacts([a_contact(i) for i in some])
        links = [Link(str(i), i + 1, Tier.EXPLICIT, "its checkout names the deal") for i in some]
        journal.record(Plan(links=tuple(links)), "first", NOW)


def _fill_ledger(path: Path, entries: int, orders: int) -> None:
    """Write rows straight into the file: a year of work is not done again for a benchmark."""
    kinds = [kind.value for kind in (Kind.CLOSE, Kind.FIELDS, Kind.NOTE, Kind.TASK)]
    change = DealChange(pipeline_id=1, status_id=142, fields={"status": "paid", "amount_paid": "490"})
    meant = Action("order:17:won", Kind.CLOSE, "order:17", 18, "It is paid in full.", "its checkout", change)
    action = TypeAdapter(Action).dump_json(meant).decode()
    db = sqlite3.connect(path)

    def insert(table: str, names: Sequence[str], rows: Iterator[tuple[Any, ...]]) -> None:
        places = ", ".join("?" * len(names))
        db.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})", rows)  # noqa: S608 - ours

    def ledger() -> Iterator[tuple[Any, ...]]:
        for i in range(entries):
            order_id, kind = i % orders, kinds[i % len(kinds)]
            state = "failed" if i % 10_000 == 3 else "dismissed" if i % 10_000 == 5 else "applied"
            alarm = "stuck" if i % 500 == 7 else ""
            source = f"lead:{order_id + 1}" if alarm else f"order:{order_id}"
            at = _text(_at(i, entries))
            yield (f"{source}:{kind}:{i}", kind, source, str(order_id), alarm, order_id + 1, state, action, "run",
                   None, 0, 1, at, at, at)  # fmt: skip

    insert(
        "ledger",
        ("idempotency_key", "kind", "source", "order_id", "alarm", "lead_id", "state", "action", "run_id", "error",
         "is_refused", "attempts", "planned_at", "sent_at", "closed_at"),
        ledger(),
    )  # fmt: skip
    db.execute(
        "INSERT INTO steps (idempotency_key, step, at, run_id, attempt, by_reading) "
        "SELECT idempotency_key, 'claim', planned_at, run_id, 0, 0 FROM ledger ORDER BY planned_at"
    )
    insert(
        "inbox",
        ("event_id", "sender", "event_name", "object_type", "object_id", "order_id", "test_mode", "custom", "body",
         "received_at", "state", "attempts", "next_try_at", "result", "changes", "done_at"),
        ((f"event-{i:08}", "lemon_squeezy", "order_created", "orders", str(i), str(i), 0, "{}", b"{}" * 500,
          at := _text(_at(i, orders)), "waiting" if i % 10_000 == 9 else "done", 0, at, "", 1, at)
         for i in range(orders)),
    )  # fmt: skip
    insert(
        "findings",
        ("finding", "kind", "source", "lead_id", "first_seen_at", "last_seen_at", "ended_at", "since", "reason"),
        ((f"paid_not_won:order:{i}", "paid_not_won", f"order:{i}", i + 1, at := _text(_at(i, orders)), at,
          None if i % 500 == 0 else at, at, "") for i in range(0, orders, 5)),
    )  # fmt: skip
    db.commit()
    db.close()


def _at(number: int, of: int) -> datetime:
    """A time in the year before NOW, so that what has a higher number is later."""
    return NOW - timedelta(days=365) * (1 - number / of)


def _text(at: datetime) -> str:
    return at.replace(tzinfo=None).isoformat(" ", "microseconds")


if __name__ == "__main__":
    main()
