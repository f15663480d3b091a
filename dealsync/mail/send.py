"""Messages -> a mail server, over one connection. What became of each is never guessed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

from aiosmtplib import SMTP, SMTPException, SMTPRecipientRefused, SMTPResponseException

from dealsync.errors import MailLost, MailNotSent, MailPutOff, MailRefused
from dealsync.mail.compose import Mail

Security = Literal["starttls", "tls", "none"]
PERMANENT = 500
CLOSING = 421
"""The server ends the conversation, whoever the e-mail is for."""
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
        counter = Counter(smtp, f"{self.host}:{self.port}")
        await counter.open()
        try:
            yield counter
        finally:
            with suppress(SMTPException, OSError):
                await smtp.quit()
            smtp.close()


class Counter:
    """A connection to a mail server."""

    def __init__(self, smtp: SMTP, place: str) -> None:
        self._smtp = smtp
        self._place = place

    async def open(self) -> None:
        """See to it that the server listens, and has done with the e-mail before. Raises MailNotSent."""
        try:
            if self._smtp.is_connected and await self._is_ready():
                return
            await self._smtp.connect()
            await self._smtp.rset()
        except (SMTPException, OSError, ValueError) as error:  # ValueError: a name that cannot be looked up
            raise MailNotSent(f"The mail server {self._place} takes no e-mail: {_words(error)}") from error

    async def send(self, mail: Mail) -> None:
        """Hand one message over. Raises MailRefused, MailNotSent, MailLost; after `open`, the next one may be sent."""
        await self._address(mail)
        try:
            await self._smtp.data(mail.content)
        except SMTPResponseException as error:
            raise _refusal(error) from error
        except (SMTPException, OSError) as error:
            raise MailLost(f"The mail server fell silent after the e-mail was handed over: {_words(error)}") from error

    async def _is_ready(self) -> bool:
        """False where the server has had enough of this connection: another one may do."""
        try:
            await self._smtp.rset()
        except (SMTPException, OSError):
            self._smtp.close()
            return False
        return True

    async def _address(self, mail: Mail) -> None:
        """Say from whom and for whom it is: nothing has been handed over yet."""
        if not mail.is_ascii and not self._smtp.supports_extension("smtputf8"):
            raise MailRefused("the mail server takes only ASCII before the @ of an address")
        try:
            await self._smtp.mail(mail.sender, options=[] if mail.is_ascii else ["SMTPUTF8"])
            await self._smtp.rcpt(mail.to, encoding="ascii" if mail.is_ascii else "utf-8")
        except SMTPRecipientRefused as error:
            raise _refusal(error) from error
        except (SMTPException, OSError) as error:
            # Who sends is a matter of the settings, not of one client's address: it is tried again.
            raise MailNotSent(f"The mail server does not take e-mail of ours: {_words(error)}") from error
        except ValueError as error:
            raise MailRefused("its address cannot be told to a mail server") from error


def blotted(words: str) -> str:
    """Return the words of a mail server without the addresses that they name."""
    return _ADDRESS.sub("(address)", " ".join(words.split()))[:300]


def _refusal(error: SMTPResponseException) -> MailRefused | MailNotSent:
    words = _words(error)
    if error.code >= PERMANENT:
        return MailRefused(words)
    if error.code == CLOSING:
        return MailNotSent(f"The mail server is closing: {words}")
    return MailPutOff(f"The mail server puts it off: {words}")


def _words(error: Exception) -> str:
    if isinstance(error, SMTPResponseException):
        return blotted(f"{error.code} {error.message}")
    return blotted(str(error)) or type(error).__name__
