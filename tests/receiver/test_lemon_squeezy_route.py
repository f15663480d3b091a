"""Lemon Squeezy's route: no single byte can be changed, and nothing that is signed is lost for what is in it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from sqlalchemy import Engine

from dealsync.ledger.inbox import Chosen, Inbox
from tests.receiver.parts import LEMON_SQUEEZY, OLD_SECRET, client, order, parts, signed

RECORDED = sorted((Path(__file__).parents[1] / "samples" / "lemon-squeezy" / "webhooks").rglob("*.json"))
PURCHASE = [path.read_bytes() for path in RECORDED if path.parent.name == "eur-first-purchase"]


def bodies(engine: Engine) -> list[bytes]:
    inbox = Inbox(engine)
    return [inbox.body(item.event.event_id) for item in inbox.listed(Chosen())]


async def test_lemon_squeezy_route__no_byte_may_be_flipped_added_or_left_out(engine: Engine) -> None:
    body, headers = order(), signed(order())
    forged = [body[:n] + bytes([body[n] ^ 1]) + body[n + 1 :] for n in range(len(body))]
    forged += [body + b" ", body[:-1], b"", json.dumps(json.loads(body)).encode()]
    async with client(parts(engine)) as http:
        answers = [(await http.post(LEMON_SQUEEZY, content=one, headers=headers)).status_code for one in forged]
        assert (set(answers), bodies(engine)) == ({401}, [])
        assert (await http.post(LEMON_SQUEEZY, content=body, headers=headers)).status_code == 200


async def test_lemon_squeezy_route__a_purchase_whose_events_come_at_once_is_stored_byte_for_byte(
    engine: Engine,
) -> None:
    async with client(parts(engine)) as http:
        sent = [http.post(LEMON_SQUEEZY, content=body, headers=signed(body, OLD_SECRET)) for body in PURCHASE * 2]
        answers = [answer.text for answer in await asyncio.gather(*sent)]
    assert (answers.count("stored"), answers.count("stored before")) == (len(PURCHASE), len(PURCHASE))
    assert sorted(bodies(engine)) == sorted(PURCHASE)


@pytest.mark.parametrize(
    "meta",
    [
        r'"event_name":"\ud800","webhook_id":"w\ud800"',
        r'"event_name":"a\u0000","webhook_id":"w\u0000","custom_data":{"a\u0000":"\u0000"}',
        r'"event_name":"a","custom_data":{"\ud800":"\udc00","kommo_lead_id":{"deep":["\u0000"]}}',
        '"event_name":"a","custom_data":{"x":NaN,"y":1e999,"kommo_lead_id":' + "9" * 4000 + "}",
        '"event_name":"a","custom_data":{"x":' + "[" * 900 + "]" * 900 + "}",
        '"event_name":"' + "n" * 500_000 + '"',
        '"event_name":17,"webhook_id":{},"test_mode":"maybe"',
    ],
    ids=["surrogates", "NUL", "odd keys", "odd numbers", "deep custom data", "long name", "wrong types"],
)
async def test_lemon_squeezy_route__what_is_signed_is_stored_however_odd_its_values(engine: Engine, meta: str) -> None:
    times = '"created_at":"0001-01-01T00:00:00Z","updated_at":1e308'
    body = f'{{"meta":{{{meta}}},"data":{{"type":"orders","id":"17","attributes":{{{times}}}}}}}'.encode()
    async with client(parts(engine)) as http:
        assert (await http.post(LEMON_SQUEEZY, content=body, headers=signed(body))).text == "stored"
    assert bodies(engine) == [body]
