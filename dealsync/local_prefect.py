"""A Prefect server and the served flows as programs of their own, on loopback, with their own home folder.

Prefect is never imported here: it is started as anybody would start it, and spoken to as its UI speaks to it.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from dealsync.errors import ConfigError, DemoError

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 90
STOP_TIMEOUT_S = 10
RECEIVING = re.compile(r"Receiving at (http://\S+)")
FINAL_STATES = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",  # the V2 UI asks an analytics host from the browser
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
    "PREFECT_RUNNER_POLL_FREQUENCY": "1",
}
"""No telemetry, no advertising, and a runner that looks for work every second."""


@dataclass(frozen=True, slots=True)
class FlowRun:
    """A flow run as the API shows it. Times of Prefect's own clock, in seconds."""

    id: str
    state: str
    message: str
    waited_s: float
    took_s: float
    tags: tuple[str, ...] = ()
    name: str = ""


class LocalPrefect:
    """A running Prefect server."""

    def __init__(self, port: int, home: Path) -> None:
        self.ui_url = f"http://127.0.0.1:{port}"
        self.home = home
        self._port = port
        self._http = httpx.Client(base_url=f"{self.ui_url}/api", timeout=30)

    def environment(self) -> dict[str, str]:
        """Return this process's environment, with this server in place of any other Prefect."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        own = {"PREFECT_HOME": str(self.home), "PREFECT_API_URL": f"{self.ui_url}/api"}
        return inherited | QUIET | own

    @classmethod
    @contextmanager
    def running(cls, home: Path) -> Iterator[LocalPrefect]:
        """Run a server with its database in `home`; stop it at the end. Raises DemoError."""
        home.mkdir(parents=True, exist_ok=True)
        prefect = cls(_free_port(), home)
        command = ["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(prefect._port)]
        with prefect._program("server", command, {}) as process:
            prefect._wait_until("the Prefect server", process, lambda: prefect._http.get("/health").is_success)
            yield prefect
        prefect._http.close()

    @contextmanager
    def serving(self, environment: Mapping[str, str], *, folder: Path) -> Iterator[str]:
        """Serve receiver and every deployment from `folder` as working folder, so that no stray `.env` is read.

        Yields where the receiver listens.
        """
        script = serve_script()
        with self._program("serve", [str(script), "--port", "0"], environment, folder) as process:
            self._wait_until(
                "the served flows", process, lambda: all(self.deployment(entry["name"]) for entry in declared())
            )
            self._wait_until("the served receiver", process, lambda: RECEIVING.search(self._log("serve")))
            found = RECEIVING.search(self._log("serve"))
            yield found.group(1) if found else ""

    @contextmanager
    def unscheduled(self) -> Iterator[None]:
        """Let nothing start by the clock meanwhile: a scheduled run refuses the one that is triggered beside it."""
        self._pause(paused=True)
        try:
            yield
        finally:
            self._pause(paused=False)

    def _pause(self, *, paused: bool) -> None:
        for entry in declared():
            if (deployment := self.deployment(entry["name"])) is not None:
                self._ask("PATCH", f"/deployments/{deployment['id']}", {"paused": paused})

    def run_deployment(self, name: str, parameters: Mapping[str, Any], *, timeout_s: float = 90) -> FlowRun:
        """Trigger a deployment as the UI does, wait for its end, and return it. Raises DemoError."""
        return self.wait_for(self.start_deployment(name, parameters), FINAL_STATES, timeout_s=timeout_s)

    def start_deployment(self, name: str, parameters: Mapping[str, Any]) -> str:
        """Trigger a deployment as the UI does; return the id of its run. Raises DemoError."""
        deployment = self.deployment(name)
        if deployment is None:
            raise DemoError(f"Prefect has no deployment {name}")
        wanted = {"parameters": dict(parameters), "idempotency_key": uuid.uuid4().hex}
        return str(self._ask("POST", f"/deployments/{deployment['id']}/create_flow_run", wanted)["id"])

    def wait_for(self, run_id: str, states: Collection[str] = FINAL_STATES, *, timeout_s: float = 90) -> FlowRun:
        """Return a flow run once its state is of one of these types. Raises DemoError."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            run = self._ask("GET", f"/flow_runs/{run_id}")
            if run["state_type"] in states:
                return _flow_run(run)
            time.sleep(0.2)
        raise DemoError(f"Flow run {run_id} did not end within {timeout_s:.0f} s. Its log:\n{self._tail('serve')}")

    def flow_runs(self, name: str) -> list[FlowRun]:
        """Return the runs of a deployment that began or are about to, in the order in which they began."""
        return self._flow_runs(name, {"not_any_": ["SCHEDULED"]}, "START_TIME_ASC")

    def planned_runs(self, name: str) -> list[FlowRun]:
        """Return the runs of a deployment that wait for their time, the next one first."""
        return self._flow_runs(name, {"any_": ["SCHEDULED"]}, "EXPECTED_START_TIME_ASC")

    def _flow_runs(self, name: str, state_type: Mapping[str, Any], sort: str) -> list[FlowRun]:
        wanted = {
            "deployments": {"name": {"any_": [name]}},
            "flow_runs": {"state": {"type": state_type}},
            "sort": sort,
        }
        return [_flow_run(run) for run in self._ask("POST", "/flow_runs/filter", wanted)]

    def artifacts(self, run_id: str) -> dict[str, Any]:
        """Return the data of a flow run's artifacts by key."""
        wanted = {"artifacts": {"flow_run_id": {"any_": [run_id]}}}
        rows = self._ask("POST", "/artifacts/filter", wanted)
        return {row["key"]: row["data"] for row in rows if row["key"]}

    def deployment(self, name: str) -> dict[str, Any] | None:
        """Return a deployment as Prefect's API shows it; None if there is none of that name."""
        response = self._http.post("/deployments/filter", json={"deployments": {"name": {"any_": [name]}}})
        return next(iter(response.json()), None) if response.is_success else None

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send a request that may be repeated: a young or busy server answers 503 for moments."""
        retrying = Retrying(
            retry=retry_if_exception_type(httpx.HTTPError),
            stop=stop_after_delay(START_TIMEOUT_S),
            wait=wait_fixed(0.5),
            reraise=True,
        )
        try:
            answer = retrying(lambda: self._http.request(method, path, json=body).raise_for_status())
            return answer.json() if answer.content else None
        except httpx.HTTPError as error:
            raise DemoError(f"Prefect does not answer {method} {path}: {error}") from error

    @contextmanager
    def _program(
        self, name: str, arguments: list[str], environment: Mapping[str, str], folder: Path | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run a Python program in a process group of its own and stop the whole group at the end."""
        with (self.home / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own files
                [sys.executable, *arguments],
                env=self.environment() | dict(environment),
                cwd=folder or self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            _stop(process)

    def _wait_until(self, what: str, process: subprocess.Popen[bytes], ready: Any) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        name = "server" if "server" in what else "serve"
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise DemoError(f"{what} stopped by itself (exit {process.returncode}). Its log:\n{self._tail(name)}")
            try:
                if ready():
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        raise DemoError(f"{what} did not start within {START_TIMEOUT_S} s. Its log:\n{self._tail(name)}")

    def _tail(self, name: str) -> str:
        return "\n".join(self._log(name).splitlines()[-15:])

    def _log(self, name: str) -> str:
        return (self.home / f"{name}.log").read_text(encoding="utf-8", errors="replace")


def _flow_run(run: Mapping[str, Any]) -> FlowRun:
    return FlowRun(
        id=run["id"],
        state=run["state_name"],
        message=(run["state"] or {}).get("message") or "",
        waited_s=float(run["estimated_start_time_delta"]),
        took_s=float(run["total_run_time"]),
        tags=tuple(run["tags"]),
        name=run["name"],
    )


def serve_script() -> Path:
    """Return the program behind `dealsync serve`. Raises ConfigError outside of a checkout."""
    script = ROOT / "deployments" / "serve.py"
    if not script.exists():
        raise ConfigError(f"There is no {script}: run this from a checkout of dealsync")
    return script


def declared() -> list[dict[str, Any]]:
    """Return the deployments of `prefect.yaml` as they stand there. Raises ConfigError outside of a checkout."""
    path = ROOT / "prefect.yaml"
    if not path.exists():
        raise ConfigError(f"There is no {path}: run this from a checkout of dealsync")
    return list(yaml.safe_load(path.read_text(encoding="utf-8"))["deployments"])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process group: asked first, then made to."""
    for asked in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, asked)
        except ProcessLookupError:
            break
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
