"""Messages -> a mail server, over one connection. What became of each is never guessed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.policy import SMTPUTF8
from email.utils import parseaddr
from typing import Literal

from aiosmtplib import SMTP, SMTPException, SMTPRecipientRefused, SMTPResponseException

from dealsync.errors import MailLost, MailNotSent, MailRefused

Security = Literal["starttls", "tls", "none"]
PERMANENT = 500
_ADDRESS = re.compile(r"<?[^\s<>]+@[^\s<>]+>?")


@dataclass(frozen=True, slots=True)
class Postman:
    """Where e-mail is handed over, and how."""

    host: str
    port: int = 587
    user: str = ""
    password: str = field(default="", repr=False)
    security: Security = "starttls"
    timeout_s: float = 20.0

    @asynccontextmanager
    async def at_the_counter(self) -> AsyncIterator[Counter]:
        """Yield an open connection. Raises MailNotSent when there is none to be had."""
        smtp = SMTP(
            hostname=self.host,
            port=self.port,
            username=self.user or None,
            password=self.password or None,
            use_tls=self.security == "tls",
            start_tls=self.security == "starttls",
            timeout=self.timeout_s,
        )
        try:
            await smtp.connect()
        except (SMTPException, OSError) as error:
            raise MailNotSent(f"The mail server {self.host}:{self.port} takes no e-mail: {_words(error)}") from error
        try:
            yield Counter(smtp)
        finally:
            with suppress(SMTPException, OSError):
                await smtp.quit()
            smtp.close()


class Counter:
    """An open connection to a mail server."""

    def __init__(self, smtp: SMTP) -> None:
        self._smtp = smtp

    async def send(self, message: EmailMessage) -> None:
        """Hand one message over. Raises MailRefused, MailNotSent, MailLost; the next one may be sent all the same."""
        (sender, to) = (parseaddr(str(message[name]))[1] for name in ("From", "To"))
        content = message.as_bytes(policy=SMTP_POLICY if to.isascii() else SMTPUTF8)
        await self._address(sender, to)
        try:
            await self._smtp.data(content)
        except SMTPResponseException as error:
            raise _refusal(error) from error
        except (SMTPException, OSError) as error:
            raise MailLost(f"The mail server fell silent after the e-mail was handed over: {_words(error)}") from error

    async def _address(self, sender: str, to: str) -> None:
        """Say from whom and for whom it is: nothing has been handed over yet."""
        options, encoding = ([], "ascii") if to.isascii() else (["SMTPUTF8"], "utf-8")
        try:
            if not self._smtp.is_connected:
                await self._smtp.connect()
            await self._smtp.rset()
            can_write_it = not options or self._smtp.supports_extension("smtputf8")
            if can_write_it:
                await self._smtp.mail(sender, options=options, encoding=encoding)
                await self._smtp.rcpt(to, encoding=encoding)
        except SMTPRecipientRefused as error:
            raise _refusal(error) from error
        except (SMTPException, OSError) as error:
            # Who sends is a matter of the settings, not of one client's address: it is tried again.
            raise MailNotSent(f"The mail server does not take e-mail of ours: {_words(error)}") from error
        if not can_write_it:
            raise MailRefused("the mail server takes only ASCII before the @ of an address")


def blotted(words: str) -> str:
    """Return the words of a mail server without the addresses that they name."""
    return _ADDRESS.sub("(address)", " ".join(words.split()))[:300]


def _refusal(error: SMTPResponseException) -> MailRefused | MailNotSent:
    words = _words(error)
    return MailRefused(words) if error.code >= PERMANENT else MailNotSent(f"The mail server puts it off: {words}")


def _words(error: Exception) -> str:
    if isinstance(error, SMTPResponseException):
        return blotted(f"{error.code} {error.message}")
    return blotted(str(error)) or type(error).__name__
