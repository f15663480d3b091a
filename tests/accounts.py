"""A simulated pair of accounts with dealsync set up on it, for whole stories without Prefect."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import tomlkit

from dealsync import settings
from dealsync.core.turns import Rate
from dealsync.poll import Reach
from dealsync.reconcile import reconcile
from dealsync.report import Report
from dealsync.settings import load_environment
from dealsync.setup import SetUp, Wishes, set_up
from dealsync.simulator.server import Simulator
from tests.databases import place_sqlite
from tests.turns import LocalSlots

SALES, NEW, QUALIFIED, INVOICE_SENT, ATTENTION, WON, LOST = 7001, 70011, 70012, 70013, 70014, 142, 143
HTTP = httpx.Client(limits=httpx.Limits(max_keepalive_connections=0))
"""One client for everything that people do: each new one reads the certificates first. It leaves no connection open."""


class Unpaced(LocalSlots):
    """Turns at once: the simulator's limits are off in stories, the shared turns have tests of their own."""

    def __init__(self, name: str, rate: Rate, **engines: Any) -> None:
        del name, rate, engines
        super().__init__(1_000_000)


@dataclass
class Accounts:
    """Both simulated accounts, and dealsync beside them in `folder`."""

    simulator: Simulator
    folder: Path

    def init(self, **matching: Any) -> SetUp:
        """Run `dealsync init`; decide young orders at once, tell of old facts too, unless told otherwise."""
        done = asyncio.run(set_up(load_environment(), Wishes()))
        config = self.folder / "dealsync.toml"
        document = tomlkit.parse(config.read_text(encoding="utf-8"))
        document["matching"] = {"settle_minutes": 0, **matching}
        document["policy"] = {}
        config.write_text(tomlkit.dumps(document), encoding="utf-8")
        return done

    @property
    def store_tag(self) -> str:
        """What runs about the simulated store are tagged with."""
        return f"store:{self.simulator.environment()['LEMON_SQUEEZY_STORE_ID']}"

    def run(self, *, apply: bool = True, deep: bool = False, max_changes: int = 1000) -> Report:
        """Reconcile once."""
        return asyncio.run(
            reconcile(apply=apply, reach=Reach(deep), max_changes=max_changes, progress=lambda _text: None)
        )

    def delete(self, lead_id: int) -> None:
        """Delete a deal, as a person does."""
        HTTP.delete(f"{self.simulator.url}/control/leads/{lead_id}", timeout=10).raise_for_status()

    def control(self, route: str, **body: Any) -> dict[str, Any]:
        """Do what a person or a buyer does; return the answer."""
        response = HTTP.post(f"{self.simulator.url}/control/{route}", json=body, timeout=10)
        return dict(response.raise_for_status().json())

    def inject(self, method: str, path: str, **fault: Any) -> None:
        """Let the next matching Kommo request meet a fault."""
        self.control("faults", inject={"api": "kommo", "method": method, "path": f"/api/v4{path}", **fault})

    def kommo(self) -> dict[str, Any]:
        """Return Kommo's whole state."""
        state = HTTP.get(f"{self.simulator.url}/control/state", timeout=30).raise_for_status().json()
        return dict(state["kommo"])

    def lead(self, lead_id: int) -> dict[str, Any]:
        """Return a lead as Kommo holds it."""
        return next(dict(lead) for lead in self.kommo()["leads"] if lead["id"] == lead_id)

    def texts(self, lead_id: int) -> tuple[list[str], list[str]]:
        """Return the texts of a deal's notes and tasks."""
        kommo = self.kommo()
        notes = [n["params"]["text"] for n in kommo["notes"]["leads"] if n["entity_id"] == lead_id]
        return notes, [t["text"] for t in kommo["tasks"] if t["entity_id"] == lead_id]

    def fields(self, lead_id: int) -> dict[str, str]:
        """Return a lead's custom fields by name."""
        names = {f["id"]: f["name"] for f in self.kommo()["custom_fields"]["leads"]}
        values: list[Mapping[str, Any]] = self.lead(lead_id)["custom_fields_values"] or []
        return {names[v["field_id"]]: v["values"][0]["value"] for v in values}

    def checkouts(self) -> list[dict[str, Any]]:
        """Return all checkouts of the store, oldest first."""
        state = HTTP.get(f"{self.simulator.url}/control/state", timeout=30).raise_for_status().json()
        return sorted(state["lemon_squeezy"]["checkouts"], key=lambda c: str(c["attributes"]["created_at"]))

    def requests(self) -> dict[str, Any]:
        """Return the simulator's counts since the last reset."""
        return dict(HTTP.get(f"{self.simulator.url}/control/requests", timeout=10).raise_for_status().json())


@contextmanager
def simulated(monkeypatch: pytest.MonkeyPatch, folder: Path, *, orders: int = 0, **options: Any) -> Iterator[Accounts]:
    """Run a simulator and point this process's settings at it; `folder` becomes the working folder."""
    with Simulator.running(seed=1, orders=orders, **options) as simulator:
        monkeypatch.chdir(folder)
        for name, value in simulator.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("DEALSYNC_STATE_DIR", str(folder))
        if not (folder / "dealsync.db").exists():
            place_sqlite(folder / "dealsync.db")
        monkeypatch.setattr(settings, "SharedSlots", Unpaced)
        simulator.world.faults.update({"kommo_limit_enabled": False, "ls_limit_enabled": False})
        yield Accounts(simulator, folder)
