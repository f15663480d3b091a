"""What a run found and did: as JSON for programs, as Markdown and tables for people. No personal data in any."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from dealsync.addresses import deal_url, order_url
from dealsync.core.plan import Action, Drift, Outcome, Plan, Refusal
from dealsync.core.states import State
from dealsync.errors import RunFailed
from dealsync.ledger.runs import utc_now
from dealsync.run import Run

DRIFT_WORDS = {
    "paid_not_won": "paid, but the deal is not won",
    "paid_no_deal": "paid, but there is no deal",
    "refunded_still_won": "refunded, but the deal is still won",
    "won_never_paid": "won with an LS order that brought no money",
    "paid_twice": "a deal paid twice",
    "amount_differs": "price is not what was paid",
    "subscription_no_deal": "active subscription without a deal",
    "stuck": "stuck in the invoice stage",
}
KIND_WORDS = {
    "close": "deals closed as won",
    "attention": "deals moved to attention",
    "price": "prices set to what was paid",
    "fields": "deals with LS fields filled",
    "tag": "deals tagged",
    "untag": "tags taken off",
    "restore": "deals put back as they were",
    "checkout": "checkouts opened",
    "create-company": "companies created",
    "create-contact": "contacts created",
    "create-deal": "deals created",
    "note": "notes written",
    "change-note": "notes marked as taken back",
    "task": "tasks set",
    "email": "e-mails sent",
    "change-task": "tasks made urgent",
    "complete": "tasks ticked off",
    "reopen": "tasks opened again",
}
MARKDOWN_ROWS = 500
"""Rows that the Prefect UI is given; the JSON has them all."""


@dataclass(frozen=True, slots=True)
class Report:
    """One run: its plan and, if it applied, the outcome of each action by key."""

    run_id: str
    started_at: datetime
    finished_at: datetime
    requests: Mapping[str, int]
    plan: Plan
    applied: bool
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    kommo_url: str = ""
    first_seen: Mapping[str, datetime] = field(default_factory=dict)  # drifts and refusals of the plan, by key
    held: int = 0  # changes that are not part of the plan: they wait for a person's approval

    def state_of(self, action: Action) -> str:
        """Return where an action stands after the run."""
        outcome = self.outcomes.get(action.key)
        return (outcome.state if outcome else State.PLANNED).value

    @property
    def troubled(self) -> list[Action]:
        """The actions that were to be sent and are not known to be done."""
        done = State.APPLIED.value
        return [a for a in self.plan.actions if self.applied and self.state_of(a) != done]

    def counts(self) -> dict[str, int]:
        """Return how many actions of each kind were done (or, in a plan, are to be done)."""
        if not self.applied:
            return self.plan.counts()
        done = Counter(a.kind.value for a in self.plan.actions if self.state_of(a) == State.APPLIED)
        return {kind: done[kind] for kind in KIND_WORDS if done[kind]}

    def headline(self) -> str:
        """Return the run in one line."""
        parts = [f"{count} {KIND_WORDS[kind]}" for kind, count in self.counts().items()] or ["nothing to do"]
        if self.plan.reviews:
            parts.append(f"{len(self.plan.reviews)} waiting for a person")
        if self.held:
            parts.append(f"{self.held} waiting for approval")
        if self.troubled:
            parts.append(f"{len(self.troubled)} not done")
        return ("Done: " if self.applied else "To do: ") + ", ".join(parts)

    def raise_if_failed(self) -> None:
        """Raise RunFailed when something could not be written, so that the run shows red."""
        if self.troubled:
            first = self.troubled[0]
            outcome = self.outcomes.get(first.key)
            words = (outcome.error if outcome else None) or "it was not sent"
            raise RunFailed(
                f"{len(self.troubled)} of {len(self.plan.actions)} actions were not done; the next run takes them up. "
                f"First: {first.key}: {words}"
            )

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values; the keys are part of the interface."""
        plan = self.plan
        return {
            "actions": [_action(a, self.state_of(a), self.outcomes.get(a.key)) for a in plan.actions],
            "reviews": [
                {
                    "source": f"order:{r.order_id}",
                    "candidates": list(r.candidates),
                    "reason": r.reason,
                    "details": [asdict(candidate) for candidate in r.details],
                }
                for r in plan.reviews
            ],
            "oddities": [{"source": oddity.source, "reason": oddity.reason} for oddity in plan.oddities],
            "refusals": [
                {
                    "source": r.source,
                    "lead_id": r.lead_id,
                    "rule": r.rule,
                    "reason": r.reason,
                    "first_seen_at": self.first_seen_of(r).isoformat(),
                }
                for r in plan.refusals
            ],
            "drift": dict(plan.drift),
            "drifts": [
                {
                    "class": d.drift,
                    "source": d.source,
                    "lead_id": d.lead_id,
                    "since": d.since.isoformat(),
                    "first_seen_at": self.first_seen_of(d).isoformat(),
                    "age_hours": round((self.started_at - d.since).total_seconds() / 3600, 1),
                }
                for d in plan.drifts
            ],
            "settling": [f"order:{order_id}" for order_id in plan.settling],
            "other_mode": plan.other_mode,
            "unreadable": list(self.unreadable),
            "remarks": self.remarks(),
            "run": {
                "id": self.run_id,
                "applied": self.applied,
                "started_at": self.started_at.isoformat(),
                "finished_at": self.finished_at.isoformat(),
                "requests": dict(self.requests),
            },
        }

    def first_seen_of(self, row: Drift | Refusal) -> datetime:
        """Return when a run first told of it."""
        return self.first_seen.get(row.key, self.started_at)

    def remarks(self) -> list[str]:
        """Return what else a person should know, a sentence each."""
        plan = self.plan
        found = [*self.notices, *(f"Could not be read: {reason}" for reason in self.unreadable)]
        if plan.settling:
            found.append(f"{len(plan.settling)} young orders wait for their webhook and are decided by a later run.")
        if plan.other_mode:
            found.append(f"{plan.other_mode} orders of the other mode (test or live) were left alone.")
        return found

    def table(self) -> list[dict[str, Any]]:
        """Return the plan as rows for a table artifact."""
        rows = self.plan.actions[:MARKDOWN_ROWS]
        return [
            {
                "action": a.kind.value,
                "order": order_link(a.order_id),
                "deal": self.deal_link(self.lead_id_of(a)),
                "reason": a.reason,
                "evidence": a.evidence,
                "state": self.state_of(a),
            }
            for a in rows
        ]

    def deal_link(self, lead_id: int | None) -> str:
        """Return a Markdown link to a deal in Kommo."""
        return "new" if lead_id is None else f"[{lead_id}]({deal_url(self.kommo_url, lead_id)})"

    def lead_id_of(self, action: Action) -> int | None:
        """Return the deal of an action, also one that it made."""
        outcome = self.outcomes.get(action.key)
        return action.lead_id or (outcome.lead_id if outcome else None)

    def error_of(self, action: Action) -> str:
        """Return why an action was not done."""
        outcome = self.outcomes.get(action.key)
        return (outcome.error if outcome else None) or "not sent"


def make_report(run: Run, plan: Plan, outcomes: Sequence[Outcome] | None = None) -> Report:
    """Return the report of a run and keep its figures with the run. Without outcomes it is the report of a plan."""
    report = Report(
        run_id=run.run_id,
        started_at=run.started_at,
        finished_at=utc_now(),
        requests=run.requests,
        plan=plan,
        applied=outcomes is not None,
        outcomes={outcome.key: outcome for outcome in outcomes or ()},
        unreadable=tuple(run.unreadable),
        notices=tuple(run.remarks),
        kommo_url=run.settings.environment.kommo_url,
        first_seen=run.first_seen,
        held=run.held,
    )
    figures = {
        "headline": report.headline(),
        "counts": report.counts(),
        "drift": dict(plan.drift),
        "reviews": len(plan.reviews),
        "requests": dict(report.requests),
    }
    run.store.runs.summarise(run.run_id, figures)
    return report


def together(earlier: Report, later: Report) -> Report:
    """Return one report of two parts of a run. What was out of step is as the later part found it."""
    first, second = earlier.plan, later.plan
    plan = replace(
        second,
        actions=first.actions + second.actions,
        reviews=tuple({review.order_id: review for review in (*first.reviews, *second.reviews)}.values()),
        refusals=tuple({refusal.key: refusal for refusal in (*first.refusals, *second.refusals)}.values()),
        oddities=tuple(dict.fromkeys((*first.oddities, *second.oddities))),
        drifts=tuple({drift.key: drift for drift in (*first.drifts, *second.drifts)}.values()),
    )
    return replace(
        later,
        started_at=earlier.started_at,
        plan=plan,
        outcomes={**earlier.outcomes, **later.outcomes},
        unreadable=tuple(dict.fromkeys((*earlier.unreadable, *later.unreadable))),
        notices=tuple(dict.fromkeys((*earlier.notices, *later.notices))),
        first_seen={**later.first_seen, **earlier.first_seen},
    )


def order_link(order_id: str) -> str:
    """Return a Markdown link to an order in the Lemon Squeezy dashboard."""
    return f"[{order_id}]({order_url(order_id)})"


def _action(action: Action, state: str, outcome: Outcome | None) -> dict[str, Any]:
    row = {
        "key": action.key,
        "kind": action.kind.value,
        "lead_id": action.lead_id or (outcome.lead_id if outcome else None),
        "source": action.source,
        "reason": action.reason,
        "evidence": action.evidence,
        "state": state,
    }
    if outcome and outcome.error:
        row["error"] = outcome.error
    return row


def cell(text: str) -> str:
    """Return a text as it may stand in a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")
