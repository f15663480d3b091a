"""Wakes `process-inbox` from afar: a run of its deployment, made through Prefect's API by a receiver that runs alone.

A burst makes few runs: while one has been made and has not begun, it will drain whatever arrives, so none is added.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

import httpx
from sqlalchemy.exc import SQLAlchemyError
from tenacity import RetryCallState, retry, retry_if_exception_type, wait_exponential_jitter

from dealsync.core.inbox import InboxItem, name_of, tags_of

FLOW, DEPLOYMENT = "process-inbox", "process-inbox"
NOT_BEGUN = frozenset({"SCHEDULED", "PENDING"})
LOOK_AGAIN_S, LONGEST_S = 0.5, 30.0

log = logging.getLogger(__name__)


def _complain(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning("no run can be made in Prefect, the events wait (%s)", type(error).__name__)


_until_it_is_back = retry(
    retry=retry_if_exception_type((httpx.HTTPError, SQLAlchemyError, ValueError)),  # no JSON is a ValueError
    wait=wait_exponential_jitter(multiplier=LOOK_AGAIN_S, max=LONGEST_S),
    before_sleep=_complain,
)


class Trigger:
    """Makes runs for as long as `run` is awaited; `wake` it, in the same event loop, when something was stored."""

    def __init__(self, api_url: str, credentials: str, waiting: Callable[[], list[InboxItem]]) -> None:
        """`credentials` as in PREFECT_API_AUTH_STRING: `user:password`, empty if there are none."""
        user, _, password = credentials.partition(":")
        auth = httpx.BasicAuth(user, password) if credentials else None
        self._http = httpx.AsyncClient(base_url=api_url, auth=auth, timeout=10)
        self._waiting = waiting
        self._woken = asyncio.Event()
        self._woken.set()  # something may have been left by a receiver before this one

    def wake(self) -> None:
        """Tell that something was stored."""
        self._woken.set()

    async def run(self) -> None:
        """Make runs until cancelled. Where Prefect is away it is tried again: the events are safe."""
        async with self._http:
            while True:
                await self._woken.wait()
                self._woken.clear()
                if items := await self._look():
                    await self._until_begun(await self._make_run(name_of(items), tags_of(items), uuid4().hex))

    @_until_it_is_back
    async def _look(self) -> list[InboxItem]:
        return await asyncio.to_thread(self._waiting)

    @_until_it_is_back
    async def _make_run(self, name: str, tags: list[str], key: str) -> str:
        deployment = await self._ask("GET", f"/deployments/name/{FLOW}/{DEPLOYMENT}")
        wanted = {"name": name, "parameters": {}, "tags": tags, "idempotency_key": key}
        made = await self._ask("POST", f"/deployments/{deployment['id']}/create_flow_run", wanted)
        return str(made["id"])

    async def _until_begun(self, run_id: str) -> None:
        wait_s = LOOK_AGAIN_S
        while await self._state(run_id) in NOT_BEGUN:
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 1.5, LONGEST_S)

    @_until_it_is_back
    async def _state(self, run_id: str) -> str:
        with suppress(_Gone):
            return str((await self._ask("GET", f"/flow_runs/{run_id}"))["state_type"])
        return "DELETED"

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self._http.request(method, path, json=body)
        if answer.status_code == 404 and path.startswith("/flow_runs/"):
            raise _Gone
        return answer.raise_for_status().json()


class _Gone(Exception):
    """Somebody deleted the run."""
