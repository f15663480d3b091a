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
from typing import Any, TypeVar

import httpx
import tomlkit
import typer

from dealsync.config import load_config
from dealsync.core.models import WON_STATUS_ID
from dealsync.errors import DemoError
from dealsync.ledger.database import open_database
from dealsync.ledger.runs import Runs
from dealsync.local_prefect import FlowRun, LocalPrefect
from dealsync.printed import print_json
from dealsync.report import DRIFT_WORDS, KIND_WORDS
from dealsync.simulator.server import Simulator

ORDERS = 120
PARAMETERS = {"apply": True}
PRICE = 490
LIVE_S = 30
BUYER = "demo.buyer@example.com"
T = TypeVar("T")


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

    @property
    def latest_s(self) -> float:
        """What was measured last, in seconds."""
        return next(reversed(self.seconds.values()))


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
            with prefect.unscheduled():
                runs = _main_job(stage, prefect, watch)
                runs.append(_live_purchase(stage, prefect, receiver, watch))
            _tell_times(stage, watch)
            stage.say(
                f"Prefect UI: {prefect.ui_url}" + ("" if keep else " (closed now; make demo KEEP=1 keeps it open)")
            )
            if as_json:
                print_json({"runs": runs, "seconds": watch.seconds, "ui": prefect.ui_url})
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
    """A deal reaches the invoice stage, gets its checkout link, and is paid through it: all without a schedule."""
    _dealsync(stage, "init", "--yes", "--receiver-url", receiver)
    stage.say(f"\nThe receiver listens at {receiver}; dealsync init --receiver-url registered both webhooks.")
    contact = {"name": "Live Buyer", "email": "live.buyer@example.com"}
    lead_id = int(stage.control("leads", {"name": "Live deal", "price": PRICE, "contact": contact})["id"])
    stage.say(f"A manager moves deal {lead_id} to the invoice stage:")
    with watch.measure("deal in the invoice stage, until it had its link"):
        stage.control(f"leads/{lead_id}/move", {"status_id": _invoice_status(stage)})
        checkout_id, url = _wait_for(lambda: _opened_for(stage, lead_id), f"deal {lead_id} got no checkout")
        _wait_for(lambda: url in json.dumps(_lead(stage, lead_id)), f"deal {lead_id} does not show its checkout link")
    stage.say(f"  {watch.latest_s:.1f} s later its LS field holds a checkout link.")
    stage.say("The client pays through the link, under another address:")
    with watch.measure("live payment, until its deal was won"):
        stage.control(f"checkouts/{checkout_id}/pay", {"email": "their.accountant@example.com"})
        _wait_for(lambda: _status_of(stage, lead_id) == WON_STATUS_ID, f"deal {lead_id} was not won")
    took_s, run = watch.latest_s, prefect.flow_runs("process-inbox")[-1]
    stage.say(f"  Deal {lead_id} is won {took_s:.1f} s after the payment, by a run of process-inbox.")
    return {"deal": lead_id, "seconds": took_s, "flow_run": run.id}


def _wait_for(find: Callable[[], T | None], otherwise: str) -> T:
    """Wait until something is there, and return it. Raises DemoError."""
    deadline = time.monotonic() + LIVE_S
    while not (found := find()):
        if time.monotonic() > deadline:
            raise DemoError(f"{otherwise} within {LIVE_S} s")
        time.sleep(0.1)
    return found


def _invoice_status(stage: Stage) -> int:
    """The status in which the configuration says that deals wait for payment."""
    wanted = load_config(stage.folder / "dealsync.toml").kommo.invoice_status
    statuses = [one for p in _state(stage)["kommo"]["pipelines"] for one in p["_embedded"]["statuses"]]
    return next(int(one["id"]) for one in statuses if wanted in (one["id"], one["name"]))


def _opened_for(stage: Stage, lead_id: int) -> tuple[str, str] | None:
    """The id and link of a deal's checkout; None as long as there is none."""
    for checkout in _state(stage)["lemon_squeezy"]["checkouts"]:
        attributes = checkout["attributes"]
        if (attributes["checkout_data"]["custom"] or {}).get("kommo_lead_id") == str(lead_id):
            return str(checkout["id"]), str(attributes["url"])
    return None


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


def _state(stage: Stage) -> dict[str, Any]:
    """Everything that both simulated accounts hold."""
    return dict(httpx.get(f"{stage.simulator.url}/control/state", timeout=30).raise_for_status().json())


def _lead(stage: Stage, lead_id: int) -> dict[str, Any]:
    return next(dict(lead) for lead in _state(stage)["kommo"]["leads"] if lead["id"] == lead_id)


def _status_of(stage: Stage, lead_id: int) -> int:
    return int(_lead(stage, lead_id)["status_id"])


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
