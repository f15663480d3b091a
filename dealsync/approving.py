"""Plans that wait for a person: what is held back, and what is sent once somebody has agreed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta

from dealsync.core.approval import Answer, Caution, Verdict, approved, kinds_of, still_due, weigh
from dealsync.core.plan import Action, Kind, Plan
from dealsync.errors import NeedsApproval
from dealsync.ledger.approvals import Approval
from dealsync.ledger.database import told_as_ours
from dealsync.ledger.entries import ChosenEntries
from dealsync.ledger.runs import utc_now
from dealsync.planning import record_intent
from dealsync.report import MARKDOWN_ROWS, Report, cell, order_link
from dealsync.run import Run
from dealsync.settings import Environment, build_store


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked: the actions that wait, and why."""

    approval: Approval
    held: tuple[Action, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that can be approved."""
        return tuple(self.approval.actions)

    @property
    def seconds(self) -> float:
        """How long there is to answer."""
        return (self.approval.answer_by - self.approval.asked_at).total_seconds()

    def as_text(self) -> str:
        """Return what the form says above its questions."""
        reasons = "; ".join(self.approval.reasons)
        until = f"{self.approval.answer_by:%Y-%m-%d %H:%M} UTC"
        return (
            f"**{self.headline()}**, because {reasons}.\n\nThe artifact *approval* of this run lists them one by one. "
            f"Without an answer until {until} nothing of it is sent."
        )

    def as_markdown(self, report: Report) -> str:
        """Return what waits, deal by deal, for the page beside the form."""
        lines = [f"# {self.headline()}", "", f"Because {'; '.join(self.approval.reasons)}.", ""]
        lines += ["To answer: open the paused run, *Resume*. Until", f"{self.approval.answer_by:%Y-%m-%d %H:%M} UTC."]
        lines += ["", "| deal | payment | what | why | evidence |", "|---|---|---|---|---|"]
        lines += [
            f"| {report.deal_link(a.lead_id)} | {order_link(a.order_id) if a.order_id else a.source} | {a.kind.value} "
            f"| {cell(a.reason)} | {cell(a.evidence)} |"
            for a in self.held[:MARKDOWN_ROWS]
        ]
        more = len(self.held) - MARKDOWN_ROWS
        return "\n".join([*lines, *([f"... and {more} more"] if more > 0 else [])]) + "\n"

    def headline(self) -> str:
        """Return it in one line."""
        counts = ", ".join(f"{count} {kind}" for kind, count in self.approval.actions.items())
        return f"{len(self.held)} changes wait for a person: {counts}"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a person answered."""

    answer: Answer
    kinds: tuple[Kind, ...] = ()
    by: str = ""
    words: str = ""

    def headline(self) -> str:
        """Return it in one line."""
        if self.answer is Answer.UNANSWERED:
            return "nobody answered in time: nothing of it was sent, and the next run asks again"
        what = {Answer.ALL: "approved", Answer.SOME: f"approved in part ({', '.join(self.kinds)})"}
        return f"{what.get(self.answer, 'rejected')} by {self.by}"


def weighed(run: Run, plan: Plan, max_changes: int | None, *, can_ask: bool) -> Verdict:
    """Return what of a plan may be sent at once. Raises UnsafePlan where a person is needed and none can be asked.

    Where nobody can be asked a person has typed the command, so what is done for the first time is no question.
    """
    done = run.store.approvals.kinds_done() if can_ask and _knows_its_ways(run) else None
    careful = run.settings.config.approval.careful
    caution = Caution(run.max_changes if max_changes is None else max_changes, careful, done)
    verdict = weigh(plan, caution)
    if verdict.held and not can_ask:
        plan.ensure_within(caution.max_changes or 0)
        raise NeedsApproval(
            f"{len(verdict.held)} changes need a person's yes: {'; '.join(verdict.reasons)}. Nothing was sent. "
            "Read and send them with: dealsync plan --out plan.json, dealsync apply plan.json"
        )
    return verdict


def _knows_its_ways(run: Run) -> bool:
    """Whether what was never done before is worth a question: in the first days everything is new."""
    section, since = run.settings.config.approval, run.store.approvals.at_work_since()
    return section.first_time and since is not None and utc_now() - since >= timedelta(days=section.first_days)


def ask(run: Run, verdict: Verdict) -> Question | None:
    """Write down that a person is asked about what is held; None when another question waits for its answer."""
    if not verdict.held:
        return None
    run.held = len(verdict.held)
    now = utc_now()
    if (other := run.store.approvals.waiting(now)) is not None:
        run.remarks.append(
            f"{len(verdict.held)} changes wait for a person, who was asked by run {other.run_id} and has time until "
            f"{other.answer_by:%Y-%m-%d %H:%M} UTC."
        )
        return None
    minutes = run.settings.config.approval.minutes
    approval = Approval(run.run_id, now, now + timedelta(minutes=minutes), verdict.reasons, kinds_of(verdict.held))
    run.store.approvals.ask(approval)
    return Question(approval, verdict.held)


def note_answer(environment: Environment, question: Question, reply: Reply) -> None:
    """Write the answer into the journal, before anything follows from it."""
    with told_as_ours(), closing(build_store(environment)) as store:
        store.approvals.answer(
            question.approval.run_id, reply.answer, utc_now(), kinds=reply.kinds, by=reply.by, words=reply.words
        )


def settle(run: Run, question: Question, reply: Reply, fresh: Plan) -> tuple[Plan, tuple[Action, ...]]:
    """Record what was approved and is still due, give up what was not approved; return the plan and what to send."""
    wanted = approved(question.held, reply.answer, reply.kinds)
    due = still_due(wanted, fresh.actions)
    plan = fresh.only(due.values())
    if left := len(wanted) - len(plan.actions):
        run.remarks.append(f"{left} of the approved changes are not due any more, or were done meanwhile.")
    _give_up(run, [action for action in question.held if action not in wanted], fresh, reply)
    mine = record_intent(run, plan)
    run.store.approvals.carried_out(question.approval.run_id, run.run_id)
    return plan, mine


def _give_up(run: Run, rejected: Sequence[Action], fresh: Plan, reply: Reply) -> None:
    if not rejected:
        return
    record_intent(run, fresh.only(rejected))
    words = f"rejected by {reply.by}" + (f": {reply.words}" if reply.words else "")
    run.store.entries.dismiss(ChosenEntries(keys=tuple(a.key for a in rejected)), utc_now(), words)
    run.remarks.append(
        f"{len(rejected)} changes were not approved, and are given up. Should they be made after all: "
        f"dealsync ledger retry --run {run.run_id}"
    )
