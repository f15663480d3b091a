"""Settings of the whole test run, and the simulated accounts that stories are played on."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.accounts import Accounts, simulated
from tests.effort import load_profile
from tests.schedule import Together
from tests.webhooks import Hooks

load_profile()


def pytest_xdist_auto_num_workers() -> int:
    """One process more than the cores that we may use: a third of their time tests wait for servers and clocks."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + 1


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """Keep those together that share a server."""
    return Together(config, log)


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Accounts]:
    """Two almost empty accounts: what a story needs, it puts there."""
    with simulated(monkeypatch, tmp_path) as found:
        found.init()
        yield found


@pytest.fixture
def seeded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Accounts]:
    """The seeded world of 120 orders, of whose paid ones 15% have a deal that is still open."""
    with simulated(monkeypatch, tmp_path, orders=120) as found:
        found.init()
        yield found


@pytest.fixture
def hooks(accounts: Accounts) -> Hooks:
    """The webhooks of `accounts`, which nobody delivers but the test."""
    return Hooks(accounts).register()
