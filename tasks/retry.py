"""When a stage is worth repeating. The clients wait out seconds; a task waits out the minutes of an outage."""

from __future__ import annotations

from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun

from dealsync.errors import NotSent, Unreachable

RETRIES = 2
RETRY_DELAYS_S = [60.0, 300.0]


async def if_transient(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether waiting may help: an API or a mailbox that could not be reached. Everything else needs a person."""
    return isinstance(await state.aresult(raise_on_failure=False), (Unreachable, NotSent))
