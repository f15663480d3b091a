"""Which part of a plan waits for a person."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from dealsync.core.approval import IRREVERSIBLE, WEIGHTY, Answer, Caution, approved, still_due, weigh
from dealsync.core.plan import Action, DealChange, Kind, Note, Plan, Task
from tests.builders import NOW

KINDS = st.sampled_from([kind for kind in Kind if kind is not Kind.RESTORE])


def action(kind: Kind, order_id: str = "17", lead_id: int | None = 31) -> Action:
    return Action(f"order:{order_id}:{kind}", kind, f"order:{order_id}", lead_id, "", "", DealChange(status_id=142))


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    wanted = draw(st.sets(st.tuples(KINDS, st.sampled_from(["17", "18", "19"]))))
    return Plan(actions=tuple(action(kind, order_id, int(order_id)) for kind, order_id in sorted(wanted)))


CAUTIONS = st.builds(
    Caution,
    max_changes=st.none() | st.integers(0, 4),
    careful=st.booleans(),
    done=st.none() | st.frozensets(KINDS),
)


@given(plans(), CAUTIONS)
def test_weigh__loses_nothing_and_keeps_a_sale_together(plan: Plan, caution: Caution) -> None:
    verdict = weigh(plan, caution)
    assert sorted((*verdict.free, *verdict.held), key=repr) == sorted(plan.actions, key=repr)
    assert {a.source for a in verdict.free}.isdisjoint({a.source for a in verdict.held})
    assert bool(verdict.held) == bool(verdict.reasons)
    if caution.careful and not any("max_changes" in reason for reason in verdict.reasons):
        assert not any(a.kind in IRREVERSIBLE for a in verdict.free)
    if caution.max_changes is not None:
        assert len({a.source for a in verdict.free}) <= caution.max_changes
    if caution.done:
        assert all(a.kind in caution.done for a in verdict.free if a.kind in WEIGHTY)


def test_weigh__asks_about_what_was_never_done_but_not_before_anything_was() -> None:
    plan = Plan(actions=(action(Kind.CLOSE), action(Kind.NOTE), action(Kind.ATTENTION, "18", 32)))
    assert weigh(plan, Caution(done=frozenset())).held == ()
    verdict = weigh(plan, Caution(done=frozenset({Kind.CLOSE})))
    assert ([a.source for a in verdict.held], verdict.reasons) == (
        ["order:18"], ("it does for the first time: attention",),
    )  # fmt: skip
    assert weigh(plan, Caution(done=frozenset({Kind.CLOSE, Kind.ATTENTION}))).held == ()


def test_approved__is_what_the_answer_names() -> None:
    held = [action(Kind.CLOSE), action(Kind.NOTE)]
    assert approved(held, Answer.ALL, ()) == tuple(held)
    assert approved(held, Answer.SOME, [Kind.NOTE]) == (held[1],)
    assert approved(held, Answer.REJECTED, [Kind.NOTE]) == approved(held, Answer.UNANSWERED, [Kind.NOTE]) == ()


def test_still_due__forgives_a_deadline_and_nothing_else() -> None:
    def task(text: str, hours: int, key: str = "order:17:refund") -> Action:
        return Action(key, Kind.TASK, "order:17", 31, "", "", Task(text, NOW + timedelta(hours=hours), 501))

    assert set(still_due([task("a", 1)], [task("a", 5)])) == {"order:17:refund"}
    assert (
        still_due([task("a", 1)], [task("b", 1)]) == still_due([task("a", 1)], [task("a", 1, "order:17:other")]) == {}
    )
    note = Action("order:17:refund", Kind.NOTE, "order:17", 31, "", "", Note("a"))
    assert still_due([note], [task("a", 1)]) == {}


def test_still_due__knows_ls_fields_by_what_they_hold() -> None:
    first = Action("order:17:fields:a", Kind.FIELDS, "order:17", 31, "", "", DealChange(fields={"status": "paid"}))
    later = Action("order:17:fields:b", Kind.FIELDS, "order:17", 31, "", "", DealChange(fields={"status": "paid"}))
    assert still_due([first], [later]) == {first.key: later}
