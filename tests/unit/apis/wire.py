"""A transport whose network and clock are ours: scripted answers, virtual time, no socket and no waiting."""

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
import pytest

Answer = httpx.Response | Exception
Value = TypeVar("Value")
TICK_S = 1e-6  # as on a real clock, a timer is a little late: float rounding would otherwise wake it for ever
ANSWER_S = 0.01  # how long the network takes: others get their turn meanwhile


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which time jumps to the next timer instead of passing."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 1000.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        # A cancelled timer is dropped before the wait: jumping to it would leave the next one to be waited for.
        due = [timer.when() for timer in timers if not timer.cancelled()]
        if due and not self._ready:  # type: ignore[attr-defined]
            self._now = max(self._now, min(due)) + TICK_S
        super()._run_once()  # type: ignore[misc]


def run(story: Coroutine[Any, Any, Value]) -> Value:
    """Run a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(story)


def now_s() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class Wire:
    """Answers requests from a script, and keeps them with the virtual time at which each left."""

    answers: Iterator[Answer]
    requests: list[httpx.Request] = field(default_factory=list)
    left_at_s: list[float] = field(default_factory=list)

    def gaps_s(self) -> list[float]:
        """The time between each request and the next."""
        return [after - before for before, after in zip(self.left_at_s, self.left_at_s[1:], strict=False)]

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.left_at_s.append(now_s())
        await asyncio.sleep(ANSWER_S)
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        answer.request = request
        return answer


def connect(monkeypatch: pytest.MonkeyPatch, *answers: Answer) -> Wire:
    """Put a script in place of the network for every client made from now on."""
    wire = Wire(iter(answers))

    async def send(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        return await wire(request)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", send)
    return wire
