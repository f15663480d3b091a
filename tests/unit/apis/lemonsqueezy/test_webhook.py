"""Webhooks: theirs or not, and whom they speak of. Bodies are the recorded ones, byte for byte."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dealsync.apis.lemonsqueezy.webhook import is_signed, read_event
from dealsync.errors import UnexpectedAnswer

RECORDED = Path(__file__).parents[3] / "samples" / "lemon-squeezy" / "webhooks"
BODIES = sorted(RECORDED.rglob("*.json"))
SECRETS = ["old secret", "new secret"]
BODY = BODIES[0].read_bytes()


def signed(body: bytes, secret: str = SECRETS[1]) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def event(meta: dict[str, Any] | None = None, **data: Any) -> bytes:
    ordinary = {"type": "orders", "id": "17", "attributes": {"store_id": 4101, "test_mode": False}}
    return json.dumps({"meta": {"event_name": "order_created", **(meta or {})}, "data": ordinary | data}).encode()


@pytest.mark.parametrize("path", BODIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_event__of_every_recorded_body_speaks_of_an_order_or_subscription(path: Path) -> None:
    body = path.read_bytes()
    read, data = read_event(body), json.loads(body)["data"]
    assert (read.object_type, read.object_id) == (data["type"], data["id"])
    assert read.order_id or read.subscription_id
    assert is_signed(body, signed(body), SECRETS)


@pytest.mark.parametrize(
    ("kind", "attributes", "order_id", "subscription_id"),
    [
        ("orders", {}, "9", None),
        ("subscriptions", {"order_id": 17}, "17", "9"),
        ("subscription-invoices", {"subscription_id": 8}, None, "8"),
        ("license-keys", {"order_id": 17}, "17", None),
        ("affiliates", {}, None, None),
    ],
)
def test_event__names_what_it_speaks_of(
    kind: str, attributes: dict[str, Any], order_id: str | None, subscription_id: str | None
) -> None:
    read = read_event(event(type=kind, id="9", attributes=attributes))
    assert (read.order_id, read.subscription_id) == (order_id, subscription_id)


def test_event__custom_data_become_texts_and_absent_ones_are_none() -> None:
    custom = {"kommo_lead_id": 31, "plan": "pro", "flag": True, "none": None}
    assert read_event(event({"custom_data": custom})).custom == {"kommo_lead_id": "31", "plan": "pro", "flag": "true"}
    assert read_event(event()).custom == {}
    assert read_event(event({"custom_data": []})).custom == {}


def test_event__is_known_by_its_own_id_or_by_its_bytes() -> None:
    assert read_event(event({"webhook_id": "w-1"})).event_id == "w-1"
    first, second = read_event(event()).event_id, read_event(event(id="18")).event_id
    assert first.startswith("sha256:")
    assert first != second
    assert first == read_event(event()).event_id


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"data": ' + b"9" * 5000 + b"}"], ids=range(6)
)
def test_event__what_is_no_json_object_is_refused_without_showing_it(body: bytes) -> None:
    with pytest.raises(UnexpectedAnswer) as refused:
        read_event(body)
    assert "999" not in str(refused.value)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"meta": {"event_name": "x"}}',
        b'{"meta": [], "data": "x"}',
        event(id="9" * 200),
        event({"custom_data": ["kommo_lead_id"], "test_mode": "perhaps", "event_name": 7}, attributes={"store_id": ""}),
    ],
)
def test_event__a_verified_one_is_never_lost_for_a_part_that_cannot_be_read(body: bytes) -> None:
    read = read_event(body)
    assert (read.event_id.startswith("sha256:"), read.store_id, read.custom) == (True, read.store_id or None, {})


def test_event__text_that_no_database_holds_is_mended() -> None:
    read = read_event(event({"custom_data": {"plan": "a\x00b\ud800"}}))
    assert read.custom == {"plan": "ab?"}


def test_signature__of_any_secret_in_rotation_counts_and_of_others_does_not() -> None:
    assert is_signed(BODY, signed(BODY, "old secret"), SECRETS)
    assert not is_signed(BODY, signed(BODY, "another"), SECRETS)
    assert not is_signed(BODY, signed(BODY), [])


@pytest.mark.parametrize("header", ["", "x", "ü" * 64, "0" * 64, "sha256=" + signed(BODY)])
def test_signature__that_is_none_is_refused(header: str) -> None:
    assert not is_signed(BODY, header, SECRETS)


@given(place=st.integers(0, len(BODY) - 1), other=st.integers(1, 255))
def test_signature__is_void_when_one_byte_is_another(place: int, other: int) -> None:
    forged = BODY[:place] + bytes([BODY[place] ^ other]) + BODY[place + 1 :]
    assert not is_signed(forged, signed(BODY), SECRETS)
