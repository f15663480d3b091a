"""One request: authorisation, its turn, time-outs, retries, errors. Shared by both clients, knows neither API.

Reads are repeated on 429, 5xx and lost connections, for seconds; an outage of minutes is for the caller's retry.
A write is repeated only when it cannot have been carried out: neither API has idempotency.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, Protocol

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from dealsync import __version__
from dealsync.apis.pace import Pace, ban_words
from dealsync.core.turns import LONGEST_WAIT_S
from dealsync.errors import AnswerLost, Banned, Rejected, Unauthorized, UnexpectedAnswer, Unreachable

TOTAL_S = 20.0
TIMEOUT = httpx.Timeout(TOTAL_S, connect=5.0)
"""httpx counts each read anew, so the whole is timed besides."""
ATTEMPTS = 4
LONGEST_WISH_S = 3600.0
"""A wish for more patience than this counts as this: it may be a time or an identifier rather than seconds."""
REQUEST_IDS = ("x-request-id", "apigw-requestid", "cf-ray")
"""Headers that may name a request for the API's support. Source: both references, "Transport"."""
ID = re.compile(r"/(?:[0-9]+|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?=/|$)", re.IGNORECASE)
"""Ids in a path: digits, UUIDs of checkouts."""
SCARCE, SPARING_S = 10, 0.5
"""With fewer requests than this left of a limit, each one missing costs everybody so many seconds."""

LATEST = 3
"""Answers that tell how slow an API is: one alone may have waited for us."""

Refusal = Callable[[httpx.Response], tuple[str, dict[str, str]]]
"""Reads an error body: its words, and its words per request_id."""

log = logging.getLogger(__name__)
# httpx logs whole addresses, in which filters carry e-mails.
logging.getLogger("httpx").setLevel(logging.WARNING)


class Auth(Protocol):
    """Where the bearer token comes from."""

    async def token(self) -> str:
        """Return the token for the next request. Raises Unauthorized when a person must provide one."""

    async def replacement(self, refused: str) -> str | None:
        """Return another token after the API refused this one; None when there is none to be had."""

    async def close(self) -> None:
        """Close what it holds open."""


class FixedToken:
    """A key or long-lived token: cannot be replaced by itself."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self) -> str:
        """Return the token."""
        return self._token

    async def replacement(self, refused: str) -> str | None:
        """Return None: a person must make a new one."""
        del refused
        return None

    async def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What an API's clock said, in whole seconds, and when that was by a clock that nobody sets."""

    said: datetime
    at_s: float

    def now(self) -> datetime:
        """What its clock says now."""
        return self.said + timedelta(seconds=time.monotonic() - self.at_s)


class _TryAgain(Exception):
    def __init__(self, reason: str, status: int | None = None, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.status, self.wait_s = status, wait_s


class Transport:
    """Requests to one API, each in its turn.

    After a 429 nothing leaves before the time that the API asked for: insisting gets the address banned.
    """

    def __init__(
        self,
        *,
        api: str,
        origin: str,
        auth: Auth,
        pace: Pace,
        read_error: Refusal,
        headers: Mapping[str, str] | None = None,
        remaining_header: str | None = None,
        retry_wait_s: float = 1.0,
    ) -> None:
        """`remaining_header` names the header that tells how many requests are left of the limit."""
        self.api = api
        self.requests: Counter[str] = Counter()
        self.heard: Heard | None = None
        self._answers_s: deque[float] = deque(maxlen=LATEST)
        self._auth = auth
        self._pace = pace
        self._read_error = read_error
        self._remaining_header = remaining_header
        self._retry_wait_s = retry_wait_s
        self.before_write: Callable[[], None] = _nothing
        """Called when the turn of a write has come, right before it leaves; raises to keep it here."""
        self._http = httpx.AsyncClient(
            base_url=origin,
            timeout=TIMEOUT,
            headers={"User-Agent": f"dealsync/{__version__}", **(headers or {})},
            verify=_trusted(),
        )

    @property
    def answer_s(self) -> float:
        """How long the quickest of the latest answers took, 0 before the first one."""
        return min(self._answers_s, default=0.0)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        await self._auth.close()

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON of a read; None for 204.

        Raises Unreachable after the last attempt, and instead of waiting for more than `LONGEST_WAIT_S`.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_TryAgain), stop=stop_after_attempt(ATTEMPTS), wait=self._wait, reraise=True
        )
        try:
            async for attempt in retrying:
                with attempt:
                    return self._json(await self._send("GET", path, params=params))
        except _TryAgain as error:
            raise Unreachable(f"{self._name('GET', path)}: {error}; try again later", status=error.status) from error
        raise AssertionError("unreachable: tenacity re-raises")

    async def write(self, method: str, path: str, body: Any = None, *, authorised: bool = True) -> Any:
        """Send a write once and return its JSON; None for 204. `authorised=False` leaves the token out.

        Raises Unreachable when it surely never left (safe to send again), AnswerLost when it may have happened.
        """
        content = {} if body is None else {"json": body}
        try:
            return self._json(await self._send(method, path, authorised=authorised, **content))
        except UnexpectedAnswer as error:
            raise AnswerLost(f"{error}; it may have happened all the same", status=error.status) from error
        except _TryAgain as error:
            if isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
                raise Unreachable(f"{self._name(method, path)}: {error}; nothing was sent") from error
            raise AnswerLost(
                f"{self._name(method, path)}: {error}; it may have happened all the same", status=error.status
            ) from error

    async def _send(self, method: str, path: str, *, authorised: bool = True, **content: Any) -> httpx.Response:
        """Send one request in its turn; once more, with another token, when the first was refused as expired."""
        token = await self._auth.token() if authorised else None
        response = await self._exchange(method, path, token, **content)
        if response.status_code == 401 and token and (other := await self._auth.replacement(token)):
            response = await self._exchange(method, path, other, **content)
        await self._check(response, method, path)
        return response

    async def _exchange(self, method: str, path: str, token: str | None, **content: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self._pace.turn():
            if method != "GET":
                self.before_write()
            self.requests[f"{self.api} {method} {ID.sub('/{id}', path)}"] += 1
            began_s = asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(TOTAL_S):
                    response = await self._http.request(method, path, headers=headers, **content)
            except (httpx.RequestError, asyncio.IncompleteReadError, TimeoutError) as error:
                log.warning("%s %s %s: no answer (%s)", self.api, method, path, type(error).__name__)
                raise _TryAgain(f"no answer ({type(error).__name__})") from error
        took_s = asyncio.get_running_loop().time() - began_s
        self._answers_s.append(took_s)
        if (said := _moment(response.headers.get("date", ""))) is not None:
            self.heard = Heard(said, time.monotonic())
        level = logging.DEBUG if response.is_success else logging.WARNING
        words = (self.api, method, path, response.status_code, took_s, _request_id(response))
        log.log(level, "%s %s %s: HTTP %d in %.3f s%s", *words)
        await self._spare(response)
        return response

    async def _spare(self, response: httpx.Response) -> None:
        """Slow everybody down before the limit is met: others may live on the same one."""
        left = response.headers.get(self._remaining_header, "") if self._remaining_header else ""
        if re.fullmatch("[0-9]{1,9}", left) and int(left) < SCARCE:
            await self._pace.spare((SCARCE - int(left)) * SPARING_S)

    async def _check(self, response: httpx.Response, method: str, path: str) -> None:
        status, name = response.status_code, self._name(method, path)
        if response.is_success:
            return
        if status == 429 or status >= 500:
            asked_s = _asked_wait(response)
            if status == 429:
                await self._pace.hold(self._retry_wait_s if asked_s is None else asked_s)
            raise _TryAgain(f"HTTP {status}{_request_id(response)}", status, asked_s)
        if status == 403 and not _is_object(response):
            await self._raise_alarm(name)
        words, items = self._read_error(response)
        if status in (401, 402, 403):
            said = f"{name}: {words} (HTTP {status}){_request_id(response)}; check the key or token"
            raise Unauthorized(said, status=status)
        raise Rejected(f"{name}: {words} (HTTP {status}){_request_id(response)}", status=status, items=items)

    async def _raise_alarm(self, name: str) -> None:
        """Silence everybody; one alert, however many requests met the ban."""
        reason = "HTTP 403 page"
        if await self._pace.block(reason):
            log.critical("%s: %s", name, ban_words(self.api, reason))
        raise Banned(ban_words(self.api, reason), status=403)

    def _json(self, response: httpx.Response) -> Any:
        if response.status_code == 204 or not response.content:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise UnexpectedAnswer(
                f"{self.api}: {response.request.method} {response.request.url.path} answered without JSON",
                status=response.status_code,
            ) from error

    def _wait(self, state: RetryCallState) -> float:
        """Seconds until a read is repeated. A hold is over by then: both count from the same answer."""
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, _TryAgain) or error.wait_s is None:
            return wait_exponential_jitter(
                multiplier=self._retry_wait_s, max=LONGEST_WAIT_S, jitter=self._retry_wait_s
            )(state)
        if error.wait_s > LONGEST_WAIT_S:
            raise Unreachable(
                f"{self.api} asks to wait {error.wait_s:.0f} s; try again later", status=error.status
            ) from error
        return error.wait_s

    def _name(self, method: str, path: str) -> str:
        return f"{self.api} {method} {path}"


@cache
def _trusted() -> ssl.SSLContext:
    """The certificates to trust. Reading them takes longer than many a request, so all clients share them."""
    return httpx.create_ssl_context()


def _nothing() -> None:
    """Nothing stands in the way of a write."""


def _request_id(response: httpx.Response) -> str:
    """What the API's support would ask for, if the answer has it and it is fit to be printed."""
    found = next((response.headers[name] for name in REQUEST_IDS if name in response.headers), "")
    return f", request {found}" if re.fullmatch(r"[\w.:=+/-]{1,80}", found, re.ASCII) else ""


def _is_object(response: httpx.Response) -> bool:
    """Whether an API speaks. A ban comes from a web server before it, as a page (Kommo reference, 1.5)."""
    try:
        return isinstance(response.json(), dict)
    except ValueError:
        return False


def _asked_wait(response: httpx.Response) -> float | None:
    """Seconds the API asks to wait: `Retry-After` (seconds or date), or `retry_after` in the body."""
    header = response.headers.get("retry-after", "").strip()
    asked_s = _wish(header)
    if asked_s is None and header:
        asked_s = _until(header)
    return _wish(_body_wish(response)) if asked_s is None else asked_s


def _wish(value: object) -> float | None:
    """Seconds from a number or from plain digits; None for anything else, and for less than nothing."""
    if isinstance(value, str) and re.fullmatch("[0-9]+", value):  # str.isdigit would also take "²"
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:  # NaN is not
        return None
    return float(min(value, LONGEST_WISH_S))


def _until(date: str) -> float | None:
    """Seconds until an HTTP date, 0 for one that is over; None for what is no date with a zone."""
    moment = _moment(date)
    return None if moment is None else min(max((moment - datetime.now(UTC)).total_seconds(), 0.0), LONGEST_WISH_S)


def _moment(date: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(date)
    except (TypeError, ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else None


def _body_wish(response: httpx.Response) -> object:
    try:
        body = response.json()
    except ValueError:
        return None
    return body.get("retry_after") if isinstance(body, dict) else None
