"""Delivery reports (RFC 3464) -> what was not delivered. No I/O; whatever the bytes are, nothing is raised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message

from dealsync.mail.compose import key_in
from dealsync.mail.send import blotted

NAMED_IN = ("Message-ID", "In-Reply-To", "References", "Original-Message-ID")


@dataclass(frozen=True, slots=True)
class Bounce:
    """An e-mail of ours that did not arrive: its idempotency key, and the words of the server that refused it."""

    key: str
    words: str


def read_bounce(raw: bytes) -> Bounce | None:
    """Return what a delivery report tells; None for one that tells of success or delay, and for any other message."""
    parts = list(message_from_bytes(raw).walk())
    failures = [fields for part in parts for fields in _statuses(part) if _value(fields, "Action").lower() == "failed"]
    key = next((key for part in parts for header in _headers(part) if (key := key_in(header))), None)
    if not failures or key is None:
        return None
    first = failures[0]
    words = _value(first, "Diagnostic-Code").partition(";")[2] or _value(first, "Status") or "no reason given"
    return Bounce(key, blotted(words))


def _statuses(part: Message) -> Iterator[Message]:
    """The fields of each recipient, in a part of type message/delivery-status."""
    content = part.get_payload()
    if part.get_content_type() == "message/delivery-status" and isinstance(content, list):
        yield from (fields for fields in content if isinstance(fields, Message))


def _headers(part: Message) -> Iterator[str]:
    """Wherever the message that did not arrive may be named: its own headers, or a text that has nothing else."""
    yield from (str(part.get(name, "")) for name in NAMED_IN)
    if part.get_content_type() == "text/rfc822-headers":
        text = part.get_payload(decode=True)
        returned = message_from_bytes(text if isinstance(text, bytes) else b"")
        yield from (str(returned.get(name, "")) for name in NAMED_IN)


def _value(fields: Message, name: str) -> str:
    return " ".join(str(fields.get(name, "")).split())
