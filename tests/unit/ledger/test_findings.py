"""Since when something is known to be out of step."""

from datetime import timedelta

from sqlalchemy import Engine, select

from dealsync.core.plan import Drift, Plan, Refusal
from dealsync.ledger.findings import REFUSAL, Findings, Lasting
from dealsync.ledger.tables import FindingRow
from tests.builders import NOW

STUCK = Drift("stuck", "lead:31", 31, NOW - timedelta(days=2))
LOST = Refusal("order:17", 32, "closed_lost_stays", "the deal is marked lost", "status_id")
BOTH = Plan(drifts=(STUCK,), refusals=(LOST,))


def hours(number: int) -> timedelta:
    return timedelta(hours=number)


def stored(engine: Engine) -> set[tuple[object, ...]]:
    """Every finding ever: kind, object, deal, and when it ended."""
    columns = (FindingRow.kind, FindingRow.source, FindingRow.lead_id, FindingRow.ended_at)
    with engine.connect() as db:
        return {tuple(row) for row in db.execute(select(*columns))}


def test_findings__remember_when_each_was_first_seen(engine: Engine) -> None:
    findings = Findings(engine)
    assert findings.keep(BOTH, NOW) == {STUCK.key: NOW, LOST.key: NOW}
    assert findings.keep(BOTH, NOW + hours(1)) == {STUCK.key: NOW, LOST.key: NOW}
    assert stored(engine) == {("stuck", "lead:31", 31, None), (REFUSAL, "order:17", 32, None)}


def test_findings__end_when_they_are_not_found_and_begin_anew(engine: Engine) -> None:
    findings = Findings(engine)
    findings.keep(BOTH, NOW)
    assert findings.keep(Plan(drifts=(STUCK,)), NOW + hours(1)) == {STUCK.key: NOW}
    assert stored(engine) == {("stuck", "lead:31", 31, None), (REFUSAL, "order:17", 32, NOW + hours(1))}
    assert findings.keep(BOTH, NOW + hours(2)) == {STUCK.key: NOW, LOST.key: NOW + hours(2)}
    assert findings.keep(Plan(), NOW + hours(3)) == {}


def test_findings__of_one_moment_may_be_kept_twice(engine: Engine) -> None:
    findings = Findings(engine)
    findings.keep(BOTH, NOW)
    assert findings.keep(BOTH, NOW) == {STUCK.key: NOW, LOST.key: NOW}


def test_findings__that_last_are_given_back_by_kind_the_oldest_first(engine: Engine) -> None:
    findings, paid = Findings(engine), Drift("paid_not_won", "order:17", 31, NOW)
    findings.keep(Plan(drifts=(STUCK, paid)), NOW)
    young = Drift("paid_no_deal", "order:18", None, NOW)
    findings.keep(Plan(drifts=(STUCK, paid, young)), NOW + hours(1))
    kinds = ("paid_not_won", "paid_no_deal")
    assert findings.lasting(kinds, NOW - hours(1)) == []
    assert findings.lasting(kinds, NOW) == [Lasting("paid_not_won", "order:17", NOW)]
    assert [one.source for one in findings.lasting(kinds, NOW + hours(1))] == ["order:17", "order:18"]
    findings.keep(Plan(), NOW + hours(2))
    assert findings.lasting(kinds, NOW + hours(3)) == []
