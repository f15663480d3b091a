"""What every API request passes before its route: counting, latency, faults, rate limit, authorisation."""

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dealsync.simulator.assumptions import (
    BLOCK_ENDS_BY_SUPPORT_ONLY,
    REFUSED_CALLS_FILL_THE_WINDOW,
)
from dealsync.simulator.connections import cut
from dealsync.simulator.faults import Injection
from dealsync.simulator.kommo import wire as kommo_wire
from dealsync.simulator.kommo.languages import LANGUAGE
from dealsync.simulator.lemonsqueezy import wire as ls_wire
from dealsync.simulator.limits import SlidingWindow
from dealsync.simulator.reasons import reason
from dealsync.simulator.world import World

NOWHERE = "(no route)"
CUT_AFTER_S = 0.01


class Gate(ABC):
    """ASGI layer around one API's routes; the two APIs differ in limit and authorisation."""

    api: str

    def __init__(self, app: ASGIApp, world: World, routes: Sequence[Route]) -> None:
        self._app = app
        self._world = world
        self._routes = routes
        self._chance = random.Random(f"latency {world.seed}")  # apart from the world's, whose ids must repeat

    @abstractmethod
    def refusal(self, request: Request, *, known: bool) -> Response | None:
        """Return the answer of the limiter or of authorisation; None lets the request through."""

    @abstractmethod
    def failure(self, status: int) -> Response:
        """Return the answer of an injected status, in the shape this API has for it."""

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return headers to add to what the route answers."""
        return []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        request = Request(scope, receive)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        template = self._template(scope)
        self._world.log.note(self.api, request.method, template or NOWHERE)
        # Judged as it comes in: a limiter counts arrivals, however long the answer takes and whoever still waits.
        fault = self._world.faults.take(self.api, request.method, path)
        dropped = fault is not None and fault.how == "drop"
        answer = None if dropped else self._injected(fault) or self.refusal(request, known=template is not None)
        wait_ms = self._latency_ms()
        if wait_ms:
            await asyncio.sleep(wait_ms / 1000)
        if dropped:
            await cut(scope, receive)
            return
        if answer is not None:
            if answer.status_code == 429:
                self._world.log.note_refused(self.api)
            await answer(scope, receive, send)
        elif fault is None:
            await self._app(scope, receive, self._with_headers(send))
        else:
            await self._apply_only(fault, scope, receive, send)

    async def _apply_only(self, fault: Injection, scope: Scope, receive: Receive, send: Send) -> None:
        """Do what the request asks for, but let its answer be lost, or a part of it."""
        answer = _Answer()
        await self._app(scope, receive, answer.keep)
        if fault.how == "apply_then_504":
            await HTMLResponse("<h1>504 Gateway Time-out</h1>", 504)(scope, receive, send)
            return
        if fault.how == "apply_then_cut":
            await answer.begin(send)
        elif fault.how == "apply_then_halve":
            await answer.send_half(send)
            return
        await cut(scope, receive)

    def _injected(self, fault: Injection | None) -> Response | None:
        if fault is None or fault.how != "answer":
            return None
        if fault.html:
            answer: Response = HTMLResponse(f"<html><body><h1>{fault.status}</h1></body></html>", fault.status)
        else:
            answer = self.failure(fault.status)
        if fault.retry_after:
            answer.headers["retry-after"] = fault.retry_after
        return answer

    def _with_headers(self, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self.headers()]
            await send(message)

        return sending

    def _latency_ms(self) -> float:
        faults = self._world.faults
        if not faults.latency_jitter_ms:
            return faults.latency_ms
        return faults.latency_ms + self._chance.uniform(0, faults.latency_jitter_ms)

    def _template(self, scope: Scope) -> str | None:
        for route in self._routes:
            match, _ = route.matches(scope)
            if match is not Match.NONE:
                return route.path
        return None


class KommoGate(Gate):
    """7 calls in a sliding second, then 429; too many of those, then an HTML 403 for everything (1.5)."""

    api = "kommo"

    def __init__(self, app: ASGIApp, world: World, routes: Sequence[Route]) -> None:
        super().__init__(app, world, routes)
        self._second = SlidingWindow(1.0)
        self._refused_minute = SlidingWindow(60.0)
        self._blocked = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, with errors in the account's language."""
        LANGUAGE.set(self._world.faults.lang)
        await super().__call__(scope, receive, send)

    def unblock(self) -> None:
        """Lift the block, as support would."""
        self._blocked = False
        self._second.clear()
        self._refused_minute.clear()

    def refusal(self, request: Request, *, known: bool) -> Response | None:
        """Return 403 while blocked, 429 over the limit, 401 without a live token."""
        del known
        faults, now = self._world.faults, time.monotonic()
        if faults.kommo_limit_enabled:
            if self._is_blocked(now):
                return kommo_wire.blocked()
            if self._second.count(now) >= faults.kommo_per_second:
                self._refused_minute.add(now)
                if REFUSED_CALLS_FILL_THE_WINDOW:
                    self._second.add(now)
                return self._too_many()
            self._second.add(now)
        if "/oauth2/" in request.url.path:  # these take a code or a refresh token, not an access token
            return None
        if not self._world.tokens.accepts(request.headers.get("authorization")):
            return kommo_wire.plain(401, "Invalid user name or password")
        return None

    def failure(self, status: int) -> Response:
        """Return shape C, or shape D from 500 up (1.6)."""
        return kommo_wire.server_error(status) if status >= 500 else kommo_wire.plain(status, "Injected")

    def _too_many(self) -> Response:
        faults = self._world.faults
        if faults.kommo_429_html:
            answer: Response = HTMLResponse("<html><body><h1>429 Too Many Requests</h1></body></html>", 429)
        else:
            answer = kommo_wire.too_many(faults.kommo_retry_after_s)
        if faults.retry_after_header:
            answer.headers["retry-after"] = str(faults.kommo_retry_after_s)
        return answer

    def _is_blocked(self, now: float) -> bool:
        over = self._refused_minute.count(now) > self._world.faults.kommo_block_after
        self._blocked = over or (self._blocked and BLOCK_ENDS_BY_SUPPORT_ONLY)
        return self._blocked


class LemonSqueezyGate(Gate):
    """300 calls in a sliding minute, shown in headers on success; 401 for a wrong key, 404 before it."""

    api = "lemonsqueezy"

    def __init__(self, app: ASGIApp, world: World, routes: Sequence[Route]) -> None:
        super().__init__(app, world, routes)
        self._minute = SlidingWindow(60.0)

    def unblock(self) -> None:
        """Forget the calls of the last minute."""
        self._minute.clear()

    def refusal(self, request: Request, *, known: bool) -> Response | None:
        """Return 404 for an unknown path (even with a wrong key), 401, or 429."""
        if not known:
            return ls_wire.not_found()
        if request.headers.get("authorization") != f"Bearer {self._world.secrets.lemon_squeezy_key}":
            return ls_wire.unauthorised()
        faults, now = self._world.faults, time.monotonic()
        if not faults.ls_limit_enabled:
            return None
        if self._minute.count(now) >= faults.ls_per_minute:
            return self._too_many(now)
        self._minute.add(now)
        return None

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the limit and what is left of it."""
        limit = self._world.faults.ls_per_minute
        left = max(0, limit - self._minute.count(time.monotonic()))
        return [
            (b"x-ratelimit-limit", str(limit).encode()),
            (b"x-ratelimit-remaining", str(left).encode()),
        ]

    def failure(self, status: int) -> Response:
        """Return an error document, or from 500 up what is not one (4)."""
        if status >= 500:
            return ls_wire.server_error(status)
        return ls_wire.error(status, reason(status), "Injected.")

    def _too_many(self, now: float) -> Response:
        answer = ls_wire.error(429, "Too Many Requests", "Too Many Attempts.")
        if self._world.faults.ls_retry_after:
            wait_s = int(self._minute.wait_s(now)) + 1
            answer.headers["retry-after"] = str(wait_s)
            answer.headers["x-ratelimit-reset"] = str(int(time.time()) + wait_s)
        return answer


class _Answer:
    """An answer that is not sent as it is."""

    def __init__(self) -> None:
        self._start: Message = {"type": "http.response.start", "status": 204, "headers": []}
        self._body = b""

    async def keep(self, message: Message) -> None:
        """Take a part of the answer and send nothing."""
        if message["type"] == "http.response.start":
            self._start = message
        else:
            self._body += message.get("body", b"")

    async def begin(self, send: Send) -> None:
        """Send the head, which tells the whole length, and half of the body."""
        await send(self._start)
        await send({"type": "http.response.body", "body": self._half, "more_body": True})
        await asyncio.sleep(CUT_AFTER_S)  # else what was written can be lost with the connection

    async def send_half(self, send: Send) -> None:
        """Send half of the body as if it were the whole."""
        headers = [(name, value) for name, value in self._start["headers"] if name.lower() != b"content-length"]
        length = (b"content-length", str(len(self._half)).encode())
        await send({**self._start, "headers": [*headers, length] if self._body else headers})
        await send({"type": "http.response.body", "body": self._half})

    @property
    def _half(self) -> bytes:
        return self._body[: len(self._body) // 2]
