"""Weeks of sales with everything that goes wrong, and afterwards: does `explain` tell all of it?"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from dealsync.explain import explain
from dealsync.settings import load_environment
from tests.accounts import simulated
from tests.chains import Timelines, gaps_in, misattributed
from tests.soak import Log, play

ROUNDS = 6
SEED = 1


@dataclass(frozen=True)
class Played:
    """What happened, how Kommo looks in the end, and what is told of each deal."""

    log: Log
    kommo: dict[str, Any]
    timelines: Timelines
    open_actions: int
    cpu_s: float

    def without(self, what: str) -> Timelines:
        """Return the timelines as they would be if one kind of moment was never written down."""
        return {i: [m for m in moments if m["what"] != what] for i, moments in self.timelines.items()}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    began_s = time.process_time()
    folder = tmp_path_factory.mktemp("soak")
    with pytest.MonkeyPatch.context() as patch, simulated(patch, folder) as accounts:
        accounts.init()
        soak = play(accounts, patch, seed=SEED, rounds=ROUNDS)
        kommo = accounts.kommo()
        lead_ids = {lead["id"] for lead in kommo["leads"]} | soak.log.deleted
        timelines = {lead_id: moments_of(f"lead:{lead_id}") for lead_id in sorted(lead_ids)}
        left = len(accounts.run(apply=False).plan.actions)
        yield Played(soak.log, kommo, timelines, left, time.process_time() - began_s)


def moments_of(about: str) -> Sequence[dict[str, Any]]:
    return list(explain(load_environment(), about).as_json()["moments"])


def test_soak__met_all_that_it_is_about(played: Played) -> None:
    told = Counter(m["what"] for moments in played.timelines.values() for m in moments)
    assert played.open_actions == 0
    assert len(played.log.killed_runs) >= 2
    assert len(played.log.edits) >= 20
    assert played.log.refunds
    assert played.log.decisions
    assert (
        min(told[what] for what in ("planned", "sent", "applied", "first-seen", "webhook", "placed", "written")) >= 20
    )
    assert min(told[what] for what in ("unknown", "found", "absent", "failed", "left-alone", "drift", "changed")) >= 1


def test_explain__tells_the_whole_chain_of_every_write_and_every_edit_of_a_person(played: Played) -> None:
    gaps = gaps_in(played.timelines, played.kommo, played.log)
    assert gaps == [], json.dumps({i: played.timelines[i] for i in played.timelines if f"lead:{i}: " in str(gaps)})


def test_explain__tells_nothing_as_a_persons_that_no_person_did(played: Played) -> None:
    assert misattributed(played.timelines, played.log) == []


@pytest.mark.parametrize(
    "what",
    [
        "webhook", "handled", "first-seen", "changed", "edited", "placed", "review", "decided", "planned", "sent",
        "written", "applied", "failed", "unknown", "found", "absent", "drift", "left-alone",
    ],
)  # fmt: skip
def test_soak__finds_out_when_one_kind_of_moment_is_not_told(played: Played, what: str) -> None:
    assert gaps_in(played.without(what), played.kommo, played.log) != []


def test_explain__names_nobodys_address(played: Played) -> None:
    assert "@" not in str(played.timelines)
