"""What became of the deals that wait for payment: for people and for programs. No personal data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from dealsync.addresses import deal_url
from dealsync.core.checkouts import CheckoutPlan
from dealsync.core.plan import Kind, Outcome, Refusal
from dealsync.core.states import State
from dealsync.core.waiting import Verdict
from dealsync.errors import RunFailed
from dealsync.ledger.runs import utc_now
from dealsync.report import MARKDOWN_ROWS, cell
from dealsync.run import Run

MOST_ATTEMPTS = 2
"""In one run: the second is for what was looked up after a lost answer, and had not happened."""

WORDS = {
    "opened": "opened",
    "live": "had one already",
    "to-open": "to be opened",
    "flagged": "flagged for a person",
    "paid": "paid already",
    "elsewhere": "not in the invoice stage",
}
"""How a deal stands after a run, in words that fit behind a number."""


@dataclass(slots=True)
class Issued:
    """A run over the deals that wait for payment, slice by slice."""

    lead_ids: frozenset[int] = frozenset()  # these alone; empty: all in the invoice stage
    reissue: bool = False
    slices: int = 0
    is_done: bool = False
    attempts: Counter[str] = field(default_factory=Counter)  # by key
    stores_read: set[str] = field(default_factory=set)  # stores whose checkouts are known
    key_is_right: bool = False  # see `Run.key_is_right`
    currencies: Mapping[str, str] | None = None  # of the stores, where they are needed
    verdicts: dict[int, Verdict] = field(default_factory=dict)  # by deal, as the latest plan has it
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    refusals: tuple[Refusal, ...] = ()
    remarks: dict[str, None] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    wanted: set[int] = field(default_factory=set)  # deals that had no checkout when they were looked at
    owed: frozenset[str] = frozenset()  # keys that the latest plan still asks for
    mailed: int = 0
    progress_artifact: UUID | None = None  # of the Prefect UI
    run_id: str = ""
    kommo_url: str = ""
    started_at: datetime = field(default_factory=utc_now)
    finished_at: datetime = field(default_factory=utc_now)

    def add(self, run: Run, plan: CheckoutPlan, outcomes: Sequence[Outcome]) -> None:
        """Add what one slice led to. A slice without anything to do is the last."""
        self.slices += 1
        # After a slice of which everything failed for want of an answer, the next one would fare no better.
        self.is_done = all(o.state is State.FAILED and not o.is_refused for o in outcomes)
        # A deal that is elsewhere was looked at for its flags; who asked for it by name is told.
        told = (v for v in plan.verdicts if v.state != "elsewhere" or v.lead_id in self.lead_ids)
        self.verdicts = {verdict.lead_id: verdict for verdict in told}
        self.wanted |= {a.lead_id for a in plan.actions if a.kind is Kind.CHECKOUT and a.lead_id is not None}
        self.owed = frozenset(action.key for action in plan.actions)
        self.refusals = plan.refusals
        self.requests.update(run.requests)
        self.remarks |= dict.fromkeys([*run.remarks, *run.unreadable])
        self.run_id, self.kommo_url, self.finished_at = run.run_id, run.settings.environment.kommo_url, utc_now()
        kinds = {action.key: action.kind for action in plan.actions}
        for outcome in outcomes:
            self.attempts[outcome.key] += MOST_ATTEMPTS if outcome.is_refused else 1
            self.outcomes[outcome.key] = outcome
            self.mailed += outcome.state is State.APPLIED and kinds[outcome.key] is Kind.EMAIL

    @property
    def progress(self) -> float:
        """How much of what was to be opened is there, from 0 to 1."""
        done = sum(self.state_of(verdict) == "opened" for verdict in self.verdicts.values())
        return 1.0 if self.is_done or not self.wanted else done / len(self.wanted)

    @property
    def troubled(self) -> list[Outcome]:
        """What was to be done and is not; a person was told of what the other side refused."""
        failed = (o for o in self.outcomes.values() if o.state is not State.APPLIED and not o.is_refused)
        return [outcome for outcome in failed if outcome.key in self.owed]

    def state_of(self, verdict: Verdict) -> str:
        """Return how a deal stands after the run."""
        return "opened" if verdict.state == "live" and verdict.lead_id in self.wanted else verdict.state

    def counts(self) -> dict[str, int]:
        """Return how many deals stand how."""
        found = Counter(self.state_of(verdict) for verdict in self.verdicts.values())
        return {state: found[state] for state in WORDS if found[state]}

    def headline(self) -> str:
        """Return the run in one line."""
        parts = [f"{count} {WORDS[state]}" for state, count in self.counts().items()]
        parts += [f"{self.mailed} e-mails sent"] if self.mailed else []
        parts += [f"{len(self.troubled)} writes not done"] if self.troubled else []
        return f"Checkouts: {', '.join(parts) or 'no deal waits for payment'}"

    def rows(self) -> list[dict[str, Any]]:
        """Return a row per deal, for tables: without links, which are the client's."""
        return [
            {"deal": verdict.lead_id, "state": self.state_of(verdict), "why": verdict.words}
            for verdict in sorted(self.verdicts.values(), key=lambda v: v.lead_id)
        ]

    def as_json(self) -> dict[str, Any]:
        """Return the run as plain values; the keys are part of the interface."""
        return {
            "deals": [
                {"lead_id": v.lead_id, "state": self.state_of(v), "reason": v.words, "url": v.url or None}
                for v in sorted(self.verdicts.values(), key=lambda v: v.lead_id)
            ],
            "refusals": [{"lead_id": r.lead_id, "rule": r.rule, "reason": r.reason} for r in self.refusals],
            "not_done": [{"key": o.key, "state": o.state.value, "error": o.error} for o in self.troubled],
            "emails_sent": self.mailed,
            "remarks": list(self.remarks),
            "run": {
                "id": self.run_id,
                "started_at": self.started_at.isoformat(),
                "finished_at": self.finished_at.isoformat(),
                "requests": dict(sorted(self.requests.items())),
            },
        }

    def as_markdown(self) -> str:
        """Return the run for the Prefect UI."""
        lines = [f"# {self.headline()}", ""]
        if self.verdicts:
            lines += ["| deal | state | why |", "|---|---|---|"]
        for row in self.rows()[:MARKDOWN_ROWS]:
            deal = f"[{row['deal']}]({deal_url(self.kommo_url, row['deal'])})"
            lines.append(f"| {deal} | {row['state']} | {cell(row['why'])} |")
        lines += ["", *(f"Left alone: deal {r.lead_id}: {r.reason}" for r in self.refusals)]
        lines += [f"Not done: {o.key}: {o.error or o.state}" for o in self.troubled[:MARKDOWN_ROWS]]
        return "\n".join([*lines, *self.remarks])

    def raise_if_failed(self) -> None:
        """Raise RunFailed for what was not done; the next run takes it up."""
        if self.troubled:
            first = self.troubled[0]
            raise RunFailed(
                f"{len(self.troubled)} writes about checkouts were not done; the next run takes them up. "
                f"First: {first.key}: {first.error or first.state}"
            )
