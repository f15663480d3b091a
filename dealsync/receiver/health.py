"""Whether the receiver lives, whether it is of use, and its figures."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from dealsync.ledger.inbox import Depth, Inbox
from dealsync.receiver.metrics import Metrics

SILENT = PlainTextResponse("the database does not answer", status_code=503)


class Health:
    """GET /healthz, /readyz, /metrics."""

    def __init__(self, inbox: Inbox, metrics: Metrics, clock: Callable[[], datetime], *, oldest: timedelta) -> None:
        """`oldest`: how long an event may be overdue before the receiver calls itself not ready."""
        self._inbox = inbox
        self._metrics = metrics
        self._clock = clock
        self._oldest = oldest
        self._counted_until = clock()
        self._counting = threading.Lock()

    async def alive(self, _request: Request) -> Response:
        """Answer 200 as long as the process does."""
        return PlainTextResponse("ok")

    async def ready(self, _request: Request) -> Response:
        """Answer 503 when the database is away, or when what comes in is not worked on."""
        try:
            depth = await run_in_threadpool(self._inbox.depth)
        except SQLAlchemyError:
            return SILENT
        overdue = self._clock() - depth.due_at if depth.due_at else timedelta(0)
        if overdue > self._oldest:
            words = f"{depth.waiting} events wait, one of them overdue for {overdue.total_seconds() / 60:.0f} minutes"
            return PlainTextResponse(f"{words}. Is anything draining the inbox?", status_code=503)
        return PlainTextResponse("ready")

    async def figures(self, _request: Request) -> Response:
        """Answer what Prometheus asks for."""
        try:
            depth = await run_in_threadpool(self._observe)
        except SQLAlchemyError:
            return SILENT
        return Response(self._metrics.shown(depth, self._clock()), media_type=CONTENT_TYPE_LATEST)

    def _observe(self) -> Depth:
        """Look at what was done since the last time, by whichever process."""
        with self._counting:
            for arrived_at, happened_at, done_at in self._inbox.delays(self._counted_until):
                self._metrics.delayed(arrived_at, happened_at, done_at)
                self._counted_until = done_at
        return self._inbox.depth()
