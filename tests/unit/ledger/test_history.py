"""History is written with the state that it is of, by the same transaction, and only where something changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, delete, select, text
from sqlalchemy.exc import SQLAlchemyError

from dealsync.core.models import Link, OrderStatus, Tier
from dealsync.core.plan import DealChange as Change
from dealsync.core.plan import Drift, Outcome, Plan
from dealsync.core.sightings import How
from dealsync.core.states import State
from dealsync.errors import RunInProgress
from dealsync.ledger.entries import ChosenEntries, Entries
from dealsync.ledger.findings import Findings
from dealsync.ledger.history import History
from dealsync.ledger.journal import Journal
from dealsync.ledger.mirror import Accepted, Mirror
from dealsync.ledger.runs import utc_now
from dealsync.ledger.tables import PlacingRow, SightingRow, StepRow
from tests.builders import NOW, WON, contact, deal, invoice, order, subscription
from tests.unit.ledger.locks import hold_lock
from tests.unit.ledger.test_ledger import action

KEY, RUN = "order:17:won", "run-1"
LATER = NOW + timedelta(minutes=1)


def sightings(engine: Engine, about: str) -> list[Any]:
    with engine.connect() as db:
        rows = select(SightingRow.__table__).where(SightingRow.about == about).order_by(SightingRow.sighting_id)
        return list(db.execute(rows))


def steps(engine: Engine, key: str = KEY) -> list[tuple[Any, ...]]:
    columns = (StepRow.step, StepRow.was, StepRow.run_id, StepRow.attempt, StepRow.words)
    with engine.connect() as db:
        rows = select(*columns).where(StepRow.idempotency_key == key).order_by(StepRow.step_id)
        return [tuple(row) for row in db.execute(rows)]


def test_sightings__an_order_is_noted_when_it_is_new_and_when_it_changes_and_never_else(engine: Engine) -> None:
    polled = Mirror(engine).seen_by("run-1", How.POLL)
    polled.keep_orders([order(17), order(18)])
    polled.keep_orders([order(17), order(18)])
    refunded = order(17, refunded=49000, status=OrderStatus.REFUNDED, updated_at=NOW)
    Mirror(engine).seen_by("run-2", How.WEBHOOK).keep_orders([refunded, order(18)])
    polled.keep_orders([order(17)])  # an older answer
    first, second = sightings(engine, "order:17")
    assert (first.run_id, first.how, first.is_first, first.changes["total_minor"]) == (
        "run-1",
        "poll",
        True,
        [None, 49000],
    )
    assert (second.run_id, second.how, second.is_first, second.is_own) == ("run-2", "webhook", False, False)
    assert second.changes == {"order_status": ["paid", "refunded"], "refunded_minor": [0, 49000]}
    assert second.changed_at == NOW
    assert len(sightings(engine, "order:18")) == 1


def test_sightings__subscriptions_and_invoices_are_noted_as_well(engine: Engine) -> None:
    mirror = Mirror(engine)
    mirror.keep_subscriptions([subscription(9)])
    mirror.keep_subscriptions([subscription(9, subscription_status="past_due", updated_at=NOW)])
    mirror.keep_invoices([invoice(44)])
    assert sightings(engine, "subscription:9")[1].changes == {"subscription_status": ["active", "past_due"]}
    assert sightings(engine, "invoice:44")[0].is_first


def test_sightings__our_own_write_is_told_from_a_persons_edit(engine: Engine) -> None:
    mirror = Mirror(engine)
    mirror.keep_deals([deal(31)])
    change = Change(pipeline_id=1, status_id=WON, fields={"order_id": "17"})
    mirror.seen_by("run-1", How.WRITE).apply_changes([Accepted(31, change, LATER)])
    written = deal(31, status_id=WON, pipeline_id=1, fields={"order_id": "17"}, updated_at=LATER)
    mirror.keep_deals([written])
    mirror.keep_deals([replace(written, price=77, updated_at=LATER + timedelta(minutes=1))])
    _, own, edit = sightings(engine, "lead:31")
    assert (own.how, own.is_own, own.run_id) == ("write", True, "run-1")
    assert own.changes["ls_order_id"] == [None, "17"]
    assert own.changes["status_id"][1] == WON
    assert (edit.is_own, edit.changes) == (False, {"price": [490, 77]})


def test_sightings__what_a_lost_answer_had_written_is_our_own(engine: Engine) -> None:
    mirror = Mirror(engine)
    mirror.keep_deals([deal(31)])
    found = deal(31, status_id=WON, price=77, updated_at=NOW)
    mirror.seen_by("run-2", How.LOOK_UP).keep_deals([replace(found, written={"status_id": str(WON)})])
    _, own, edit = sightings(engine, "lead:31")
    assert (own.how, own.is_own, list(own.changes)) == ("look-up", True, ["status_id"])
    assert (edit.is_own, list(edit.changes)) == (False, ["price"])


def test_sightings__a_deal_that_goes_and_other_contacts_are_noted_once(engine: Engine) -> None:
    mirror = Mirror(engine)
    mirror.keep_deals([deal(31, contacts=(81,))])
    for _ in range(2):
        mirror.keep_deals([deal(31, contacts=(82, 81), updated_at=NOW)])
        mirror.mark_deals_deleted([31, 99])
    assert [one.changes for one in sightings(engine, "lead:31")[1:]] == [
        {"contact_ids": [[81], [82, 81]]},
        {"is_deleted": [False, True]},
        {"is_deleted": [True, False]},
        {"is_deleted": [False, True]},
    ]


def test_sightings__who_moved_a_deal_is_noted_when_kommos_events_tell(engine: Engine) -> None:
    mirror = Mirror(engine)
    mirror.keep_deals([deal(31), deal(32)])
    for _ in range(2):
        mirror.remember_entries({31: (NOW, 502), 32: (NOW, None)})
    (moved,) = sightings(engine, "lead:31")[1:]
    assert (moved.how, moved.changes["entered_by"], moved.changed_at) == ("poll", [None, 502], NOW)
    assert len(sightings(engine, "lead:32")) == 1


def test_sightings__are_not_there_without_the_state_that_they_are_of(engine: Engine) -> None:
    mirror = Mirror(engine)
    with engine.begin() as db:
        db.execute(text("ALTER TABLE lead_contacts RENAME TO elsewhere"))
    with pytest.raises(SQLAlchemyError):
        mirror.keep_deals([deal(31, contacts=(81,))])
    with engine.begin() as db:
        db.execute(text("ALTER TABLE elsewhere RENAME TO lead_contacts"))
    assert sightings(engine, "lead:31") == []
    assert len(mirror.deals()) == 0


def test_sightings__hold_nothing_personal(engine: Engine) -> None:
    mirror = Mirror(engine)
    mirror.keep_orders([order(17, user_email="ann@example.com", user_name="Ann")])
    mirror.keep_deals([deal(31, name="Ann's deal", fields={"customer_portal": "https://portal.example/secret"})])
    mirror.keep_contacts([contact(81, "ann@example.com")])
    told = str([sightings(engine, about) for about in ("order:17", "lead:31")]).lower()
    assert not {word for word in ("ann", "secret") if word in told}


def test_steps__are_written_with_each_change_of_state(engine: Engine) -> None:
    journal, entries, chosen = Journal(engine), Entries(engine), ChosenEntries(keys=(KEY,))
    hold_lock(engine, RUN)
    journal.record(Plan(actions=(action(KEY, reason="because"),)), RUN, NOW)
    journal.mark_sent({KEY: 31}, RUN, NOW)
    journal.close([Outcome(KEY, State.UNKNOWN, 31, error="no answer")], [], NOW, run_id=RUN)
    journal.close([Outcome(KEY, State.FAILED, 31, error="not there", by_reading=True)], [], NOW, run_id=RUN)
    entries.dismiss(chosen, NOW)
    entries.retry(chosen, NOW)
    journal.record(Plan(actions=(action(KEY, reason="still"),)), RUN, NOW)
    journal.mark_sent({KEY: 31}, RUN, NOW)
    journal.close([Outcome(KEY, State.APPLIED, 31, 31)], [], NOW, run_id=RUN)
    journal.refuse(KEY, "it came back")
    assert steps(engine) == [
        ("claim", None, RUN, 0, "because"),
        ("send", "planned", RUN, 1, None),
        ("lose", "sent", RUN, 1, "no answer"),
        ("reject", "unknown", RUN, 1, "not there"),
        ("dismiss", "failed", None, 1, "given up by a person"),
        ("retry", "dismissed", None, 1, None),
        ("claim", None, RUN, 0, "still"),
        ("send", "planned", RUN, 2, None),
        ("confirm", "sent", RUN, 2, None),
        ("refuse", "applied", None, 2, "it came back"),
    ]


def test_steps__that_are_not_taken_are_not_written(engine: Engine) -> None:
    journal, entries = Journal(engine), Entries(engine)
    journal.record(Plan(actions=(action(KEY),)), RUN, NOW)
    journal.record(Plan(actions=(action(KEY),)), "run-2", NOW)
    with pytest.raises(RunInProgress):
        journal.mark_sent({KEY: 31}, RUN, NOW)
    journal.mark_sent({KEY: 31}, "run-2", NOW)
    hold_lock(engine, "run-3")
    journal.close([Outcome(KEY, State.FAILED, 31)], [], NOW, run_id="run-2")  # it has lost its lock
    journal.record(Plan(actions=(action(KEY),)), "run-3", NOW)  # it is on its way
    entries.dismiss(ChosenEntries(keys=(KEY,)), NOW)
    assert [(step, run_id) for step, _, run_id, *_ in steps(engine)] == [
        ("claim", RUN), ("claim", "run-2"), ("send", "run-2"),
    ]  # fmt: skip


def test_steps__of_many_actions_are_each_their_own(engine: Engine) -> None:
    journal, keys = Journal(engine), [f"order:{n}:won" for n in range(600)]
    hold_lock(engine, RUN)
    journal.record(Plan(actions=tuple(map(action, keys))), RUN, NOW)
    journal.mark_sent(dict.fromkeys(keys, 31), RUN, NOW)
    journal.close([Outcome(key, State.FAILED, 31, error=key) for key in keys], [], NOW, run_id=RUN)
    assert [steps(engine, key)[-1] for key in keys[::100]] == [
        ("reject", "sent", RUN, 1, key) for key in keys[::100]
    ]  # fmt: skip


def test_placings__keep_the_deal_that_an_order_was_counted_on_before(engine: Engine) -> None:
    journal = Journal(engine)
    for lead_id, tier in ((31, Tier.CONTACT), (32, Tier.PERSON), (33, Tier.CONTACT)):
        Mirror(engine).keep_deals([deal(lead_id)])
        journal.record(Plan(links=(Link("17", lead_id, tier, "words"),)), RUN, NOW)
    with engine.connect() as db:
        found = db.execute(select(PlacingRow.lead_id, PlacingRow.tier).order_by(PlacingRow.placing_id)).all()
    assert [tuple(row) for row in found] == [(31, "contact"), (32, "person")]  # the third was refused


def test_history__finds_what_belongs_to_a_deal_and_to_nobody_else(engine: Engine) -> None:
    mirror, journal, history = Mirror(engine), Journal(engine), History(engine)
    mirror.keep_orders([order(17), order(18)])
    mirror.keep_subscriptions([subscription(9, order_id=17), subscription(10, order_id=18)])
    mirror.keep_invoices([invoice(44), invoice(45, subscription_id=10)])
    mirror.keep_deals([deal(31), deal(32)])
    links = (Link("17", 31, Tier.CONTACT, "words"), Link("18", 32, Tier.CONTACT, "words"))
    journal.record(
        Plan(actions=(action(KEY), action("order:18:won", source="order:18", lead_id=32)), links=links), RUN, NOW
    )
    names = ("lead:31", "order:17", "subscription:9", "invoice:44")
    for subjects in (
        history.of_deal(31), history.of_order("17"), history.of_subscription("9"), history.of_invoice("44"),
    ):  # fmt: skip
        assert subjects.names == names
        records = history.read(subjects)
        assert [one.key for one in records.actions] == [KEY]
        assert {one.about for one in records.sightings} == set(names)
        assert [one.lead_id for one in records.placings] == [31]
    assert not history.read(history.of_deal(99))
    assert not history.read(history.of_order("99"))


def test_history__finds_the_deals_and_orders_of_a_person(engine: Engine) -> None:
    mirror, history = Mirror(engine), History(engine)
    mirror.keep_orders([order(17, user_email="Ann@Example.com"), order(18, user_email="bob@example.com")])
    mirror.keep_contacts([contact(81, "ann@example.com")])
    mirror.keep_deals([deal(31, contacts=(81,)), deal(32, contacts=())])
    assert history.of_person(" ann@example.com ").names == ("lead:31", "order:17")
    assert history.of_person("eve@example.com").names == ()


def test_history__of_an_action_from_before_there_was_one_is_its_newest_state(engine: Engine) -> None:
    journal, history = Journal(engine), History(engine)
    hold_lock(engine, RUN)
    journal.record(Plan(actions=(action(KEY, reason="because"),)), RUN, NOW)
    journal.mark_sent({KEY: 31}, RUN, NOW)
    journal.close([Outcome(KEY, State.FAILED, 31, error="HTTP 400")], [], LATER, run_id=RUN)
    with engine.begin() as db:
        db.execute(delete(StepRow))
    (found,) = history.read(history.of_deal(31)).actions
    assert [(one.step, one.at, one.words) for one in found.steps] == [
        ("claim", NOW, "because"), ("send", NOW, None), ("reject", LATER, "HTTP 400"),
    ]  # fmt: skip


def test_findings__that_ended_and_began_anew_are_told_twice(engine: Engine) -> None:
    findings, history = Findings(engine), History(engine)
    stuck = Plan(drifts=(Drift("stuck", "lead:31", 31, NOW),))
    hours = [NOW + timedelta(hours=n) for n in range(4)]
    for at, plan in zip(hours, (stuck, Plan(), stuck, stuck), strict=True):
        findings.keep(plan, at)
    found = history.read(history.of_deal(31)).findings
    assert [(one.first_seen_at, one.ended_at) for one in found] == [(hours[0], hours[1]), (hours[2], None)]


def test_history__is_forgotten_after_its_time_and_nothing_else_is(engine: Engine) -> None:
    mirror, journal, history = Mirror(engine), Journal(engine), History(engine)
    mirror.keep_orders([order(17)])
    journal.record(Plan(actions=(action(KEY),)), RUN, NOW)
    assert history.forget_before(NOW) == 0
    assert history.forget_before(utc_now() + timedelta(days=1)) == 2
    assert (sightings(engine, "order:17"), steps(engine), len(mirror.orders())) == ([], [], 1)
    assert [one.key for one in history.read(history.of_order("17")).actions] == [KEY]
