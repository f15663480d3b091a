"""Webhooks of Lemon Squeezy: whether a body is theirs, and which order or subscription it speaks of. No I/O.

Source: Lemon Squeezy reference, "Webhooks" and "custom_data: where it is and where not".
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator

from dealsync.apis.border import Text, Wire, parse
from dealsync.apis.lemonsqueezy.normalise import Id
from dealsync.apis.lemonsqueezy.normalise_shop import custom_texts
from dealsync.core.evidence import Event
from dealsync.errors import UnexpectedAnswer

LONGEST_ID = 100


class _Meta(Wire):
    event_name: Text
    webhook_id: Text = ""
    test_mode: bool | None = None
    custom_data: Annotated[dict[str, str], BeforeValidator(custom_texts)] = {}  # noqa: RUF012 - pydantic copies defaults


class _Attributes(Wire):
    store_id: Id | None = None
    order_id: Id | None = None
    subscription_id: Id | None = None
    test_mode: bool | None = None


class _Data(Wire):
    type: Text
    id: Id
    attributes: _Attributes = _Attributes()


class _Body(Wire):
    meta: _Meta
    data: _Data


def is_signed(body: bytes, signature: str, secrets: Sequence[str]) -> bool:
    """Whether one of the secrets (several while they are rotated) signed these very bytes. In constant time."""
    given = signature.strip().encode("ascii", "replace")
    wanted = [hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode() for secret in secrets]
    # All of them are tried, however early one fits.
    fits = [hmac.compare_digest(given, digest) for digest in wanted]
    return any(fits)


def read_event(body: bytes) -> Event:
    """Return the event of a verified body. Raises UnexpectedAnswer, which shows nothing of the content.

    Events and types that nobody knows are read, too; they speak of no order. The same event sent again has the same
    id: the one of its `meta`, else a digest of the body.
    """
    wire = parse(_Body, _json(body), "the webhook")
    meta, data = wire.meta, wire.data
    test_mode = data.attributes.test_mode if meta.test_mode is None else meta.test_mode
    return Event(
        event_id=meta.webhook_id[:LONGEST_ID] or f"sha256:{hashlib.sha256(body).hexdigest()}",
        event_name=meta.event_name,
        object_type=data.type,
        object_id=data.id,
        order_id=data.id if data.type == "orders" else data.attributes.order_id,
        subscription_id=data.id if data.type == "subscriptions" else data.attributes.subscription_id,
        store_id=data.attributes.store_id,
        test_mode=bool(test_mode),
        custom=meta.custom_data,
    )


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnexpectedAnswer("the webhook is not JSON, or JSON that nobody would send") from error
