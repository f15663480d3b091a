"""What a run over the inbox found and did: for people, and for the next run. No personal data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from dealsync import report_markdown
from dealsync.core.inbox import InboxItem, InboxState, tags_of
from dealsync.errors import EventsParked
from dealsync.issued import Issued
from dealsync.ledger.inbox import Handled
from dealsync.report import MARKDOWN_ROWS, Report, cell, together

LATE = timedelta(minutes=1)
"""An event that has waited so long for its first attempt was forgotten by whatever should have woken a run."""


@dataclass(frozen=True, slots=True)
class Processed:
    """One event, and what became of it this time."""

    item: InboxItem
    handled: Handled
    is_parked: bool = False

    @property
    def event_id(self) -> str:
        """Its id."""
        return self.item.event.event_id

    @property
    def state(self) -> InboxState:
        """Where it stands now."""
        if self.handled.failure is None:
            return InboxState.DONE
        return InboxState.PARKED if self.is_parked else InboxState.WAITING

    @property
    def words(self) -> str:
        """What became of it, in a line."""
        failure = self.handled.failure
        return f"failed: {failure.reason}" if failure else self.handled.result


@dataclass(frozen=True, slots=True)
class Waiting:
    """The first batch of what waits, before any work is begun."""

    items: tuple[InboxItem, ...]
    at: datetime

    def __bool__(self) -> bool:
        return bool(self.items)

    @property
    def left_behind(self) -> str:
        """What a scheduled run has to tell of events that should have been handled when they came; else empty."""
        left = [item for item in self.items if not item.attempts and self.at - item.received_at > LATE]
        if not left:
            return ""
        minutes = max(self.at - item.received_at for item in left).total_seconds() / 60
        return (
            f"{len(left)} events had waited for up to {minutes:.0f} minutes, and nothing had woken a run for them: "
            "see that `dealsync serve` runs, or that `dealsync receive` reaches the Prefect server"
        )


@dataclass(slots=True)
class Drained:
    """A run over the inbox: what each event led to, and the report of what was planned and done. None: none waited."""

    report: Report | None = None
    events: list[Processed] = field(default_factory=list)
    invoiced: set[int] = field(default_factory=set)  # deals that Kommo told of and that wait for payment
    issued: Issued | None = None  # their checkouts

    def add(self, report: Report, events: Sequence[Processed]) -> None:
        """Add what one batch led to."""
        self.report = report if self.report is None else together(self.report, report)
        self.events += events

    @property
    def parked(self) -> list[Processed]:
        """The events that were given up."""
        return [event for event in self.events if event.is_parked]

    def headline(self) -> str:
        """Return the run in one line."""
        if self.report is None:
            return "Nothing waits in the inbox"
        latest = {event.event_id: event for event in self.events}.values()
        again = sum(event.state is InboxState.WAITING for event in latest)
        parts = [self.report.headline().partition(": ")[2]]
        parts += [f"{again} to be tried again"] if again else []
        parts += [f"{len(self.parked)} parked"] if self.parked else []
        parts += [self.issued.headline().lower()] if self.issued is not None else []
        return f"{len(latest)} event{'s' * (len(latest) != 1)}: {', '.join(parts)}"

    def tags(self) -> list[str]:
        """Return names of events and objects, for the UI's filters."""
        return tags_of([event.item for event in self.events])

    def as_markdown(self) -> str:
        """Return the events and the report for the Prefect UI. No personal data."""
        if self.report is None:
            return self.headline()
        lines = ["# Events", "", "| event | about | arrived | state | what became of it |", "|---|---|---|---|---|"]
        for event in self.events[:MARKDOWN_ROWS]:
            item = event.item
            when = f"{item.received_at:%Y-%m-%d %H:%M:%S}"
            cells = (item.event.event_name, item.about or "-", when, event.state.value, event.words)
            lines.append(f"| {' | '.join(map(cell, cells))} |")
        return "\n".join(lines) + "\n\n" + report_markdown.as_markdown(self.report)

    def raise_if_failed(self) -> None:
        """Raise RunFailed for what was not written, EventsParked for events that were given up."""
        if self.report is not None:
            self.report.raise_if_failed()
        if self.issued is not None:
            self.issued.raise_if_failed()
        if self.parked:
            first = self.parked[0]
            raise EventsParked(
                f"{len(self.parked)} events are parked: they failed too often. First: {first.item.event.event_name} "
                f"of {first.item.about}: {first.words}. See: dealsync inbox list --state parked"
            )
