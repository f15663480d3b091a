"""A letter -> a MIME message, down to its bytes. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email import message_from_string
from email.errors import MessageError
from email.header import Header, decode_header, make_header
from email.message import EmailMessage
from email.policy import SMTPUTF8
from email.utils import format_datetime, parseaddr, quote

from dealsync.core.letters import address_for_wire, one_line
from dealsync.core.plan import Letter
from dealsync.errors import MailRefused

_MARK = re.compile(r"<((?:lead)\.[0-9]{1,19}\.checkout\.[0-9a-f]{4,64}(?:-[0-9]{1,6})?\.[a-z]{1,20})@", re.ASCII)
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/^_`{|}~ -]*", re.ASCII)
_AS_WRITTEN = SMTPUTF8.clone(refold_source="none")
"""Headers go out as they are encoded here: what the library folds anew, it first decodes."""
_CANNOT = "it cannot be written so that it arrives as it is meant"


@dataclass(frozen=True, slots=True)
class Mail:
    """A message that is ready to be handed over, and the addresses that the server is told. All but `to` is ASCII."""

    sender: str
    to: str
    content: bytes

    @property
    def is_ascii(self) -> bool:
        """Whether any server can write the addresses in it."""
        return self.to.isascii()


def compose(letter: Letter, *, key: str, sender: str, reply_to: str, now: datetime) -> Mail:
    """Return the message; `key` is the idempotency key that its Message-ID carries, so that a bounce names it.

    Whatever names and subjects hold is text and nothing else. Raises MailRefused for a letter that cannot be written.
    """
    to = address_for_wire(letter.to)
    if to is None:
        raise MailRefused("its address is none that an e-mail can be sent to")
    from_name, from_address = _sender(sender)
    name, subject = one_line(letter.to_name), one_line(letter.subject)
    headers = {"From": _mailbox(from_name, from_address), "To": _mailbox(name, to)}
    if reply_to:
        headers["Reply-To"] = _mailbox(*_sender(reply_to))
    headers |= {
        "Subject": _encoded(subject, "Subject"),
        "Date": format_datetime(now),
        "Message-ID": f"<{key.replace(':', '.')}@{from_address.rpartition('@')[2]}>",
        "Auto-Submitted": "auto-generated",
    }
    try:
        content = _written(letter, headers)
        is_as_meant = _is_as_meant(content, headers, name, to, subject)
    except (MessageError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise MailRefused(_CANNOT) from error
    if not is_as_meant:
        raise MailRefused(_CANNOT)
    return Mail(from_address, to, content)


def key_in(header: str) -> str | None:
    """Return the idempotency key that a Message-ID of ours carries, wherever in a header it stands."""
    found = _MARK.search(header)
    return found[1].replace(".", ":") if found else None


def _sender(text: str) -> tuple[str, str]:
    """Name and address; that the address has an ASCII form is seen to where the configuration is read."""
    name, address = parseaddr(text)
    return one_line(name), address_for_wire(address) or address


def _mailbox(name: str, address: str) -> str:
    """A name and an address, as they stand in a header."""
    if not name:
        return address
    if not name.isascii():
        return f"{_encoded(name, 'Reply-To')} <{address}>"
    return f"{name} <{address}>" if _ATOMS.fullmatch(name) else f'"{quote(name)}" <{address}>'


def _encoded(text: str, header: str) -> str:
    """A text as encoded words, if it is not ASCII; `header`: whose name the first line has to leave room for."""
    return text if text.isascii() else Header(text, "utf-8", header_name=header).encode(linesep="\r\n")


def _written(letter: Letter, headers: Mapping[str, str]) -> bytes:
    message = EmailMessage(policy=_AS_WRITTEN)
    for name, value in headers.items():
        message.set_raw(name, value)
    message.set_content(letter.text)
    message.add_alternative(letter.html, subtype="html")
    return message.as_bytes()


def _is_as_meant(content: bytes, headers: Mapping[str, str], name: str, to: str, subject: str) -> bool:
    """Whether a reader finds the headers that were set, no other ones, and in them what they are to say."""
    # As text: an address that is not ASCII stands in its header as it is, in UTF-8.
    read = message_from_string(content.decode())
    if sorted(read.keys()) != sorted([*headers, "MIME-Version", "Content-Type"]):
        return False
    shown, address = parseaddr(_unfolded(read["To"]))
    return (_decoded(shown), address, _decoded(_unfolded(read["Subject"]))) == (name, to, subject)


def _unfolded(value: str) -> str:
    return value.replace("\r", "").replace("\n", "")


def _decoded(text: str) -> str:
    return str(make_header(decode_header(text)))
