"""The simulator as a server on loopback: in a thread for tests and demos, or blocking for the command."""

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from dealsync.simulator.assumptions import LS_WRONG_METHOD_STATUS, WRONG_METHOD_STATUS
from dealsync.simulator.connections import CuttableProtocol
from dealsync.simulator.control import ControlRoutes
from dealsync.simulator.gate import KommoGate, LemonSqueezyGate
from dealsync.simulator.kommo import wire as kommo_wire
from dealsync.simulator.kommo.oauth import access_token
from dealsync.simulator.kommo.routes import EntityRoutes
from dealsync.simulator.kommo.routes_account import AccountRoutes
from dealsync.simulator.kommo.routes_activity import ActivityRoutes
from dealsync.simulator.lemonsqueezy import wire as ls_wire
from dealsync.simulator.lemonsqueezy.routes import LemonSqueezyRoutes
from dealsync.simulator.samples import recorded
from dealsync.simulator.seed import seeded
from dealsync.simulator.world import KOMMO_DOMAIN, World

START_TIMEOUT_S = 10.0
HOST = "127.0.0.1"


def create_app(world: World) -> Starlette:
    """Return the ASGI application: both APIs and the control routes, on one world."""
    kommo, lemon_squeezy = _kommo(world), _lemon_squeezy(world)

    def unblock() -> None:
        kommo.unblock()
        lemon_squeezy.unblock()

    control = ControlRoutes(world, unblock)
    return Starlette(
        routes=[
            Mount("/kommo", app=kommo),
            Mount("/lemonsqueezy", app=lemon_squeezy),
            *control.routes(),
        ],
    )


def _kommo(world: World) -> KommoGate:
    async def token(request: Request) -> Response:
        return await access_token(request, world.tokens)

    async def not_found(request: Request, error: Exception) -> Response:
        return kommo_wire.unknown_path(request)

    async def not_allowed(request: Request, error: Exception) -> Response:
        return kommo_wire.plain(WRONG_METHOD_STATUS, f"Method {request.method} is not allowed")

    # The fixed paths ("/leads/custom_fields") never clash with "/leads/{id:int}".
    routes = [
        Route("/oauth2/access_token", token, methods=["POST"]),
        *EntityRoutes(world).routes(),
        *AccountRoutes(world).routes(),
        *ActivityRoutes(world).routes(),
    ]
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
    def running(
        cls,
        *,
        seed: int = 1,
        orders: int = 120,
        host: str = HOST,
        port: int = 0,
        latency_ms: int = 0,
        samples: Path | None = None,
        now: datetime | None = None,
    ) -> Iterator["Simulator"]:
        """Run a simulator in a thread and stop it at the end. Port 0 takes a free one.

        `samples` is a folder of recorded payloads to serve instead of a seeded world. Raises OSError when
        the port is taken.
        """
        listener = _listen(host, port)
        with listener:
            if samples is None:
                world = seeded(seed=seed, orders=orders, now=now)
            else:
                world = recorded(samples, seed=seed, now=now)
            world.faults.latency_ms = latency_ms
            with _serving(create_app(world), listener):
                yield cls(f"http://{host}:{listener.getsockname()[1]}", world)


def serve(
    host: str = HOST,
    port: int = 8787,
    *,
    seed: int = 1,
    orders: int = 120,
    latency_ms: int = 0,
    samples: Path | None = None,
    now: datetime | None = None,
    on_ready: Callable[[Simulator], None] | None = None,
) -> None:
    """Run a simulator until SIGINT or SIGTERM; call from the main thread. Raises OSError for a taken port.

    `on_ready` is called once it answers, e.g. to print its address.
    """
    stop = threading.Event()
    running = Simulator.running(
        seed=seed, orders=orders, host=host, port=port, latency_ms=latency_ms, samples=samples, now=now
    )
    with _setting_on_signals(stop), running as simulator:
        if on_ready is not None:
            on_ready(simulator)
        stop.wait()


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
        return socket.create_server((host, port))
    except OSError as reason:
        raise OSError(reason.errno, f"cannot listen on {host}:{port}: {reason.strerror}") from reason


@contextmanager
def _serving(app: Starlette, listener: socket.socket) -> Iterator[None]:
    config = uvicorn.Config(
        app,
        http=CuttableProtocol,
        ws="none",
        lifespan="off",
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
