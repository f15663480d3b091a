"""DS5xx: settings, clock, receiver, inbox, ledger, runs."""

from __future__ import annotations

import os
import stat
from datetime import timedelta
from pathlib import Path

from dealsync.apis.border import words
from dealsync.checks.context import Context
from dealsync.checks.verdicts import Check, Skip, failed, ok, warning
from dealsync.core.assumptions import CLOCK_SKEW
from dealsync.core.checkup import Verdict
from dealsync.ledger.runs import APPLYING_JOBS, DONE

ENV_FILE = Path(".env")
OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO
UNEASY = timedelta(seconds=30)
"""A clock that is further off does not keep its time by itself."""


async def environment(context: Context) -> Verdict:
    """Read it."""
    return ok(f"{context.environment.dealsync_mode} mode")


async def configuration(context: Context) -> Verdict:
    """Read it, and the files that it names."""
    return ok(str(context.settings.environment.dealsync_config))


async def private(context: Context) -> Verdict:
    """Look at the rights of `.env`."""
    del context
    rights = _rights_of(ENV_FILE)
    if rights is None:
        return ok("there is none")
    return failed(f"its rights are {rights:o}") if rights & OF_OTHERS else ok(f"its rights are {rights:o}")


async def clock(context: Context) -> Verdict:
    """Compare it with those of the APIs that answered."""
    clients = {code: name for code, name in (("DS101", "lemon_squeezy"), ("DS201", "kommo")) if context.went_well(code)}
    heard = [getattr(context, name).heard for name in clients.values()]
    off = [one.now() - context.clock() for one in heard if one is not None]
    if not off:
        raise Skip("needs DS101 or DS201")
    furthest = max(off, key=abs)
    said = f"{abs(furthest).total_seconds():.0f} s {'behind' if furthest > timedelta(0) else 'ahead'}"
    if abs(furthest) > CLOCK_SKEW:
        return failed(f"ours is {said}")
    return warning(f"ours is {said}") if abs(furthest) > UNEASY else ok("within seconds of the APIs'")


async def alive(context: Context) -> Verdict:
    """Ask the receiver from outside."""
    status, text = await _get(context, "/healthz")
    return ok("it answers") if (status, text) == (200, "ok") else failed(f"/healthz answers {status}, and not as ours")


async def ready(context: Context) -> Verdict:
    """Ask whether it is of use."""
    status, text = await _get(context, "/readyz")
    return ok("it is") if status == 200 else failed(f"{status}: {words(text)}")


async def inbox(context: Context) -> Verdict:
    """Look how long the oldest event is overdue."""
    depth, section = context.store.inbox.depth(), context.settings.config.inbox
    overdue = context.clock() - depth.due_at if depth.due_at else timedelta(0)
    waiting = f"{depth.waiting} wait"
    if overdue > timedelta(minutes=section.ready_minutes):
        return failed(f"{waiting}, one overdue for {overdue / timedelta(minutes=1):.0f} minutes")
    return ok(waiting)


async def last_run(context: Context) -> Verdict:
    """Look when a run of reconcile last went through."""
    last = context.store.runs.latest(APPLYING_JOBS, (DONE,))
    if last is None:
        return warning("none has gone through yet")
    return _condition(context, "late-run", f"it began at {last.started_at:%Y-%m-%d %H:%M} UTC")


async def addresses(context: Context) -> Verdict:
    """Read the addresses of alerts."""
    urls = context.environment.alert_urls
    if not urls:
        return warning("DEALSYNC_ALERT_URLS is empty: only the log tells of trouble")
    from dealsync.notify import bell  # only where there are any: it takes its time to load

    bell(urls)
    return ok(f"{len(urls)} address{'es' * (len(urls) != 1)}")


async def parked_events(context: Context) -> Verdict:
    """Look for events that were given up."""
    return _condition(context, "parked-events", "none waits for a person")


async def dead_letters(context: Context) -> Verdict:
    """Look for writes that fail again and again."""
    return _condition(context, "parked-writes", "none waits for a person")


async def stuck(context: Context) -> Verdict:
    """Look for a run that got stuck."""
    return _condition(context, "stuck-run", "none is")


async def drift(context: Context) -> Verdict:
    """Look for what is out of step for long."""
    return _condition(context, "old-drift", "nothing is")


async def silence(context: Context) -> Verdict:
    """Look for payments that no webhook told of."""
    return _condition(context, "silent-receiver", "as far as polls can tell")


async def approval(context: Context) -> Verdict:
    """Look for a question that waits for its answer."""
    found = context.found_wrong.get("approval")
    return ok("no plan waits for approval") if found is None else warning(found.words)


def _rights_of(path: Path) -> int | None:
    """The rights of a file; None if it is not there."""
    if os.name == "nt":
        raise Skip("Windows keeps rights otherwise")
    return stat.S_IMODE(path.stat().st_mode) if path.exists() else None


def _condition(context: Context, name: str, otherwise: str) -> Verdict:
    """What alerts say of it."""
    found = context.found_wrong.get(name)
    return ok(otherwise) if found is None else failed(found.words)


async def _get(context: Context, path: str) -> tuple[int, str]:
    async with context.web(context.receiver, None) as http:
        response = await http.get(path)
    return response.status_code, response.text.strip()


CHECKS: dict[str, Check] = {
    "DS501": environment,
    "DS502": configuration,
    "DS503": private,
    "DS504": clock,
    "DS505": alive,
    "DS506": ready,
    "DS507": inbox,
    "DS508": parked_events,
    "DS509": dead_letters,
    "DS510": last_run,
    "DS511": stuck,
    "DS512": drift,
    "DS513": silence,
    "DS514": addresses,
    "DS515": approval,
}
