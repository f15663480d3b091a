"""The ledger goes from state to state by the table, on both databases, whatever is tried."""

from __future__ import annotations

import itertools
from contextlib import nullcontext

import pytest
from sqlalchemy import Engine, update

from dealsync.core.plan import Outcome, Plan
from dealsync.core.states import STEP_TO, TABLE, State, Step
from dealsync.errors import RunInProgress
from dealsync.ledger.entries import ChosenEntries, Entries
from dealsync.ledger.journal import Journal
from dealsync.ledger.tables import LedgerEntry
from tests.builders import NOW
from tests.unit.ledger.locks import hold_lock
from tests.unit.ledger.test_ledger import action

KEY, RUN = "order:17:won", "run-1"


def put(engine: Engine, state: State, *, key: str = KEY, holder: str = RUN) -> None:
    """Bring an action into a state, by force."""
    Journal(engine).record(Plan(actions=(action(key),)), RUN, NOW)
    hold_lock(engine, holder)
    with engine.begin() as db:
        forced = update(LedgerEntry).where(LedgerEntry.idempotency_key == key)
        db.execute(forced.values(state=state.value, run_id=RUN))


def take(engine: Engine, step: Step, key: str = KEY) -> None:
    """Try a step, as the program does."""
    journal, entries, chosen = Journal(engine), Entries(engine), ChosenEntries(keys=(key,))
    if step is Step.CLAIM:
        journal.record(Plan(actions=(action(key),)), RUN, NOW)
    elif step is Step.SEND:
        journal.mark_sent({key: 31}, RUN, NOW)
    elif step is Step.DISMISS:
        entries.dismiss(chosen, NOW)
    elif step is Step.RETRY:
        entries.retry(chosen, NOW)
    else:
        (state,) = (state for state, one in STEP_TO.items() if one is step)
        journal.close([Outcome(key, state, 31)], [], NOW, run_id=RUN)


def test_ledger__takes_a_step_where_the_table_has_it_and_nowhere_else(engine: Engine) -> None:
    """Every step from every state, each on a row of its own."""
    entries = Entries(engine)
    for state, step in itertools.product(State, Step):
        key = f"order:{state}:{step}"
        put(engine, state, key=key)
        is_refused = step is Step.SEND and (state, step) not in TABLE and state is not State.SENT
        with pytest.raises(RunInProgress) if is_refused else nullcontext():
            take(engine, step, key)
        assert entries.find(key).state is TABLE.get((state, step), state), (state, step)


@pytest.mark.parametrize("state", [State.SENT, State.UNKNOWN])
@pytest.mark.parametrize("step", [Step.REJECT, Step.LOSE])
def test_ledger__a_run_that_lost_its_lock_cannot_say_that_something_did_not_happen(
    engine: Engine, state: State, step: Step
) -> None:
    put(engine, state, holder="run-2")
    take(engine, step)
    assert Entries(engine).find(KEY).state is state
    take(engine, Step.CONFIRM)
    assert Entries(engine).find(KEY).state is State.APPLIED


def test_ledger__what_another_run_took_up_is_not_sent(engine: Engine) -> None:
    journal = Journal(engine)
    journal.record(Plan(actions=(action(KEY),)), RUN, NOW)
    journal.record(Plan(actions=(action(KEY),)), "run-2", NOW)
    with pytest.raises(RunInProgress, match=RUN):
        journal.mark_sent({KEY: 31}, RUN, NOW)
    assert Entries(engine).find(KEY).state is State.PLANNED
    journal.mark_sent({KEY: 31}, "run-2", NOW)


def test_table__every_state_can_be_reached_and_left_as_people_were_told() -> None:
    reached = {State.PLANNED, *TABLE.values()}
    assert reached == set(State)
    assert {state for state, step in TABLE if step is not Step.RETRY} == set(State) - {State.APPLIED, State.DISMISSED}
    assert all(to in (State.APPLIED, State.FAILED, State.UNKNOWN) for (of, _), to in TABLE.items() if of is State.SENT)


def test_ledger__many_rows_take_a_step_at_once(engine: Engine) -> None:
    journal, keys = Journal(engine), [f"order:{n}:won" for n in range(3)]
    journal.record(Plan(actions=tuple(map(action, keys))), RUN, NOW)
    hold_lock(engine, RUN)
    journal.mark_sent(dict.fromkeys(keys, 31), RUN, NOW)
    outcomes = zip(keys, (State.APPLIED, State.FAILED, State.UNKNOWN), strict=True)
    journal.close([Outcome(key, state) for key, state in outcomes], [], NOW, run_id=RUN)
    counts = Entries(engine).counts()
    assert {state: count for state, count in counts.items() if count} == {"applied": 1, "failed": 1, "unknown": 1}
