"""When a run was to begin."""

from __future__ import annotations

from datetime import datetime

from prefect.context import FlowRunContext


def was_due_at() -> datetime | None:
    """Return for when the schedule made this run; None for one that a person or a program started."""
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    return flow_run.expected_start_time if flow_run and flow_run.auto_scheduled else None
