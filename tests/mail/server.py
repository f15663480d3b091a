"""A mail server on loopback that says what it is told to say, and keeps what it takes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from dealsync.mail.send import Postman


@dataclass
class Server:
    """Keeps what it takes."""

    answers: dict[str, str] = field(default_factory=dict)  # to RCPT or DATA; for one alone: to "RCPT ann@example.com"
    knows_ascii_only: bool = False  # before the @ of an address
    hangs_up: bool = False  # once the message was handed over
    taken: list[Envelope] = field(default_factory=list)

    async def handle_RCPT(  # noqa: N802 - the hook's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take a recipient, or not."""
        answer = self.answers.get(f"RCPT {address}", self.answers.get("RCPT", "250 OK"))
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Take a message, or not."""
        if self.hangs_up:
            assert isinstance(server.transport, asyncio.WriteTransport)
            server.transport.abort()
        if "DATA" not in self.answers:
            self.taken.append(envelope)
        return self.answers.get("DATA", "250 taken")


class _Anywhere(Controller):
    """Listens on a port that is free: the library's own needs to know it beforehand."""

    def _create_server(self) -> Coroutine[Any, Any, asyncio.AbstractServer]:
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        return self.loop.create_server(self._factory_invoker, sock=listening)


@contextmanager
def running(server: Server, **options: Any) -> Iterator[Postman]:
    """Run it on a free port; yield who takes e-mails there."""
    options.setdefault("enable_SMTPUTF8", not server.knows_ascii_only)
    controller = _Anywhere(server, hostname="127.0.0.1", **options)
    controller.start()
    try:
        yield Postman("127.0.0.1", controller.port, security="none", timeout_s=5)
    finally:
        controller.stop()
