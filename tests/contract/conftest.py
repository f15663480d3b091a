"""Every test that asks for `apis` runs twice: on its cassette, and on a live simulator.

A missing cassette is recorded from the simulator; in CI it fails the test. DEALSYNC_RECORD=1 records all again.
Tests that ask for `shop` or `crm` hold for any account: their cassettes come from a live one, where the environment
names one (see `live`).
"""

import os
import re
import socket
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from dealsync.simulator.server import Simulator
from tests.contract import live as live_accounts
from tests.contract import scenario
from tests.contract.apis import Apis
from tests.contract.cassettes import FOLDER, REPLAY_ORIGIN, leaks, recorder, unscrubbed
from tests.contract.scrub import Scrubber

FAILED = pytest.StashKey[bool]()
ORIGIN = f"simulator, seed {scenario.SEED}, at {scenario.NOW:%Y-%m-%dT%H:%MZ}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


@pytest.fixture
async def live(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Apis]:
    """A live simulator only: for what a cassette cannot hold."""
    async with _live(monkeypatch) as apis:
        yield apis


@pytest.fixture(params=["cassette", "simulator"])
async def apis(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Apis]:
    path = cassette_of(request.node)
    if request.param == "simulator":
        async with _live(monkeypatch) as apis:
            yield apis
    elif must_record(path, os.environ):
        async with _live(monkeypatch) as apis:
            with _recording(request.node, path, apis):
                yield apis
    else:
        async with _replayed(request.node, path, monkeypatch) as apis:
            yield apis


@dataclass
class Account:
    """An account of which nothing is known beforehand."""

    apis: Apis
    store_id: str = scenario.STORE_ID


@pytest.fixture(params=["cassette", "simulator"])
async def shop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Account]:
    """Any Lemon Squeezy account in test mode, or the simulator."""
    async with _account("lemonsqueezy", request, monkeypatch) as account:
        yield account


@pytest.fixture(params=["cassette", "simulator"])
async def crm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Account]:
    """Any Kommo account, or the simulator. Only to be read."""
    async with _account("kommo", request, monkeypatch) as account:
        yield account


@asynccontextmanager
async def _account(
    api: live_accounts.Api, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Account]:
    path, environment = cassette_of(request.node), live_accounts.credentials(os.environ, api)
    if request.param == "simulator":
        async with _live(monkeypatch) as apis:
            yield Account(apis)
    elif not must_record(path, os.environ):
        async with _replayed(request.node, path, monkeypatch) as apis:
            yield Account(apis, store_of(path.read_text(encoding="utf-8")))
    elif environment:
        async with live_accounts.connected(api, environment) as found:
            store_id = environment.get("LEMON_SQUEEZY_STORE_ID", "")
            origin = f"live account, {api}{f' in test mode, store {store_id}' if store_id else ''}"
            with _recording_live(request.node, path, found, origin):
                yield Account(found, store_id)
    else:
        async with _live(monkeypatch) as apis:
            with _recording(request.node, path, apis):
                yield Account(apis)


def store_of(cassette: str) -> str:
    """The store that a cassette's first line names: the simulator's, if none."""
    found = re.search(r"store ([0-9]+)$", cassette.partition("\n")[0])
    return found[1] if found else scenario.STORE_ID


def cassette_of(node: pytest.Item) -> Path:
    """tests/cassettes/<client>/<test name>.yaml"""
    assert isinstance(node, pytest.Function)
    return FOLDER / node.path.stem.removeprefix("test_") / f"{node.originalname}.yaml"


def must_record(path: Path, environment: os._Environ[str] | dict[str, str]) -> bool:
    """Whether to record; fails in CI, where a missing cassette is a mistake."""
    if environment.get("DEALSYNC_RECORD") == "1":
        return True
    if path.exists():
        return False
    if environment.get("CI", "").lower() in ("true", "1"):
        pytest.fail(f"{path.name} is missing; run `make record` and commit it", pytrace=False)
    return True


@asynccontextmanager
async def _live(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Apis]:
    with Simulator.running(seed=scenario.SEED, orders=0, now=scenario.NOW) as simulator:
        await scenario.furnish(simulator.world, monkeypatch)
        apis = Apis(simulator.url, simulator)
        yield apis
        await apis.close()


@contextmanager
def _recording(node: pytest.Item, path: Path, apis: Apis) -> Iterator[None]:
    """Record what happens inside; what a failed test recorded, or what shows a secret, is thrown away."""
    path.unlink(missing_ok=True)
    with recorder(apis.origin, ORIGIN).use_cassette(path):
        yield
    _keep(node, path, leaks(path.read_text(encoding="utf-8"), apis.secrets()))


@contextmanager
def _recording_live(node: pytest.Item, path: Path, apis: live_accounts.LiveApis, origin: str) -> Iterator[None]:
    """The same with a live account: everything that may be somebody's is replaced before it is written."""
    path.unlink(missing_ok=True)
    moved_to = f"{REPLAY_ORIGIN}/{apis.api}"
    with recorder(apis.origin, origin, moved_to=moved_to, scrubber=Scrubber(REPLAY_ORIGIN)).use_cassette(path):
        yield
    text = path.read_text(encoding="utf-8")
    _keep(node, path, leaks(text, apis.secrets()) + unscrubbed(text))


def _keep(node: pytest.Item, path: Path, found: list[str]) -> None:
    failed = node.stash.get(FAILED, True)
    if found or failed:
        path.unlink()
    assert found == [], f"{path.name} would show {found}"


@asynccontextmanager
async def _replayed(node: pytest.Item, path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Apis]:
    """Answer from the cassette, without any network; every answer in it must be asked for."""
    monkeypatch.setattr(socket.socket, "connect", _no_network)
    with recorder(None, ORIGIN).use_cassette(path) as cassette:
        apis = Apis(REPLAY_ORIGIN, None)
        yield apis
        await apis.close()
    if not node.stash.get(FAILED, True):
        assert cassette.all_played, f"{path.name} holds answers that were not asked for"


def _no_network(self: socket.socket, address: object) -> None:
    raise AssertionError(f"a replayed test tried to connect to {address!r}")
