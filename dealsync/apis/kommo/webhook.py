"""Webhooks of Kommo: which objects of the account a body speaks of. No I/O.

Forms with PHP's brackets, all values texts, several objects in one body; no signature. Source: Kommo reference,
"Incoming webhooks".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from dealsync.apis.border import storable
from dealsync.core.evidence import Event, Sender
from dealsync.errors import UnexpectedAnswer

MOST_FIELDS, MOST_OBJECTS = 20_000, 1_000
LONGEST_NAME = 40
_PLACE = re.compile(r"(\w{1,40})\[(\w{1,40})\]\[(\d{1,6})\](?:\[(\w{1,40})\])?", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,11}", re.ASCII)
TOLD = ("status_id", "pipeline_id", "old_status_id", "old_pipeline_id", "modified_user_id")
"""What is kept of a deal besides its id: numbers that say what happened, and nothing about people's data."""


@dataclass(frozen=True, slots=True)
class Hook:
    """What one body tells. `account_id` is None where Kommo left it out, as its digital pipelines may."""

    account_id: str | None
    events: tuple[Event, ...]


def read_hook(body: bytes, salt: str) -> Hook:
    """Return what a body speaks of: one event for each object in it. Raises UnexpectedAnswer for what is no such form.

    The same body again gives the same event ids, but for objects without a time: the same move happens again, and its
    body is no other then. They are told apart by `salt`, a text of each request's own. Groups and actions that nobody
    knows are read, too.
    """
    try:
        fields = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise UnexpectedAnswer("the webhook is not a form, or one that nobody would send") from error
    objects: dict[tuple[str, str, int], dict[str, str]] = {}
    for key, value in fields:
        if found := _PLACE.match(key):
            group, action, number, name = found.groups()
            told = objects.setdefault((group, action, int(number)), {})
            if found.end() == len(key) and name:  # what is nested deeper is not needed
                told[name] = storable(value)
    if not 0 < len(objects) <= MOST_OBJECTS:
        raise UnexpectedAnswer(f"the webhook tells of {len(objects)} objects")
    said = [value for key, value in fields if key == "account[id]"]
    said += [values["account_id"] for values in objects.values() if values.get("account_id")]
    digest = hashlib.sha256(body).hexdigest()
    events = [_event(f"kommo:{digest}:{n}", salt, *where, values) for n, (where, values) in enumerate(objects.items())]
    return Hook(storable(said[0]) if said and said[0] else None, tuple(events))


def _event(event_id: str, salt: str, group: str, action: str, _number: int, values: Mapping[str, str]) -> Event:
    updated_at = _time(values.get("updated_at") or values.get("last_modified"))
    return Event(
        event_id=event_id if updated_at else f"{event_id}:{salt}",
        event_name=f"{group}.{action}",
        object_type=group,
        object_id=values.get("id", "")[:LONGEST_NAME],
        order_id=None,
        subscription_id=None,
        store_id=None,
        test_mode=False,
        custom={name: values[name][:LONGEST_NAME] for name in TOLD if values.get(name)},
        sender=Sender.KOMMO,
        object_created_at=_time(values.get("created_at") or values.get("date_create")),
        object_updated_at=updated_at,
    )


def _time(text: str | None) -> datetime | None:
    """Unix seconds; notes and tasks have texts in zones of their own, which nobody needs here."""
    return datetime.fromtimestamp(int(text), UTC) if text and _SECONDS.fullmatch(text) else None
