"""POST /webhooks/lemon-squeezy: verified over the raw bytes, stored, and only then answered with 200.

Lemon Squeezy counts nothing but 200 as received and gives an event up after some 155 seconds. Source: reference, 7.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from dealsync.apis.lemonsqueezy.webhook import is_signed, read_event
from dealsync.core.evidence import Sender
from dealsync.errors import UnexpectedAnswer
from dealsync.ledger.inbox import Arrival
from dealsync.receiver.body import BadBody, raw_body
from dealsync.receiver.intake import Intake, NotStored
from dealsync.receiver.metrics import Metrics

SIGNATURE = "x-signature"


class WebhookRoute:
    """Takes events of Lemon Squeezy in."""

    def __init__(self, intake: Intake, secrets: Sequence[str], metrics: Metrics, clock: Callable[[], datetime]) -> None:
        self._intake = intake
        self._secrets = tuple(secrets)
        self._metrics = metrics
        self._clock = clock

    async def receive(self, request: Request) -> Response:
        """Answer 200 (stored, now or before), 400 (no event), 401 (not signed), 408, 413 (too large), 503 (again)."""
        with self._metrics.answering(Sender.LEMON_SQUEEZY):
            arrived_at = self._clock()
            try:
                body = await raw_body(request)
            except BadBody as error:
                return self._refuse(error.status, error.reason)
            if not is_signed(body, request.headers.get(SIGNATURE, ""), self._secrets):
                return self._refuse(401, "wrong signature")
            try:
                event = read_event(body)
            except UnexpectedAnswer as error:
                return self._refuse(400, "not an event", str(error))
            try:
                (is_fresh,) = await self._intake.keep([Arrival(event, body, arrived_at)])
            except NotStored as error:
                return self._refuse(503, "not stored", str(error))
            self._metrics.received(event, is_fresh=is_fresh, now=self._clock())
            return PlainTextResponse("stored" if is_fresh else "stored before")

    def _refuse(self, status: int, reason: str, words: str = "") -> Response:
        self._metrics.refused(Sender.LEMON_SQUEEZY, reason)
        return PlainTextResponse(words or reason, status_code=status)
