"""Strangers who are slow, endless or gone: they are cut off, and nobody else notices."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import uvicorn

from dealsync.ledger.inbox import Chosen, Inbox
from dealsync.receiver import body, protocol
from dealsync.receiver.serve import listener, server
from tests.receiver.parts import LEMON_SQUEEZY, database, order, parts, signed

HEAD = b"POST /webhooks/lemon-squeezy HTTP/1.1\r\nHost: x\r\n"


class Running:
    """A receiver in a thread of this process, on a free port."""

    def __init__(self, folder: Path) -> None:
        self.engine = database(folder)
        self.port = 0
        ready = threading.Event()

        def on_ready(url: str) -> None:
            self.port = int(url.rpartition(":")[2])
            ready.set()

        self.server: uvicorn.Server = server(parts(self.engine), on_ready)
        self._socket = listener("127.0.0.1", 0)
        self._thread = threading.Thread(target=self.server.run, args=([self._socket],))
        self._thread.start()
        assert ready.wait(10)

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join(20)
        self._socket.close()
        self.engine.dispose()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=10)


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(protocol, "SLOWEST_HEAD_S", 0.4)
    monkeypatch.setattr(body, "SLOWEST_S", 0.4)
    found = Running(tmp_path)
    yield found
    found.stop()


def silent(_connection: socket.socket) -> None:
    """Say nothing."""


def half_a_head(connection: socket.socket) -> None:
    connection.sendall(HEAD)


def drop_by_drop(connection: socket.socket) -> None:
    """Go on for ever, a byte at a time: each byte is progress, and yet there never is a head."""
    for _ in range(40):
        try:
            connection.sendall(b"X")
        except OSError:
            return
        time.sleep(0.03)


def talk_on(connection: socket.socket) -> None:
    """Send a byte now and then, for five seconds at most."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        connection.sendall(b"x")
        time.sleep(0.02)


@pytest.mark.parametrize("behave", [silent, half_a_head, drop_by_drop])
def test_client__that_never_says_what_he_wants_is_cut_off(
    running: Running, behave: Callable[[socket.socket], None]
) -> None:
    with running.connect() as connection:
        began = time.monotonic()
        behave(connection)
        with suppress(ConnectionResetError):
            assert connection.recv(1000) == b""
        assert time.monotonic() - began < 5


def test_client__who_stalls_in_the_body_is_told_so(running: Running) -> None:
    with running.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 10\r\n\r\nabc")
        assert b" 408 " in connection.recv(1000).partition(b"\r\n")[0]
    assert Inbox(running.engine).listed(Chosen()) == []


@pytest.mark.parametrize("size", [40_000, 100_000])
def test_client__with_a_head_too_large_is_refused(running: Running, size: int) -> None:
    with running.connect() as connection:
        try:
            connection.sendall(HEAD + b"X-Long: " + b"x" * size + b"\r\nContent-Length: 0\r\n\r\n")
            answer = connection.recv(1000)
        except ConnectionError:
            answer = b""
        assert answer == b"" or b" 400 " in answer.partition(b"\r\n")[0]


@pytest.mark.parametrize("target", [b"POST /webhooks/kommo/guessed", b"GET /healthz", b"POST /webhooks/lemon-squeezy"])
def test_client__who_was_answered_and_goes_on_talking_is_cut_off(running: Running, target: bytes) -> None:
    with running.connect() as connection:
        connection.sendall(target + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 ")
        with pytest.raises(ConnectionError):
            talk_on(connection)


def test_client__who_is_quick_is_served_on_one_connection_beside_slow_ones(running: Running) -> None:
    slow = [running.connect() for _ in range(5)]
    try:
        with running.client() as http:
            for number in range(3):
                event = order(str(number))
                answer = http.post(LEMON_SQUEEZY, content=event, headers=signed(event))
                assert answer.text == "stored"
                time.sleep(0.6)  # idle for longer than a head may take
    finally:
        for connection in slow:
            connection.close()
    assert len(Inbox(running.engine).listed(Chosen())) == 3


def test_stop__lets_a_request_under_way_end_and_keeps_its_event(running: Running) -> None:
    event = order()
    lines = [f"{name}: {value}" for name, value in signed(event).items()]
    head = HEAD + "\r\n".join([*lines, f"Content-Length: {len(event)}", "", ""]).encode()
    with running.connect() as connection:
        connection.sendall(head + event[:10])
        time.sleep(0.1)
        running.server.should_exit = True
        connection.sendall(event[10:])
        assert b" 200 " in connection.recv(1000).partition(b"\r\n")[0]
    assert len(Inbox(running.engine).listed(Chosen())) == 1
