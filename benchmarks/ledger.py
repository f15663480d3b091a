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

from benchmarks.figures import Figure, report
from benchmarks.keeping import a_contact, a_deal, an_order
from dealsync.core.models import Link, Tier
from dealsync.core.plan import Action, DealChange, Kind, Outcome, Plan
from dealsync.core.states import State
from dealsync.ledger.approvals import Approvals
from dealsync.ledger.database import open_database
from dealsync.ledger.entries import ChosenEntries, Entries
from dealsync.ledger.evidence import Evidence
from dealsync.ledger.findings import Findings
from dealsync.ledger.history import History
from dealsync.ledger.inbox import Inbox
from dealsync.ledger.journal import Journal
from dealsync.ledger.mirror import Mirror
from dealsync.ledger.reviews import Reviews
from dealsync.ledger.runs import Runs

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ENTRIES, ORDERS = 1_000_000, 100_000
QUICK = 10
"""How many times less a quick benchmark has."""
A_PLAN = 100
QUESTION_MS, STAGE_MS = 100.0, 500.0
"""What a person waits for, and what the questions of a quiet hour may take in all."""
NOTABLE_S = 0.05
Calls = dict[str, Callable[[], object]]


def main() -> None:
    """Print the table."""
    report(figures("--quick" in sys.argv))


def figures(quick: bool) -> Iterator[Figure]:
    """Yield how long the stages take, in milliseconds, and what loading the tables of a plan takes."""
    share = QUICK if quick else 1
    entries, orders = ENTRIES // share, ORDERS // share
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        path = Path(folder) / "old.db"
        engine = open_database(f"sqlite:///{path}")
        _fill_mirror(engine, orders)
        _fill_ledger(path, entries, orders)
        engine.dispose()
        for what, goal, calls in _stages(engine, orders):
            took = {name: _ms(call) for name, call in calls.items()}
            slowest = max(took, key=lambda name: took[name])
            note = f"slowest: {slowest}, {took[slowest]:.1f} ms" if len(took) > 1 else ""
            yield Figure(f"ledger of {entries:,}: {what}", sum(took.values()), "ms", goal=goal, note=note)
        yield from _loading(engine, f"{entries:,} actions, {orders:,} orders and deals")


def _stages(engine: Engine, orders: int) -> list[tuple[str, float, Calls]]:
    journal, entries, history, inbox = Journal(engine), Entries(engine), History(engine), Inbox(engine)
    plan, approvals, runs = _plan(orders), Approvals(engine), Runs(engine)
    keys = {action.key: action.lead_id for action in plan.actions}
    outcomes = [Outcome(key, State.APPLIED, lead_id) for key, lead_id in keys.items()]
    hour: Calls = {
        "unfinished actions": journal.unfinished,
        "actions in doubt": journal.doubts,
        "LS fields that were given up": lambda: journal.given_up(Kind.FIELDS),
        "alarms of deals": journal.alarms_of_deals,
        "entries of 100 deals": lambda: journal.states_of(range(1, A_PLAN + 1)),
        "kinds that were done": approvals.kinds_done,
        "the first action": approvals.at_work_since,
        "findings": lambda: Findings(engine).keep(plan, NOW),
        "webhooks that are due": lambda: inbox.due(NOW),
        "how much waits": inbox.depth,
        "orders without a webhook": lambda: _untold(inbox),
        "old webhooks": lambda: inbox.erase_bodies(NOW - timedelta(days=400)),
        "failed actions": lambda: entries.listed(ChosenEntries(states=(State.FAILED,))),
        "a stuck run": runs.stuck,
    }
    sending: Calls = {
        "record": lambda: journal.record(plan, "run", NOW, since=NOW),
        "mark as sent": lambda: journal.mark_sent(keys, "run", NOW),
        "record the outcomes": lambda: journal.close(outcomes, plan.links, NOW, run_id="run"),
    }
    listing: Calls = {
        "the latest": lambda: entries.listed(ChosenEntries(), limit=20),
        "--state failed": lambda: entries.listed(ChosenEntries(states=(State.FAILED,)), limit=20),
        "--order": lambda: entries.listed(ChosenEntries(about="order:17"), limit=20),
        "counts": entries.counts,
    }
    explaining: Calls = {
        "an order": lambda: history.read(history.of_order("17")),
        "a deal": lambda: history.read(history.of_deal(18)),
        "a person": lambda: history.read(history.of_person("buyer17@example.com")),
    }
    return [
        (f"{len(hour)} questions of a quiet hour", STAGE_MS, hour),
        (f"record, send and close {A_PLAN} actions", STAGE_MS, sending),
        ("dealsync ledger list, four ways", len(listing) * QUESTION_MS, listing),
        ("dealsync explain, three ways", len(explaining) * QUESTION_MS, explaining),
    ]


def _untold(inbox: Inbox) -> object:
    return inbox.untold_orders(["4101"], test_mode=False, since=NOW - timedelta(hours=25))


def _loading(engine: Engine, what: str) -> Iterator[Figure]:
    mirror, journal, evidence = Mirror(engine), Journal(engine), Evidence(engine)
    loads: Calls = {
        "orders": mirror.orders,
        "deals": mirror.deals,
        "contacts": lambda: (mirror.contact_emails(), mirror.lead_contacts()),
        "links": journal.links,
        "ledger": journal.entries,
        "hints": evidence.hints,
        "the rest": lambda: (mirror.subscriptions(), mirror.invoices(), evidence.checkouts(), evidence.merges(),
                             evidence.customers(), evidence.companies(), Reviews(engine).decisions()),
    }  # fmt: skip
    kept, took = [], dict[str, float]()
    for name, load in loads.items():
        began = time.process_time()
        kept.append(load())
        took[name] = time.process_time() - began
    note = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in took.items() if seconds >= NOTABLE_S)
    yield Figure(f"load the tables of a plan: {what}", sum(took.values()), "s", note=note)
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
