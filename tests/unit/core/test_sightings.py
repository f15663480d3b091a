"""What is kept of what was seen: what changed, whose doing it was, and nothing personal."""

from __future__ import annotations

from typing import Any

import pytest

from dealsync.core.mapping import FIELD_KEYS
from dealsync.core.sightings import WATCHED, changed, first_sight
from tests.builders import NEW, NOW, WON

LEAD = WATCHED["deals"]
DEAL: dict[str, Any] = {
    "pipeline_id": 7001, "status_id": NEW, "price": 490, "responsible_user_id": 501, "is_deleted": False,
    **{f"ls_{key}": None for key in FIELD_KEYS}, "updated_at": NOW, "name": "Ann's deal",
}  # fmt: skip


def test_first_sight__has_what_was_there_and_no_name() -> None:
    seen = first_sight(LEAD, "lead:31", DEAL)
    assert seen.changes == {
        "pipeline_id": [None, 7001], "status_id": [None, NEW], "price": [None, 490], "responsible_user_id": [None, 501],
    }  # fmt: skip
    assert (seen.is_first, seen.is_own, seen.changed_at) == (True, False, NOW)


def test_first_sight__has_times_as_text() -> None:
    row = dict.fromkeys(WATCHED["orders"].columns) | {"order_status": "paid", "refunded_at": NOW, "updated_at": NOW}
    changes = first_sight(WATCHED["orders"], "order:17", row).changes
    assert changes == {"order_status": [None, "paid"], "refunded_at": [None, NOW.isoformat()]}


def test_changed__is_nothing_where_nothing_changed() -> None:
    assert changed(LEAD, "lead:31", DEAL, DEAL | {"name": "other", "updated_at": None}, {}) == []


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, [(False, {"status_id", "price"})]),
        ({"status_id": str(WON)}, [(True, {"status_id"}), (False, {"price"})]),
        ({"status_id": str(WON), "price": "77"}, [(True, {"status_id", "price"})]),
        ({"status_id": "70012", "price": "1"}, [(False, {"status_id", "price"})]),
    ],
)
def test_changed__tells_our_own_doing_from_a_persons(
    own: dict[str, str], expected: list[tuple[bool, set[str]]]
) -> None:
    found = changed(LEAD, "lead:31", DEAL, DEAL | {"status_id": WON, "price": 77}, own)
    assert [(one.is_own, set(one.changes)) for one in found] == expected


def test_changed__the_pipeline_goes_with_the_status() -> None:
    (one,) = changed(LEAD, "lead:31", DEAL, DEAL | {"status_id": WON, "pipeline_id": 7002}, {"status_id": str(WON)})
    assert (one.is_own, set(one.changes)) == (True, {"status_id", "pipeline_id"})


def test_changed__an_owner_that_kommo_gave_a_new_deal_is_nobodys_edit() -> None:
    assert changed(LEAD, "lead:31", DEAL | {"responsible_user_id": None}, DEAL, {}) == []


def test_changed__links_are_told_without_their_addresses() -> None:
    before, now = ({"ls_checkout_link": f"https://pay.example/{n}"} for n in (1, 2))
    (first,) = changed(LEAD, "lead:31", DEAL, DEAL | now, {"checkout_link": "https://pay.example/2"})
    (second,) = changed(LEAD, "lead:31", DEAL | before, DEAL | now, {})
    assert (first.is_own, first.changes) == (True, {"ls_checkout_link": [None, "a link"]})
    assert (second.is_own, second.changes) == (False, {"ls_checkout_link": ["a link", "another link"]})
