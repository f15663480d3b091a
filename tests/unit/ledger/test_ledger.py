"""What the database promises, on SQLite and on PostgreSQL alike."""

import asyncio
import json
import subprocess
import sys
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text

from dealsync.core.models import Invoice, Link, Money, Tier, normal_name
from dealsync.core.plan import Action, DealChange, Kind, NewDeal, Note, Outcome, Plan, Seen, Task
from dealsync.core.planner import make_plan
from dealsync.core.states import State
from dealsync.core.tables import Tables
from dealsync.core.texts import NAME_LIMIT
from dealsync.errors import ConfigError, RunInProgress
from dealsync.ledger import runs as module
from dealsync.ledger.database import open_database
from dealsync.ledger.evidence import Evidence
from dealsync.ledger.frames import SLICE
from dealsync.ledger.journal import Journal
from dealsync.ledger.mirror import Accepted, Mirror
from dealsync.ledger.reviews import Reviews
from dealsync.ledger.runs import LEASE, Runs, Watermark, utc_now
from dealsync.ledger.tables import Base
from tests.builders import INVOICE_SENT, NOW, WON, World, contact, deal, order, policy, subscription
from tests.unit.ledger.locks import hold_lock

LATER = NOW + timedelta(minutes=1)


def action(key: str = "order:17:won", kind: Kind = Kind.CLOSE, **changes: object) -> Action:
    ordinary = Action(key, kind, "order:17", 31, "because", "evidence", DealChange(pipeline_id=1, status_id=WON))
    return replace(ordinary, **changes)  # type: ignore[arg-type]


def tables(engine: Engine) -> Tables:
    mirror, journal, evidence = Mirror(engine), Journal(engine), Evidence(engine)
    return Tables(
        mirror.orders(), mirror.subscriptions(), mirror.invoices(), mirror.deals(), mirror.contact_emails(),
        mirror.lead_contacts(),
        journal.links(), journal.entries(), evidence.hints(), evidence.checkouts(), evidence.merges(),
        Reviews(engine).decisions(), evidence.customers(), evidence.companies(),
    )  # fmt: skip


def test_schema__migrations_make_exactly_the_tables_of_the_code(engine: Engine) -> None:
    with engine.connect() as db:
        assert compare_metadata(MigrationContext.configure(db), Base.metadata) == []


def test_mirror__the_planner_sees_stored_tables_as_it_sees_built_ones(engine: Engine) -> None:
    world = World(
        (order(17, receipt_url="https://x.example/r?s=1"), order(18, user_email="new@example.com", currency="JPY")),
        (deal(31), deal(32, contacts=(), status_id=WON, responsible_user_id=None, fields={"order_id": "99"})),
        (contact(81, "Ann@example.com", "two@example.com"),),
        (subscription(),),
    )
    mirror = Mirror(engine)
    mirror.keep_orders(world.orders)
    mirror.keep_subscriptions(world.subscriptions)
    mirror.keep_deals(world.deals)
    mirror.keep_contacts(world.contacts)
    assert make_plan(tables(engine), policy(), NOW) == make_plan(world.tables(), policy(), NOW)


def test_mirror__empty_tables_can_be_planned_from(engine: Engine) -> None:
    assert make_plan(tables(engine), policy(), NOW).actions == ()


def test_frames__their_types_do_not_depend_on_what_is_stored(engine: Engine) -> None:
    def types() -> dict[str, dict[str, str]]:
        found = tables(engine)
        return {f.name: {c: str(t) for c, t in getattr(found, f.name).dtypes.items()} for f in fields(found)}

    empty, mirror = types(), Mirror(engine)
    mirror.keep_orders([order(17), order(18, refunded_at=NOW)])
    mirror.keep_subscriptions([subscription()])
    mirror.keep_deals([deal(31), deal(32, responsible_user_id=None)])
    mirror.keep_contacts([contact(81, "a@b.example")])
    mirror.remember_entries({31: (NOW, 501)})
    Journal(engine).record(Plan(actions=(action(),), links=(Link("17", 31, Tier.EXPLICIT, "x"),)), "run-1", NOW)
    Journal(engine).mark_sent({"order:17:won": 31}, "run-1", NOW)
    assert types() == empty
    assert empty["orders"]["refunded_at"] == "datetime64[us, UTC]"
    assert empty["deals"]["responsible_user_id"] == "Int64"


def test_frames__slices_of_a_table_are_all_there_in_the_order_of_its_key(engine: Engine) -> None:
    some = [order(10_000 + i, total=i, refunded_at=None if i % 3 else NOW) for i in range(2 * SLICE + 7)]
    Mirror(engine).keep_orders(reversed(some))
    found = Mirror(engine).orders()
    assert list(found["order_id"]) == [one.id for one in some]
    assert list(found["total_minor"]) == [one.total.minor for one in some]
    assert list(found["refunded_at"].notna()) == [one.refunded_at is not None for one in some]
    assert set(found["created_at"]) == {some[0].created_at}


def test_mirror__the_newest_version_stays_whatever_the_order_of_arrival(engine: Engine) -> None:
    mirror = Mirror(engine)
    old, new = order(total=1), order(total=2, updated_at=NOW)
    for first, second in ((old, new), (new, old)):
        mirror.keep_orders([first])
        mirror.keep_orders([second])
        assert list(mirror.orders()["total_minor"]) == [2]


def test_mirror__the_same_object_twice_in_one_page_is_one_row(engine: Engine) -> None:
    mirror = Mirror(engine)
    mirror.keep_orders([order(17), order(17)])
    mirror.keep_invoices([Invoice("1", "s", "9", "initial", "paid", Money(1, "USD"), Money(0, "USD"), False, NOW, NOW)])
    assert len(mirror.orders()) == 1


def test_mirror__contacts_of_a_deal_are_replaced_not_added(engine: Engine) -> None:
    mirror = Mirror(engine)
    mirror.keep_deals([deal(31, contacts=(81, 82))])
    mirror.keep_deals([deal(31, contacts=(83,), updated_at=NOW)])
    mirror.keep_deals([deal(31, contacts=(84,), updated_at=NOW - timedelta(days=1))])
    assert list(mirror.lead_contacts()["contact_id"]) == [83]


def test_mirror__what_a_full_walk_did_not_see_is_absent_unless_it_is_younger(engine: Engine) -> None:
    mirror = Mirror(engine)
    mirror.keep_deals([deal(31), deal(32), deal(33, updated_at=NOW)])
    assert mirror.absent_deals({31}, before=NOW - timedelta(minutes=5)) == {32}
    mirror.mark_deals_deleted({32})
    assert list(mirror.deals().query("is_deleted")["lead_id"]) == [32]
    assert mirror.absent_deals({31}, before=NOW - timedelta(minutes=5)) == set()


def test_mirror__tells_the_deals_of_some_statuses_and_no_others(engine: Engine) -> None:
    mirror = Mirror(engine)
    mirror.keep_deals([deal(31, status_id=WON), deal(32, status_id=INVOICE_SENT), deal(33, status_id=INVOICE_SENT)])
    mirror.mark_deals_deleted({33})
    assert list(mirror.deals({INVOICE_SENT})["lead_id"]) == [32, 33]
    assert mirror.deals(set()).dtypes.equals(mirror.deals().dtypes)
    assert (len(mirror.deals(set())), len(mirror.deals())) == (0, 3)


def test_mirror__an_absent_contact_is_no_buyers_any_more(engine: Engine) -> None:
    mirror = Mirror(engine)
    mirror.keep_contacts([contact(81), contact(82, "b@example.com")])
    mirror.mark_absent_contacts_deleted({82}, before=NOW)
    assert list(mirror.contact_emails()["contact_id"]) == [82]


def test_mirror__what_was_written_outlives_every_poll(engine: Engine) -> None:
    mirror = Mirror(engine)
    mirror.keep_deals([deal(31)])
    mirror.apply_changes([Accepted(31, DealChange(pipeline_id=1, status_id=WON, fields={"order_id": "17"}), LATER)])
    mirror.remember([Seen(31, {"price": "490"}), Seen(99, {"price": "1"})])
    mirror.keep_deals([deal(31, price=600, updated_at=LATER)])
    row = mirror.deals().iloc[0]
    assert json.loads(row["written"]) == {"status_id": "142", "order_id": "17", "price": "490"}
    assert row["price"] == 600


def test_evidence__of_companies_is_what_was_last_found_under_a_name_however_long(engine: Engine) -> None:
    evidence = Evidence(engine)
    long = normal_name("\N{LATIN SMALL LIGATURE FFI}" * NAME_LIMIT)  # folding makes three letters of each
    evidence.keep_companies({"acme": None, long: 7}, NOW)
    evidence.keep_companies({"acme": 8}, LATER)
    assert evidence.company_ids({"acme", long, "nobody"}) == {"acme": 8, long: 7}
    assert dict(evidence.companies().itertuples(index=False, name=None)) == {"acme": 8, long: 7}


def test_database__belongs_to_one_account(engine: Engine) -> None:
    runs = Runs(engine)
    runs.bind("Kommo account", "1")
    runs.bind("Kommo account", "1")
    with pytest.raises(ConfigError, match="belongs to Kommo account 1"):
        runs.bind("Kommo account", "2")


def test_mirror__times_come_back_as_aware_utc(engine: Engine) -> None:
    mirror = Mirror(engine)
    mirror.keep_orders([order(created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))])
    assert mirror.orders()["created_at"][0].to_pydatetime() == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_journal__a_key_is_given_to_one_run_only(engine: Engine) -> None:
    journal = Journal(engine)
    plan = Plan(actions=(action(),))
    assert journal.record(plan, "run-1", NOW) == plan.actions
    assert journal.record(plan, "run-2", NOW) == plan.actions  # never sent: a later run may
    journal.mark_sent({"order:17:won": 31}, "run-2", NOW)
    assert journal.record(plan, "run-3", NOW) == ()
    journal.close([Outcome("order:17:won", State.APPLIED, 31, 31)], [], NOW, run_id="run-2")
    assert journal.record(plan, "run-4", NOW) == ()
    assert list(journal.entries()["state"]) == ["applied"]


def test_journal__a_failed_action_may_be_taken_up_again(engine: Engine) -> None:
    journal = Journal(engine)
    plan = Plan(actions=(action(),))
    journal.record(plan, "run-1", NOW)
    hold_lock(engine, "run-1")
    journal.close([Outcome("order:17:won", State.FAILED, error="no")], [], NOW, run_id="run-1")
    assert [a.key for a in journal.unfinished().actions] == ["order:17:won"]
    assert journal.record(plan, "run-2", NOW) == plan.actions


def test_journal__what_was_sent_without_an_answer_is_in_doubt(engine: Engine) -> None:
    journal = Journal(engine)
    note = action("order:17:note:paid", Kind.NOTE, lead_id=None, change=Note("Paid. ref 123456"))
    journal.record(Plan(actions=(note,)), "run-1", NOW)
    journal.mark_sent({note.key: 77}, "run-1", LATER)
    (doubt,) = journal.doubts()
    assert (doubt.action, doubt.sent_at) == (replace(note, lead_id=77), LATER)


@pytest.mark.parametrize(
    "change",
    [
        DealChange(price=5, fields={"order_id": "17"}, tags_to_add=("a", "b")),
        NewDeal("n", 1, 142, None, 501, {"order_id": "17"}, ("t",), None, "order:17:contact"),
        Note("text"),
        Task("text", NOW, None),
    ],
    ids=lambda change: type(change).__name__,
)
def test_journal__actions_come_back_as_they_were(engine: Engine, change: object) -> None:
    journal = Journal(engine)
    meant = action("order:17:x", change=change)
    journal.record(Plan(actions=(meant,)), "run-1", NOW)
    assert journal.unfinished().actions == (meant,)


def test_journal__a_link_is_made_with_its_outcome(engine: Engine) -> None:
    journal = Journal(engine)
    journal.record(Plan(actions=(action("order:17:deal", Kind.CREATE_DEAL, lead_id=None),)), "run-1", NOW)
    made = Outcome("order:17:deal", State.APPLIED, 40, 40)
    journal.close([made], [Link("17", 40, Tier.SELF_SERVE, "made")], NOW, run_id="run-1")
    assert journal.links()[["order_id", "lead_id"]].values.tolist() == [["17", 40]]
    assert journal.result_ids(["order:17:deal", "order:99:deal"]) == {"order:17:deal": 40}
    assert journal.unfinished().rota_positions == {"": 1}


async def test_lock__a_second_run_is_refused_and_the_first_is_not_disturbed(engine: Engine) -> None:
    runs = Runs(engine)
    async with runs.exclusive("reconcile") as run_id:
        with pytest.raises(RunInProgress, match=run_id):
            async with runs.exclusive("reconcile"):
                pytest.fail("two runs at once")
        runs.ensure_held(run_id)
    async with runs.exclusive("reconcile"):
        pass


async def test_lock__a_killed_run_loses_it_when_its_lease_ends(engine: Engine) -> None:
    clock = [NOW]
    runs = Runs(engine, lambda: clock[0])
    assert runs._held_by_another("killed") is None
    clock[0] += LEASE - timedelta(seconds=1)
    with pytest.raises(RunInProgress):
        async with runs.exclusive("reconcile"):
            pytest.fail("the lease still holds")
    clock[0] += timedelta(seconds=2)
    async with runs.exclusive("reconcile"):
        with pytest.raises(RunInProgress, match="lost its lock"):
            runs.ensure_held("killed")


async def test_lock__of_many_that_start_at_once_one_gets_it(engine: Engine) -> None:
    runs = Runs(engine)
    taken = await asyncio.gather(*(asyncio.to_thread(runs._held_by_another, f"run-{n}") for n in range(8)))
    assert taken.count(None) == 1


async def test_runs__keep_their_figures_and_how_they_ended(engine: Engine) -> None:
    runs = Runs(engine)

    async def fail() -> None:
        async with runs.exclusive("reconcile") as run_id:
            runs.summarise(run_id, {"counts": {"close": 1}})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert runs.last_summary() == {"counts": {"close": 1}}
    with engine.connect() as db:
        assert db.exec_driver_sql("SELECT outcome FROM runs").scalar() == "failed"


def test_watermark__is_none_before_the_first_poll(engine: Engine) -> None:
    runs = Runs(engine)
    assert runs.watermark("orders") is None
    runs.set_watermark("orders", Watermark(NOW, 3))
    runs.set_watermark("orders", Watermark(LATER, 4))
    assert runs.watermark("orders") == Watermark(LATER, 4)


def test_database__is_made_once_by_many_who_open_it_at_the_same_time(engine: Engine, tmp_path: Path) -> None:
    """As when two commands are started on a machine that never ran one."""
    if engine.dialect.name == "sqlite":
        url = f"sqlite:///{tmp_path / 'new.db'}"
    else:
        url = engine.url.render_as_string(hide_password=False)
        with engine.begin() as db:
            db.execute(text("DROP TABLE alembic_version"))
            Base.metadata.drop_all(db)
    script = "import sys; from dealsync.ledger.database import open_database; open_database(sys.argv[1])"
    started = [
        subprocess.Popen([sys.executable, "-c", script, url], stderr=subprocess.PIPE, text=True) for _ in range(5)
    ]
    said = [process.communicate(timeout=60)[1] for process in started]
    assert [process.returncode for process in started] == [0] * 5, said
    made = open_database(url)
    with made.connect() as db:
        assert compare_metadata(MigrationContext.configure(db), Base.metadata) == []
    made.dispose()


async def test_lock__a_clock_that_is_set_back_holds_up_nobody(engine: Engine) -> None:
    clock = [NOW]
    runs = Runs(engine, lambda: clock[0])
    assert runs._held_by_another("killed") is None
    clock[0] -= timedelta(hours=2)
    async with runs.exclusive("reconcile"):
        with pytest.raises(RunInProgress, match="lost its lock"):
            runs.ensure_held("killed")


async def test_lock__a_run_that_does_nothing_any_more_loses_it_and_leaves_word(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RENEWAL_S", 0.02)
    monkeypatch.setattr(module, "STUCK_AFTER_S", 0.1)
    runs = Runs(engine)
    async with runs.exclusive("reconcile", pulse=lambda: "nothing new") as run_id:
        await asyncio.sleep(0.5)
        with pytest.raises(RunInProgress, match="lost its lock"):
            runs.ensure_held(run_id)
        async with runs.exclusive("drain"):
            stuck = runs.stuck()
            assert stuck is not None
            assert (stuck.run_id, stuck.job) == (run_id, "reconcile")
    assert runs.stuck() is not None  # also when it woke and came to its end
    async with runs.exclusive("reconcile"):
        pass
    assert runs.stuck() is None


async def test_lock__a_run_that_gets_on_keeps_it(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEWAL_S", 0.02)
    monkeypatch.setattr(module, "STUCK_AFTER_S", 0.1)
    runs, beats = Runs(engine), iter(range(10_000))
    async with runs.exclusive("reconcile", pulse=lambda: next(beats)) as run_id:
        await asyncio.sleep(0.4)
        runs.ensure_held(run_id)


async def test_runs__that_were_killed_are_told_from_those_that_went_through(engine: Engine) -> None:
    clock = [NOW]
    runs = Runs(engine, lambda: clock[0])
    runs._held_by_another("killed")
    runs._begin("killed", "reconcile")
    began = utc_now()
    assert runs.done_since(["reconcile"], began - timedelta(hours=1)) is None
    clock[0] += LEASE
    async with runs.exclusive("deep-sweep") as run_id:
        pass
    killed = runs.latest(["reconcile"], ["abandoned"])
    assert (killed.run_id if killed else None) == "killed"
    assert runs.done_since(["reconcile", "deep-sweep"], began) == run_id
    assert runs.done_since(["reconcile"], began) is None
    assert runs.done_since(["deep-sweep"], utc_now() + timedelta(seconds=1)) is None


def test_watermark__that_a_wrong_clock_set_ahead_is_none(engine: Engine) -> None:
    """Else nothing would be read until that time has come."""
    runs = Runs(engine)
    runs.set_watermark("orders", Watermark(utc_now() + timedelta(days=1), 3))
    assert runs.watermark("orders") is None
