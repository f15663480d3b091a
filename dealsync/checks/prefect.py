"""DS4xx: Prefect, as its API tells. Prefect itself is never imported."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from dealsync.checks.context import Context
from dealsync.checks.verdicts import Check, Skip, failed, ok, warning
from dealsync.core.checkup import Verdict
from dealsync.local_prefect import declared

KNOWN = ((3, 8, 8), (3, 10))
"""The first version that dealsync is tested with, and the first one that it is not."""
POLLED = timedelta(seconds=60)
"""How long ago somebody may have asked for work: as long as Prefect itself takes a deployment for ready."""
LATE = timedelta(minutes=15)
RAN = ("COMPLETED", "FAILED", "CRASHED")


async def server(context: Context) -> Verdict:
    """Ask for its health, and for something that needs a login."""
    await _ask(context, "GET", "/health")
    await _ask(context, "POST", "/deployments/filter", {"limit": 1})
    return ok("it does")


async def version(context: Context) -> Verdict:
    """Ask for its version."""
    text = str(await _ask(context, "GET", "/admin/version"))
    numbers = tuple(int(part) for part in text.split(".")[:3] if part.isdecimal())
    return ok(text) if KNOWN[0] <= numbers < KNOWN[1] else warning(f"it is {text[:40]}")


async def deployments(context: Context) -> Verdict:
    """Look for those of `prefect.yaml`."""
    found = await _deployments(context)
    missing = sorted({entry["name"] for entry in declared()} - found.keys())
    return failed(f"missing: {', '.join(missing)}") if missing else ok(f"all {len(found)}")


async def schedules(context: Context) -> Verdict:
    """Look whether those with a schedule are to run by themselves."""
    found = await _deployments(context)
    off = [name for name in _scheduled() if found[name]["paused"] or not _is_on(found[name])]
    return failed(f"off or paused: {', '.join(off)}") if off else ok(f"all {len(_scheduled())}")


async def polled(context: Context) -> Verdict:
    """Look when a runner or worker last asked for work; both leave the time with each deployment."""
    found, now = await _deployments(context), await _now(context)
    polls = {name: _time(row["last_polled"]) for name, row in found.items()}
    idle = sorted(name for name, at in polls.items() if at is None or now - at > POLLED)
    if not idle:
        return ok("somebody asked for work within the last minute")
    last = max((at for name in idle if (at := polls[name]) is not None), default=None)
    since = f"since {last:%Y-%m-%d %H:%M} UTC" if last else "ever"
    return failed(f"nobody has asked for the work of {', '.join(idle)} {since}")


async def planned(context: Context) -> Verdict:
    """Look for the next run of each."""
    runs = {name: await _planned(context, name) for name in _scheduled()}
    without = [name for name, run in runs.items() if run is None]
    return failed(f"no run is planned of {', '.join(without)}") if without else ok(f"of all {len(runs)}")


async def last_run(context: Context) -> Verdict:
    """Look how the last run of each ended, and whether one should have begun."""
    now, faults, ran = await _now(context), [], 0
    for name in _scheduled():
        planned_run = await _planned(context, name)
        due = _time(planned_run["expected_start_time"]) if planned_run else None
        if due is not None and now - due > LATE:
            faults.append(f"{name} should have begun at {due:%Y-%m-%d %H:%M} UTC")
        run = await _first_run(context, name, RAN, "END_TIME_DESC")
        ran += run is not None
        if run is not None and run["state_type"] != "COMPLETED":
            faults.append(f"{name}: {run['state_name']} at {_time(run['end_time']):%Y-%m-%d %H:%M} UTC")
    return failed("; ".join(faults)) if faults else ok(f"of {ran} deployments that ran")


def _scheduled() -> list[str]:
    return [entry["name"] for entry in declared() if entry.get("schedules")]


def _is_on(deployment: Mapping[str, Any]) -> bool:
    return any(schedule["active"] for schedule in deployment["schedules"])


async def _deployments(context: Context) -> dict[str, Mapping[str, Any]]:
    """Those of `prefect.yaml` that are there, by name."""
    names = [entry["name"] for entry in declared()]
    wanted = {"deployments": {"name": {"any_": names}}}
    rows = await context.once("deployments", lambda: _ask(context, "POST", "/deployments/filter", wanted))
    return {row["name"]: row for row in rows}


async def _planned(context: Context, name: str) -> Mapping[str, Any] | None:
    return await context.once(
        f"planned {name}", lambda: _first_run(context, name, ("SCHEDULED",), "EXPECTED_START_TIME_ASC")
    )


async def _first_run(context: Context, name: str, states: tuple[str, ...], sort: str) -> Mapping[str, Any] | None:
    wanted = {
        "deployments": {"name": {"any_": [name]}},
        "flow_runs": {"state": {"type": {"any_": list(states)}}},
        "sort": sort,
        "limit": 1,
    }
    return next(iter(await _ask(context, "POST", "/flow_runs/filter", wanted)), None)


async def _now(context: Context) -> datetime:
    """The server's own clock: its times are compared with nothing else."""
    _, now = await context.once("health", lambda: _exchange(context, "GET", "/health"))
    return now


async def _ask(context: Context, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    answer, _ = await _exchange(context, method, path, body)
    return answer


async def _exchange(
    context: Context, method: str, path: str, body: Mapping[str, Any] | None = None
) -> tuple[Any, datetime]:
    environment = context.environment
    if not environment.prefect_api_url:
        raise Skip("PREFECT_API_URL is not set: Prefect schedules nothing")
    user, _, password = environment.prefect_api_auth_string.get_secret_value().partition(":")
    login = httpx.BasicAuth(user, password) if user else None
    async with context.web(environment.prefect_api_url, login) as http:
        response = await http.request(method, path, json=body)
    response.raise_for_status()
    said = response.headers.get("date")
    return response.json(), parsedate_to_datetime(said).astimezone(UTC) if said else context.clock()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


CHECKS: dict[str, Check] = {
    "DS401": server,
    "DS402": version,
    "DS403": deployments,
    "DS404": schedules,
    "DS405": polled,
    "DS406": planned,
    "DS407": last_run,
}
