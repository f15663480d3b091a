"""The warm drain: runs `process-inbox` in this process the moment something is stored, as a run of its deployment."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from uuid import uuid4

import httpx
from prefect import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import PrefectException
from prefect.flow_engine import run_flow_async
from prefect.states import Pending
from sqlalchemy.exc import SQLAlchemyError
from tenacity import RetryCallState, retry, retry_if_exception_type, wait_exponential_jitter

from dealsync.core.inbox import InboxItem, name_of, tags_of
from dealsync.ledger.inbox import Inbox
from dealsync.ledger.runs import utc_now
from flows.process_inbox import process_inbox

DEPLOYMENT = "process-inbox/process-inbox"
LONGEST_SLEEP_S = 60.0
"""How long the drain sleeps at most before it looks whether another process left it something."""
AWAY = (httpx.HTTPError, PrefectException, SQLAlchemyError, OSError)
"""What says that the Prefect server or the database is away for a moment: the events are safe, so it is tried again."""

log = logging.getLogger("dealsync.hot_path")


def _complain(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning("the inbox waits: no run can be started (%s)", type(error).__name__)


_until_they_are_back = retry(
    retry=retry_if_exception_type(AWAY), wait=wait_exponential_jitter(multiplier=0.2, max=10), before_sleep=_complain
)


class HotPath:
    """Starts one run at a time; whatever arrives meanwhile is drained by that run, or by the next."""

    def __init__(self, inbox: Inbox, tags: Sequence[str] = ()) -> None:
        """`tags`: of every run, besides what its events are tagged with."""
        self._inbox = inbox
        self._tags = tags
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Tell that something was stored; from any thread, at any time."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._woken.set)

    async def run(self) -> None:
        """Drain what waits now, and what is stored or becomes due later, until cancelled."""
        self._loop = asyncio.get_running_loop()
        fruitless = 0
        while True:
            self._woken.clear()
            before = await self._due()
            if before:
                await self._drain(before)
                left = await self._due()
                # No event was even tried: the account, the settings or the lock stand in the way.
                fruitless = fruitless + 1 if set(before) & set(left) else 0
                await asyncio.sleep(min(2.0**fruitless, LONGEST_SLEEP_S) if fruitless else 0)
            await self._sleep()

    @_until_they_are_back
    async def _due(self) -> list[InboxItem]:
        return await asyncio.to_thread(self._inbox.due, utc_now())

    @_until_they_are_back
    async def _drain(self, items: Sequence[InboxItem]) -> None:
        flow_run = await _new_run(name_of(items), [*self._tags, *tags_of(items)])
        # How it ended is told by its state, and by what it noted with each event.
        await run_flow_async(process_inbox, flow_run=flow_run, parameters={"events": None}, return_type="state")

    async def _sleep(self) -> None:
        """Wait for the next event, or for the time at which a failed one is tried again."""
        nap_s = await self._nap_s()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), nap_s)

    @_until_they_are_back
    async def _nap_s(self) -> float:
        due_at = await asyncio.to_thread(self._inbox.next_due_at)
        left = LONGEST_SLEEP_S if due_at is None else (due_at - utc_now()) / timedelta(seconds=1)
        return max(0.0, min(left, LONGEST_SLEEP_S))


async def _new_run(name: str, tags: list[str]) -> FlowRun:
    """Make a run of the deployment that is ours to execute: a pending one, which no worker picks up."""
    async with get_client() as client:
        deployment = await client.read_deployment_by_name(DEPLOYMENT)
        return await client.create_flow_run_from_deployment(
            deployment.id, name=name, state=Pending(), tags=tags, idempotency_key=uuid4().hex
        )
