"""Why a deal is as it is: all that is on record about it as one list of moments, oldest first, in plain words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from dealsync.core.evidence import Sender
from dealsync.core.inbox import DISMISSED_BY, InboxState
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
from dealsync.core.sightings import ENTERED_BY, How
from dealsync.core.states import CAME_BACK, State, Step
from dealsync.core.told import ACTION_WORDS, DECISION_WORDS, HOW_WORDS, Values

MADE = "leads.add"
"""The webhook that tells of a new deal."""


class Happening(StrEnum):
    """What a moment tells. The values are part of the interface; their order decides between equal times."""

    CHECKOUT = "checkout"
    WEBHOOK = "webhook"
    CLAIM = "claim"
    FIRST_SEEN = "first-seen"
    CHANGED = "changed"  # at Lemon Squeezy
    EDITED = "edited"  # by a person in Kommo, or by anything else that is not dealsync
    MOVED_BY = "moved-by"  # who moved the deal, by Kommo's events
    MERGED = "merged"
    DRIFT = "drift"
    LEFT_ALONE = "left-alone"  # a conflict rule refused a change
    PLACED = "placed"
    REVIEW = "review"
    DECIDED = "decided"
    SETTLED = "settled"  # a review, by itself
    PLANNED = "planned"
    SENT = "sent"
    WRITTEN = "written"  # what dealsync's own write changed
    APPLIED = "applied"
    FAILED = "failed"
    UNKNOWN = "unknown"  # the answer was lost
    FOUND = "found"  # looked up: it had happened
    ABSENT = "absent"  # looked up: it had not
    CAME_BACK = "came-back"
    DISMISSED = "dismissed"
    RETRIED = "retried"
    HANDLED = "handled"  # a webhook, to its end
    DRIFT_OVER = "drift-over"
    LEFT_ALONE_OVER = "left-alone-over"


class By(StrEnum):
    """Who made it happen."""

    DEALSYNC = "dealsync"
    LEMON_SQUEEZY = "lemon_squeezy"
    KOMMO = "kommo"
    PERSON = "person"
    BUYER = "buyer"


PLACES = {happening: place for place, happening in enumerate(Happening)}
REFUSAL = "refusal"
ROBOT = 0


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened. `details` has the same as plain values, by stable names."""

    at: datetime
    what: Happening
    about: str  # "order:17"
    by: By
    words: str
    lead_id: int | None = None
    who: str = ""  # "user 502", or the name that somebody gave who decided a review
    run_id: str = ""
    job: str = ""
    key: str = ""  # of the action
    details: Mapping[str, Any] = field(default_factory=dict)


def make_timeline(records: Records) -> tuple[Moment, ...]:
    """Return every moment, oldest first. Equal records, equal timelines."""
    values, movers = Values.of(records), _Movers(records)
    tellers: list[tuple[Iterable[Any], Callable[[Any], Iterator[Moment]]]] = [
        (records.webhooks, _webhook),
        (records.sightings, lambda one: _sighting(one, values, movers)),
        (records.claims, _claim),
        (records.checkouts, _checkout),
        (records.placings, _placing),
        (records.reviews, _review),
        (records.actions, _action),
        (records.findings, lambda one: _finding(one, records.drifts)),
        (records.merges, _merge),
    ]
    moments = [moment for rows, tell in tellers for row in rows for moment in tell(row)]
    named = (_with_job(moment, records.jobs) for moment in moments)
    return tuple(sorted(named, key=lambda m: (m.at, PLACES[m.what], m.about, m.key)))


class _Movers:
    """Who changed a deal at a moment of its own time, as far as Kommo told: in webhooks, or in its events.

    Times have whole seconds: who made a deal need not have changed it in the same one, and of several nobody is named.
    """

    def __init__(self, records: Records) -> None:
        self._users: defaultdict[tuple[str, datetime], set[str]] = defaultdict(set)
        for hook in records.webhooks:
            is_change = hook.sender == Sender.KOMMO and hook.event_name != MADE
            if is_change and hook.object_updated_at and (user := hook.told.get("modified_user_id")):
                self._users[hook.about, hook.object_updated_at].add(user)
        for seen in records.sightings:
            if seen.changed_at and ENTERED_BY in seen.changes:
                self._users[seen.about, seen.changed_at].add(str(seen.changes[ENTERED_BY][1]))

    def of(self, seen: SightingRecord) -> str:
        """Return who it was, in words; empty if nobody told, or if it may have been several."""
        users = self._users.get((seen.about, seen.changed_at), set()) if seen.changed_at else set()
        return _user(next(iter(users))) if len(users) == 1 else ""


def _user(user_id: object) -> str:
    return "a robot" if str(user_id) == str(ROBOT) else f"user {user_id}"


def _with_job(moment: Moment, jobs: Mapping[str, str]) -> Moment:
    return replace(moment, job=jobs.get(moment.run_id, ""))


def _webhook(hook: WebhookRecord) -> Iterator[Moment]:
    is_kommo = hook.sender == Sender.KOMMO
    by, name = (By.KOMMO, "Kommo") if is_kommo else (By.LEMON_SQUEEZY, "Lemon Squeezy")
    says = f"; it names deal {hook.lead_text}" if hook.lead_text else ""
    details: dict[str, Any] = {"event": hook.event_name, "event_id": hook.event_id, "state": hook.state}
    details |= {"named_lead": hook.lead_text} if hook.lead_text else {}
    details |= {"told": dict(hook.told)} if is_kommo and hook.told else {}
    who = _user(user) if (user := hook.told.get("modified_user_id", "")) else ""
    words = f"{name} told of {hook.event_name} ({hook.about or 'nothing known'}){says}"
    yield Moment(hook.received_at, Happening.WEBHOOK, hook.about, by, words, who=who, details=details)
    tries = f", after {hook.attempts} attempts that failed" if hook.attempts else ""
    if hook.done_at is not None:
        # Who left it alone is told apart: a name belongs in no artifact.
        is_dismissed = hook.result.startswith(DISMISSED_BY)
        result = f"{DISMISSED_BY}a person" if is_dismissed else hook.result
        who = hook.result.removeprefix(DISMISSED_BY) if is_dismissed else ""
        by = By.PERSON if is_dismissed else By.DEALSYNC
        words = f"{hook.event_name} ({hook.about}) handled: {result}{tries}"
        details = {"event_id": hook.event_id}
        yield Moment(hook.done_at, Happening.HANDLED, hook.about, by, words, who=who, details=details)
    elif hook.error:
        stands = "given up" if hook.state == InboxState.PARKED else "to be tried again"
        words = f"{hook.event_name} ({hook.about}) {stands}: {hook.error}"
        yield Moment(hook.received_at, Happening.HANDLED, hook.about, By.DEALSYNC, words,
                     details={"event_id": hook.event_id, "error": hook.error})  # fmt: skip


def _sighting(seen: SightingRecord, values: Values, movers: _Movers) -> Iterator[Moment]:
    is_deal = seen.about.startswith("lead:")
    lead_id = int(seen.about.removeprefix("lead:")) if is_deal else None
    details = {"how": seen.how.value, "changes": dict(seen.changes), "own": seen.is_own}
    told, how, who = values.changes(seen), HOW_WORDS[seen.how], ""
    if seen.how is How.EVENTS:
        what, by, who = Happening.MOVED_BY, By.KOMMO, _user(seen.changes[ENTERED_BY][1])
        words = f"Kommo's events: {who} moved the deal to where it is, at {values.time(seen.changed_at)}"
    elif seen.is_own:
        what, by = Happening.WRITTEN, By.DEALSYNC
        words = f"dealsync {'made' if seen.is_first else 'changed'} the deal: {told}{how}"
    elif seen.is_first:
        what, by = Happening.FIRST_SEEN, By.KOMMO if is_deal else By.LEMON_SQUEEZY
        words = f"{seen.about} first seen: {told}{how}"
    elif is_deal:
        what, by, who = Happening.EDITED, By.PERSON, movers.of(seen)
        words = f"changed in Kommo by {who or 'a person'}{_when(seen, values)}: {told}{how}"
    else:
        what, by, words = Happening.CHANGED, By.LEMON_SQUEEZY, f"{seen.about} has changed: {told}{how}"
    changed_at = {"changed_at": seen.changed_at.isoformat()} if seen.changed_at else {}
    yield Moment(seen.at, what, seen.about, by, words, lead_id, who, seen.run_id, details=details | changed_at)


def _when(seen: SightingRecord, values: Values) -> str:
    return f" at {values.time(seen.changed_at)}" if seen.changed_at else ""


def _claim(claim: ClaimRecord) -> Iterator[Moment]:
    words = f"the buyer of order:{claim.order_id} came back through the claim link of deal {claim.lead_id}"
    yield Moment(claim.claimed_at, Happening.CLAIM, f"order:{claim.order_id}", By.BUYER, words, claim.lead_id)


def _checkout(checkout: CheckoutRecord) -> Iterator[Moment]:
    by, whose = (By.DEALSYNC, "dealsync") if checkout.is_ours else (By.PERSON, "somebody else")
    words = f"a checkout of {whose} for deal {checkout.lead_text}"
    details = {"checkout": checkout.checkout_id}
    yield Moment(checkout.created_at, Happening.CHECKOUT, f"lead:{checkout.lead_text}", by, words, details=details)


def _placing(placing: PlacingRecord) -> Iterator[Moment]:
    about, by = f"order:{placing.order_id}", By.PERSON if placing.tier == "person" else By.DEALSYNC
    words = f"{about} belongs to deal {placing.lead_id} (tier {placing.tier}): {placing.evidence}"
    details = {"tier": placing.tier, "evidence": placing.evidence}
    yield Moment(placing.at, Happening.PLACED, about, by, words, placing.lead_id, details=details)


def _review(review: ReviewRecord) -> Iterator[Moment]:
    about = f"order:{review.order_id}"
    deals = ", ".join(map(str, review.candidates)) or "none"
    words = f"a person must place {about} (possible deals: {deals}): {review.reason}"
    details = {"candidates": list(review.candidates), "reason": review.reason}
    yield Moment(review.first_seen_at, Happening.REVIEW, about, By.DEALSYNC, words, details=details)
    if review.decision is not None and review.decided_at is not None:
        lead = review.decision.removeprefix("lead:")
        words = f"a person decided {about}: {DECISION_WORDS.get(review.decision, f'deal {lead}')}"
        yield Moment(review.decided_at, Happening.DECIDED, about, By.PERSON, words,
                     who=review.decided_by or "", details={"decision": review.decision})  # fmt: skip
    elif review.state == "settled":
        yield Moment(
            review.last_seen_at, Happening.SETTLED, about, By.DEALSYNC, f"the question about {about} settled itself"
        )


def _action(action: ActionRecord) -> Iterator[Moment]:
    for step in action.steps:
        what, by, words = _step(action, step)
        details: dict[str, Any] = {"action": action.kind}
        if what is Happening.PLANNED:
            details |= {"reason": step.words or "", "evidence": action.evidence, "writes": dict(action.writes)}
        else:
            details |= {"attempt": step.attempt} if step.attempt else {}
            details |= {"error": step.words} if step.words else {}
            details |= {"made": step.result_id} if step.result_id else {}
        lead_id = step.lead_id or action.lead_id
        yield Moment(step.at, what, action.source, by, words, lead_id, "", step.run_id or "", "", action.key, details)


def _step(action: ActionRecord, step: StepRecord) -> tuple[Happening, By, str]:
    does, told = ACTION_WORDS.get(action.kind, action.kind), f": {step.words}" if step.words else ""
    if step.step == Step.CONFIRM:
        return _confirmed(step, does, told)
    if step.step == Step.REJECT and step.by_reading:
        return Happening.ABSENT, By.DEALSYNC, f"looked up what became of it ({does}){told}"
    again = f", attempt {step.attempt}" if step.attempt > 1 else ""
    return {
        Step.CLAIM: (Happening.PLANNED, By.DEALSYNC, f"planned to {does}{told}"),
        Step.SEND: (Happening.SENT, By.DEALSYNC, f"sent the request to {does}{again}"),
        Step.REJECT: (Happening.FAILED, By.DEALSYNC, f"not done ({does}){told}"),
        Step.LOSE: (Happening.UNKNOWN, By.DEALSYNC, f"the answer was lost ({does}){told}"),
        Step.DISMISS: (Happening.DISMISSED, By.PERSON, f"given up ({does}){told}"),
        Step.RETRY: (Happening.RETRIED, By.PERSON, f"a person wants it after all ({does})"),
        CAME_BACK: (Happening.CAME_BACK, By.DEALSYNC, f"it came back ({does}){told}"),
    }[step.step]


def _confirmed(step: StepRecord, does: str, told: str) -> tuple[Happening, By, str]:
    if step.was is State.PLANNED:
        return Happening.APPLIED, By.DEALSYNC, f"nothing was left to do ({does}){told}"
    if step.by_reading:
        return Happening.FOUND, By.DEALSYNC, f"looked up what became of it ({does}): it had happened{told}"
    made = f", number {step.result_id}" if step.result_id and step.result_id != step.lead_id else ""
    return Happening.APPLIED, By.DEALSYNC, f"done: {does}{made}{told}"


def _finding(finding: FindingRecord, drifts: Mapping[str, str]) -> Iterator[Moment]:
    details = {"rule": finding.rule, "reason": finding.reason} if finding.rule else {"drift": finding.kind}
    if finding.kind == REFUSAL:
        begins, ends = Happening.LEFT_ALONE, Happening.LEFT_ALONE_OVER
        words = f"left alone: {finding.reason or 'no reason was kept'} ({finding.rule})"
        over = f"no longer left alone ({finding.rule})"
    else:
        begins, ends = Happening.DRIFT, Happening.DRIFT_OVER
        drift = drifts.get(finding.kind, finding.kind)
        words, over = f"out of step: {drift}", f"no longer out of step: {drift}"
    lead_id = finding.lead_id
    yield Moment(finding.first_seen_at, begins, finding.source, By.DEALSYNC, words, lead_id, details=details)
    if finding.ended_at is not None:
        yield Moment(finding.ended_at, ends, finding.source, By.DEALSYNC, over, lead_id, details=details)


def _merge(merge: MergeRecord) -> Iterator[Moment]:
    where = (
        f"merged into deal {merge.lead_id}" if merge.lead_id else "gone, and into which deal it was merged is not known"
    )
    yield Moment(merge.at, Happening.MERGED, f"lead:{merge.gone_id}", By.PERSON, f"deal {merge.gone_id} was {where}",
                 merge.lead_id, details={"into": merge.lead_id})  # fmt: skip
