"""What Prometheus and a load balancer are told."""

from __future__ import annotations

from datetime import timedelta

import httpx
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

from dealsync.core.inbox import Failure
from dealsync.ledger.inbox import Handled, Inbox
from tests.builders import NOW
from tests.receiver.parts import KOMMO, LEMON_SQUEEZY, client, order, parts, signed


async def figures(http: httpx.AsyncClient) -> dict[tuple[str, ...], float]:
    text = (await http.get("/metrics")).text
    return {
        (sample.name.removeprefix("dealsync_"), *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def send(http: httpx.AsyncClient, body: bytes) -> None:
    await http.post(LEMON_SQUEEZY, content=body, headers=signed(body))


async def test_metrics__count_what_came_what_was_refused_and_what_waits(engine: Engine) -> None:
    clock = [NOW]
    async with client(parts(engine, clock=lambda: clock[0])) as http:
        for event_id in ("a", "b", "b"):
            await send(http, order(event_id))
        await http.post(LEMON_SQUEEZY, content=order(), headers={"X-Signature": "0" * 64})
        await http.post(KOMMO + "x", content=b"")
        clock[0] += timedelta(seconds=30)
        found = await figures(http)
    assert found["webhooks_received_total", "lemon_squeezy", "order_created"] == 3
    assert found["webhooks_duplicate_total", "lemon_squeezy"] == 1
    assert found["webhooks_refused_total", "lemon_squeezy", "wrong signature"] == 1
    assert found["webhooks_refused_total", "kommo", "wrong token"] == 1
    assert (found["inbox_waiting",], found["inbox_parked",], found["inbox_age_seconds",]) == (2, 0, 30)
    assert found["webhook_answer_seconds_count", "lemon_squeezy"] == 4
    assert found["payment_acknowledged_seconds_count",] == 2
    assert found["payment_acknowledged_seconds_sum",] == 4  # each changed two seconds before


async def test_metrics__tell_once_how_long_a_payment_took_to_its_deal(engine: Engine) -> None:
    async with client(parts(engine)) as http:
        await send(http, order("a"))
        await send(http, order("b"))
        done = [Handled("a", "3 changes", 3), Handled("b", "nothing to change")]
        Inbox(engine).close(done, NOW + timedelta(seconds=7))
        for _ in range(2):
            found = await figures(http)
            assert found["deal_changed_seconds_count",] == 1
            assert found["deal_changed_seconds_sum",] == 7
            assert found["payment_deal_changed_seconds_sum",] == 9


async def test_metrics__stay_small_whatever_is_sent(engine: Engine) -> None:
    async with client(parts(engine)) as http:
        for number in range(200):
            await send(http, order(str(number), name=f"event_{number}"))
        found = await figures(http)
    names = [key for key in found if key[0] == "webhooks_received_total"]
    assert len(names) <= 101
    assert found["webhooks_received_total", "lemon_squeezy", "other"] == 100


async def test_health__is_not_ready_while_nobody_works_on_what_came(engine: Engine) -> None:
    clock = [NOW]
    async with client(parts(engine, clock=lambda: clock[0])) as http:
        await send(http, order("a"))
        assert (await http.get("/readyz")).status_code == 200
        clock[0] += timedelta(minutes=11)
        answer = await http.get("/readyz")
        assert (answer.status_code, "1 events wait, one of them overdue for 11 minutes" in answer.text) == (503, True)
        assert (await http.get("/healthz")).status_code == 200
        failed = Handled("a", failure=Failure("not there"))
        Inbox(engine).close([failed], clock[0])  # it is tried again when its time comes
        assert (await http.get("/readyz")).status_code == 200
        Inbox(engine).close([Handled("a", "done")], NOW)
        assert (await http.get("/readyz")).status_code == 200
