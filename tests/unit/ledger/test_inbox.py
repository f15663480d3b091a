"""The inbox on both databases: what is kept, given out, tried again and given up."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from dealsync.core.evidence import Sender
from dealsync.core.inbox import LARGEST_BATCH, RETRY_DELAYS, Failure, InboxState, batch_size
from dealsync.core.models import OrderStatus
from dealsync.errors import UnknownEvent
from dealsync.ledger.inbox import Arrival, Chosen, Handled, Inbox
from dealsync.ledger.mirror import Mirror
from tests.builders import NOW, STORE, order
from tests.unit.core.test_inbox import event

DONE, WAITING, PARKED = InboxState.DONE, InboxState.WAITING, InboxState.PARKED


def arrival(event_id: str = "w-1", seconds: float = 0, body: bytes = b"{}", **changes: Any) -> Arrival:
    return Arrival(event(event_id=event_id, **changes), body, NOW + timedelta(seconds=seconds))


def due_ids(inbox: Inbox, seconds: float = 10**6) -> list[str]:
    return [item.event.event_id for item in inbox.due(NOW + timedelta(seconds=seconds))]


def test_inbox__gives_back_what_it_was_given(engine: Engine) -> None:
    inbox = Inbox(engine)
    told = arrival(body=b'{"a":1}', custom={"kommo_lead_id": "31"}, object_updated_at=NOW, sender=Sender.LEMON_SQUEEZY)
    assert inbox.keep([told]) == [True]
    (item,) = inbox.due(NOW)
    assert (item.event, item.received_at, item.state, item.attempts, item.has_body) == (
        told.event,
        NOW,
        WAITING,
        0,
        True,
    )
    assert inbox.body("w-1") == b'{"a":1}'


def test_inbox__keeps_an_event_once_however_often_and_together_with_what_it_comes(engine: Engine) -> None:
    inbox = Inbox(engine)
    assert inbox.keep([arrival("a"), arrival("b"), arrival("a")]) == [True, True, False]
    assert inbox.keep([arrival("b"), arrival("c")]) == [False, True]
    assert due_ids(inbox) == ["a", "b", "c"]
    assert inbox.keep([]) == []


def test_inbox__many_receivers_at_once_keep_each_event_once(engine: Engine) -> None:
    inbox, told = Inbox(engine), list[bool]()

    def receive() -> None:
        for number in range(20):
            told.extend(inbox.keep([arrival(f"w-{number}")]))

    threads = [threading.Thread(target=receive) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(told), sum(told), len(due_ids(inbox))) == (80, 20, 20)


def test_inbox__gives_out_the_oldest_first_in_batches(engine: Engine) -> None:
    inbox = Inbox(engine)
    inbox.keep([arrival(f"w-{n:03}", seconds=-n) for n in range(LARGEST_BATCH + 5)])
    first = due_ids(inbox)
    assert first[:2] == [f"w-{LARGEST_BATCH + 4}", f"w-{LARGEST_BATCH + 3}"]
    inbox.close((Handled(i, "done") for i in first), NOW)
    assert due_ids(inbox) == [f"w-{n:03}" for n in (4, 3, 2, 1, 0)]


def test_inbox__gives_out_payments_before_what_kommo_tells(engine: Engine) -> None:
    inbox = Inbox(engine)
    inbox.keep([arrival("echo", sender=Sender.KOMMO), arrival("payment", 1), arrival("older", 0.5)])
    assert due_ids(inbox) == ["older", "payment", "echo"]


def test_inbox__failures_wait_longer_each_time_and_do_not_hold_up_others(engine: Engine) -> None:
    inbox = Inbox(engine)
    inbox.keep([arrival("bad"), arrival("good", 1)])
    assert inbox.close([Handled("bad", failure=Failure("no"))], NOW) == []
    assert due_ids(inbox, 1) == ["good"]
    assert due_ids(inbox, 2) == ["good"]  # never mixed with what failed before
    inbox.close([Handled("good", "2 changes", 2)], NOW)
    assert due_ids(inbox, 1) == []
    assert due_ids(inbox, 2) == ["bad"]
    assert inbox.next_due_at() == NOW + RETRY_DELAYS[0]


def test_inbox__parks_what_fails_too_often_and_replays_it(engine: Engine) -> None:
    inbox, parked = Inbox(engine), list[str]()
    inbox.keep([arrival("bad")])
    for _ in range(len(RETRY_DELAYS) + 1):
        assert parked == []
        parked = inbox.close([Handled("bad", failure=Failure("order:17: gone"))], NOW)
    assert parked == ["bad"]
    (item,) = inbox.listed(Chosen(states=(PARKED,)))
    assert (item.error, due_ids(inbox)) == ("order:17: gone", [])
    assert inbox.replay(Chosen(states=(PARKED,)), NOW) == ["bad"]
    assert inbox.replay(Chosen(states=(PARKED,)), NOW) == []
    (again,) = inbox.due(NOW)
    assert (again.attempts, again.error) == (0, None)


def test_inbox__after_failures_hands_out_smaller_batches(engine: Engine) -> None:
    inbox = Inbox(engine)
    inbox.keep([arrival(f"w-{n:03}") for n in range(100)])
    inbox.close((Handled(f"w-{n:03}", failure=Failure("boom", is_its_own=False)) for n in range(100)), NOW)
    assert len(due_ids(inbox)) == batch_size(1)


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        (Chosen(), ["c", "b", "a"]),
        (Chosen(event_ids=("a", "c")), ["c", "a"]),
        (Chosen(event_name="order_refunded"), ["b"]),
        (Chosen(object_id="18"), ["c"]),
        (Chosen(object_id="9"), ["b"]),
        (Chosen(since=NOW + timedelta(seconds=1)), ["c", "b"]),
        (Chosen(states=(DONE,)), []),
    ],
)
def test_inbox__lists_what_fits_the_latest_first(engine: Engine, chosen: Chosen, found: list[str]) -> None:
    inbox = Inbox(engine)
    second = arrival("b", 1, event_name="order_refunded", subscription_id="9")
    inbox.keep([arrival("a"), second, arrival("c", 2, object_id="18")])
    assert [item.event.event_id for item in inbox.listed(chosen)] == found
    assert [item.event.event_id for item in inbox.listed(chosen, limit=1)] == found[:1]


def test_inbox__finds_an_event_by_the_beginning_of_its_id(engine: Engine) -> None:
    inbox = Inbox(engine)
    inbox.keep([arrival("abc_1"), arrival("abd"), arrival("ab")])
    assert inbox.find("abc").event.event_id == "abc_1"
    assert inbox.find("ab").event.event_id == "ab"
    for beginning in ("a", "%", "ab_", "x"):
        with pytest.raises(UnknownEvent, match="dealsync inbox list"):
            inbox.find(beginning)


def test_inbox__tells_how_much_waits_and_since_when(engine: Engine) -> None:
    inbox = Inbox(engine)
    assert (inbox.depth().waiting, inbox.depth().oldest_at, inbox.next_due_at()) == (0, None, None)
    inbox.keep([arrival("a", 5), arrival("b", 3)])
    depth = inbox.depth()
    assert (depth.waiting, depth.parked, depth.oldest_at) == (2, 0, NOW + timedelta(seconds=3))
    inbox.dismiss("b", "ann", NOW)
    assert (inbox.depth().waiting, inbox.find("b").result) == (1, "dismissed by ann")


def test_inbox__empties_old_bodies_of_events_that_are_done(engine: Engine) -> None:
    inbox = Inbox(engine)
    inbox.keep([arrival("old"), arrival("waiting"), arrival("young", 100)])
    inbox.close([Handled("old", "x"), Handled("young", "x")], NOW)
    assert inbox.erase_bodies(NOW + timedelta(seconds=50)) == 1
    assert [inbox.body(i) for i in ("old", "waiting", "young")] == [b"", b"{}", b"{}"]
    assert inbox.find("old").has_body is False
    assert inbox.erase_bodies(NOW + timedelta(seconds=50)) == 0


def test_inbox__knows_the_last_of_each_sender(engine: Engine) -> None:
    inbox = Inbox(engine)
    assert inbox.last_from(Sender.LEMON_SQUEEZY) is None
    inbox.keep([arrival("w-1", 0), arrival("w-2", 5), arrival("k-1", 9, sender=Sender.KOMMO)])
    found = inbox.last_from(Sender.LEMON_SQUEEZY)
    assert found is not None
    assert (found.event.event_id, found.received_at) == ("w-2", NOW + timedelta(seconds=5))


def test_inbox__knows_which_payments_no_webhook_told_of(engine: Engine) -> None:
    inbox, hour = Inbox(engine), timedelta(hours=1)
    given = [
        order(1, created_at=NOW - 9 * hour),
        order(2, created_at=NOW - 2 * hour),
        order(3, created_at=NOW - hour),
        order(4, created_at=NOW),
        order(5, created_at=NOW, status=OrderStatus.PENDING),
        order(6, created_at=NOW, store_id="another"),
        order(7, created_at=NOW, test_mode=True),
    ]
    Mirror(engine).keep_orders(given)
    inbox.keep([arrival("w-2", order_id="2")])
    found = inbox.untold_orders([STORE], test_mode=False, since=NOW - 3 * hour)
    assert found == [NOW - hour, NOW]
