"""Messages -> e-mail, Slack, Telegram and whatever else Apprise knows, by addresses that hold their secrets."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from apprise import Apprise, NotifyType
from apprise.attachment.memory import AttachMemory

from dealsync.core.alerts import Message
from dealsync.errors import ConfigError

# Apprise's own lines name addresses, which hold tokens and passwords.
logging.getLogger("apprise").setLevel(logging.CRITICAL)
log = logging.getLogger("dealsync.alerts")


def bell(urls: Iterable[str], setting: str = "DEALSYNC_ALERT_URLS") -> Apprise:
    """Return what rings everywhere. Raises ConfigError naming the place in the list of an address that is none."""
    found = Apprise()
    for place, url in enumerate(urls, start=1):
        if not found.add(url):
            scheme = url.partition(":")[0][:20]
            raise ConfigError(
                f"{setting}: number {place} ({scheme}:…) is no address that Apprise knows, such as "
                "mailto://user:password@acme.com or slack://token/channel"
            )
    return found


async def notify(urls: Sequence[str], told: Iterable[Message]) -> bool:
    """Send messages to every address; return whether all of them took all. What fails is logged, without addresses."""
    try:
        ringing = bell(urls)
    except ConfigError as error:
        log.error("no alert was sent: %s", error)  # noqa: TRY400 - the line says all
        return False
    done = True
    for message in told:
        kind = NotifyType.FAILURE if message.is_trouble else NotifyType.SUCCESS
        sent = await ringing.async_notify(body=message.words, title=message.title, notify_type=kind)
        if not sent:
            log.error("the alert %s reached not everybody", message.name)
        done = done and bool(sent)
    return done


async def deliver(urls: Sequence[str], title: str, words: str, page: tuple[str, bytes]) -> bool:
    """Send a report to every address, its page (name, HTML) where that service takes files; whether all took it.

    Raises ConfigError as `bell`.
    """
    ringing = bell(urls, "DEALSYNC_REPORT_URLS")
    name, content = page
    attached = AttachMemory(content=content, name=name, mimetype="text/html")  # type: ignore[no-untyped-call]
    return bool(await ringing.async_notify(body=words, title=title, notify_type=NotifyType.INFO, attach=attached))
