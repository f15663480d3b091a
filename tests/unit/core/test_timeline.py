"""The timeline as a pure function of what is on record."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dealsync.core.records import (
    ActionRecord,
    CheckoutRecord,
    ClaimRecord,
    FindingRecord,
    MergeRecord,
    PlacingRecord,
    Records,
    ReviewRecord,
    SightingRecord,
    StepRecord,
    WebhookRecord,
)
from dealsync.core.sightings import How
from dealsync.core.states import CAME_BACK, State, Step
from dealsync.core.timeline import By, Happening, Moment, make_timeline
from tests.builders import NEW, NOW, WON


def at(minute: int) -> Any:
    return NOW + timedelta(minutes=minute)


def webhook(**changes: Any) -> WebhookRecord:
    ordinary = WebhookRecord(
        "w-1", "lemon_squeezy", "order_created", "order:17", at(0), "done", "3 changes", None, 0, at(4), "31"
    )
    return replace(ordinary, **changes)


def seen(about: str = "lead:31", **changes: Any) -> SightingRecord:
    ordinary = SightingRecord(about, at(1), "run-1", How.POLL, False, False, None, {"status_id": [NEW, WON]})
    return replace(ordinary, **changes)


def action(*steps: StepRecord, kind: str = "close") -> ActionRecord:
    return ActionRecord("order:17:won", kind, "order:17", "17", 31, "the webhook names it", steps, {"status_id": "142"})


def step(name: str, minute: int, **changes: Any) -> StepRecord:
    return StepRecord(name, at(minute), **({"run_id": "run-1"} | changes))


def told(**records: Any) -> list[Moment]:
    return list(make_timeline(Records(**records)))


def one(**records: Any) -> Moment:
    (moment,) = told(**records)
    return moment


def test_timeline__goes_from_the_webhook_to_the_answer_in_its_order() -> None:
    moments = told(
        actions=(
            action(
                step(Step.CLAIM, 3, words="order paid and the deal is open"),
                step(Step.SEND, 4, attempt=1, was=State.PLANNED),
                step(Step.CONFIRM, 5, attempt=1, was=State.SENT, result_id=31, lead_id=31),
            ),
        ),
        placings=(PlacingRecord("17", 31, "explicit", "the webhook names it", at(2)),),
        sightings=(seen("order:17", is_first=True, changes={"order_status": [None, "paid"]}),),
        webhooks=(webhook(done_at=at(6)),),
        jobs={"run-1": "drain"},
    )
    assert [moment.what.value for moment in moments] == [
        "webhook", "first-seen", "placed", "planned", "sent", "applied", "handled",
    ]  # fmt: skip
    assert moments[0].words == "Lemon Squeezy told of order_created (order:17); it names deal 31"
    assert moments[3].words == "planned to close the deal as won: order paid and the deal is open"
    assert moments[3].details["evidence"] == "the webhook names it"
    assert (moments[4].run_id, moments[4].job, moments[4].key) == ("run-1", "drain", "order:17:won")


@pytest.mark.parametrize(
    ("taken", "what", "words"),
    [
        (StepRecord(Step.REJECT, NOW, State.SENT, words="HTTP 400"), Happening.FAILED, "not done (close"),
        (StepRecord(Step.LOSE, NOW, State.SENT, words="no answer"), Happening.UNKNOWN, "the answer was lost"),
        (StepRecord(Step.CONFIRM, NOW, State.UNKNOWN, by_reading=True), Happening.FOUND, "it had happened"),
        (StepRecord(Step.REJECT, NOW, State.SENT, by_reading=True, words="it did not"), Happening.ABSENT, "it did not"),
        (StepRecord(Step.CONFIRM, NOW, State.PLANNED), Happening.APPLIED, "nothing was left to do"),
        (StepRecord(Step.CONFIRM, NOW, State.SENT, lead_id=31, result_id=4), Happening.APPLIED, "number 4"),
        (StepRecord(Step.SEND, NOW, State.PLANNED, attempt=3), Happening.SENT, "attempt 3"),
        (StepRecord(Step.DISMISS, NOW, State.FAILED), Happening.DISMISSED, "given up"),
        (StepRecord(Step.RETRY, NOW, State.FAILED), Happening.RETRIED, "a person wants it after all"),
        (StepRecord(CAME_BACK, NOW, State.APPLIED, words="no such mailbox"), Happening.CAME_BACK, "no such mailbox"),
    ],
)  # fmt: skip
def test_timeline__tells_every_step_of_an_action(taken: StepRecord, what: Happening, words: str) -> None:
    moment = one(actions=(action(taken),))
    assert (moment.what, words in moment.words) == (what, True), moment.words


@pytest.mark.parametrize("name", [*Step, CAME_BACK])
@pytest.mark.parametrize("by_reading", [True, False])
def test_timeline__has_words_for_each_step_that_there_is(name: str, by_reading: bool) -> None:
    assert one(actions=(action(StepRecord(name, NOW, State.SENT, by_reading=by_reading)),)).words


def test_edit__names_its_user_where_a_webhook_of_that_moment_told() -> None:
    hook = webhook(
        sender="kommo", event_name="leads.status", about="lead:31", done_at=None, lead_text=None,
        object_updated_at=at(0), told={"modified_user_id": "502", "status_id": "142"},
    )  # fmt: skip
    edit = seen(changed_at=at(0))
    moments = told(webhooks=(hook,), sightings=(edit,), statuses={NEW: "New"})
    assert moments[-1].words == (
        "changed in Kommo by user 502 at 2026-06-01 12:00 UTC: status New -> won (seen by a poll)"
    )
    assert (moments[-1].by, moments[-1].who) == (By.PERSON, "user 502")
    later = told(webhooks=(hook,), sightings=(replace(edit, changed_at=at(1)),))
    assert (later[-1].who, "by a person" in later[-1].words) == ("", True)


def test_edit__names_neither_who_made_the_deal_in_that_second_nor_one_of_several() -> None:
    hook = webhook(
        sender="kommo", event_name="leads.add", about="lead:31", done_at=None, lead_text=None,
        object_updated_at=at(0), told={"modified_user_id": "501"},
    )  # fmt: skip
    edit = seen(changed_at=at(0))
    assert told(webhooks=(hook,), sightings=(edit,))[-1].who == ""
    moves = [replace(hook, event_name="leads.update", told={"modified_user_id": user}) for user in ("502", "503")]
    assert told(webhooks=(hook, moves[0]), sightings=(edit,))[-1].who == "user 502"
    assert told(webhooks=(hook, *moves), sightings=(edit,))[-1].who == ""


@pytest.mark.parametrize(("user_id", "who"), [(503, "user 503"), (0, "a robot")])
def test_edit__names_whom_kommos_events_told(user_id: int, who: str) -> None:
    events = seen(at=at(2), how=How.EVENTS, changed_at=at(0), changes={"entered_by": [None, user_id]})
    edit, moved = told(sightings=(events, seen(changed_at=at(0))))
    assert (edit.what, edit.who) == (Happening.EDITED, who)
    assert (moved.what, moved.who) == (Happening.MOVED_BY, who)


def test_deal__changed_by_dealsync_is_its_own_doing() -> None:
    moment = one(sightings=(seen(is_own=True, how=How.WRITE),))
    assert (moment.what, moment.by) == (Happening.WRITTEN, By.DEALSYNC)
    assert moment.words == f"dealsync changed the deal: status {NEW} -> won"


def test_order__amounts_are_told_in_its_currency() -> None:
    first = seen("order:17", is_first=True, changes={"currency": [None, "USD"], "total_minor": [None, 49000]})
    refund = seen("order:17", at=at(2), changes={"refunded_minor": [0, 2500], "order_status": ["paid", "refunded"]})
    moments = told(sightings=(refund, first))
    assert [m.words for m in moments] == [
        "order:17 first seen: total 490.00 USD (seen by a poll)",
        "order:17 has changed: refunded 0.00 USD -> 25.00 USD, status paid -> refunded (seen by a poll)",
    ]


def test_review__says_who_was_asked_and_who_decided() -> None:
    review = ReviewRecord("17", (31, 32), "two deals", "resolved", at(0), at(0), "lead:32", "Eve", at(1))
    asked, decided = told(reviews=(review,))
    assert asked.words == "a person must place order:17 (possible deals: 31, 32): two deals"
    assert (decided.words, decided.who, decided.by) == ("a person decided order:17: deal 32", "Eve", By.PERSON)
    settled = told(reviews=(replace(review, state="settled", decision=None, decided_at=None, last_seen_at=at(3)),))
    assert [m.what for m in settled] == [Happening.REVIEW, Happening.SETTLED]


def test_finding__is_told_where_it_begins_and_where_it_ends() -> None:
    refusal = FindingRecord("refusal", "closed_lost_stays", "order:17", 31, "the deal is marked lost", at(0), at(2))
    drift = FindingRecord("stuck", "", "lead:31", 31, "", at(1), None)
    moments = told(findings=(refusal, drift), drifts={"stuck": "stuck in the invoice stage"})
    assert [m.words for m in moments] == [
        "left alone: the deal is marked lost (closed_lost_stays)",
        "out of step: stuck in the invoice stage",
        "no longer left alone (closed_lost_stays)",
    ]


def test_evidence__claims_checkouts_and_merges_are_told() -> None:
    moments = told(
        claims=(ClaimRecord("17", 31, at(1)),),
        checkouts=(CheckoutRecord("c-1", "31", at(0), is_ours=True),),
        merges=(MergeRecord(30, 31, at(2)), MergeRecord(29, None, at(3))),
    )
    assert [m.what.value for m in moments] == ["checkout", "claim", "merged", "merged"]
    assert "merged into deal 31" in moments[2].words
    assert "not known" in moments[3].words


def test_webhook__that_failed_says_why_and_whether_it_is_tried_again() -> None:
    failing = webhook(done_at=None, state="waiting", error="HTTP 500", attempts=1)
    assert told(webhooks=(failing,))[1].words == "order_created (order:17) to be tried again: HTTP 500"
    assert "given up" in told(webhooks=(replace(failing, state="parked"),))[1].words


def test_webhook__that_a_person_left_alone_names_him_apart_from_the_words() -> None:
    handled = told(webhooks=(webhook(result="dismissed by eve"),))[1]
    assert (handled.words, handled.by) == ("order_created (order:17) handled: dismissed by a person", By.PERSON)
    assert handled.who == "eve"


@given(st.permutations(range(6)))
def test_timeline__does_not_depend_on_the_order_of_the_records(places: list[int]) -> None:
    sightings = [seen(at=at(n // 2), about=f"lead:{n}") for n in range(6)]
    shuffled = tuple(sightings[place] for place in places)
    moments = make_timeline(Records(sightings=shuffled))
    assert moments == make_timeline(Records(sightings=tuple(sightings)))
    assert [m.at for m in moments] == sorted(m.at for m in moments)
    assert len(moments) == 6


def test_records__without_anything_are_empty() -> None:
    assert not Records(jobs={"run": "drain"})
    assert Records(merges=(MergeRecord(30, 31, NOW),))
