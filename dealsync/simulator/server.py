"""The simulator as a server on loopback: in a thread for tests and demos, or blocking for the command."""

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Unpack

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from dealsync.simulator.assumptions import LS_WRONG_METHOD_STATUS, WRONG_METHOD_STATUS
from dealsync.simulator.connections import CuttableProtocol
from dealsync.simulator.control import ControlRoutes
from dealsync.simulator.courier import Courier
from dealsync.simulator.gate import KommoGate, LemonSqueezyGate
from dealsync.simulator.kommo import api as kommo_api
from dealsync.simulator.kommo import wire as kommo_wire
from dealsync.simulator.lemonsqueezy import wire as ls_wire
from dealsync.simulator.lemonsqueezy.routes import LemonSqueezyRoutes
from dealsync.simulator.opening import Start, opening, write_state
from dealsync.simulator.world import KOMMO_DOMAIN, World

START_TIMEOUT_S = 10.0
HOST = "127.0.0.1"


def create_app(world: World) -> Starlette:
    """Return the ASGI application: both APIs and the control routes, on one world.

    Deliveries are made between its lifespan's start-up and shutdown; without a lifespan they only wait.
    """
    kommo, lemon_squeezy = _kommo(world), _lemon_squeezy(world)

    def unblock() -> None:
        kommo.unblock()
        lemon_squeezy.unblock()

    courier = Courier(world)
    control = ControlRoutes(world, courier, unblock)
    return Starlette(
        routes=[
            Mount("/kommo", app=kommo),
            Mount("/lemonsqueezy", app=lemon_squeezy),
            *control.routes(),
            *_at_root(kommo, ("/api/v4", "/oauth2")),
            *_at_root(lemon_squeezy, ("/v1",)),
        ],
        middleware=[Middleware(_InTime, courier)],
        lifespan=lambda app: courier.working(),
    )


def _at_root(gate: KommoGate | LemonSqueezyGate, prefixes: Iterable[str]) -> list[Route]:
    """Return an API's routes at the root as well: for clients that take a host, or an origin without a path."""
    # An endpoint that is no function is called with the scope as it came, for every method.
    return [Route(f"{prefix}/{{rest:path}}", gate) for prefix in prefixes]


class _InTime:
    """Lets happen what is due before a request is looked at, and starts the deliveries it led to afterwards."""

    def __init__(self, app: ASGIApp, courier: Courier) -> None:
        self._app = app
        self._courier = courier

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._courier.start_due()
        await self._app(scope, receive, send)
        self._courier.start_due()


def _kommo(world: World) -> KommoGate:
    async def not_found(request: Request, error: Exception) -> Response:
        return kommo_wire.unknown_path(request)

    async def not_allowed(request: Request, error: Exception) -> Response:
        return kommo_wire.plain(WRONG_METHOD_STATUS, f"Method {request.method} is not allowed")

    routes = kommo_api.routes(world)
    app = Starlette(routes=routes, exception_handlers={404: not_found, 405: not_allowed})
    return KommoGate(app, world, routes)


def _lemon_squeezy(world: World) -> LemonSqueezyGate:
    async def not_found(request: Request, error: Exception) -> Response:
        return ls_wire.not_found()

    async def not_allowed(request: Request, error: Exception) -> Response:
        detail = f"The {request.method} method is not supported."
        return ls_wire.error(LS_WRONG_METHOD_STATUS, "Method Not Allowed", detail)

    routes = LemonSqueezyRoutes(world).routes()
    app = Starlette(routes=routes, exception_handlers={404: not_found, 405: not_allowed})
    return LemonSqueezyGate(app, world, routes)


class Simulator:
    """A running simulator: where it is, what is in it, and what a client must be told."""

    def __init__(self, url: str, world: World) -> None:
        self.url = url
        self.world = world

    def environment(self) -> dict[str, str]:
        """Return the environment variables a client needs."""
        world, secrets = self.world, self.world.secrets
        first_variant = next(iter(world.lemon_squeezy.tables["variants"].ids()), "")
        return {
            "LEMON_SQUEEZY_API_KEY": secrets.lemon_squeezy_key,
            "LEMON_SQUEEZY_STORE_ID": str(world.lemon_squeezy.store_id),
            "LEMON_SQUEEZY_VARIANT_ID": str(first_variant),
            "LEMON_SQUEEZY_WEBHOOK_SECRET": secrets.lemon_squeezy_webhook_secret,
            "LEMON_SQUEEZY_API_URL": f"{self.url}/lemonsqueezy",
            "KOMMO_DOMAIN": KOMMO_DOMAIN,
            "KOMMO_TOKEN": secrets.kommo.token,
            "KOMMO_API_URL": f"{self.url}/kommo",
            "KOMMO_CLIENT_ID": secrets.kommo.client_id,
            "KOMMO_CLIENT_SECRET": secrets.kommo.client_secret,
            "KOMMO_REDIRECT_URI": secrets.kommo.redirect_uri,
            "KOMMO_AUTH_CODE": secrets.kommo.code,
            "KOMMO_WEBHOOK_TOKEN": secrets.kommo_webhook_token,
            "DEALSYNC_MODE": "test" if world.lemon_squeezy.test_mode_key else "live",
        }

    @classmethod
    @contextmanager
    def running(cls, *, host: str = HOST, port: int = 0, **start: Unpack[Start]) -> Iterator["Simulator"]:
        """Run a simulator in a thread and stop it at the end. Port 0 takes a free one; `start` says with which world.

        Raises OSError when the port is taken, and what `opening` raises.
        """
        listener = _listen(host, port)
        with listener:
            world = opening(**start)
            with _serving(create_app(world), listener):
                yield cls(f"http://{host}:{listener.getsockname()[1]}", world)


def serve(
    host: str = HOST,
    port: int = 8787,
    *,
    on_ready: Callable[[Simulator], None] | None = None,
    **start: Unpack[Start],
) -> None:
    """Run a simulator until SIGINT or SIGTERM; call from the main thread. Raises as `Simulator.running` does.

    `on_ready` is called once it answers, e.g. to print its address. A `state` file is written when it has stopped.
    """
    stop = threading.Event()
    with _setting_on_signals(stop):
        with Simulator.running(host=host, port=port, **start) as simulator:
            if on_ready is not None:
                on_ready(simulator)
            stop.wait()
        state = start.get("state")
        if state is not None:
            write_state(state, simulator.world)


@contextmanager
def _setting_on_signals(stop: threading.Event) -> Iterator[None]:
    def handler(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _listen(host: str, port: int) -> socket.socket:
    try:
        listener = socket.create_server((host, port))
    except OSError as reason:
        raise OSError(reason.errno, f"cannot listen on {host}:{port}: {reason.strerror}") from reason
    # Connections inherit it. Else headers and body of an answer travel 40 ms apart: asyncio does not know this socket
    # for one of TCP, because it was not told so when it was made.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


@contextmanager
def _serving(app: Starlette, listener: socket.socket) -> Iterator[None]:
    config = uvicorn.Config(
        app,
        http=CuttableProtocol,
        ws="none",
        lifespan="on",
        log_level="critical",
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), name="simulator", daemon=True)
    thread.start()
    try:
        _wait_until_started(server, thread)
        yield
    finally:
        server.should_exit = True
        thread.join(START_TIMEOUT_S)


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("the simulator did not start")
        time.sleep(0.005)
