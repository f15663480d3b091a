"""Runs the receiver: settings in, a server until it is stopped."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import uvicorn

from dealsync.alerting import watch
from dealsync.errors import ConfigError
from dealsync.ledger.database import told_as_ours
from dealsync.ledger.keys import claim_key
from dealsync.ledger.runs import utc_now
from dealsync.receiver.app import Parts, make_app
from dealsync.receiver.page import Page
from dealsync.receiver.protocol import LARGEST_HEAD, ImpatientProtocol
from dealsync.receiver.trigger import Trigger
from dealsync.settings import Settings, Store, build_store

SHUTDOWN_S = 10
"""How long requests under way may take to end when the receiver is stopped."""

BACKLOG = 2048
"""Connections that wait to be taken up; a burst of events comes over many."""
LOOK_EVERY_S = 300.0
"""How often the receiver looks whether dealsync is well: it notices when no run comes that could tell."""


class _Server(uvicorn.Server):
    """Says where it listens once it does: with port 0 nobody knows before."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[str], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for one in sockets or ():
            host, port = one.getsockname()[:2]
            self._on_ready(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")


def receive(parts: Parts, host: str, port: int, *, on_ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; what was accepted is committed first. Raises ConfigError."""
    with listener(host, port) as listening:
        server(parts, on_ready).run([listening])


def server(parts: Parts, on_ready: Callable[[str], None]) -> uvicorn.Server:
    """Return the server, for a socket of `listener`."""
    config = uvicorn.Config(
        make_app(parts),
        http=ImpatientProtocol,
        log_level="warning",
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=LARGEST_HEAD,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    return _Server(config, on_ready)


def listener(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; port 0 takes a free one. Raises ConfigError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(f"Cannot listen on {host}, port {port}: {error.strerror}. Choose another") from error
    # Connections inherit it. Else headers and body of an answer travel 40 ms apart: asyncio does not know this socket
    # for one of TCP, because it was not told so when it was made.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def alone(settings: Settings) -> Parts:
    """Return the parts of a receiver that runs alone: where a Prefect server is named, it wakes `process-inbox` there.

    Raises as `parts_of`.
    """
    environment = settings.environment
    if not environment.prefect_api_url:
        return parts_of(settings)
    inbox = build_store(environment).inbox
    password = environment.prefect_api_auth_string.get_secret_value()
    trigger = Trigger(environment.prefect_api_url, password, lambda: inbox.due(utc_now()))
    parts = parts_of(settings, on_stored=trigger.wake)
    return replace(parts, beside=(*parts.beside, trigger.run))


def parts_of(settings: Settings, *, on_stored: Callable[[], None] = lambda: None) -> Parts:
    """Return what the receiver is made of. Raises ConfigError, DatabaseError."""
    secrets = settings.environment.webhook_secrets
    if not secrets:
        raise ConfigError(
            "LEMON_SQUEEZY_WEBHOOK_SECRET is missing: without it no webhook can be told from a forged one. Set it to "
            "the signing secret of the webhook in Lemon Squeezy"
        )
    with told_as_ours():
        store = build_store(settings.environment)
        engine = store.limits.database
        key = claim_key(engine)
    language = settings.config.texts.locale.partition("_")[0]
    return Parts(
        engine,
        secrets,
        key,
        Page(settings.config.claim, language),
        utc_now,
        kommo_token=settings.environment.kommo_webhook_token.get_secret_value(),
        on_stored=on_stored,
        beside=(lambda: look_now_and_then(settings, store),),
        oldest=timedelta(minutes=settings.config.inbox.ready_minutes),
    )


async def look_now_and_then(settings: Settings, store: Store) -> None:
    """Look whether dealsync is well every LOOK_EVERY_S, in a thread: webhooks are answered meanwhile."""

    def look() -> None:
        asyncio.run(watch(settings, store))

    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        await asyncio.to_thread(look)
