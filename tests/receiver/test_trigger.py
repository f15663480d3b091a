"""A receiver that runs alone wakes the flow through Prefect's API: few runs for many events, none lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from dealsync.core.inbox import InboxItem, InboxState
from dealsync.receiver import trigger
from dealsync.receiver.trigger import Trigger
from tests.builders import NOW
from tests.unit.core.test_inbox import event


@dataclass
class Prefect:
    """As much of Prefect's API as the trigger asks; its runs begin when the test says so."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    fails: int = 0
    looks: int = 0

    def answer(self, request: httpx.Request) -> httpx.Response:
        if self.fails:
            self.fails -= 1
            return httpx.Response(503)
        if request.url.path == "/api/deployments/name/process-inbox/process-inbox":
            return httpx.Response(200, json={"id": "d-1"})
        if request.url.path == "/api/deployments/d-1/create_flow_run":
            self.runs.append({**json.loads(request.content), "state_type": "SCHEDULED"})
            return httpx.Response(201, json={"id": str(len(self.runs) - 1)})
        self.looks += 1
        number = int(request.url.path.rpartition("/")[2])
        if self.runs[number]["state_type"] == "DELETED":
            return httpx.Response(404)
        return httpx.Response(200, json=self.runs[number])


@asynccontextmanager
async def triggering(prefect: Prefect, items: list[InboxItem]) -> AsyncIterator[Trigger]:
    found = Trigger("http://prefect/api", "user:pass", lambda: list(items))
    found._http = httpx.AsyncClient(base_url="http://prefect/api", transport=httpx.MockTransport(prefect.answer))
    task = asyncio.create_task(found.run())
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.005)


def item(object_id: str = "17") -> InboxItem:
    return InboxItem(event(object_id=object_id), NOW, InboxState.WAITING, 0, NOW, None, "", None, has_body=True)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trigger, "LOOK_AGAIN_S", 0.01)


async def test_trigger__makes_one_run_for_all_that_arrives_before_it_begins() -> None:
    prefect, items = Prefect(), list[InboxItem]()
    async with triggering(prefect, items) as found:
        items.append(item())
        for _ in range(100):
            found.wake()
            await asyncio.sleep(0)
        await until(lambda: prefect.looks >= 3)
        assert len(prefect.runs) == 1
        assert prefect.runs[0]["tags"] == ["order_created", "order:17"]
        prefect.runs[0]["state_type"] = "RUNNING"
        await until(lambda: len(prefect.runs) == 2)  # what arrived meanwhile may have come too late for it
        prefect.runs[1]["state_type"] = "DELETED"
        looks = prefect.looks
        await until(lambda: prefect.looks > looks)
        items.clear()
        found.wake()
        await asyncio.sleep(0.05)
        assert len(prefect.runs) == 2


async def test_trigger__takes_up_what_was_left_before_it_started() -> None:
    prefect = Prefect()
    async with triggering(prefect, [item()]):
        await until(lambda: len(prefect.runs) == 1)


async def test_trigger__tries_again_until_prefect_is_back() -> None:
    prefect = Prefect(fails=2)
    async with triggering(prefect, [item()]):
        await until(lambda: len(prefect.runs) == 1)
