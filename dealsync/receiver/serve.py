"""Runs the receiver: settings in, a server until it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from socket import socket

import uvicorn

from dealsync.errors import ConfigError
from dealsync.ledger.database import told_as_ours
from dealsync.ledger.keys import claim_key
from dealsync.ledger.runs import utc_now
from dealsync.receiver.app import Parts, make_app
from dealsync.receiver.page import Look, Page
from dealsync.settings import Settings, build_store

SHUTDOWN_S = 10
"""How long requests under way may take to end when the receiver is stopped."""


class _Server(uvicorn.Server):
    """Says where it listens once it does: with port 0 nobody knows before."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[str], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        for server in self.servers:
            for listening in server.sockets[:1]:
                host, port = listening.getsockname()[:2]
                self._on_ready(f"http://{host}:{port}")


def receive(settings: Settings, host: str, port: int, *, on_ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; what was accepted is committed first. Raises ConfigError, DatabaseError."""
    app = make_app(parts_of(settings))
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=32_768,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    _Server(config, on_ready).run()


def parts_of(settings: Settings) -> Parts:
    """Return what the receiver is made of. Raises ConfigError, DatabaseError."""
    secrets = settings.environment.webhook_secrets
    if not secrets:
        raise ConfigError(
            "LEMON_SQUEEZY_WEBHOOK_SECRET is missing: without it no webhook can be told from a forged one. Set it to "
            "the signing secret of the webhook in Lemon Squeezy"
        )
    with told_as_ours():
        engine = build_store(settings.environment).limits.database
        key = claim_key(engine)
    claim = settings.config.claim
    look = Look(
        company=claim.company,
        title=claim.title,
        text=claim.text,
        incomplete_title=claim.incomplete_title,
        incomplete_text=claim.incomplete_text,
        accent=claim.accent,
        background=claim.background,
        colour=claim.colour,
        return_url=claim.return_url,
        return_text=claim.return_text,
        language=settings.config.texts.locale.partition("_")[0],
    )
    return Parts(engine, secrets, key, Page(look), utc_now)
