"""Group commit: many events share few transactions, and each is answered after its own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from dealsync.ledger.inbox import Arrival, Chosen, Inbox
from dealsync.receiver.intake import Intake, NotStored
from tests.builders import NOW
from tests.unit.core.test_inbox import event as an_event


def arrival(event_id: str) -> Arrival:
    return Arrival(an_event(event_id=event_id), b"{}", NOW)


async def test_intake__many_events_share_few_commits(engine: Engine) -> None:
    commits: list[object] = []
    event.listen(engine, "commit", commits.append)
    woken: list[None] = []
    intake = Intake(Inbox(engine), lambda: woken.append(None))
    told = await asyncio.gather(*(intake.keep([arrival(f"w-{n}")]) for n in range(300)))
    assert told == [[True]] * 300
    assert len(Inbox(engine).listed(Chosen())) == 300
    assert len(woken) == len(commits) <= 3
    await intake.close()


async def test_intake__an_answer_comes_after_the_commit_that_holds_its_event(engine: Engine) -> None:
    intake, inbox = Intake(Inbox(engine), lambda: None), Inbox(engine)

    async def send(number: int) -> None:
        await intake.keep([arrival(f"w-{number}")])
        assert inbox.find(f"w-{number}").event.event_id == f"w-{number}"

    await asyncio.gather(*(send(n) for n in range(100, 150)))
    await intake.close()


async def test_intake__of_the_same_event_at_once_one_is_new(engine: Engine) -> None:
    woken: list[None] = []
    intake = Intake(Inbox(engine), lambda: woken.append(None))
    told = await asyncio.gather(*(intake.keep([arrival("same")]) for _ in range(20)))
    assert sorted(told) == [[False]] * 19 + [[True]]
    before = len(woken)
    assert await intake.keep([arrival("same")]) == [False]
    assert len(woken) == before
    await intake.close()


async def test_intake__a_failing_database_refuses_all_of_a_batch_and_no_later_one(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = Inbox(engine)
    intake = Intake(inbox, lambda: None)
    with monkeypatch.context() as patch:

        def fail(_arrivals: Any) -> list[bool]:
            raise OperationalError("INSERT", {}, Exception("disk full"))

        patch.setattr(inbox, "keep", fail)
        told = await asyncio.gather(*(intake.keep([arrival(f"w-{n}")]) for n in range(5)), return_exceptions=True)
        assert {type(one) for one in told} == {NotStored}
    assert await intake.keep([arrival("w-0")]) == [True]
    await intake.close()


async def test_intake__commits_what_waits_before_it_ends(engine: Engine) -> None:
    intake = Intake(Inbox(engine), lambda: None)
    tasks = [asyncio.create_task(intake.keep([arrival(f"w-{n}")])) for n in range(10)]
    await asyncio.sleep(0)
    await intake.close()
    assert await asyncio.gather(*tasks) == [[True]] * 10
