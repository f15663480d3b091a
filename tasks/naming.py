"""Names and tags of flow runs: a run is called by what it is as it begins, and by what it did once it is over.

None of it can fail a run: where the server is away for a moment, the name stays as it was. The last call comes from a
hook, when all is done and told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
from prefect import Flow, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException

from dealsync import briefly
from dealsync.core.inbox import WEBHOOK

PATIENCE_S = 2.0
"""How long the server may take to write a name down."""
AWAY = (TimeoutError, httpx.HTTPError, PrefectException)
TITLES = {"process-inbox": WEBHOOK, "issue-checkouts": "checkouts"}


@dataclass(slots=True)
class _Told:
    """What a run has to say about itself."""

    words: str = ""
    tags: set[str] = field(default_factory=set)


_told: dict[UUID, _Told] = {}
"""By run, for those of this process that are not over."""


def tell(words: str, tags: Collection[str] = ()) -> None:
    """Say what the run of now did, and what it was about: its name when it is over. The last words count."""
    if (context := FlowRunContext.get()) and context.flow_run:
        told = _told.setdefault(context.flow_run.id, _Told())
        told.words, told.tags = words, told.tags | set(tags)


async def name_at_start(tags: Collection[str]) -> None:
    """Call the run of now by what it is and tag it, unless whoever made it has done so."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    flow, flow_run = context.flow, context.flow_run
    if flow is not None and flow.flow_run_name:
        await _update(flow_run, flow_run.name, tags)  # it has a better one
        return
    title = _title(flow, flow_run)
    _told.setdefault(flow_run.id, _Told()).tags |= set(tags)
    if not flow_run.name.startswith(title) or not set(tags) <= set(flow_run.tags):
        await _update(flow_run, flow_run.name if flow_run.name.startswith(title) else title, tags)


async def name_meanwhile(words: str) -> None:
    """Call the run of now by what it waits for."""
    context = FlowRunContext.get()
    if context is not None and context.flow_run is not None:
        await _update(context.flow_run, f"{_title(context.flow, context.flow_run)}: {words}", ())


async def name_at_end(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Call a run by what it did. A hook of each flow, for every way to end."""
    told = _told.pop(flow_run.id, _Told())
    await _update(flow_run, f"{_title(flow, flow_run)}: {await _ending(state, told.words)}", told.tags)


def _title(flow: Flow[..., Any] | None, flow_run: FlowRun) -> str:
    name = flow.name if flow else ""
    if name != "reconcile":
        return TITLES.get(name, name)
    if not flow_run.parameters.get("apply"):
        return "plan"
    return "nightly" if flow_run.parameters.get("deep") else "hourly"


async def _ending(state: State[Any], words: str) -> str:
    if state.is_completed():
        return words if state.name == "Completed" else str(state.name).lower()
    if state.is_crashed():
        return "crashed"
    if words.startswith("failed"):
        return words
    failure = briefly.of_failure(await state.aresult(raise_on_failure=False))
    return f"{failure}; {words}" if words else failure


async def _update(flow_run: FlowRun, name: str, tags: Collection[str]) -> None:
    with suppress(*AWAY):
        async with asyncio.timeout(PATIENCE_S), get_client() as client:
            fresh = None if set(tags) <= set(flow_run.tags) else {*flow_run.tags, *tags}
            await client.update_flow_run(flow_run.id, name=name, tags=fresh)
            flow_run.name, flow_run.tags = name, list(fresh or flow_run.tags)
