"""Bodies of Kommo's webhooks: recorded ones, several objects in one, and what is none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dealsync.apis.kommo.webhook import read_hook
from dealsync.errors import UnexpectedAnswer

RECORDED = Path(__file__).parents[3] / "samples" / "kommo"
PRIVATE = ("example author", "@", "note text", "+1", "name")


def flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield the fields of a form in PHP's way."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from flat(one, f"{key}[{name}]" if key else str(name))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from flat(one, f"{key}[{number}]")
    else:
        yield key, "" if value is None else str(value)


def body_of(path: Path) -> bytes:
    if path.suffix == ".txt":
        return path.read_bytes().strip()
    return urlencode(list(flat(json.loads(path.read_text(encoding="utf-8"))))).encode()


@pytest.mark.parametrize("path", sorted(RECORDED.glob("webhook_in_*")), ids=lambda path: path.name)
def test_hook__every_recorded_one_is_read_and_none_of_its_private_data_kept(path: Path) -> None:
    body = body_of(path)
    hook = read_hook(body, "x")
    assert hook.events != ()
    assert hook == read_hook(body, "x")
    assert len({event.event_id for event in hook.events}) == len(hook.events)
    for event in hook.events:
        assert (event.sender, "." in event.event_name) == ("kommo", True)
        assert not [word for word in PRIVATE if word in str(dict(event.custom)).lower()]


def test_hook__tells_which_deal_moved_when_and_where_to() -> None:
    (event,) = read_hook(body_of(RECORDED / "webhook_in_leads_status.kommo.derived-form.txt"), "x").events
    assert (event.event_name, event.object_type, event.object_id) == ("leads.status", "leads", "15318175")
    assert event.custom["status_id"] == "67548619"
    assert event.object_updated_at == datetime.fromtimestamp(1726572758, UTC)


def test_hook__tells_of_several_objects_and_the_account() -> None:
    fields = {"leads": {"add": [{"id": "31"}, {"id": "32"}], "status": [{"id": "31"}]}, "account": {"id": "77"}}
    hook = read_hook(urlencode(list(flat(fields))).encode(), "x")
    assert hook.account_id == "77"
    told = [(event.event_name, event.object_id) for event in hook.events]
    assert told == [("leads.add", "31"), ("leads.add", "32"), ("leads.status", "31")]


@pytest.mark.parametrize("body", [b"", b"{}", b"a=b", b"leads=1", b"leads[add]=1", b"\xff\xfe\x00", b"&" * 1000])
def test_hook__what_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(UnexpectedAnswer):
        read_hook(body, "x")


@given(st.binary(max_size=200) | st.from_regex(rb"(leads\[[a-z]{0,3}\]\[[0-9]{0,7}\](\[id\])?=[^&]{0,9}&?){0,4}"))
def test_hook__whatever_comes_is_read_or_refused(body: bytes) -> None:
    with suppress(UnexpectedAnswer):
        assert read_hook(body, "x").events != ()
