"""A short run of the harness, and proofs that it finds what it is there to find. For many seeds: `make chaos`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from tests import postgres
from tests.accounts import WON
from tests.chaos.compare import canonical, differences, doubled
from tests.chaos.database import Sqlite
from tests.chaos.history import draw_history
from tests.chaos.schedule import WINDOW_S, EpochPlan, Launch, Schedule, Window, draw_schedule
from tests.chaos.trial import LONGEST_S
from tests.chaos.worker import HISTORIES, Worker, schedule_of

ON_POSTGRES = pytest.mark.skipif(not postgres.is_available(), reason=postgres.MISSING)
"""Its processes are started once, and its fault-free runs are made once."""


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with closing(Worker()) as made:
        yield made


@pytest.mark.parametrize(
    ("kind", "seed"),
    # Two seeds of one history, whose fault-free run is then made once.
    [("sqlite", 0), pytest.param("postgresql", HISTORIES, marks=ON_POSTGRES)],
)
def test_chaos__leaves_kommo_as_if_nothing_had_failed(worker: Worker, kind: str, seed: int) -> None:
    verdict = worker.judge(kind, seed)
    assert verdict.differences == []
    assert verdict.tally.killed > 0
    assert verdict.tally.faults.total() > 0


def test_chaos__finds_a_program_that_takes_lost_answers_for_failures(worker: Worker) -> None:
    """The answers to two requests that wrote notes are lost; whoever does not look writes the notes once more."""
    lost = {"api": "kommo", "method": "POST", "path": "/api/v4/leads/notes", "times": 2, "how": "apply_then_drop"}
    plans = []
    for acts in draw_history(0).epochs:
        told_late = tuple((0.0, act) for act in acts if not act.told_first)
        writing = Launch(WINDOW_S, ("reconcile", "--apply"))
        window = Window({}, (lost,), (writing,), told_late, patience_s=LONGEST_S)
        plans.append(EpochPlan((window,), drains_first=False))
    verdict = worker.play("sqlite", 0, Schedule(0, tuple(plans)), sabotage="never_look")
    assert any(words.startswith("epoch 1: text ref") for words in verdict.differences)


@pytest.mark.parametrize("seed", range(50))
def test_draws__are_equal_for_equal_seeds(seed: int) -> None:
    assert draw_history(seed) == draw_history(seed)
    assert schedule_of("sqlite", seed) == schedule_of("sqlite", seed)
    assert str(draw_schedule(seed, draw_history(seed).epochs, Sqlite.troubles))


# --- what a comparison shows ----------------------------------------------------------------------
KEYS = ("order:7:note:paid", "order:7:won", "order:8:note:paid")


def _lead(lead_id: int, name: str, status_id: int, order_id: str = "") -> dict[str, Any]:
    fields = [{"field_id": 1, "values": [{"value": order_id}]}] if order_id else None
    return {
        "id": lead_id,
        "name": name,
        "status_id": status_id,
        "pipeline_id": 7001,
        "price": 490,
        "responsible_user_id": 502,
        "custom_fields_values": fields,
        "_embedded": {"tags": [], "contacts": [{"id": 3}], "companies": []},
    }


@pytest.fixture
def state() -> dict[str, Any]:
    """A deal that is paid, and one that is not."""
    paid = "Paid: $490.00 for Team, Lemon Squeezy order #1. ref 6b08d1"
    email = [{"field_code": "EMAIL", "values": [{"value": "ann@example.com"}]}]
    custom = {"kommo_lead_id": "12", "dealsync_checkout": "abc"}
    checkout = {"variant_id": 1, "custom_price": None, "checkout_data": {"email": "", "custom": custom}}
    return {
        "kommo": {
            "custom_fields": {"leads": [{"id": 1, "name": "LS order id"}]},
            "leads": [_lead(11, "Deal paid", WON, "7"), _lead(12, "Deal open", 70011)],
            "contacts": [{"id": 3, "name": "Ann", "custom_fields_values": email}],
            "companies": [],
            "notes": {"leads": [{"entity_id": 11, "params": {"text": paid}}]},
            "tasks": [],
            "events": [],
        },
        "lemon_squeezy": {"checkouts": [{"attributes": checkout}]},
    }


def _double_the_note(kommo: dict[str, Any]) -> None:
    kommo["notes"]["leads"] *= 2


def _lose_the_note(kommo: dict[str, Any]) -> None:
    kommo["notes"]["leads"].clear()


def _win_the_other_deal(kommo: dict[str, Any]) -> None:
    kommo["leads"][1]["status_id"] = WON


def _make_the_deal_again(kommo: dict[str, Any]) -> None:
    kommo["leads"].append({**kommo["leads"][0], "id": 13})


def _make_the_contact_again(kommo: dict[str, Any]) -> None:
    kommo["contacts"].append({**kommo["contacts"][0], "id": 4})


@pytest.mark.parametrize(
    ("damage", "first", "is_double"),
    [
        (_double_the_note, "deal paid: too much: note Paid: $490.00", True),
        (_lose_the_note, "deal paid: missing : note Paid: $490.00", False),
        (_win_the_other_deal, "deal open: missing : status 70011 of pipeline 7001", False),
        (_make_the_deal_again, "deal paid (2): too much: companies ", True),
        (_make_the_contact_again, "contacts: too much: ann@example.com Ann", True),
    ],
)
def test_compare__shows_what_is_not_as_it_should_be(
    state: dict[str, Any], damage: Callable[[dict[str, Any]], None], first: str, is_double: bool
) -> None:
    damaged = copy.deepcopy(state)
    damage(damaged["kommo"])
    found = differences(canonical(damaged, KEYS), canonical(state, KEYS))
    assert str(found[0]).startswith(first)
    assert bool(doubled(damaged)) is is_double


def test_compare__equal_states_have_no_difference(state: dict[str, Any]) -> None:
    assert differences(canonical(copy.deepcopy(state), KEYS), canonical(state, KEYS)) == []
    assert doubled(state) == []


def test_compare__a_checkout_opened_twice_is_an_effect_twice(state: dict[str, Any]) -> None:
    state["lemon_squeezy"]["checkouts"] *= 2
    assert doubled(state) == ["checkout 12 abc is there 2 times"]
