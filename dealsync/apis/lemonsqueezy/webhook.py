"""Webhooks of Lemon Squeezy: whether a body is theirs, and which order or subscription it speaks of. No I/O.

Source: Lemon Squeezy reference, "Webhooks" and "custom_data: where it is and where not".
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from dealsync.apis.border import Text, Time, Wire, parse
from dealsync.apis.lemonsqueezy.normalise import Id
from dealsync.apis.lemonsqueezy.normalise_shop import custom_texts
from dealsync.core.evidence import Event
from dealsync.errors import UnexpectedAnswer

LONGEST_ID = 100


def _or_none(value: object, read: ValidatorFunctionWrapHandler) -> Any:
    """A verified event is never lost for a part that cannot be read: that part is then not known."""
    try:
        return read(value)
    except ValidationError:
        return None


def _custom(value: object) -> object:
    try:
        found = custom_texts(value)
    except RecursionError:  # what could just be read is nested too deeply to be written as text again
        return {}
    return found if isinstance(found, dict) else {}


Lenient = WrapValidator(_or_none)
LenientId = Annotated[Id | None, Lenient]
LenientTime = Annotated[Time | None, Lenient]


class _Meta(Wire):
    event_name: Annotated[Text | None, Lenient] = None
    webhook_id: Annotated[Text | None, Lenient] = None
    test_mode: Annotated[bool | None, Lenient] = None
    custom_data: Annotated[dict[str, str], BeforeValidator(_custom)] = {}  # noqa: RUF012 - pydantic copies defaults


class _Attributes(Wire):
    store_id: LenientId = None
    order_id: LenientId = None
    subscription_id: LenientId = None
    created_at: LenientTime = None
    updated_at: LenientTime = None
    test_mode: Annotated[bool | None, Lenient] = None


class _Data(Wire):
    type: Annotated[Text | None, Lenient] = None
    id: LenientId = None
    attributes: Annotated[_Attributes | None, Lenient] = None


class _Body(Wire):
    meta: Annotated[_Meta | None, Lenient] = None
    data: Annotated[_Data | None, Lenient] = None


def is_signed(body: bytes, signature: str, secrets: Sequence[str]) -> bool:
    """Whether one of the secrets (several while they are rotated) signed these very bytes. In constant time."""
    given = signature.strip().encode("ascii", "replace")
    wanted = [hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode() for secret in secrets]
    # All of them are tried, however early one fits.
    fits = [hmac.compare_digest(given, digest) for digest in wanted]
    return any(fits)


def read_event(body: bytes) -> Event:
    """Return the event of a verified body. Raises UnexpectedAnswer for what is no JSON object, and shows nothing of it.

    Events and types that nobody knows are read, too, as far as they can be; they speak of no order. The same event
    sent again has the same id: the one of its `meta`, else a digest of the body.
    """
    wire = parse(_Body, _json(body), "the webhook")
    meta, data = wire.meta or _Meta(), wire.data or _Data()
    about = data.attributes or _Attributes()
    test_mode = about.test_mode if meta.test_mode is None else meta.test_mode
    return Event(
        event_id=(meta.webhook_id or "")[:LONGEST_ID] or f"sha256:{hashlib.sha256(body).hexdigest()}",
        event_name=meta.event_name or "",
        object_type=data.type or "",
        object_id=data.id or "",
        order_id=data.id if data.type == "orders" else about.order_id,
        subscription_id=data.id if data.type == "subscriptions" else about.subscription_id,
        store_id=about.store_id,
        test_mode=bool(test_mode),
        custom=meta.custom_data,
        object_created_at=about.created_at,
        object_updated_at=about.updated_at,
    )


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnexpectedAnswer("the webhook is not JSON, or JSON that nobody would send") from error
