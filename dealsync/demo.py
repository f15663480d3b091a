"""`dealsync demo`: the main job on embedded defaults, through a real Prefect server. Leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import tomlkit
import typer

from dealsync.core.models import WON_STATUS_ID
from dealsync.errors import DemoError
from dealsync.ledger.database import open_database
from dealsync.ledger.runs import Runs
from dealsync.local_prefect import FlowRun, LocalPrefect
from dealsync.report import DRIFT_WORDS, KIND_WORDS
from dealsync.simulator.server import Simulator

ORDERS = 120
PARAMETERS = {"apply": True}
PRICE = 490
LIVE_S = 30
BUYER = "demo.buyer@example.com"


@dataclass(slots=True)
class Stopwatch:
    """Where the time went."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def measure(self, what: str) -> Iterator[None]:
        """Remember how many seconds `what` took."""
        began = time.monotonic()
        yield
        self.seconds[what] = time.monotonic() - began


@dataclass(frozen=True, slots=True)
class Stage:
    """What the demo's programs share: the simulated accounts, and a folder with settings and database."""

    simulator: Simulator
    folder: Path
    say: Callable[[str], None]

    @property
    def settings(self) -> dict[str, str]:
        """The environment of every dealsync program in the demo."""
        own = {
            "DEALSYNC_DATABASE_URL": self.database_url,
            "DEALSYNC_CONFIG": str(self.folder / "dealsync.toml"),
            "DEALSYNC_STATE_DIR": str(self.folder),
        }
        return self.simulator.environment() | own

    @property
    def database_url(self) -> str:
        """The demo's own database."""
        return f"sqlite:///{self.folder / 'dealsync.db'}"

    def control(self, route: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Do in the simulated accounts what a person or a buyer would do."""
        response = httpx.post(f"{self.simulator.url}/control/{route}", json=dict(body), timeout=10).raise_for_status()
        return dict(response.json())


def run_demo(*, keep: bool = False, as_json: bool = False) -> None:
    """Run it and print what happened, as text while it happens or as JSON at the end.

    Raises DemoError when a part does not start or the outcome is wrong.

    Call it from the main thread: being terminated, it still stops everything that it started.
    """
    watch = Stopwatch()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        tempfile.TemporaryDirectory(prefix="dealsync-demo-") as folder,
        Simulator.running(seed=1, orders=ORDERS) as simulator,
    ):
        stage = Stage(simulator, Path(folder), (lambda _text: None) if as_json else typer.echo)
        stage.say(f"Lemon Squeezy and Kommo are simulated at {simulator.url}, with {ORDERS} past orders.")
        with watch.measure("dealsync init"):
            _init(stage)
        stage.say("dealsync init found the names, made the LS fields and wrote dealsync.toml.")
        with _prefect(stage, watch) as (prefect, receiver):
            runs = _main_job(stage, prefect, watch)
            runs.append(_live_purchase(stage, prefect, receiver, watch))
            _tell_times(stage, watch)
            stage.say(
                f"Prefect UI: {prefect.ui_url}" + ("" if keep else " (closed now; make demo KEEP=1 keeps it open)")
            )
            if as_json:
                typer.echo(json.dumps({"runs": runs, "seconds": watch.seconds, "ui": prefect.ui_url}, indent=2))
            if keep:
                _wait_for_ctrl_c(stage)


@contextmanager
def _prefect(stage: Stage, watch: Stopwatch) -> Iterator[tuple[LocalPrefect, str]]:
    """A Prefect server and `dealsync serve`; yields where its receiver listens, too."""
    with ExitStack() as running:
        with watch.measure("Prefect server, until healthy"):
            prefect = running.enter_context(LocalPrefect.running(stage.folder / "prefect"))
        with watch.measure("flows, until served"):
            receiver = running.enter_context(prefect.serving(stage.settings, folder=stage.folder))
        stage.say("A Prefect server is up, and every deployment of prefect.yaml is served.")
        yield prefect, receiver


def _dealsync(stage: Stage, *arguments: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own interpreter and our own package
        [sys.executable, "-m", "dealsync", *arguments],
        env=os.environ | stage.settings, cwd=stage.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise DemoError(f"dealsync {arguments[0]} failed: {done.stderr.strip()}")


def _init(stage: Stage) -> None:
    """Run `dealsync init`, and let the poll decide at once: for the first purchase no webhook will come."""
    _dealsync(stage, "init", "--yes")
    config = stage.folder / "dealsync.toml"
    document = tomlkit.parse(config.read_text(encoding="utf-8"))
    document["matching"] = {"settle_minutes": 0}
    config.write_text(tomlkit.dumps(document), encoding="utf-8")


def _main_job(stage: Stage, prefect: LocalPrefect, watch: Stopwatch) -> list[dict[str, Any]]:
    contact = {"name": "Demo Buyer", "email": BUYER}
    deal = stage.control("leads", {"name": "Demo deal", "price": PRICE, "contact": contact})
    stage.control("orders", {"email": BUYER, "total": PRICE * 100})
    refunded, its_deal = _some_won_sale(stage)
    stage.control(f"orders/{refunded}/refund", {})
    stage.say(f"\nA buyer pays ${PRICE}, and deal {deal['id']} is still open.")
    stage.say(f"Order {refunded} is refunded, and deal {its_deal} is still won.")
    stage.say("Run 1 of the deployment reconcile:")
    with watch.measure("run 1 of the deployment"):
        first, found = _run(stage, prefect)
    if _status_of(stage, deal["id"]) != WON_STATUS_ID:
        raise DemoError(f"deal {deal['id']} was not closed: {first.message}")
    if _status_of(stage, its_deal) == WON_STATUS_ID:
        raise DemoError(f"deal {its_deal} of the refunded order {refunded} is still won")
    stage.say(f"Deal {deal['id']} is won; deal {its_deal} needs attention, and its owner has a task.")
    stage.say("\nRun 2, with nothing new:")
    with watch.measure("run 2 of the deployment"):
        second, rest = _run(stage, prefect)
    if "nothing to do" not in second.message:
        raise DemoError(f"run 2 found something to do: {second.message}")
    return [found, rest]


def _live_purchase(stage: Stage, prefect: LocalPrefect, receiver: str, watch: Stopwatch) -> dict[str, Any]:
    """A payment whose webhook comes in: its deal is won without a schedule."""
    _dealsync(stage, "init", "--yes", "--receiver-url", receiver)
    stage.say(f"\nThe receiver listens at {receiver}; dealsync init --receiver-url registered both webhooks.")
    deal = stage.control("leads", {"name": "Live deal", "price": PRICE})
    stage.say(f"A buyer pays for deal {deal['id']} through its checkout, under another address:")
    with watch.measure("live payment, until its deal was won"):
        custom = {"kommo_lead_id": str(deal["id"])}
        stage.control("orders", {"email": "live.buyer@example.com", "total": PRICE * 100, "custom_data": custom})
        deadline = time.monotonic() + LIVE_S
        while _status_of(stage, deal["id"]) != WON_STATUS_ID:
            if time.monotonic() > deadline:
                raise DemoError(f"deal {deal['id']} was not won within {LIVE_S} s of its payment")
            time.sleep(0.1)
    took_s = watch.seconds["live payment, until its deal was won"]
    run = prefect.flow_runs("process-inbox")[-1]
    stage.say(f"Deal {deal['id']} is won {took_s:.1f} s after the payment, by a run of process-inbox.")
    return {"deal": deal["id"], "seconds": took_s, "flow_run": run.id}


def _run(stage: Stage, prefect: LocalPrefect) -> tuple[FlowRun, dict[str, Any]]:
    run = prefect.run_deployment("reconcile", PARAMETERS)
    if run.state != "Completed":
        raise DemoError(f"the flow run ended as {run.state}: {run.message}")
    summary = Runs(open_database(stage.database_url)).last_summary()
    for name, count in summary["drift"].items():
        if count:
            stage.say(f"  out of step  {count:>4}  {DRIFT_WORDS[name]}")
    for kind, count in summary["counts"].items():
        stage.say(f"  done         {count:>4}  {KIND_WORDS[kind]}")
    if summary["reviews"]:
        stage.say(f"  waiting      {summary['reviews']:>4}  payments that a person must place")
    if not summary["counts"]:
        stage.say("  nothing to do")
    stage.say(f"  flow run {run.state.lower()} in {run.took_s:.0f} s, {sum(summary['requests'].values())} requests")
    return run, summary


def _some_won_sale(stage: Stage) -> tuple[str, int]:
    """The first past order whose deal is won, and that deal."""
    truth = stage.simulator.world.truth
    return next((order_id, sale["lead_id"]) for order_id, sale in truth.items() if sale["class"] == "won")


def _status_of(stage: Stage, lead_id: int) -> int:
    state = httpx.get(f"{stage.simulator.url}/control/state", timeout=30).raise_for_status().json()
    leads = state["kommo"]["leads"]
    return next(int(lead["status_id"]) for lead in leads if lead["id"] == lead_id)


def _tell_times(stage: Stage, watch: Stopwatch) -> None:
    stage.say("\nWhere the time went:")
    for what, seconds in watch.seconds.items():
        stage.say(f"  {seconds:>5.1f} s  {what}")


def _wait_for_ctrl_c(stage: Stage) -> None:
    stage.say(f"Simulator: {stage.simulator.url}/control. Ctrl-C stops everything.")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        stage.say("Stopping.")
