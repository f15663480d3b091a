"""Looks whether dealsync itself is well, and tells people when that changes. Every run does so at its end."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError

from dealsync.core.alerts import Condition, Message, messages
from dealsync.core.states import State
from dealsync.ledger.entries import ChosenEntries
from dealsync.ledger.runs import APPLYING_JOBS, DONE, utc_now
from dealsync.settings import Settings, Store

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
