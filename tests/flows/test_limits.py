"""Many processes, one limit: never more than seven requests in a second, and silence after a ban."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from dealsync.errors import Banned
from dealsync.ledger.database import open_database
from dealsync.poll import Reach
from dealsync.reconcile import reconcile
from dealsync.settings import load_environment
from dealsync.setup import Wishes, set_up
from dealsync.simulator.server import Simulator
from tests import postgres
from tests.cli.shell import spawned, typed

HAMMER = """
import asyncio, sys
from dealsync.settings import build_kommo, build_store, load_environment

async def main(requests):
    environment = load_environment()
    kommo = build_kommo(environment, build_store(environment))
    await asyncio.gather(*(kommo.account() for _ in range(requests)))
    await kommo.close()

asyncio.run(main(int(sys.argv[1])))
"""


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Simulator]:
    with Simulator.running(seed=1, orders=20) as found:
        monkeypatch.chdir(tmp_path)
        for name, value in found.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("DEALSYNC_STATE_DIR", str(tmp_path / "state"))
        yield found


def counts(simulator: Simulator) -> dict[str, int]:
    answer = httpx.get(f"{simulator.url}/control/requests").raise_for_status().json()
    return {**answer["counts"], "busiest": answer["kommo_max_per_second"], "refused": answer["refused_429"]["kommo"]}


def hammer(databases: list[str], requests: int) -> None:
    """Let a process per database ask at once, as fast as they are let."""
    command = [sys.executable, "-c", HAMMER, str(requests)]
    started = [
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "DEALSYNC_DATABASE_URL": url})
        for url in databases
    ]
    said = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0] * len(started), said


@pytest.mark.parametrize("database", ["one sqlite", "one postgresql", "a sqlite each"])
def test_four_processes__keep_to_one_limit(simulator: Simulator, database: str, tmp_path: Path) -> None:
    requests = 12 if database == "one sqlite" else 6
    with ExitStack() as servers:
        if database == "one postgresql":
            if not postgres.is_available():
                pytest.skip(postgres.MISSING)
            databases = [servers.enter_context(postgres.running())] * 4
        elif database == "one sqlite":
            databases = [f"sqlite:///{tmp_path / 'one.db'}"] * 4
        else:
            databases = [f"sqlite:///{tmp_path / f'{n}.db'}" for n in range(4)]
        for url in set(databases):
            open_database(url).dispose()
        hammer(databases, requests)
    found = counts(simulator)
    assert found["kommo GET /api/v4/account"] == 4 * requests
    assert found["busiest"] <= 7
    assert found["refused"] == 0


def test_ban__silences_every_process_until_a_person_lifts_it(simulator: Simulator) -> None:
    asyncio.run(set_up(load_environment(), Wishes()))
    fault = {"api": "kommo", "path": "/api/v4/contacts", "status": 403, "html": True}
    httpx.post(f"{simulator.url}/control/faults", json={"inject": fault}).raise_for_status()
    with pytest.raises(Banned, match="dealsync unblock"):
        asyncio.run(reconcile(apply=True, reach=Reach(), max_changes=100, progress=lambda _text: None))
    when_it_came = asked_of_kommo(simulator)
    for done in (spawned("plan"), typed("reconcile", "--apply"), typed("init", "--yes")):
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "kommo has blocked this address (HTTP 403 page, 2" in done.stderr
    assert asked_of_kommo(simulator) == when_it_came
    assert spawned("unblock").stdout == f"Sending again: kommo {simulator.url.removeprefix('http://')}\n"
    assert typed("unblock").stdout == "Nothing was blocked.\n"
    assert typed("plan").returncode == 0
    assert asked_of_kommo(simulator) > when_it_came


def asked_of_kommo(simulator: Simulator) -> int:
    return sum(n for call, n in simulator.world.log.counts.items() if call.startswith("kommo"))
