"""Since when something is known to be out of step."""

from datetime import timedelta

from sqlalchemy import Engine

from dealsync.core.plan import Drift, Plan, Refusal
from dealsync.ledger.findings import REFUSAL, Findings
from tests.builders import NOW

STUCK = Drift("stuck", "lead:31", 31, NOW - timedelta(days=2))
LOST = Refusal("order:17", 32, "closed_lost_stays", "the deal is marked lost", "status_id")
BOTH = Plan(drifts=(STUCK,), refusals=(LOST,))


def hours(number: int) -> timedelta:
    return timedelta(hours=number)


def test_findings__remember_when_each_was_first_seen(engine: Engine) -> None:
    findings = Findings(engine)
    assert findings.keep(BOTH, NOW) == {STUCK.key: NOW, LOST.key: NOW}
    assert findings.keep(BOTH, NOW + hours(1)) == {STUCK.key: NOW, LOST.key: NOW}
    assert {(f.kind, f.source, f.lead_id) for f in findings.standing()} == {
        ("stuck", "lead:31", 31),
        (REFUSAL, "order:17", 32),
    }


def test_findings__end_when_they_are_not_found_and_begin_anew(engine: Engine) -> None:
    findings = Findings(engine)
    findings.keep(BOTH, NOW)
    assert findings.keep(Plan(drifts=(STUCK,)), NOW + hours(1)) == {STUCK.key: NOW}
    assert [f.kind for f in findings.standing()] == ["stuck"]
    assert findings.keep(BOTH, NOW + hours(2)) == {STUCK.key: NOW, LOST.key: NOW + hours(2)}
    assert findings.keep(Plan(), NOW + hours(3)) == {}


def test_findings__of_one_moment_may_be_kept_twice(engine: Engine) -> None:
    findings = Findings(engine)
    findings.keep(BOTH, NOW)
    assert findings.keep(BOTH, NOW) == {STUCK.key: NOW, LOST.key: NOW}
