"""One request: authorisation, pacing, time-outs, retries, errors. Shared by both clients, knows neither API.

Reads are repeated on 429, 5xx and lost connections, for seconds; an outage of minutes is for the caller's retry.
A write is repeated only when it cannot have left this machine: neither API has idempotency.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from aiolimiter import AsyncLimiter
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from dealsync import __version__
from dealsync.errors import AnswerLost, ApiError, Banned, Rejected, Unauthorized, UnexpectedAnswer, Unreachable

TIMEOUT = httpx.Timeout(20.0, connect=5.0)
ATTEMPTS = 4
LONGEST_WAIT_S = 60.0
"""An API that asks for more patience than this is handed to the caller, who waits out minutes."""
LONGEST_WISH_S = 3600.0
"""A wish for more patience than this counts as this: it may be a time or an identifier rather than seconds."""

Refusal = Callable[[httpx.Response], tuple[str, dict[str, str]]]
"""Reads an error body: its words, and its words per request_id."""


class _TryAgain(Exception):
    def __init__(self, reason: str, status: int | None = None, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.status, self.wait_s = status, wait_s


class Transport:
    """Requests to one API, paced so that they are spaced evenly and never burst.

    After a 429 nothing leaves before the time that the API asked for: insisting gets the address banned.
    """

    def __init__(
        self,
        *,
        api: str,
        origin: str,
        token: str,
        requests_per_second: float,
        read_error: Refusal,
        headers: Mapping[str, str] | None = None,
        retry_wait_s: float = 1.0,
    ) -> None:
        self.api = api
        self.requests: Counter[str] = Counter()
        self._limiter = AsyncLimiter(1, 1 / requests_per_second)
        self._read_error = read_error
        self._retry_wait_s = retry_wait_s
        self._banned = False
        self._not_before_s = 0.0  # in the loop's time
        self._http = httpx.AsyncClient(
            base_url=origin,
            timeout=TIMEOUT,
            headers={
                "Authorization": f"Bearer {token}",
                "User-Agent": f"dealsync/{__version__}",
                **(headers or {}),
            },
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

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

    async def write(self, method: str, path: str, body: Any) -> Any:
        """Send a write once and return its JSON; None for 204.

        Raises Unreachable when it surely never left (safe to send again), AnswerLost when it may have happened.
        """
        try:
            return self._json(await self._send(method, path, json=body))
        except UnexpectedAnswer as error:
            raise AnswerLost(f"{error}; it may have happened all the same", status=error.status) from error
        except _TryAgain as error:
            if isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
                raise Unreachable(f"{self._name(method, path)}: {error}; nothing was sent") from error
            raise AnswerLost(
                f"{self._name(method, path)}: {error}; it may have happened all the same", status=error.status
            ) from error

    async def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        await self._turn(method, path)
        self.requests[f"{self.api} {method} {re.sub(r'/[0-9]+(?=/|$)', '/{id}', path)}"] += 1
        try:
            response = await self._http.request(method, path, **content)
        except (httpx.RequestError, asyncio.IncompleteReadError) as error:
            raise _TryAgain(f"no answer ({type(error).__name__})") from error
        self._check(response, method, path)
        return response

    async def _turn(self, method: str, path: str) -> None:
        """Wait until this request may leave. Raises Banned, and Unreachable rather than wait for long."""
        await self._wait_out(method, path)
        await self._limiter.acquire()
        # Others were answered meanwhile. Whom a 429 held up takes a new turn, or all of them would leave at once.
        while await self._wait_out(method, path):
            await self._limiter.acquire()

    async def _wait_out(self, method: str, path: str) -> bool:
        """Wait until the API wants to be asked again; return whether there was anything to wait for."""
        waited = False
        while not self._banned and (left_s := self._not_before_s - _now_s()) > 0:
            if left_s > LONGEST_WAIT_S:
                raise Unreachable(
                    f"{self._name(method, path)}: the API asks to wait {left_s:.0f} s more; nothing was sent",
                    status=429,
                )
            await asyncio.sleep(left_s)
            waited = True
        if self._banned:
            raise _ban(self.api)
        return waited

    def _check(self, response: httpx.Response, method: str, path: str) -> None:
        status = response.status_code
        if response.is_success:
            return
        if status == 429 or status >= 500:
            asked_s = _asked_wait(response)
            if status == 429:
                self._hold(self._retry_wait_s if asked_s is None else asked_s)
            raise _TryAgain(f"HTTP {status}", status, asked_s)
        if status == 403 and "html" in response.headers.get("content-type", ""):
            self._banned = True
            raise _ban(self.api)
        words, items = self._read_error(response)
        name = self._name(method, path)
        if status in (401, 402, 403):
            raise Unauthorized(f"{name}: {words} (HTTP {status}); check the key or token", status=status)
        raise Rejected(f"{name}: {words} (HTTP {status})", status=status, items=items)

    def _hold(self, wait_s: float) -> None:
        self._not_before_s = max(self._not_before_s, _now_s() + wait_s)

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


def _ban(api: str) -> ApiError:
    return Banned(
        f"{api} has blocked this address (HTTP 403 page). Nothing more is sent; ask its support to lift the block",
        status=403,
    )


def _now_s() -> float:
    return asyncio.get_running_loop().time()


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
    try:
        left_s = (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(left_s, 0.0), LONGEST_WISH_S)


def _body_wish(response: httpx.Response) -> object:
    try:
        body = response.json()
    except ValueError:
        return None
    return body.get("retry_after") if isinstance(body, dict) else None
