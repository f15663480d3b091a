"""Kommo's route, beyond its plain answers: who is not even listened to, what is kept, and what it costs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from dealsync.core.inbox import InboxState
from dealsync.ledger.inbox import Chosen, Handled, Inbox
from dealsync.ledger.runs import KOMMO_ACCOUNT, Runs
from tests.builders import NOW
from tests.receiver.parts import KOMMO, client, parts

MOVE = b"leads[status][0][id]=31&leads[status][0][status_id]=2&leads[status][0][old_status_id]=1&account[id]=77"


def bodies(engine: Engine) -> list[bytes]:
    inbox = Inbox(engine)
    return [inbox.body(item.event.event_id) for item in inbox.listed(Chosen())]


@pytest.mark.parametrize("token", ["kommo-webhook-token-1", ""], ids=["another token", "none configured"])
async def test_kommo_route__does_not_even_read_what_comes_without_the_token(engine: Engine, token: str) -> None:
    pulled = 0

    async def parcels() -> AsyncIterator[bytes]:
        nonlocal pulled
        for _ in range(5):
            pulled += 1
            yield MOVE

    async with client(parts(engine, kommo_token=token)) as http:
        answer = await http.post("/webhooks/kommo/guessed", content=parcels())
        assert (answer.status_code, answer.text, pulled) == (404, "not found", 0)
        # The counter counts: with the token the same parcels are read.
        await http.post(KOMMO, content=parcels())
        assert pulled == (5 if token else 0)


async def test_kommo_route__takes_any_account_while_nobody_knows_ours_and_ours_alone_after(engine: Engine) -> None:
    async with client(parts(engine)) as http:
        assert (await http.post(KOMMO, content=MOVE)).status_code == 200
        Runs(engine).bind(KOMMO_ACCOUNT, "78")
        answer = await http.post(KOMMO, content=MOVE.replace(b"=31", b"=32"))
        assert (answer.status_code, answer.text) == (404, "not found")  # as with a wrong token: nothing is here
    assert set(bodies(engine)) == {MOVE}


async def test_kommo_route__asks_for_the_same_again_while_the_database_is_away(engine: Engine) -> None:
    def refuse(*_arguments: Any) -> None:
        raise OperationalError("", {}, Exception("disk I/O error"))

    async with client(parts(engine)) as http:
        event.listen(engine, "before_cursor_execute", refuse)
        try:
            assert (await http.post(KOMMO, content=MOVE)).status_code == 503
        finally:
            event.remove(engine, "before_cursor_execute", refuse)
        assert (await http.post(KOMMO, content=MOVE)).status_code == 200
    assert bodies(engine) == [MOVE]


async def test_kommo_route__a_body_of_many_objects_takes_no_more_room_than_itself(engine: Engine) -> None:
    body = b"&".join(b"leads[update][%d][id]=%d" % (n, n) for n in range(200))
    async with client(parts(engine)) as http:
        assert (await http.post(KOMMO, content=body)).status_code == 200
    assert set(bodies(engine)) == {body}
    assert sum(item.has_body for item in Inbox(engine).listed(Chosen())) == 1


async def test_kommo_route__a_deal_that_is_moved_the_same_way_again_is_looked_at_again(engine: Engine) -> None:
    back = MOVE.replace(b"[status_id]=2", b"[status_id]=1").replace(b"[old_status_id]=1", b"[old_status_id]=2")
    inbox = Inbox(engine)
    async with client(parts(engine)) as http:
        for body in (MOVE, back):
            assert (await http.post(KOMMO, content=body)).status_code == 200
        inbox.close((Handled(item.event.event_id, "done") for item in inbox.due(NOW)), NOW)
        assert (await http.post(KOMMO, content=MOVE)).status_code == 200
    assert len(inbox.listed(Chosen(states=(InboxState.WAITING,)))) == 1
