"""POST /webhooks/kommo/{token}: no signature, so a secret in the path; what it says is only where to look.

Kommo wants its answer within 2 seconds and switches a webhook off that fails too often. Source: reference, 6.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from datetime import datetime
from itertools import chain, repeat

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from dealsync.apis.kommo.webhook import read_hook
from dealsync.core.evidence import Sender
from dealsync.errors import UnexpectedAnswer
from dealsync.ledger.inbox import Arrival
from dealsync.receiver.body import BadBody, raw_body
from dealsync.receiver.intake import Intake, NotStored
from dealsync.receiver.metrics import Metrics

SALT_BYTES = 6


class KommoRoute:
    """Takes webhooks of Kommo in. Without a token there is no such route."""

    def __init__(
        self,
        intake: Intake,
        token: str,
        account_id: Callable[[], str | None],
        metrics: Metrics,
        clock: Callable[[], datetime],
    ) -> None:
        """`account_id` tells whose data the database holds; None as long as nobody knows."""
        self._intake = intake
        self._token = token.encode()
        self._account_id = account_id
        self._metrics = metrics
        self._clock = clock

    async def receive(self, request: Request) -> Response:
        """Answer 200 (stored), 400 (no such form), 404 (wrong token or account), 408, 413, 503 (send again)."""
        with self._metrics.answering(Sender.KOMMO):
            given = str(request.path_params["token"]).encode("utf-8", "replace")
            if not self._token or not hmac.compare_digest(given, self._token):
                return self._refuse(404, "wrong token")
            arrived_at = self._clock()
            try:
                body = await raw_body(request)
                hook = read_hook(body, secrets.token_hex(SALT_BYTES))
            except BadBody as error:
                return self._refuse(error.status, error.reason)
            except UnexpectedAnswer as error:
                return self._refuse(400, "not an event", str(error))
            try:
                account_id = await run_in_threadpool(self._account_id)
                if None not in (hook.account_id, account_id) and hook.account_id != account_id:
                    return self._refuse(404, "wrong account")
                # The body is kept once, with the first object in it.
                bodies = chain([body], repeat(b""))
                arrivals = [Arrival(event, kept, arrived_at) for event, kept in zip(hook.events, bodies, strict=False)]
                fresh = await self._intake.keep(arrivals)
            except (NotStored, SQLAlchemyError):
                return self._refuse(503, "not stored")
            for event, is_fresh in zip(hook.events, fresh, strict=True):
                self._metrics.received(event, is_fresh=is_fresh, now=self._clock())
            return PlainTextResponse("stored")

    def _refuse(self, status: int, reason: str, words: str = "") -> Response:
        self._metrics.refused(Sender.KOMMO, reason)
        # A stranger is told no more than that there is nothing here.
        return PlainTextResponse("not found" if status == 404 else words or reason, status_code=status)
