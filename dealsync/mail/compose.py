"""A letter -> a MIME message. No I/O."""

from __future__ import annotations

import re
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTPUTF8
from email.utils import format_datetime, parseaddr

from dealsync.core.letters import one_line
from dealsync.core.plan import Letter

_MARK = re.compile(r"<((?:lead)\.[0-9]{1,19}\.checkout\.[0-9a-f]{4,64}(?:-[0-9]{1,6})?\.[a-z]{1,20})@", re.ASCII)


def compose(letter: Letter, *, key: str, sender: str, reply_to: str, now: datetime) -> EmailMessage:
    """Return the message; `key` is the idempotency key that its Message-ID carries, so that a bounce names it."""
    message = EmailMessage(policy=SMTPUTF8)
    message["From"] = _address(sender)
    message["To"] = Address(one_line(letter.to_name), addr_spec=letter.to)
    if reply_to:
        message["Reply-To"] = _address(reply_to)
    message["Subject"] = one_line(letter.subject)
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{key.replace(':', '.')}@{parseaddr(sender)[1].rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.text)
    message.add_alternative(letter.html, subtype="html")
    return message


def key_in(header: str) -> str | None:
    """Return the idempotency key that a Message-ID of ours carries, wherever in a header it stands."""
    found = _MARK.search(header)
    return found[1].replace(".", ":") if found else None


def _address(text: str) -> Address:
    name, address = parseaddr(text)
    return Address(one_line(name), addr_spec=address)
