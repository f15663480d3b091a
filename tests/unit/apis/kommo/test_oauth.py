"""Tokens of an integration: exchanged once, renewed in time and by one process, never asked for twice blindly."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from dealsync.apis.kommo.client import Kommo
from dealsync.apis.kommo.oauth import LOST_AFTER, MARGIN, Integration, OAuth
from dealsync.apis.pace import Pace
from dealsync.core.tokens import TokenPair
from dealsync.errors import AnswerLost, Banned, Unauthorized, Unreachable
from dealsync.ledger.database import open_database
from dealsync.ledger.tokens import Tokens
from tests.databases import place_sqlite
from tests.turns import LocalSlots
from tests.unit.apis.wire import Answer, Wire, connect

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY_S = 86_400
WHO = Integration("client", "secret-nobody-may-see", "https://dealsync.example/oauth", "code-1")


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    found = open_database(place_sqlite(tmp_path / "tokens.db"))
    yield found
    found.dispose()


@pytest.fixture
def vault(engine: Engine, clock: Clock) -> Tokens:
    return Tokens(engine, "kommo https://api.example client", clock)


def auth(vault: Tokens, clock: Clock, code: str = "code-1") -> OAuth:
    who = Integration(WHO.client_id, WHO.client_secret, WHO.redirect_uri, code)
    return OAuth(who, vault, origin="https://api.example", pace=Pace("kommo", LocalSlots(1000)), clock=clock)


def pair(number: int, **changes: Any) -> httpx.Response:
    body = {"token_type": "Bearer", "expires_in": DAY_S, "access_token": f"a{number}", "refresh_token": f"r{number}"}
    return httpx.Response(200, json={**body, **changes})


def refused(detail: str = "The refresh token is invalid") -> httpx.Response:
    return httpx.Response(400, json={"title": "Bad Request", "status": 400, "detail": detail})


def bodies(wire: Wire) -> list[dict[str, Any]]:
    return [dict(httpx.Response(200, content=request.content).json()) for request in wire.requests]


async def test_token__comes_from_the_code_once_and_is_kept(
    monkeypatch: pytest.MonkeyPatch, vault: Tokens, clock: Clock
) -> None:
    wire = connect(monkeypatch, pair(1))
    assert [await auth(vault, clock).token() for _ in range(3)] == ["a1"] * 3
    assert bodies(wire) == [
        {
            "client_id": "client",
            "client_secret": "secret-nobody-may-see",
            "redirect_uri": "https://dealsync.example/oauth",
            "grant_type": "authorization_code",
            "code": "code-1",
        }
    ]
    [request] = wire.requests
    assert str(request.url) == "https://api.example/oauth2/access_token"
    assert "authorization" not in request.headers
    assert await auth(vault, clock, code="").token() == "a1", "the code is not needed any more"


async def test_token__is_renewed_before_it_ends_and_the_new_pair_is_used_from_then_on(
    monkeypatch: pytest.MonkeyPatch, vault: Tokens, clock: Clock
) -> None:
    wire = connect(monkeypatch, pair(1), pair(2))
    found = auth(vault, clock)
    await found.token()
    clock.now += timedelta(seconds=DAY_S) - MARGIN - timedelta(seconds=1)
    assert await found.token() == "a1"
    clock.now += timedelta(seconds=2)
    assert [await found.token(), await auth(vault, clock).token()] == ["a2", "a2"]
    assert [body["grant_type"] for body in bodies(wire)] == ["authorization_code", "refresh_token"]
    assert bodies(wire)[1]["refresh_token"] == "r1"
    stored = vault.load()
    assert stored is not None
    assert stored.pair == TokenPair("a2", "r2", clock.now + timedelta(seconds=DAY_S))


async def test_pair__is_stored_before_it_is_used(monkeypatch: pytest.MonkeyPatch, vault: Tokens, clock: Clock) -> None:
    """The process dies right after the answer: the next one still has the pair."""
    connect(monkeypatch, pair(1))
    kept: list[TokenPair] = []
    store = vault.store

    def dying(pair: TokenPair) -> None:
        store(pair)
        kept.append(pair)
        raise MemoryError

    monkeypatch.setattr(vault, "store", dying)
    with pytest.raises(MemoryError):
        await auth(vault, clock).token()
    monkeypatch.setattr(vault, "store", store)
    assert await auth(vault, clock).token() == kept[0].access_token == "a1"


async def test_renewal__is_one_for_all_who_need_it_at_once(
    monkeypatch: pytest.MonkeyPatch, engine: Engine, vault: Tokens, clock: Clock
) -> None:
    wire = connect(monkeypatch, pair(1), pair(2))
    await auth(vault, clock).token()
    clock.now += timedelta(days=2)  # ended: everybody has to wait for the new one
    everybody = [auth(Tokens(engine, "kommo https://api.example client", clock), clock) for _ in range(5)]
    assert await asyncio.gather(*(one.token() for one in everybody)) == ["a2"] * 5
    assert len(wire.requests) == 2


@pytest.mark.parametrize("lost", [httpx.ReadTimeout("slow"), httpx.Response(504, html="<h1>no</h1>")], ids=repr)
async def test_renewal__whose_answer_was_lost_is_never_repeated(
    monkeypatch: pytest.MonkeyPatch, vault: Tokens, clock: Clock, lost: Answer
) -> None:
    wire = connect(monkeypatch, pair(1), lost, pair(3))
    found = auth(vault, clock)
    await found.token()
    clock.now += timedelta(seconds=DAY_S) - MARGIN / 2
    assert [await found.token() for _ in range(3)] == ["a1"] * 3, "the present one serves until it ends"
    clock.now += MARGIN
    with pytest.raises(Unauthorized, match=r"renewal of Kommo's tokens at 2026-11-24 11:30 UTC was lost.*make a new"):
        await found.token()
    assert len(wire.requests) == 2
    assert await auth(vault, clock, code="code-2").token() == "a3", "a person has made a new code"
    assert bodies(wire)[2]["code"] == "code-2"


async def test_first_exchange__whose_answer_was_lost_asks_for_a_new_code(
    monkeypatch: pytest.MonkeyPatch, vault: Tokens, clock: Clock
) -> None:
    wire = connect(monkeypatch, httpx.ReadTimeout("slow"), pair(2))
    with pytest.raises(AnswerLost):
        await auth(vault, clock).token()
    clock.now += LOST_AFTER + timedelta(seconds=1)
    assert await auth(vault, clock, code="code-2").token() == "a2"
    assert len(wire.requests) == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.ConnectError("refused"), Unreachable),
        (httpx.Response(403, html="<h1>no</h1>"), Banned),
    ],
    ids=repr,
)
async def test_exchange__that_surely_did_not_happen_can_be_tried_again(
    monkeypatch: pytest.MonkeyPatch, vault: Tokens, clock: Clock, answer: Answer, error: type[Exception]
) -> None:
    connect(monkeypatch, answer, pair(1))
    with pytest.raises(error) as caught:
        await auth(vault, clock).token()
    assert "code-1" not in str(caught.value)
    assert WHO.client_secret not in str(caught.value)
    assert await auth(vault, clock).token() == "a1"


async def test_refused_code__leaves_the_present_pair_alone(
    monkeypatch: pytest.MonkeyPatch, vault: Tokens, clock: Clock
) -> None:
    connect(monkeypatch, pair(1), refused("Authorization code has expired"))
    await auth(vault, clock).token()
    with pytest.raises(Unauthorized, match=r"Kommo refused KOMMO_AUTH_CODE: .*Authorization code has expired.*new"):
        await auth(vault, clock, code="code-2").token()
    for code in ("code-1", "code-2", " code-2 "):
        assert await auth(vault, clock, code=code).token() == "a1", "no code is sent twice"


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_refused_code__is_not_sent_again(
    monkeypatch: pytest.MonkeyPatch, vault: Tokens, clock: Clock, status: int
) -> None:
    wire = connect(monkeypatch, httpx.Response(status, json={"detail": "no", "status": status}), pair(2))
    with pytest.raises(Unauthorized, match="refused KOMMO_AUTH_CODE"):
        await auth(vault, clock).token()
    with pytest.raises(Unauthorized, match="no code that was not sent before"):
        await auth(vault, clock).token()
    assert len(wire.requests) == 1
    assert await auth(vault, clock, code="code-2").token() == "a2"


async def test_renewal__is_seen_through_when_the_run_is_stopped(
    monkeypatch: pytest.MonkeyPatch, vault: Tokens, clock: Clock
) -> None:
    """Its answer exists only once: the next run has the pair."""
    wire = connect(monkeypatch, pair(1))
    stopped = asyncio.create_task(auth(vault, clock).token())
    while not wire.requests:  # noqa: ASYNC110 - the wire has no event to wait for
        await asyncio.sleep(0)
    stopped.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopped
    assert await auth(vault, clock).token() == "a1"


async def test_no_code__says_what_to_do(vault: Tokens, clock: Clock) -> None:
    with pytest.raises(Unauthorized, match=r"no tokens for Kommo yet.*make a new authorisation code"):
        await auth(vault, clock, code="").token()


async def test_unreadable_answer__names_no_token(monkeypatch: pytest.MonkeyPatch, vault: Tokens, clock: Clock) -> None:
    connect(monkeypatch, pair(1, expires_in="soon"))
    with pytest.raises(Exception, match="expires_in") as caught:
        await auth(vault, clock).token()
    assert "r1" not in str(caught.value)


def client(vault: Tokens, clock: Clock) -> Kommo:
    pace = Pace("kommo", LocalSlots(1000))
    return Kommo(origin="https://api.example", auth=auth(vault, clock), pace=pace, retry_wait_s=0.001)


DEAD = httpx.Response(401, json={"title": "Unauthorized", "status": 401})
ACCOUNT = httpx.Response(200, json={"id": 1, "name": "Acme", "subdomain": "acme", "currency": "USD"})


async def test_request__refused_as_unauthorised_is_sent_once_more_with_a_new_token(
    monkeypatch: pytest.MonkeyPatch, vault: Tokens, clock: Clock
) -> None:
    wire = connect(monkeypatch, pair(1), DEAD, pair(2), ACCOUNT)
    kommo = client(vault, clock)
    assert (await kommo.account()).name == "Acme"
    tokens = [request.headers.get("authorization") for request in wire.requests]
    assert tokens == [None, "Bearer a1", None, "Bearer a2"]
    await kommo.close()


async def test_request__refused_twice_stops(monkeypatch: pytest.MonkeyPatch, vault: Tokens, clock: Clock) -> None:
    wire = connect(monkeypatch, pair(1), DEAD, pair(2), DEAD)
    kommo = client(vault, clock)
    with pytest.raises(Unauthorized, match="check the key or token"):
        await kommo.account()
    assert len(wire.requests) == 4
    await kommo.close()


async def test_token__that_another_process_renewed_is_taken_over(
    monkeypatch: pytest.MonkeyPatch, vault: Tokens, clock: Clock
) -> None:
    wire = connect(monkeypatch, pair(1), pair(2))
    slow, quick = auth(vault, clock), auth(vault, clock)
    assert await slow.token() == "a1"
    assert await quick.replacement("a1") == "a2"
    assert await slow.replacement("a1") == "a2"
    assert len(wire.requests) == 2


@pytest.fixture
def simulated() -> Iterator[Callable[[str], str]]:
    from dealsync.simulator.server import Simulator

    with Simulator.running(orders=0) as simulator:
        yield simulator.environment().__getitem__


async def test_simulated_kommo__gives_and_rotates_tokens(
    simulated: Callable[[str], str], vault: Tokens, clock: Clock
) -> None:
    """The same against the simulator, which kills an old refresh token as Kommo does."""
    who = Integration(*(simulated(f"KOMMO_{n}") for n in ("CLIENT_ID", "CLIENT_SECRET", "REDIRECT_URI", "AUTH_CODE")))
    origin = simulated("KOMMO_API_URL")
    clock.now = datetime.now(UTC)
    found = OAuth(who, vault, origin=origin, pace=Pace("kommo", LocalSlots(1000)), clock=clock)
    kommo = Kommo(origin=origin, auth=found, pace=Pace("kommo", LocalSlots(1000)))
    await kommo.account()
    first = await found.token()
    clock.now += timedelta(hours=23, minutes=30)
    second = await found.token()
    await kommo.account()
    assert first != second
    await kommo.close()
