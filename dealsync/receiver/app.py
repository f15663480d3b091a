"""The receiver: routes, and what they share. Every answer that says "stored" is given after the commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dealsync.ledger.evidence import Evidence
from dealsync.receiver.claim import ClaimRoute
from dealsync.receiver.lemon_squeezy import WebhookRoute
from dealsync.receiver.page import Page


@dataclass(frozen=True, slots=True)
class Parts:
    """What the receiver is made of."""

    engine: Engine
    webhook_secrets: Sequence[str]
    claim_key: bytes
    page: Page
    clock: Callable[[], datetime]


def make_app(parts: Parts) -> Starlette:
    """Return the ASGI application. It reads no setting and keeps nothing in memory."""
    evidence = Evidence(parts.engine)
    webhook = WebhookRoute(evidence, parts.webhook_secrets, parts.clock)
    claim = ClaimRoute(evidence, parts.claim_key, parts.page, parts.clock)
    return Starlette(
        routes=[
            Route("/webhooks/lemon-squeezy", webhook.receive, methods=["POST"]),
            Route("/claim", claim.visit, methods=["GET"]),
            Route("/healthz", _alive, methods=["GET"]),
            Route("/readyz", _readiness(parts.engine), methods=["GET"]),
        ]
    )


async def _alive(_request: Request) -> Response:
    return PlainTextResponse("ok")


def _readiness(engine: Engine) -> Callable[[Request], object]:
    def ask() -> None:
        with engine.connect() as db:
            db.execute(text("SELECT 1"))

    async def ready(_request: Request) -> Response:
        try:
            await run_in_threadpool(ask)
        except SQLAlchemyError:
            return PlainTextResponse("the database does not answer", status_code=503)
        return PlainTextResponse("ready")

    return ready
