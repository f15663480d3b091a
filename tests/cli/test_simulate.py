"""`dealsync simulate`: its switches and its saved state."""

import json
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest


def dealsync(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "dealsync", *arguments], capture_output=True, text=True, check=False)


@contextmanager
def simulated(*arguments: str) -> Iterator[str]:
    """Run the command; yields the address of its control routes, and stops it as Ctrl-C does."""
    command = [sys.executable, "-m", "dealsync", "simulate", "--port", "0", "--orders", "5", "--json", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = "".join(iter(process.stdout.readline, "}\n")) + "}"
        yield json.loads(told)["control"]
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_simulate__goes_on_from_its_saved_state(tmp_path: Path) -> None:
    file = tmp_path / "world.json"
    now = ("--now", "2026-06-01", "--stopped", "--fault", "search_lag_s=9", "--state", str(file))
    with simulated(*now) as control:
        lead_id = httpx.post(f"{control}/leads", json={"price": 77}).json()["id"]
        before = httpx.get(f"{control}/state").content
        assert httpx.get(f"{control}/state").json()["clock"] == {
            "now": 1780272000.0,
            "iso": "2026-06-01T00:00:00.000000Z",
            "running": False,
        }
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with simulated("--state", str(file), "--fault", "latency_ms=3") as control:
        state = httpx.get(f"{control}/state").json()
    assert (state["faults"]["search_lag_s"], state["faults"].pop("latency_ms")) == (9, 3)
    assert state["kommo"]["leads"][-1]["id"] == lead_id
    old = json.loads(before)
    assert old["faults"].pop("latency_ms") == 0
    assert state == old


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--fault", "latency_ms=fast"), "latency_ms must be a whole number"),
        (("--fault", "speed=1"), "unknown switch speed"),
        (("--state", "broken.json"), "broken.json is not a saved state: it lacks 'seed'"),
        (("--state", "nowhere/world.json"), "there is no folder nowhere"),
    ],
)
def test_simulate__refuses_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.json").write_text("{}")
    done = dealsync("simulate", "--port", "0", *arguments)
    assert done.returncode == 1
    assert word in done.stderr
    assert done.stderr.count("\n") == 1


def test_simulate__lists_its_switches() -> None:
    text = dealsync("simulate", "--faults").stdout
    assert "kommo_per_second=7  (whole number)\n" in text
    assert "batch_mode=all_or_nothing  (all_or_nothing | apply_valid)\n" in text
    listed = json.loads(dealsync("simulate", "--faults", "--json").stdout)["faults"]
    assert {switch["name"] for switch in listed} >= {"webhook_loss", "latency_jitter_ms", "inject"}
