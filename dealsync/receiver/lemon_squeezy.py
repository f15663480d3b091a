"""POST /webhooks/lemon-squeezy: verified over the raw bytes, stored, and only then answered with 200.

Lemon Squeezy counts nothing but 200 as received and gives an event up after some 155 seconds. Source: reference, 7.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from dealsync.apis.lemonsqueezy.webhook import is_signed, read_event
from dealsync.errors import UnexpectedAnswer
from dealsync.ledger.evidence import Evidence

LARGEST_BODY = 1_000_000
SIGNATURE = "x-signature"


class TooLarge(Exception):
    """More bytes came than any event has; the rest is not read."""


class WebhookRoute:
    """Takes events in."""

    def __init__(self, evidence: Evidence, secrets: Sequence[str], clock: Callable[[], datetime]) -> None:
        self._evidence = evidence
        self._secrets = tuple(secrets)
        self._clock = clock

    async def receive(self, request: Request) -> Response:
        """Answer 200 (stored, now or before), 400 (no event), 401 (not signed), 413 (too large), 503 (try again)."""
        try:
            body = await _body(request)
        except TooLarge:
            return PlainTextResponse("too large", status_code=413)
        except ClientDisconnect:
            return PlainTextResponse("cut off", status_code=400)  # nobody reads it; the event will come again
        if not is_signed(body, request.headers.get(SIGNATURE, ""), self._secrets):
            return PlainTextResponse("wrong signature", status_code=401)
        try:
            event = read_event(body)
        except UnexpectedAnswer as error:
            return PlainTextResponse(str(error), status_code=400)
        try:
            fresh = await run_in_threadpool(self._evidence.keep_event, event, body, self._clock())
        except SQLAlchemyError:
            return PlainTextResponse("the database does not answer", status_code=503)
        return PlainTextResponse("stored" if fresh else "stored before")


async def _body(request: Request) -> bytes:
    """Return the raw body. Raises TooLarge as soon as it is or says so, ClientDisconnect if it ends early."""
    promised = request.headers.get("content-length", "")
    if promised.isdecimal() and int(promised[:20]) > LARGEST_BODY:
        raise TooLarge
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST_BODY:
            raise TooLarge
        parts.append(part)
    return b"".join(parts)
