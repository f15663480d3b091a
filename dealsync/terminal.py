"""A report for people at a terminal: readable at 80 columns and in a pipe."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from textwrap import wrap
from typing import TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dealsync.addresses import deal_url, order_url
from dealsync.core.approval import Answer
from dealsync.core.checkup import Checked, Status
from dealsync.core.inbox import InboxItem, InboxState
from dealsync.core.states import State
from dealsync.drained import Drained
from dealsync.issued import WORDS, Issued
from dealsync.ledger.approvals import Approval
from dealsync.ledger.entries import EntryItem
from dealsync.ledger.reviews import ReviewItem, ReviewState
from dealsync.report import DRIFT_WORDS, Report
from dealsync.reviewing import decision_words

Value = TypeVar("Value")
STYLES = {Status.OK: "", Status.WARNING: "yellow", Status.FAILED: "red", Status.SKIPPED: "dim"}
ROWS = 30
"""Actions shown; `--json` shows them all."""


def print_report(report: Report) -> None:
    """Print what was out of step, what is to be done or was done, and what waits for a person."""
    console = _console()
    console.print(report.headline(), style="bold")
    _print_drift(console, report)
    _print_actions(console, report)
    _print_reviews(console, report)
    for action in report.troubled[:ROWS]:
        outcome = report.outcomes.get(action.key)
        console.print(f"Not done: {action.key}: {(outcome.error if outcome else None) or 'not sent'}", style="red")
    for refusal in report.plan.refusals[:ROWS]:
        console.print(f"Left alone: {refusal.source}, deal {refusal.lead_id}: {refusal.reason} ({refusal.rule})")
    for oddity in report.plan.oddities[:ROWS]:
        console.print(f"Not believed: {oddity.source}: {oddity.reason}")
    for remark in report.remarks():
        console.print(remark)
    seconds = (report.finished_at - report.started_at).total_seconds()
    console.print(f"Run {report.run_id}: {seconds:.1f} s, {sum(report.requests.values())} requests", style="dim")


def print_drained(done: Drained) -> None:
    """Print what became of each event, then the report of what was planned and done."""
    console = _console()
    for event in done.events[:ROWS]:
        about = event.item.about or "-"
        console.print(f"{event.state.value:<8} {event.item.event.event_name}  {about}: {event.words}")
    if len(done.events) > ROWS:
        console.print(f"... and {len(done.events) - ROWS} more (--json shows them all)")
    if done.report is None:
        console.print(done.headline())
    else:
        print_report(done.report)
    if done.issued is not None:
        print_issued(done.issued)


def print_issued(issued: Issued) -> None:
    """Print how the deals that wait for payment stand, each with its link."""
    console = _console()
    console.print(issued.headline(), style="bold")
    for verdict in sorted(issued.verdicts.values(), key=lambda v: v.lead_id):
        console.print(f"deal {verdict.lead_id}  {WORDS[issued.state_of(verdict)]}")
        for line in filter(None, (verdict.words, verdict.url)):
            console.print(f"  {line}", style="dim", soft_wrap=True)
    for refusal in issued.refusals:
        console.print(f"Left alone: deal {refusal.lead_id}: {refusal.reason} ({refusal.rule})")
    for outcome in issued.troubled[:ROWS]:
        console.print(f"Not done: {outcome.key}: {outcome.error or outcome.state}", style="red")
    for remark in issued.remarks:
        console.print(remark)


def print_inbox(items: Sequence[InboxItem]) -> None:
    """Print events, one below the other."""
    console = _console()
    if not items:
        console.print("The inbox has no such event.")
    for item in items:
        event = item.event
        console.print(
            f"{item.received_at:%Y-%m-%d %H:%M:%S}  {item.state.value:<8} {event.event_name}  {item.about or '-'}"
        )
        _print_indented(console, 2, f"{event.event_id}")
        if words := item.error if item.state is not InboxState.DONE else item.result:
            _print_indented(console, 2, words)


def print_entries(items: Sequence[EntryItem], counts: Mapping[str, int]) -> None:
    """Print actions of the ledger, one below the other, and how many there are of each state."""
    console = _console()
    console.print(", ".join(f"{count} {state}" for state, count in counts.items()), style="bold")
    for item in items:
        at = item.closed_at or item.sent_at or item.planned_at
        console.print(f"{at:%Y-%m-%d %H:%M:%S}  {item.state.value:<9} {item.idempotency_key}")
        deal = f"deal {item.lead_id}: " if item.lead_id else ""
        _print_indented(console, 2, f"{deal}{item.reason}")
        if item.error and item.state is not State.APPLIED:
            _print_indented(console, 2, f"{item.error} (attempt {item.attempts})")


def print_approvals(found: Sequence[Approval]) -> None:
    """Print questions and answers, one below the other."""
    console = Console(highlight=False)
    if not found:
        console.print("Nobody was asked to approve anything.")
    for one in found:
        counts = ", ".join(f"{count} {kind}" for kind, count in one.actions.items())
        console.print(f"{one.asked_at:%Y-%m-%d %H:%M:%S}  run {one.run_id}: {counts}", soft_wrap=True)
        _print_indented(console, 2, f"asked because {'; '.join(one.reasons)}")
        _print_indented(console, 2, _answer_words(one))


def _answer_words(one: Approval) -> str:
    if one.answer is None:
        return f"waits for an answer until {one.answer_by:%Y-%m-%d %H:%M} UTC"
    if one.answer is Answer.UNANSWERED:
        return "nobody answered in time"
    what = {Answer.ALL: "approved", Answer.SOME: f"approved in part ({', '.join(one.kinds)})"}
    return f"{what.get(one.answer, 'rejected')} by {one.answered_by}" + (f": {one.words}" if one.words else "")


def print_check(one: Checked) -> None:
    """Print a check in a line, with what was found; and the way out where it did not go well."""
    kind, verdict = one.kind, one.verdict
    words = f"{kind.name}: {verdict.words}"
    if verdict.status in (Status.WARNING, Status.FAILED):
        words = f"{words}\n-> {kind.way_out}"
    style, row = STYLES[verdict.status], Table.grid(padding=(0, 1))
    for width in (len(kind.code), len(Status.WARNING), None):
        row.add_column(width=width, overflow="fold")
    row.add_row(Text(kind.code, style), Text(verdict.status.value, style), Text(words, style))
    Console(highlight=False).print(row)


def print_checkup(found: Sequence[Checked]) -> None:
    """Print how many checks ended in which way."""
    counts = Counter(one.verdict.status for one in found)
    told = ", ".join(f"{counts[status]} {status.value}" for status in Status if counts[status])
    Console(highlight=False).print(Text(told, "bold"))


def with_progress(work: Callable[[Callable[[str], None]], Coroutine[None, None, Value]]) -> Value:
    """Run `work`, showing what it is at on a terminal's standard error; a pipe gets nothing."""
    console = Console(stderr=True)
    with console.status("Starting", spinner="line") as status:
        found: list[Value] = []

        async def keep() -> None:
            found.append(await work(lambda text: status.update(text)))

        # Python 3.11's `run` writes out the result of what it ran, for nobody, and a long report takes seconds of it.
        asyncio.run(keep())
        return found[0]


def print_reviews(items: Sequence[ReviewItem], kommo_url: str) -> None:
    """Print reviews one below the other: what must be decided, and what speaks for each deal."""
    console = _console()
    waiting = sum(item.state is ReviewState.OPEN for item in items)
    console.print(f"{waiting} waiting for a person" if waiting else "Nothing waits for a person.", style="bold")
    for item in items:
        console.print(f"\norder:{item.order_id}  since {item.first_seen_at:%Y-%m-%d %H:%M} UTC", style="bold")
        _print_indented(console, 2, item.reason)
        if item.decision:
            _print_indented(console, 2, f"decided by {item.decided_by}: {decision_words(item)}")
        elif item.state is ReviewState.SETTLED:
            _print_indented(console, 2, "settled by itself")
        console.print(f"  {order_url(item.order_id)}", style="dim", soft_wrap=True)
        for candidate in item.details:
            console.print(f"  {candidate.score:>3}  deal {candidate.lead_id}")
            _print_indented(console, 7, "; ".join(candidate.reasons))
            console.print(f"       {deal_url(kommo_url, candidate.lead_id)}", style="dim", soft_wrap=True)
    if waiting:
        console.print("\nDecide one: dealsync reviews resolve ID --lead N | --new | --dismiss")


def print_values(values: Mapping[str, object]) -> None:
    """Print names and values, one below the other; long values fold beside their name."""
    console, width = _console(), max(map(len, values), default=0)
    for name, value in values.items():
        shown = str(value) if value not in (None, "") else "-"
        _print_folded(console, f"{name.replace('_', ' '):<{width}}  ", " " * (width + 2), shown, breaks=True)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines, folded between words; what a line is indented by, its folds are, too."""
    console = _console()
    for text in (part for line in lines for part in line.split("\n")):
        words = text.lstrip()
        _print_indented(console, len(text) - len(words), words)


def _console() -> Console:
    """Print texts as they are: those of other people may look like markup."""
    return Console(highlight=False, markup=False, emoji=False)


def _print_indented(console: Console, width: int, text: str) -> None:
    _print_folded(console, " " * width, " " * width, text)


def _print_folded(console: Console, first: str, rest: str, text: str, *, breaks: bool = False) -> None:
    """Print a text in lines that fit; a word that is too long for one, an address say, stays whole unless it breaks."""
    lines = wrap(
        text,
        console.width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=breaks,
        break_on_hyphens=False,
    )
    console.print("\n".join(lines or [first.rstrip()]), soft_wrap=True)


def _print_drift(console: Console, report: Report) -> None:
    found = {name: count for name, count in report.plan.drift.items() if count}
    if not found:
        console.print("Nothing is out of step.")
        return
    console.print("Out of step when the run began:")
    for name, count in found.items():
        console.print(f"  {count:>6}  {DRIFT_WORDS[name]}")


def _print_actions(console: Console, report: Report) -> None:
    if not report.plan.actions:
        return
    table = Table(box=None, pad_edge=False)
    for name in ("action", "order", "deal", "state", "reason"):
        table.add_column(name, overflow="fold")
    for action in report.plan.actions[:ROWS]:
        outcome = report.outcomes.get(action.key)
        lead_id = action.lead_id or (outcome.lead_id if outcome else None)
        row = (action.kind.value, action.order_id, str(lead_id or "new"), report.state_of(action), action.reason)
        table.add_row(*row)
    console.print(table)
    if len(report.plan.actions) > ROWS:
        console.print(f"... and {len(report.plan.actions) - ROWS} more actions; --json lists them all")


def _print_reviews(console: Console, report: Report) -> None:
    for review in report.plan.reviews[:ROWS]:
        deals = ", ".join(map(str, review.candidates)) or "none"
        console.print(f"A person must place order {review.order_id} (possible deals: {deals}): {review.reason}")
    if report.plan.reviews:
        console.print("See: dealsync reviews")
