"""What is asked all the time finds its rows by an index: the statements as they are sent, explained by the database."""

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from dealsync.core.evidence import Sender
from dealsync.core.inbox import InboxState
from dealsync.core.models import Link, Tier
from dealsync.core.plan import Action, DealChange, Drift, Kind, Outcome, Plan, Review, Scope, Seen
from dealsync.core.states import State
from dealsync.ledger.approvals import Approvals
from dealsync.ledger.awaiting import Awaited
from dealsync.ledger.carried_out import CarriedOut
from dealsync.ledger.database import open_database
from dealsync.ledger.entries import ChosenEntries, Entries
from dealsync.ledger.evidence import Evidence
from dealsync.ledger.findings import Findings
from dealsync.ledger.history import History
from dealsync.ledger.inbox import Chosen, Handled, Inbox
from dealsync.ledger.journal import Journal
from dealsync.ledger.mirror import Accepted, Mirror
from dealsync.ledger.reviews import Reviews, ReviewState
from dealsync.ledger.runs import APPLYING_JOBS, DONE, Runs
from dealsync.ledger.trends import Trends
from tests.builders import NOW, STORE, contact, deal, invoice, order, subscription
from tests.databases import place_sqlite

LATER = NOW + timedelta(minutes=1)
CHANGE = DealChange(pipeline_id=1, status_id=142)
ACTION = Action("order:17:won", Kind.CLOSE, "order:17", 31, "because", "evidence", CHANGE)
PLAN = Plan(
    actions=(ACTION,),
    links=(Link("17", 31, Tier.EXPLICIT, "evidence"),),
    reviews=(Review("18", (31,), "which?"),),
    drifts=(Drift("paid_not_won", "order:17", 31, NOW),),
    scope=Scope(frozenset({STORE}), test_mode=False),
)
KEY, LEADS, OF_ORDER = ACTION.key, {31}, ChosenEntries(about="order:17")


def _in_a_run(engine: Engine) -> None:
    async def run() -> None:
        runs = Runs(engine)
        async with runs.exclusive("reconcile") as run_id:
            runs.ensure_held(run_id)
            runs.summarise(run_id, {})

    asyncio.run(run())


HOT: dict[str, Callable[[Engine], object]] = {
    # the mirror
    "keep orders": lambda e: Mirror(e).keep_orders([order(17), order(18)]),
    "keep subscriptions": lambda e: Mirror(e).keep_subscriptions([subscription()]),
    "keep invoices": lambda e: Mirror(e).keep_invoices([invoice()]),
    "keep deals": lambda e: Mirror(e).keep_deals([deal(31), deal(32)]),
    "keep contacts": lambda e: Mirror(e).keep_contacts([contact(81, "a@b.example")]),
    "deals that are gone": lambda e: Mirror(e).mark_deals_deleted([31]),
    "contacts that are gone": lambda e: Mirror(e).mark_contacts_deleted([81], before=NOW),
    "accepted changes": lambda e: Mirror(e).apply_changes([Accepted(31, CHANGE, LATER)]),
    "what was seen": lambda e: Mirror(e).remember([Seen(31, {"price": "1"})]),
    "who moved deals": lambda e: Mirror(e).remember_entries({31: (NOW, 501)}),
    "deals as they stand": lambda e: Mirror(e).stands(LEADS),
    "deals of stages": lambda e: Mirror(e).deals({1, 2}),
    "statuses of deals": lambda e: Mirror(e).placed(LEADS),
    "times of deals": lambda e: Mirror(e).updated_at(LEADS),
    "orders of subscriptions": lambda e: Mirror(e).parents("subscriptions", {"9"}),
    "seen orders": lambda e: Mirror(e).seen_orders({"17"}),
    "younger orders": lambda e: Mirror(e).younger("orders", STORE, NOW, 100),
    "younger invoices": lambda e: Mirror(e).younger("invoices", STORE, NOW, 100),
    "the oldest page": lambda e: Mirror(e).oldest_page("orders", STORE, NOW, 100),
    # the journal
    "record": lambda e: Journal(e).record(PLAN, "run", NOW, since=NOW),
    "mark sent": lambda e: Journal(e).mark_sent({KEY: 31}, "run", NOW),
    "close": lambda e: Journal(e).close([Outcome(KEY, State.APPLIED, 31)], PLAN.links, NOW, run_id="run"),
    "unfinished": lambda e: Journal(e).unfinished(),
    "doubts": lambda e: Journal(e).doubts(),
    "given up": lambda e: Journal(e).given_up(Kind.FIELDS),
    "entries of deals": lambda e: Journal(e).states_of(LEADS),
    "alarms of deals": lambda e: Journal(e).alarms_of_deals(),
    "refused afterwards": lambda e: Journal(e).refuse(KEY, "it came back"),
    "what actions made": lambda e: Journal(e).result_ids([KEY]),
    # the ledger as people see it
    "the ledger": lambda e: Entries(e).listed(ChosenEntries(), limit=20),
    "failed actions": lambda e: Entries(e).listed(ChosenEntries(states=(State.FAILED,)), limit=20),
    "actions of an order": lambda e: Entries(e).listed(OF_ORDER, limit=20),
    "actions of a deal": lambda e: Entries(e).listed(ChosenEntries(about="lead:31"), limit=20),
    "actions of a run": lambda e: Entries(e).listed(ChosenEntries(run_id="run"), limit=20),
    "attempts": lambda e: Entries(e).attempts([KEY]),
    "give up": lambda e: Entries(e).dismiss(ChosenEntries(keys=(KEY,)), NOW),
    "take up again": lambda e: Entries(e).retry(OF_ORDER, NOW),
    "what a run did": lambda e: CarriedOut(e).of_run("run"),
    "what was done on deals": lambda e: CarriedOut(e).about(LEADS, []),
    # findings and reviews
    "findings": lambda e: Findings(e).keep(PLAN, NOW),
    "lasting findings": lambda e: Findings(e).lasting(["paid_not_won"], NOW),
    "open reviews": lambda e: Reviews(e).listed(ReviewState.OPEN),
    # the inbox
    "due": lambda e: Inbox(e).due(NOW),
    "due of these": lambda e: Inbox(e).due(NOW, ["event"]),
    "next due": lambda e: Inbox(e).next_due_at(),
    "depth": lambda e: Inbox(e).depth(),
    "close events": lambda e: Inbox(e).close([Handled("event", "done")], NOW),
    "latest events": lambda e: Inbox(e).listed(Chosen(), limit=20),
    "parked events": lambda e: Inbox(e).listed(Chosen(states=(InboxState.PARKED,)), limit=20),
    "events of an order": lambda e: Inbox(e).listed(Chosen(object_id="17"), limit=20),
    "last event": lambda e: Inbox(e).last_from(Sender.LEMON_SQUEEZY),
    "orders without event": lambda e: Inbox(e).untold_orders([STORE], test_mode=False, since=NOW),
    "old bodies": lambda e: Inbox(e).erase_bodies(NOW),
    "delays": lambda e: Inbox(e).delays(NOW),
    # checkouts
    "deals in statuses": lambda e: Awaited(e).in_statuses([(1, 2), (1, 3)]),
    "letters that came back": lambda e: Awaited(e).with_letters_that_came_back(),
    "deals without link": lambda e: Awaited(e).without_link(LEADS),
    "waiting deals": lambda e: Awaited(e).deals(LEADS, test_mode=False),
    "main contacts": lambda e: Awaited(e).main_contacts(LEADS),
    "companies": lambda e: Evidence(e).company_ids({"acme"}),
    # approvals
    "the first action": lambda e: Approvals(e).at_work_since(),
    "kinds that were done": lambda e: Approvals(e).kinds_done(),
    # runs
    "a run": _in_a_run,
    "a run went through": lambda e: Runs(e).done_since(APPLYING_JOBS, NOW),
    "the latest run": lambda e: Runs(e).latest(APPLYING_JOBS, (DONE,)),
    "a stuck run": lambda e: Runs(e).stuck(),
    "the last summary": lambda e: Runs(e).last_summary(),
    # history
    "explain an order": lambda e: History(e).read(History(e).of_order("17")),
    "explain a subscription": lambda e: History(e).read(History(e).of_subscription("9")),
    "explain an invoice": lambda e: History(e).read(History(e).of_invoice("44")),
    "explain a deal": lambda e: History(e).read(History(e).of_deal(31)),
    "old history": lambda e: History(e).forget_before(NOW),
    "payments that were won": lambda e: Trends(e).won(NOW),
}
SMALL = frozenset({"accounts", "merges", "reviews", "alerts", "approvals", "watermarks", "identity", "locks"})
"""Tables that stay small, whatever is sold: a row for each question, each account, each lock."""
OF_FEW = frozenset({"ix_ledger_is_alarm", "ix_inbox_has_body"})
"""Indexes that hold few rows: to read one from its beginning to its end is no harm."""
MOST_ROWS, BY_STATE_ALONE = frozenset({"applied", "done"}), r"SEARCH (ledger|inbox|runs) .*\((state|outcome)=\?\)$"
"""In these states nearly all rows are in the end: to find them by that alone is to read the table."""
Sent = list[tuple[str, Any]]


@contextmanager
def sent_to(engine: Engine) -> Iterator[Sent]:
    """Gather the statements that are sent, with the values of the first row of each."""
    sent: Sent = []

    def note(_conn: Any, _cursor: Any, statement: str, values: Any, _context: Any, executemany: bool) -> None:
        sent.append((statement, values[0] if executemany else values))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


def _fill(engine: Engine) -> None:
    """So that everything that asks for more where it found something does so."""
    Mirror(engine).keep_orders([order(17), order(18)])
    Mirror(engine).keep_subscriptions([subscription()])
    Mirror(engine).keep_invoices([invoice()])
    Mirror(engine).keep_deals([deal(31)])
    Mirror(engine).keep_contacts([contact(81, "ann@example.com")])
    Journal(engine).record(PLAN, "run", NOW)
    Findings(engine).keep(PLAN, NOW)


def whole_reads(db: Connection, statement: str, values: Any) -> list[str]:
    """Return the steps in which the database would read a whole table, or sort one, by its own account."""
    if not re.match(r"SELECT|UPDATE|DELETE|WITH|INSERT.*\bSELECT\b", statement, re.DOTALL):
        return []
    if db.dialect.name == "sqlite":
        lines = [row[-1] for row in db.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
        scans = [line for line in lines if (found := re.match(r"SCAN (\w+)", line)) and _is_large(found[1])]
        ordered = "LIMIT" in statement and "USE TEMP B-TREE FOR ORDER BY" not in lines
        most = [line for line in lines if MOST_ROWS & {*map(str, values)} and re.search(BY_STATE_ALONE, line)]
        found_by = [line for line in scans if line.split()[-1] not in OF_FEW] + most
        return [line for line in found_by if not (ordered and "USING" in line)]
    db.exec_driver_sql("SET enable_seqscan = off")
    lines = [row[0] for row in db.exec_driver_sql(f"EXPLAIN {statement}", values)]
    return [line for line in lines if (found := re.search(r"Seq Scan on (\w+)", line)) and _is_large(found[1])]


def _is_large(table: str) -> bool:
    return table not in SMALL and table != "CONSTANT" and not table.isdecimal()


@pytest.mark.parametrize("what", list(HOT))
def test_queries__what_is_hot_finds_its_rows_by_an_index(engine: Engine, what: str) -> None:
    _fill(engine)
    with sent_to(engine) as sent:
        HOT[what](engine)
    assert sent
    with engine.connect() as db:
        assert [(statement, found) for statement, values in sent if (found := whole_reads(db, statement, values))] == []


@pytest.mark.parametrize(
    ("table", "statement"),
    [
        ("ledger", "SELECT idempotency_key FROM ledger WHERE error = 'no'"),
        ("ledger", "SELECT idempotency_key FROM ledger ORDER BY error LIMIT 20"),
        ("inbox", "SELECT event_id FROM inbox WHERE event_name = 'no' AND sender || '' = 'kommo'"),
        ("inbox", "UPDATE inbox SET attempts = 1 WHERE error = 'no'"),
        ("orders", "SELECT order_id FROM orders WHERE user_name = 'Ann'"),
    ],
)
def test_queries__a_statement_without_index_is_found_out(engine: Engine, table: str, statement: str) -> None:
    with engine.connect() as db:
        (step,) = whole_reads(db, statement, ())
    assert table in step


def test_queries__a_state_that_most_rows_have_is_found_out(tmp_path: Path) -> None:
    engine = open_database(place_sqlite(tmp_path / "test.db"))
    statement = "SELECT idempotency_key FROM ledger WHERE state = ? AND source IN (?, ?)"
    with engine.connect() as db:
        assert len(whole_reads(db, statement, ("applied", "lead:1", "lead:2"))) == 1
        assert whole_reads(db, statement.replace("state", "state || ''"), ("applied", "lead:1", "lead:2")) == []
    engine.dispose()
