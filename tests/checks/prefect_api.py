"""Prefect's REST API as `dealsync doctor` sees it, played from what a real server answered."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dealsync.ledger.runs import utc_now
from dealsync.local_prefect import declared

RECORDED = json.loads((Path(__file__).parents[1] / "samples" / "prefect" / "served.json").read_text(encoding="utf-8"))
LOGIN = "Basic YWRtaW46cGFzcw=="  # admin:pass


class PlayedPrefect:
    """A server on which everything is well, until a test says otherwise."""

    def __init__(self) -> None:
        now = utc_now()
        self.version: str = RECORDED["version"]
        self.deployments = {entry["name"]: _deployment(entry, now) for entry in declared()}
        self.runs: list[dict[str, Any]] = []
        for entry in declared():
            if entry.get("schedules"):
                self.runs.append(_run("completed_run", entry["name"], end_time=now - timedelta(minutes=20)))
                self.runs.append(_run("scheduled_run", entry["name"], expected_start_time=now + timedelta(minutes=40)))

    def run_of(self, name: str, state_type: str) -> dict[str, Any]:
        """Return a deployment's run in a state."""
        return next(run for run in self.runs if (run["deployment"], run["state_type"]) == (name, state_type))

    def app(self) -> Starlette:
        """Return the server."""
        return Starlette(
            routes=[
                Route("/api/health", self._health),
                Route("/api/admin/version", self._version),
                Route("/api/deployments/filter", self._deployments, methods=["POST"]),
                Route("/api/flow_runs/filter", self._runs, methods=["POST"]),
            ]
        )

    async def _health(self, _request: Request) -> Response:
        return JSONResponse(RECORDED["health"])

    async def _version(self, request: Request) -> Response:
        return _refused(request) or JSONResponse(self.version)

    async def _deployments(self, request: Request) -> Response:
        wanted = (await request.json()).get("deployments", {}).get("name", {}).get("any_")
        found = [row for name, row in self.deployments.items() if wanted is None or name in wanted]
        return _refused(request) or JSONResponse(found)

    async def _runs(self, request: Request) -> Response:
        wanted = await request.json()
        names, states = wanted["deployments"]["name"]["any_"], wanted["flow_runs"]["state"]["type"]["any_"]
        key, _, way = wanted["sort"].rpartition("_")
        found = [run for run in self.runs if run["deployment"] in names and run["state_type"] in states]
        found.sort(key=lambda run: str(run[key.lower()]), reverse=way == "DESC")
        return _refused(request) or JSONResponse(found[: wanted["limit"]])


def _refused(request: Request) -> Response | None:
    if request.headers.get("authorization") == LOGIN:
        return None
    return JSONResponse({"exception_message": "Unauthorized"}, 401)


def _deployment(entry: dict[str, Any], now: datetime) -> dict[str, Any]:
    row = deepcopy(RECORDED["deployment"])
    schedules = row["schedules"] if entry.get("schedules") else []
    return {**row, "name": entry["name"], "schedules": schedules, "last_polled": _wire(now)}


def _run(sample: str, name: str, **times: datetime) -> dict[str, Any]:
    return {**deepcopy(RECORDED[sample]), "deployment": name, **{key: _wire(at) for key, at in times.items()}}


def _wire(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
