"""What a scheduled run says of events that nobody had woken a run for."""

from __future__ import annotations

from datetime import timedelta

from dealsync.core.inbox import InboxItem, InboxState
from dealsync.drained import Waiting
from tests.builders import NOW
from tests.unit.core.test_inbox import event


def item(minutes: float, attempts: int = 0) -> InboxItem:
    return InboxItem(
        event(), NOW - timedelta(minutes=minutes), InboxState.WAITING, attempts, NOW, None, "", None, has_body=True
    )


def test_backstop__says_what_nobody_had_woken_a_run_for() -> None:
    words = Waiting((item(4), item(2)), NOW).left_behind
    assert words.startswith("2 events had waited for up to 4 minutes, and nothing had woken a run for them")
    assert "dealsync serve" in words


def test_backstop__says_nothing_of_young_events_and_of_those_that_wait_for_another_attempt() -> None:
    assert Waiting((item(0.5), item(60, attempts=3)), NOW).left_behind == ""
    assert not Waiting((), NOW)
