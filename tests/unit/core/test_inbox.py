"""What events say to look at, when failed ones come again, and what reading costs."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dealsync.core.evidence import Event, Sender
from dealsync.core.inbox import (
    LARGEST_BATCH,
    RETRY_DELAYS,
    Failure,
    batch_size,
    is_echo,
    most_by_list,
    next_try,
    reason_to_pass,
    spoken_of,
)
from tests.builders import NOW, STORE

OWN, SHARED = Failure("not there"), Failure("no answer", is_its_own=False)


def event(object_type: str = "orders", object_id: str = "17", **changes: object) -> Event:
    values: dict[str, object] = {
        "event_id": "w-1",
        "event_name": "order_created",
        "object_type": object_type,
        "object_id": object_id,
        "order_id": None,
        "subscription_id": None,
        "store_id": STORE,
        "test_mode": False,
    }
    return Event(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given_event", "about"),
    [
        (event(), "order:17"),
        (event("subscriptions", "9"), "subscription:9"),
        (event("subscription-invoices", "44"), "invoice:44"),
        (event("license-keys", "5", order_id="17"), "order:17"),
        (event("leads", "31", sender=Sender.KOMMO), "lead:31"),
        (event("customers", "8"), "None"),
        (event("contacts", "81", sender=Sender.KOMMO), "None"),
        (event("leads", "31; DROP", sender=Sender.KOMMO), "None"),
        (event("orders", "../users/me"), "None"),
        (event("orders", ""), "None"),
    ],
)
def test_event__says_what_to_look_at(given_event: Event, about: str) -> None:
    assert str(spoken_of(given_event)) == about


@pytest.mark.parametrize(
    ("given_event", "why"),
    [
        (event(), ""),
        (event(store_id=None), ""),
        (event("leads", "31", sender=Sender.KOMMO, store_id=None), ""),
        (event(test_mode=True), "is of test mode, and DEALSYNC_MODE is the other one"),
        (event(store_id="9999"), "is of store 9999, which is not watched"),
        (event("customers", "8"), "speaks of no order, subscription, invoice or deal"),
    ],
)
def test_event__of_others_is_passed_over_with_its_reason(given_event: Event, why: str) -> None:
    assert reason_to_pass(given_event, test_mode=False, store_ids=frozenset({STORE})) == why


def test_failed_event__is_tried_later_and_later_and_then_parked() -> None:
    waits = [next_try(attempts, OWN, NOW) for attempts in range(len(RETRY_DELAYS))]
    assert waits == sorted(w for w in waits if w is not None)
    assert waits[0] == NOW + timedelta(seconds=2)
    assert next_try(len(RETRY_DELAYS), OWN, NOW) is None


def test_failed_event__is_never_parked_for_an_outage() -> None:
    assert next_try(1000, SHARED, NOW) == NOW + RETRY_DELAYS[-1]


def test_batch__that_failed_is_halved_until_a_bad_event_is_alone() -> None:
    sizes = [batch_size(attempts) for attempts in range(len(RETRY_DELAYS) + 1)]
    assert sizes[0] == LARGEST_BATCH
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-2:] == [1, 1]


@pytest.mark.parametrize(
    ("changes", "echo"),
    [
        ({"object_updated_at": NOW}, True),
        ({"object_updated_at": NOW - timedelta(seconds=1)}, True),
        ({"object_updated_at": NOW + timedelta(seconds=1)}, False),
        ({"object_updated_at": NOW, "custom": {"status_id": "142"}}, True),
        ({"object_updated_at": NOW, "custom": {"status_id": "143"}}, False),
        ({"object_updated_at": None}, False),
        ({"object_updated_at": NOW, "event_name": "leads.delete"}, False),
    ],
)
def test_echo__is_what_the_mirror_knows_already(changes: dict[str, object], *, echo: bool) -> None:
    told = event("leads", "31", **{"sender": Sender.KOMMO, "event_name": "leads.update", **changes})
    assert is_echo(told, NOW, 142) is echo
    assert is_echo(told, None, None) is False


@given(st.lists(st.integers(1, 30), max_size=40).map(sorted))
def test_reading__never_costs_more_than_the_dearer_way(pages: list[int]) -> None:
    count = most_by_list(pages)
    cost = (pages[count - 1] if count else 0) + len(pages) - count
    assert cost <= len(pages)
    assert cost <= (pages[-1] if pages else 0)


@pytest.mark.parametrize(
    ("pages", "count"),
    [([], 0), ([1], 0), ([1, 1], 2), ([1] * 250, 250), ([9, 9], 0), ([1, 1, 1, 40], 3), ([2, 2], 0)],
)
def test_reading__takes_a_burst_from_the_list_and_old_objects_one_by_one(pages: list[int], count: int) -> None:
    assert most_by_list(pages) == count
