"""Attempts are real requests: told to a receiver on loopback, with real time-outs and refusals."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from dealsync.simulator.courier import Courier
from dealsync.simulator.deliveries import Delivery
from dealsync.simulator.server import Simulator
from dealsync.simulator.world import World
from tests.unit.simulator.bench import NOW

START = NOW.timestamp()
PATIENCE_S = 10.0


class Receiver:
    """Answers with the given statuses in turn, the last one from then on; 0 never answers."""

    def __init__(self, *statuses: int) -> None:
        self._statuses = list(statuses)
        self.got: list[tuple[bytes, bytes]] = []  # head and body
        self.url = ""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        async with server:
            yield

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        self.got.append((head, await reader.readexactly(length)))
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        if status:
            elsewhere = f"location: {self.url}/elsewhere\r\n" if 300 <= status < 400 else ""
            writer.write(f"HTTP/1.1 {status} X\r\n{elsewhere}content-length: 0\r\n\r\n".encode())
        else:
            await reader.read()
        writer.close()


def stopped_world() -> World:
    world = World(start=NOW, running=False)
    world.deliveries.policy("kommo", lambda delivery, status: 10.0 if len(delivery.attempts) < 3 else None)
    world.deliveries.success("kommo", lambda status: status == 200)
    return world


def send(world: World, url: str, body: bytes = b"a=b", after_s: float = 0.0) -> Delivery:
    return world.deliveries.send("kommo", url, {"x-event": "E"}, body, "event", after_s=after_s)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110 (what is waited for knows of no event)
            await asyncio.sleep(0.005)


async def test_courier__posts_the_body_with_its_headers() -> None:
    receiver, world = Receiver(200), stopped_world()
    async with receiver.listening(), Courier(world).working():
        delivery = send(world, receiver.url, b'{"a":"\xc3\xa9"}')
        await until(lambda: delivery.state == "delivered")
    head, body = receiver.got[0]
    assert head.startswith(b"POST /hook HTTP/1.1")
    assert b"x-event: E" in head
    assert body == b'{"a":"\xc3\xa9"}'
    assert delivery.attempts == [{"at": START, "status": 200, "error": None}]


async def test_advance__makes_the_attempts_at_their_own_moments() -> None:
    receiver, world = Receiver(500, 302, 200), stopped_world()
    async with receiver.listening():
        courier = Courier(world)
        async with courier.working():
            delivery = send(world, receiver.url, after_s=3)
            await courier.advance(60)
    assert [(one["at"] - START, one["status"]) for one in delivery.attempts] == [(3, 500), (13, 302), (23, 200)]
    assert delivery.state == "delivered"
    assert len(receiver.got) == 3  # the redirect was not followed
    assert world.clock.now() == START + 60


async def test_courier__gives_up_after_the_last_attempt() -> None:
    receiver, world = Receiver(503), stopped_world()
    async with receiver.listening():
        courier = Courier(world)
        async with courier.working():
            delivery = send(world, receiver.url)
            await courier.advance(1000)
    assert (delivery.state, len(receiver.got)) == ("lost", 3)


async def test_courier__waits_no_longer_than_its_sender_does() -> None:
    receiver, world = Receiver(0), stopped_world()
    world.deliveries.timeout("kommo", 0.05)
    async with receiver.listening(), Courier(world).working():
        delivery = send(world, receiver.url)
        await until(lambda: bool(delivery.attempts))
    assert delivery.attempts[0] == {"at": START, "status": None, "error": "no answer in time"}


@pytest.mark.parametrize("url", ["", "http://[", "ftp://receiver.example/"])
async def test_courier__notes_an_address_that_is_none(url: str) -> None:
    world = stopped_world()
    async with Courier(world).working():
        delivery = send(world, url)
        await until(lambda: bool(delivery.attempts))
    assert delivery.attempts[0]["status"] is None
    assert delivery.attempts[0]["error"]


async def test_courier__notes_a_refused_connection() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, not listening
        world = stopped_world()
        async with Courier(world).working():
            delivery = send(world, f"http://127.0.0.1:{nobody.getsockname()[1]}/")
            await until(lambda: bool(delivery.attempts))
    assert delivery.attempts[0]["status"] is None
    assert delivery.state == "waiting"


async def test_courier__makes_attempts_side_by_side() -> None:
    slow, quick, world = Receiver(0), Receiver(200), stopped_world()
    async with slow.listening(), quick.listening(), Courier(world).working():
        waits, goes = send(world, slow.url), send(world, quick.url)
        await until(lambda: goes.state == "delivered")
        assert waits.state == "waiting"


async def test_courier__that_is_not_working_leaves_deliveries_waiting() -> None:
    world = stopped_world()
    delivery = send(world, "http://127.0.0.1:9/")
    courier = Courier(world)
    await courier.advance(1000)
    assert (delivery.state, delivery.attempts) == ("waiting", [])


async def test_server__delivers_and_retries_in_scaled_time() -> None:
    """Lemon Squeezy's second attempt comes seconds later, here milliseconds."""
    receiver = Receiver(500, 200)
    async with receiver.listening(), httpx.AsyncClient(timeout=PATIENCE_S) as client:
        with Simulator.running(orders=5, faults={"webhook_time_scale": 0.01}) as simulator:
            delivery = simulator.world.deliveries.send("lemonsqueezy", receiver.url, {}, b"x", "order_created")
            await until(lambda: delivery.state == "delivered")
            shown = (await client.get(f"{simulator.url}/control/deliveries")).json()["deliveries"]
    assert [[attempt["status"] for attempt in one["attempts"]] for one in shown] == [[500, 200]]


async def test_server__makes_deliveries_when_its_clock_is_advanced() -> None:
    receiver = Receiver(500, 500, 500, 200)
    async with receiver.listening(), httpx.AsyncClient(timeout=PATIENCE_S) as client:
        with Simulator.running(orders=5, running=False) as simulator:
            delivery = simulator.world.deliveries.send("lemonsqueezy", receiver.url, {}, b"x", "order_created")
            await client.post(f"{simulator.url}/control/clock", json={"advance_s": 200})
    first = delivery.attempts[0]["at"]
    assert [one["at"] - first for one in delivery.attempts] == [0, 5, 30, 155]
    assert delivery.state == "delivered"
