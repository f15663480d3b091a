"""Pacing, patience, and what became of a write, on scripted answers in virtual time."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dealsync.apis.kommo.client import Kommo
from dealsync.apis.lemonsqueezy.client import LemonSqueezy
from dealsync.apis.pace import Pace
from dealsync.apis.transport import ATTEMPTS, FixedToken, Transport
from dealsync.core.turns import LONGEST_WAIT_S
from dealsync.errors import AnswerLost, ApiError, Banned, Rejected, Unauthorized, UnexpectedAnswer, Unreachable
from tests.turns import LocalSlots
from tests.unit.apis.wire import Answer, Wire, connect, now_s, run

TOKEN = "token-nobody-may-see"
OK = {"ok": True}
NOT_SENT = [httpx.ConnectError("refused"), httpx.ConnectTimeout("slow"), httpx.PoolTimeout("busy")]
SENT = [
    httpx.ReadTimeout("slow"),
    httpx.ReadError("reset"),
    httpx.WriteError("reset"),
    httpx.WriteTimeout("slow"),
    httpx.RemoteProtocolError("cut"),
]
Story = Callable[[Transport], Awaitable[Any]]


def ok(body: object = OK) -> httpx.Response:
    return httpx.Response(200, json=body)


def html(status: int) -> httpx.Response:
    return httpx.Response(status, html="<h1>no</h1>")


def told(story: Story, *, per_second: float = 1000, retry_wait_s: float = 1.0) -> Any:
    """What a story comes to, on a transport of its own."""

    async def tell() -> Any:
        transport = Transport(
            api="kommo",
            origin="https://api.example/base",
            auth=FixedToken(TOKEN),
            pace=Pace("kommo", LocalSlots(per_second)),
            read_error=lambda response: ("its words", {"r1": "why"}),
            headers={"Accept": "application/json"},
            retry_wait_s=retry_wait_s,
        )
        try:
            return await story(transport)
        finally:
            await transport.close()

    return run(tell())


async def read(transport: Transport) -> Any:
    return await transport.get("/things/17", {"page": 1})


async def write(transport: Transport) -> Any:
    return await transport.write("POST", "/things", [{"name": "x"}])


# --- one request ---------------------------------------------------------------------------------------------


def test_get__sends_token_and_headers_and_returns_the_json(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = connect(monkeypatch, ok())
    assert told(read) == OK
    [request] = wire.requests
    assert (request.method, str(request.url)) == ("GET", "https://api.example/base/things/17?page=1")
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["accept"] == "application/json"
    assert request.headers["user-agent"].startswith("dealsync/")


def test_write__sends_its_body_and_returns_the_json(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = connect(monkeypatch, ok())
    assert told(write) == OK
    assert [(request.method, request.content) for request in wire.requests] == [("POST", b'[{"name":"x"}]')]


@pytest.mark.parametrize("story", [read, write])
@pytest.mark.parametrize("empty", [httpx.Response(204), httpx.Response(200), httpx.Response(202, content=b"")])
def test_empty_answer__is_none(monkeypatch: pytest.MonkeyPatch, story: Story, empty: httpx.Response) -> None:
    connect(monkeypatch, empty)
    assert told(story) is None


def test_requests__are_counted_without_their_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, ok(), ok(), ok(), ok(), ok())

    async def story(transport: Transport) -> dict[str, int]:
        for checkout in ("5E8B546C-C561-4A2C-A586-40C18BB2A195", "ac470bd4-7c41-474d-b6cd-0f296f5be02a"):
            await transport.get(f"/checkouts/{checkout}")
        await transport.get("/leads/17/notes")
        await transport.get("/leads/18/notes")
        await transport.write("PATCH", "/leads/9", {})
        return dict(transport.requests)

    assert told(story) == {
        "kommo GET /checkouts/{id}": 2,
        "kommo GET /leads/{id}/notes": 2,
        "kommo PATCH /leads/{id}": 1,
    }


# --- pacing --------------------------------------------------------------------------------------------------


def test_pacing__spaces_requests_evenly_however_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = connect(monkeypatch, *(ok() for _ in range(8)))

    async def story(transport: Transport) -> None:
        await asyncio.gather(*(transport.get("/a") for _ in range(7)), write(transport))

    told(story, per_second=5)
    gaps = wire.gaps_s()
    assert gaps == [pytest.approx(0.2, abs=0.01)] * 7


def test_pacing__holds_for_repeated_reads_too(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = connect(monkeypatch, httpx.Response(503), httpx.Response(503), ok())
    told(read, per_second=0.5, retry_wait_s=0.001)
    gaps = wire.gaps_s()
    assert gaps == [pytest.approx(2, abs=0.1)] * 2


def test_pacing__saves_what_little_is_left_of_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    left = [httpx.Response(200, json=OK, headers={"x-left": str(n)}) for n in (250, 10, 4, 0)]
    wire = connect(monkeypatch, *left, ok(), httpx.Response(200, json=OK, headers={"x-left": "many"}), ok())

    async def story() -> None:
        pace = Pace("lemon_squeezy", LocalSlots(1000))
        transport = Transport(
            api="lemon_squeezy",
            origin="https://api.example",
            auth=FixedToken(TOKEN),
            pace=pace,
            read_error=lambda response: ("its words", {}),
            remaining_header="x-left",
        )
        for _ in range(7):
            await transport.get("/a")
        await transport.close()

    run(story())
    assert wire.gaps_s() == [pytest.approx(wait_s, abs=0.1) for wait_s in (0, 0, 3, 5, 0, 0)]


# --- what is written down ------------------------------------------------------------------------------------


def test_log__tells_what_was_asked_but_no_filter_and_no_body(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    connect(monkeypatch, httpx.Response(200, json=OK, headers={"x-request-id": "abc-1"}), html(500))

    async def story(transport: Transport) -> None:
        await transport.get("/orders", {"filter[user_email]": "ann@example.com"})
        with pytest.raises(AnswerLost, match="HTTP 500"):
            await transport.write("POST", "/notes", [{"text": "ann@example.com"}])

    told(story)
    ours = [record for record in caplog.records if record.name == "dealsync.apis.transport"]
    assert [(r.levelname, re.sub("[0-9.]+ s", "n s", r.getMessage())) for r in ours] == [
        ("DEBUG", "kommo GET /orders: HTTP 200 in n s, request abc-1"),
        ("WARNING", "kommo POST /notes: HTTP 500 in n s"),
    ]
    assert "ann@" not in caplog.text
    assert "ann%40" not in caplog.text
    assert TOKEN not in caplog.text


def test_error__names_the_request_for_the_apis_support(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, httpx.Response(404, json={}, headers={"x-request-id": "abc-1"}))
    with pytest.raises(Rejected, match=r"\(HTTP 404\), request abc-1"):
        told(read)


@pytest.mark.parametrize("name", ["x" * 81, "a b", "<b>", "\x1b[31m"])
def test_error__shows_no_request_name_that_is_none(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    connect(monkeypatch, httpx.Response(404, json={}, headers={"x-request-id": name}))
    with pytest.raises(Rejected, match=r"\(HTTP 404\)$"):
        told(read)


def test_ban__is_told_once_however_many_meet_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connect(monkeypatch, html(403), html(403))

    async def story(transport: Transport) -> None:
        await asyncio.gather(read(transport), read(transport), return_exceptions=True)

    told(story, per_second=100_000)
    alerts = [record.getMessage() for record in caplog.records if record.levelname == "CRITICAL"]
    assert len(alerts) == 1
    assert "then run: dealsync unblock" in alerts[0]


# --- patience ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 520])
def test_get__is_repeated_after_a_passing_failure(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    wire = connect(monkeypatch, html(status), httpx.ReadTimeout("slow"), ok())
    assert told(read) == OK
    assert len(wire.requests) == 3
    assert len({str(request.url) for request in wire.requests}) == 1


def test_get__waits_longer_and_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = connect(monkeypatch, *(httpx.Response(503) for _ in range(ATTEMPTS - 1)), ok())
    assert told(read, retry_wait_s=1.0) == OK
    gaps = wire.gaps_s()
    assert all(2**n <= gap <= 2**n + 1.2 for n, gap in enumerate(gaps))
    assert len(gaps) == ATTEMPTS - 1


def test_get__gives_up_after_the_last_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = connect(monkeypatch, *(httpx.Response(503) for _ in range(9)))
    with pytest.raises(Unreachable, match="kommo GET /things/17: HTTP 503; try again later") as caught:
        told(read)
    assert caught.value.status == 503
    assert len(wire.requests) == ATTEMPTS


def http_date(in_s: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=in_s), usegmt=True)


@pytest.mark.parametrize(
    ("answer", "least_s", "most_s"),
    [
        (httpx.Response(429, headers={"retry-after": "7"}), 7, 7.1),
        (httpx.Response(503, headers={"retry-after": " 7 "}), 7, 7.1),
        (httpx.Response(429, headers={"retry-after": "0"}), 0, 0.1),
        (httpx.Response(429, headers={"retry-after": "3"}, json={"retry_after": 50}), 3, 3.1),
        (httpx.Response(429, json={"retry_after": 11}), 11, 11.1),
        (httpx.Response(429, json={"retry_after": "11"}), 11, 11.1),
        (httpx.Response(429, headers={"retry-after": "soon"}, json={"retry_after": 11}), 11, 11.1),
        (httpx.Response(429, json={"retry_after": 2.5}), 2.5, 2.6),
        (httpx.Response(429, headers={"retry-after": "Mon, 01 Jan 2001 00:00:00 GMT"}), 0, 0.1),
    ],
)
def test_get__waits_as_long_as_it_is_asked_to(
    monkeypatch: pytest.MonkeyPatch, answer: httpx.Response, least_s: float, most_s: float
) -> None:
    wire = connect(monkeypatch, answer, ok())
    assert told(read) == OK
    assert least_s <= wire.gaps_s()[0] <= most_s + 0.1


def test_get__waits_until_the_date_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = connect(monkeypatch, httpx.Response(429, headers={"retry-after": http_date(30)}), ok())
    assert told(read) == OK
    assert 20 < wire.gaps_s()[0] <= 30.2


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(429, headers={"retry-after": "soon"}),
        httpx.Response(429, json={"retry_after": None}),
        httpx.Response(429, json={"retry_after": "later"}),
        httpx.Response(429, json=["retry_after"]),
        httpx.Response(429, json={"retry_after": -5}),
        httpx.Response(429, json={"retry_after": True}),
        httpx.Response(429, content=b'{"retry_after": NaN}'),
        httpx.Response(429, headers=[(b"retry-after", b"\xb2")]),
        httpx.Response(429, headers={"retry-after": "-5"}),
        httpx.Response(429, headers={"retry-after": "Mon, 01 Jan 2001 00:00:00 +99999999999"}),
        html(429),
    ],
)
def test_get__waits_by_itself_when_the_wish_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, answer: httpx.Response
) -> None:
    wire = connect(monkeypatch, answer, ok())
    assert told(read) == OK
    assert 1 <= wire.gaps_s()[0] <= 2.2


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(429, headers={"retry-after": str(int(LONGEST_WAIT_S) + 1)}),
        httpx.Response(429, json={"retry_after": 300}),
        httpx.Response(429, json={"retry_after": 10**400}),
        httpx.Response(429, content=b'{"retry_after": Infinity}'),
        httpx.Response(429, headers={"retry-after": "9" * 5000}),
        httpx.Response(503, headers={"retry-after": http_date(3600)}),
        httpx.Response(503, headers={"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}),
    ],
)
def test_get__does_not_wait_for_more_than_a_minute(monkeypatch: pytest.MonkeyPatch, answer: httpx.Response) -> None:
    wire = connect(monkeypatch, answer)

    async def story(transport: Transport) -> float:
        began_s = now_s()
        with pytest.raises(Unreachable, match=r"kommo asks to wait [0-9]+ s; try again later"):
            await read(transport)
        return now_s() - began_s

    assert told(story) == pytest.approx(0, abs=0.2)
    assert len(wire.requests) == 1


# --- after a 429 nothing leaves too early --------------------------------------------------------------------


def asks_for(seconds: float) -> httpx.Response:
    return httpx.Response(429, json={"retry_after": seconds})


async def lost_write(transport: Transport) -> None:
    with pytest.raises(AnswerLost, match="HTTP 429"):
        await transport.write("PATCH", "/things", [])


@pytest.mark.parametrize("story", [read, write])
def test_hold__of_minutes_lets_nothing_leave(monkeypatch: pytest.MonkeyPatch, story: Story) -> None:
    wire = connect(monkeypatch, asks_for(300))

    async def refused(transport: Transport) -> float:
        await lost_write(transport)
        began_s = now_s()
        with pytest.raises(Unreachable, match="asks to wait 300 s more; nothing was sent") as caught:
            await story(transport)
        assert caught.value.status == 429
        assert sum(transport.requests.values()) == 1
        return now_s() - began_s

    assert told(refused) == pytest.approx(0, abs=0.2)
    assert len(wire.requests) == 1


def test_hold__of_minutes_comes_from_a_read_too_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = connect(monkeypatch, asks_for(300), ok())

    async def story(transport: Transport) -> Any:
        with pytest.raises(Unreachable, match="asks to wait 300 s; try again later"):
            await read(transport)
        with pytest.raises(Unreachable, match="nothing was sent"):
            await write(transport)
        await asyncio.sleep(290)
        return await write(transport)

    assert told(story) == OK
    assert wire.gaps_s() == [pytest.approx(300, abs=0.1)]


@pytest.mark.parametrize("story", [read, write])
def test_hold__of_seconds_is_waited_out(monkeypatch: pytest.MonkeyPatch, story: Story) -> None:
    wire = connect(monkeypatch, asks_for(2), ok())

    async def both(transport: Transport) -> Any:
        await lost_write(transport)
        return await story(transport)

    assert told(both) == OK
    assert 2 <= wire.gaps_s()[0] <= 2.1


@pytest.mark.parametrize("wait_s", [0.5, 3.0])
def test_hold__without_a_wish_is_our_own_wait(monkeypatch: pytest.MonkeyPatch, wait_s: float) -> None:
    wire = connect(monkeypatch, html(429), ok())

    async def both(transport: Transport) -> Any:
        await lost_write(transport)
        return await write(transport)

    assert told(both, retry_wait_s=wait_s) == OK
    assert wait_s <= wire.gaps_s()[0] <= wait_s + 0.1


def test_hold__is_not_waited_out_twice_by_the_read_that_met_it(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = connect(monkeypatch, asks_for(5), asks_for(7), ok())
    assert told(read) == OK
    assert wire.gaps_s() == [pytest.approx(5, abs=0.1), pytest.approx(7, abs=0.1)]


def test_hold__holds_up_those_who_wait_for_their_turn_and_spaces_them_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wire = connect(monkeypatch, asks_for(4), *(ok() for _ in range(4)))

    async def story(transport: Transport) -> None:
        await asyncio.gather(*(transport.get("/a") for _ in range(4)))

    told(story, per_second=5)
    first, *others = wire.gaps_s()
    assert 4 <= first <= 4.3
    assert others == [pytest.approx(2 * 0.2, abs=0.01)] * 3  # at half the rate for the next minute


def test_hold__is_never_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two requests are under way; the one answered last asks for less."""
    wire = connect(monkeypatch, asks_for(30), asks_for(1), ok())

    async def story(transport: Transport) -> Any:
        await asyncio.gather(lost_write(transport), lost_write(transport))
        return await write(transport)

    assert told(story) == OK
    assert 29.9 <= wire.gaps_s()[1] <= 30.1


def test_server_error__holds_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = connect(monkeypatch, httpx.Response(503, headers={"retry-after": "30"}), ok())

    async def story(transport: Transport) -> Any:
        with pytest.raises(AnswerLost):
            await write(transport)
        return await write(transport)

    assert told(story) == OK
    assert wire.gaps_s()[0] <= 0.1


# --- writes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", NOT_SENT, ids=lambda failure: type(failure).__name__)
def test_write__that_never_left_is_unreachable(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    wire = connect(monkeypatch, failure)
    with pytest.raises(Unreachable, match=r"kommo POST /things: no answer \(.+\); nothing was sent") as caught:
        told(write)
    assert caught.value.status is None
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    "failure", [*SENT, *(html(status) for status in (429, 500, 502, 503, 504))], ids=lambda failure: repr(failure)
)
def test_write__whose_answer_is_missing_is_never_repeated(monkeypatch: pytest.MonkeyPatch, failure: Answer) -> None:
    wire = connect(monkeypatch, failure, ok())
    with pytest.raises(AnswerLost, match=r"kommo POST /things: .+; it may have happened all the same") as caught:
        told(write)
    assert caught.value.status == getattr(failure, "status_code", None)
    assert len(wire.requests) == 1


def test_write__answered_without_json_may_have_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, html(200))
    with pytest.raises(AnswerLost, match="answered without JSON; it may have happened"):
        told(write)


def test_get__answered_without_json_is_unexpected(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, html(200))
    with pytest.raises(UnexpectedAnswer, match="kommo: GET /base/things/17 answered without JSON"):
        told(read)


@pytest.mark.parametrize(("story", "error"), [(read, Unreachable), (write, AnswerLost)])
def test_answer__that_cannot_be_decoded_is_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch, story: Story, error: type[ApiError]
) -> None:
    garbled = [httpx.DecodingError("not gzip") for _ in range(ATTEMPTS)]
    connect(monkeypatch, *garbled)
    with pytest.raises(error):
        told(story)


# --- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("story", [read, write])
@pytest.mark.parametrize("status", [401, 402, 403])
def test_refusal__of_the_token_is_unauthorized(monkeypatch: pytest.MonkeyPatch, story: Story, status: int) -> None:
    wire = connect(monkeypatch, httpx.Response(status, json={}))
    with pytest.raises(Unauthorized, match=f"its words .HTTP {status}.; check the key or token") as caught:
        told(story)
    assert (caught.value.status, len(wire.requests)) == (status, 1)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("story", [read, write])
@pytest.mark.parametrize("status", [301, 400, 404, 405, 409, 422])
def test_refusal__of_the_request_carries_its_items(monkeypatch: pytest.MonkeyPatch, story: Story, status: int) -> None:
    wire = connect(monkeypatch, httpx.Response(status, json={}))
    with pytest.raises(Rejected, match="its words") as caught:
        told(story)
    assert (caught.value.status, caught.value.items, len(wire.requests)) == (status, {"r1": "why"}, 1)


def test_ban__ends_all_traffic(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = connect(monkeypatch, html(403), ok())

    async def story(transport: Transport) -> None:
        for _ in range(2):
            with pytest.raises(Banned, match="HTTP 403 page"):
                await read(transport)
        with pytest.raises(Banned):
            await write(transport)

    told(story)
    assert len(wire.requests) == 1


@pytest.mark.parametrize("page", [html(403), httpx.Response(403, text="Forbidden"), httpx.Response(403, content=b"")])
def test_ban__is_any_403_that_the_api_did_not_write(monkeypatch: pytest.MonkeyPatch, page: httpx.Response) -> None:
    connect(monkeypatch, page)
    with pytest.raises(Banned):
        told(read)


def test_answer__that_dribbles_in_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """httpx times each read; the whole must not last longer than a request may count at the API."""

    async def dribble(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(3600)
        raise AssertionError("nobody waits so long")

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", dribble)

    async def story(transport: Transport) -> float:
        began_s = now_s()
        with pytest.raises(AnswerLost, match=r"no answer .TimeoutError.; it may have happened"):
            await write(transport)
        return now_s() - began_s

    assert told(story) == pytest.approx(20, abs=0.1)


def test_ban__stops_requests_that_wait_for_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = connect(monkeypatch, html(403), *(ok() for _ in range(5)))

    async def story(transport: Transport) -> list[Any]:
        return await asyncio.gather(*(read(transport) for _ in range(4)), return_exceptions=True)

    assert [type(found) for found in told(story, per_second=5)] == [Banned] * 4
    assert len(wire.requests) == 1


# --- any body at all -----------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
ERROR_BODY = st.fixed_dictionaries(
    {},
    optional={
        "validation-errors": JSON | st.lists(st.fixed_dictionaries({}, optional={"request_id": JSON, "errors": JSON})),
        "errors": JSON | st.lists(st.fixed_dictionaries({}, optional={"detail": JSON, "title": JSON})),
        "detail": JSON,
        "title": JSON,
        "message": JSON,
    },
)


def kommo() -> Kommo:
    return Kommo(origin="https://api.example", auth=FixedToken(TOKEN), pace=Pace("kommo", LocalSlots(10)))


def lemon_squeezy() -> LemonSqueezy:
    return LemonSqueezy(origin="https://api.example", api_key=TOKEN, pace=Pace("lemon_squeezy", LocalSlots(5)))


def rejection_of(client: Kommo | LemonSqueezy) -> Rejected:
    async def story() -> Rejected:
        with pytest.raises(Rejected) as caught:
            await (client.account() if isinstance(client, Kommo) else client.stores())
        await client.close()
        return caught.value

    return run(story())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=JSON | ERROR_BODY)
@example(body={"validation-errors": {}})
@example(body={"validation-errors": ["x"]})
@example(body={"validation-errors": {"0": {"errors": []}}})
@example(body={"validation-errors": [{"request_id": "0", "errors": None}]})
@example(body={"validation-errors": [{"request_id": "0", "errors": ["x"]}]})
def test_kommo_refusal__can_be_any_json(monkeypatch: pytest.MonkeyPatch, body: Any) -> None:
    connect(monkeypatch, httpx.Response(400, json=body))
    error = rejection_of(kommo())
    assert error.status == 400
    assert str(error).startswith("kommo GET /api/v4/account: ")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=JSON | ERROR_BODY)
def test_lemon_squeezy_refusal__can_be_any_json(monkeypatch: pytest.MonkeyPatch, body: Any) -> None:
    connect(monkeypatch, httpx.Response(422, json=body))
    error = rejection_of(lemon_squeezy())
    assert error.status == 422
    assert str(error).startswith("lemon_squeezy GET /v1/stores: ")


@pytest.mark.parametrize(
    ("body", "items"),
    [
        ({"validation-errors": [5, {"request_id": "a", "errors": [None, {"path": "name", "code": "X"}]}]}, ["a"]),
        ({"validation-errors": [{"errors": []}, {"request_id": [], "errors": []}, {"request_id": 7}]}, ["7"]),
        ({"validation-errors": {"a": 1}, "errors": {"17": ["no text"]}}, ["17"]),
        ({"validation-errors": "x", "errors": ["y"], "detail": {}}, []),
    ],
)
def test_kommo_refusal__keeps_what_can_be_read(monkeypatch: pytest.MonkeyPatch, body: Any, items: list[str]) -> None:
    connect(monkeypatch, httpx.Response(400, json={"title": "Bad\x00 Request", **body}))
    error = rejection_of(kommo())
    assert list(error.items) == items
    assert str(error) == "kommo GET /api/v4/account: Bad Request (HTTP 400)"


def test_lemon_squeezy_refusal__passes_over_errors_that_are_no_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[Any] = [None, {"detail": 5, "title": "Odd"}, {"detail": "Bad value"}]
    connect(monkeypatch, httpx.Response(422, json={"errors": errors}))
    error = rejection_of(lemon_squeezy())
    assert str(error) == "lemon_squeezy GET /v1/stores: Odd; Bad value (HTTP 422)"


def test_wire__keeps_what_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The script itself: were requests not seen here, every count above would be worth nothing."""
    wire: Wire = connect(monkeypatch, ok([1]), ok([2]))

    async def story(transport: Transport) -> list[Any]:
        return [await read(transport), await read(transport)]

    assert told(story) == [[1], [2]]
    assert len(wire.requests) == len(wire.left_at_s) == 2


@pytest.mark.parametrize("header", ["", "soon", "Sat, 28 Nov 2026 20:00:00"])
def test_clock__of_the_api_is_heard_with_every_answer_that_tells_it(
    header: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = datetime(2026, 11, 28, 20, tzinfo=UTC)
    first, second = ok(), ok()
    first.headers["date"], second.headers["date"] = format_datetime(at, usegmt=True), header
    connect(monkeypatch, first, second)

    async def story(transport: Transport) -> Any:
        assert transport.heard is None
        for _ in range(2):  # what tells no time leaves what was heard
            await transport.get("/leads")
        return transport.heard

    heard = told(story)
    assert heard.said == at
    assert timedelta(0) <= heard.now() - at < timedelta(seconds=30)
