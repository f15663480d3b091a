"""The receiver: routes, and what they share. Every answer that says "stored" is given after the commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.routing import Route

from dealsync.ledger.evidence import Evidence
from dealsync.ledger.inbox import Inbox
from dealsync.ledger.runs import KOMMO_ACCOUNT, Runs
from dealsync.receiver.claim import ClaimRoute
from dealsync.receiver.health import Health
from dealsync.receiver.intake import Intake
from dealsync.receiver.kommo import KommoRoute
from dealsync.receiver.lemon_squeezy import WebhookRoute
from dealsync.receiver.metrics import Metrics
from dealsync.receiver.page import Page


@dataclass(frozen=True, slots=True)
class Parts:
    """What the receiver is made of."""

    engine: Engine
    webhook_secrets: Sequence[str]
    claim_key: bytes
    page: Page
    clock: Callable[[], datetime]
    kommo_token: str = ""  # without it, Kommo's webhooks are not taken in
    on_stored: Callable[[], None] = lambda: None  # called in the event loop whenever something new is committed
    beside: Sequence[Callable[[], Coroutine[None, None, None]]] = ()  # run as long as the receiver does
    oldest: timedelta = timedelta(minutes=10)  # how long an event may wait while the receiver is ready


def make_app(parts: Parts) -> Starlette:
    """Return the ASGI application. It reads no setting; what it accepted is committed before it ends."""
    evidence, inbox, metrics = Evidence(parts.engine), Inbox(parts.engine), Metrics()
    intake = Intake(inbox, parts.on_stored)
    webhook = WebhookRoute(intake, parts.webhook_secrets, metrics, parts.clock)
    kommo = KommoRoute(intake, parts.kommo_token, _account_id(parts.engine), metrics, parts.clock)
    claim = ClaimRoute(evidence, parts.claim_key, parts.page, parts.clock)
    health = Health(inbox, metrics, parts.clock, oldest=parts.oldest)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with _running(parts.beside):
            yield
        await intake.close()

    return Starlette(
        routes=[
            Route("/webhooks/lemon-squeezy", webhook.receive, methods=["POST"]),
            Route("/webhooks/kommo/{token}", kommo.receive, methods=["POST"]),
            Route("/claim", claim.visit, methods=["GET"]),
            Route("/healthz", health.alive, methods=["GET"]),
            Route("/readyz", health.ready, methods=["GET"]),
            Route("/metrics", health.figures, methods=["GET"]),
        ],
        lifespan=lifespan,
    )


@asynccontextmanager
async def _running(beside: Sequence[Callable[[], Coroutine[None, None, None]]]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(one()) for one in beside]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _account_id(engine: Engine) -> Callable[[], str | None]:
    """Whose data the database holds: asked until it is known, for that never changes."""
    runs, known = Runs(engine), list[str]()

    def ask() -> str | None:
        if not known and (found := runs.bound(KOMMO_ACCOUNT)) is not None:
            known.append(found)
        return known[0] if known else None

    return ask
