"""Both webhook routes on recorded bodies: every answer, and what is stored byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from dealsync.ledger.inbox import Chosen, Inbox
from dealsync.ledger.runs import KOMMO_ACCOUNT, Runs
from dealsync.receiver.body import LARGEST_BODY
from tests.receiver.parts import KOMMO, LEMON_SQUEEZY, OLD_SECRET, client, order, parts, signed

SAMPLES = Path(__file__).parents[1] / "samples"
RECORDED = sorted((SAMPLES / "lemon-squeezy" / "webhooks").rglob("*.json"))
MOVE = (SAMPLES / "kommo" / "webhook_in_leads_status.kommo.derived-form.txt").read_bytes().strip()
TWO = b"leads[add][0][id]=31&leads[add][1][id]=32&account[id]=77"


def stored(engine: Engine) -> list[tuple[str, bytes]]:
    inbox = Inbox(engine)
    return [(item.event.event_name, inbox.body(item.event.event_id)) for item in inbox.listed(Chosen())]


def break_database(engine: Engine) -> None:
    with engine.begin() as db:
        db.execute(text("DROP TABLE inbox"))


@pytest.mark.parametrize("body", [path.read_bytes() for path in RECORDED], ids=[path.name for path in RECORDED])
async def test_lemon_squeezy__recorded_bodies_are_stored_byte_for_byte_and_tampered_ones_refused(
    engine: Engine, body: bytes
) -> None:
    async with client(parts(engine)) as http:
        for place in (0, len(body) // 2, len(body) - 1):
            tampered = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
            assert (await http.post(LEMON_SQUEEZY, content=tampered, headers=signed(body))).status_code == 401
        assert stored(engine) == []
        assert (await http.post(LEMON_SQUEEZY, content=body, headers=signed(body))).text == "stored"
        assert (await http.post(LEMON_SQUEEZY, content=body, headers=signed(body))).text == "stored before"
    ((_, kept),) = stored(engine)
    assert kept == body


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (order(name="brand_new_event"), 200),
        (b"not JSON", 400),
        (b"[" * 100_000, 400),
        (b'{"a":' * 100_000, 400),
        (b"x" * (LARGEST_BODY + 1), 413),
    ],
    ids=["unknown event", "no JSON", "deep list", "deep object", "too large"],
)
async def test_lemon_squeezy__signed_bodies_of_all_kinds(engine: Engine, body: bytes, status: int) -> None:
    async with client(parts(engine)) as http:
        assert (await http.post(LEMON_SQUEEZY, content=body, headers=signed(body))).status_code == status
    assert len(stored(engine)) == (status == 200)


async def test_lemon_squeezy__both_secrets_count_while_they_are_rotated(engine: Engine) -> None:
    body = order()
    async with client(parts(engine)) as http:
        assert (await http.post(LEMON_SQUEEZY, content=body, headers=signed(body, OLD_SECRET))).status_code == 200
        assert (await http.post(LEMON_SQUEEZY, content=body, headers=signed(body, "another"))).status_code == 401
        assert (await http.post(LEMON_SQUEEZY, content=body)).status_code == 401


async def test_lemon_squeezy__the_same_event_is_stored_once_whatever_else_its_body_says(engine: Engine) -> None:
    async with client(parts(engine)) as http:
        for body, answer in ((order(), "stored"), (order(name="order_refunded"), "stored before")):
            assert (await http.post(LEMON_SQUEEZY, content=body, headers=signed(body))).text == answer


async def test_kommo__stores_each_object_once(engine: Engine) -> None:
    async with client(parts(engine)) as http:
        for _ in range(2):
            assert (await http.post(KOMMO, content=MOVE)).status_code == 200
        assert (await http.post(KOMMO, content=TWO)).status_code == 200
    assert sorted(stored(engine)) == [("leads.add", TWO), ("leads.add", TWO), ("leads.status", MOVE)]


async def test_kommo__the_token_is_the_door(engine: Engine) -> None:
    async with client(parts(engine)) as http:
        answer = await http.post(f"{KOMMO}x", content=MOVE)
        assert (answer.status_code, answer.text) == (404, "not found")
    async with client(parts(engine, kommo_token="")) as http:
        for path in (KOMMO, "/webhooks/kommo/", "/webhooks/kommo/%20"):
            assert (await http.post(path, content=MOVE)).status_code == 404
    assert stored(engine) == []


async def test_kommo__of_another_account_is_refused_once_ours_is_known(engine: Engine) -> None:
    async with client(parts(engine)) as http:
        assert (await http.post(KOMMO, content=TWO)).status_code == 200
        Runs(engine).bind(KOMMO_ACCOUNT, "78")
        assert (await http.post(KOMMO, content=TWO + b"&x=y")).status_code == 404
        assert (await http.post(KOMMO, content=TWO.replace(b"77", b"78"))).status_code == 200
        assert (await http.post(KOMMO, content=TWO.partition(b"&account")[0])).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"), [(b"{}", 400), (b"", 400), (b"x" * (LARGEST_BODY + 1), 413)], ids=["JSON", "nothing", "large"]
)
async def test_kommo__what_is_no_webhook_is_refused(engine: Engine, body: bytes, status: int) -> None:
    async with client(parts(engine)) as http:
        assert (await http.post(KOMMO, content=body)).status_code == status


async def test_both__say_503_while_the_database_is_away(engine: Engine) -> None:
    async with client(parts(engine)) as http:
        break_database(engine)
        assert (await http.post(LEMON_SQUEEZY, content=order(), headers=signed(order()))).status_code == 503
        assert (await http.post(KOMMO, content=MOVE)).status_code == 503
