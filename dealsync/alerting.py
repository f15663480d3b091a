"""Looks whether dealsync itself is well, and tells people when that changes.

Every run does so at its end, the receiver every few minutes, and `dealsync alerts --tell` whenever cron likes: that no
run comes is told by no run.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError

from dealsync.access import kommo_access_ends_at
from dealsync.core.alerts import MENDED_BY_US, Condition, Message, messages
from dealsync.core.evidence import Sender
from dealsync.core.states import State
from dealsync.ledger.entries import ChosenEntries
from dealsync.ledger.runs import APPLYING_JOBS, DONE, utc_now
from dealsync.settings import Settings, Store

RECEIVER = "receiver"
"""The name under which the database keeps the receiver's address, and since when it is that."""
log = logging.getLogger("dealsync.alerts")


def conditions(settings: Settings, store: Store, now: datetime) -> Iterator[Condition]:
    """Yield everything that is wrong with dealsync now."""
    section = settings.config.alerts
    for name, reason in store.limits.blocked().items():
        api = name.partition(" ")[0]
        yield Condition(
            "ban",
            f"{api} has blocked this address ({reason}). Nothing is sent to it, by any process. Stop whatever else "
            "talks to it, ask its support to lift the block, then run: dealsync unblock",
        )
    failed = store.entries.listed(ChosenEntries(states=(State.FAILED,)))
    parked = [item for item in failed if item.attempts >= section.after_attempts and not item.is_refused]
    if parked:
        first = parked[-1]
        yield Condition(
            "parked-writes",
            f"{len(parked)} writes have failed {section.after_attempts} times or more, the first is "
            f"{first.idempotency_key}: {first.error}. See: dealsync ledger list --state failed",
        )
    if given_up := store.inbox.depth().parked:
        yield Condition(
            "parked-events",
            f"{given_up} webhooks were given up. See: dealsync inbox list --state parked",
        )
    if (stuck := store.runs.stuck()) is not None:
        yield Condition(
            "stuck-run",
            f"Run {stuck.run_id} of {stuck.job} stopped moving and lost its lock. Others go on; restart the process "
            "that runs it",
        )
    if (asked := store.approvals.waiting(now)) is not None:
        counts = ", ".join(f"{count} {kind}" for kind, count in asked.actions.items())
        yield Condition(
            "approval",
            f"Run {asked.run_id} waits for a person's yes to {counts}, because {'; '.join(asked.reasons)}. Open the "
            f"paused run in the Prefect UI before {asked.answer_by:%Y-%m-%d %H:%M} UTC",
        )
    if section.reconcile_hours and (late := _late(store, now, timedelta(hours=section.reconcile_hours))):
        yield Condition("late-run", late)
    yield from _slow_troubles(settings, store, now)


def _slow_troubles(settings: Settings, store: Store, now: datetime) -> Iterator[Condition]:
    section = settings.config.alerts
    if section.drift_hours and (old := _old_drift(store, now, section.drift_hours)):
        yield Condition("old-drift", old)
    if section.silent_hours and (silent := _silence(settings, store, now, timedelta(hours=section.silent_hours))):
        yield Condition("silent-receiver", silent)
    ends_at = kommo_access_ends_at(settings.environment, store.limits, now) if section.token_days else None
    if ends_at is not None and ends_at - now < timedelta(days=section.token_days):
        what = "token" if settings.environment.kommo_token else "authorisation code"
        yield Condition(
            "expiring-token",
            f"Access to Kommo {'ended' if ends_at <= now else 'ends'} at {ends_at:%Y-%m-%d %H:%M} UTC. Let an admin "
            f"make a new {what} in Kommo, and set it",
        )


def _old_drift(store: Store, now: datetime, hours: float) -> str | None:
    lasting = store.findings.lasting(MENDED_BY_US, now - timedelta(hours=hours))
    if not lasting:
        return None
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(one.kind for one in lasting).items()))
    return f"Out of step for more than {hours:g} hours: {kinds}, the first is {lasting[0].source}. See: dealsync plan"


def _silence(settings: Settings, store: Store, now: datetime, patience: timedelta) -> str | None:
    """Why the receiver seems to be silent: a payment came after the last webhook, and after its address was set."""
    last = store.inbox.last_from(Sender.LEMON_SQUEEZY)
    since = _receiver_since(settings, store, now)
    known = [at for at in (last.received_at if last else None, since) if at is not None]
    if not known:
        return None
    environment = settings.environment
    stores = {environment.lemon_squeezy_store_id, *settings.config.lemon_squeezy.stores}
    untold = store.inbox.untold_orders(stores, test_mode=environment.is_test_mode, since=max(known))
    if not untold or now - untold[0] < patience:
        return None
    came = f"the last one came at {last.received_at:%Y-%m-%d %H:%M} UTC" if last else "none ever came"
    return (
        f"{len(untold)} orders since {untold[0]:%Y-%m-%d %H:%M} UTC were seen by polls, and no webhook told of them; "
        f"{came}. See: dealsync doctor"
    )


def _receiver_since(settings: Settings, store: Store, now: datetime) -> datetime | None:
    """Since when the receiver has its present address, as far as anybody looked; None where it has none."""
    url = settings.config.receiver.url
    if not url:
        return None
    noted, _, since = (store.runs.bound(RECEIVER) or "").partition(" ")
    return datetime.fromisoformat(since) if noted == url else now


def _late(store: Store, now: datetime, limit: timedelta) -> str | None:
    last = store.runs.latest(APPLYING_JOBS, (DONE,))
    if last is None or now - last.started_at <= limit:
        return None
    return (
        f"The last run of reconcile that went through began {last.started_at:%Y-%m-%d %H:%M} UTC. See whether "
        "dealsync serve, or the worker, and the Prefect server run"
    )


async def watch(settings: Settings, store: Store) -> tuple[Message, ...]:
    """Tell what has changed since it was told last; return that. Never raises for want of the database or a server."""
    try:
        now = utc_now()
        if (since := _receiver_since(settings, store, now)) == now:
            store.runs.rebind(RECEIVER, f"{settings.config.receiver.url} {since.isoformat()}")
        due = messages(conditions(settings, store, now), store.alerts.standing())
        told = [message for message in due if _is_ours(store, message, now)]
    except SQLAlchemyError as error:
        log.warning("nobody looked whether alerts are due (%s)", type(error).__name__)
        return ()
    for message in told:
        log.log(logging.CRITICAL if message.is_trouble else logging.WARNING, "%s: %s", message.title, message.words)
    if told and settings.environment.alert_urls:
        from dealsync.notify import notify  # only where there is something to tell: it takes its time to load

        await notify(settings.environment.alert_urls, told)
    return tuple(told)


def _is_ours(store: Store, message: Message, now: datetime) -> bool:
    """Whether it is this process that tells; another one may have found the same at the same time."""
    if message.is_trouble:
        return store.alerts.raise_(message.name, now)
    return store.alerts.lower(message.name) is not None


def shown(found: Sequence[Condition]) -> list[dict[str, str]]:
    """Return conditions as plain values."""
    return [{"name": one.name, "words": one.words} for one in found]
