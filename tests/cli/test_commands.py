"""The command line as a person types it: its output, its exit code."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from dealsync import doubts
from dealsync.core.mapping import FIELDS
from dealsync.ledger.database import open_database
from dealsync.ledger.runs import utc_now
from dealsync.ledger.tables import LockRow
from dealsync.simulator.server import Simulator
from tests.cli.shell import Done, spawned, typed

DESIGNED_KEYS = {"key", "kind", "lead_id", "source", "reason", "evidence", "state"}
KOMMO = '[kommo]\npipeline = "{}"\ninvoice_status = "Invoice sent"\nattention_status = "{}"\n'
SECRETS = ("LEMON_SQUEEZY_API_KEY", "KOMMO_TOKEN")


@dataclass
class Shell:
    """A folder, an environment, and the command."""

    folder: Path
    environment: dict[str, str]
    simulator: Simulator
    outputs: list[str] = field(default_factory=list)

    def run(self, *arguments: str, **environment: str) -> Done:
        """Run a command in this process."""
        return self._ran(typed, arguments, environment)

    def start(self, *arguments: str, **environment: str) -> Done:
        """Run a command in a process of its own."""
        return self._ran(spawned, arguments, environment)

    def _ran(self, how: Callable[..., Done], arguments: Sequence[str], environment: Mapping[str, str]) -> Done:
        own = clean_environment({**self.environment, **environment})
        done = how(*arguments, folder=self.folder, environment=own)
        self.outputs += [done.stdout, done.stderr]
        return done

    def refused(self, *arguments: str, code: int = 1, **environment: Any) -> str:
        """Run a command that must fail with one line and nothing else; return the line."""
        done = self.run(*arguments, **environment)
        assert done.returncode == code, done.stderr
        assert done.stdout == ""
        assert done.stderr.startswith("dealsync: ")
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr


def clean_environment(own: Mapping[str, str]) -> dict[str, str]:
    ours = ("LEMON_SQUEEZY_", "LS_", "KOMMO_", "DEALSYNC_", "PREFECT_")
    return {n: v for n, v in os.environ.items() if not n.startswith(ours)} | dict(own)


@contextmanager
def opened(folder: Path, orders: int) -> Iterator[Shell]:
    with Simulator.running(seed=1, orders=orders) as simulator:
        yield Shell(folder, simulator.environment() | {"DEALSYNC_STATE_DIR": str(folder)}, simulator)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with opened(tmp_path, orders=40) as found:
        yield found


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A set-up account that no test of this module changes."""
    with opened(tmp_path_factory.mktemp("ready"), orders=40) as found:
        assert found.run("init", "--yes").returncode == 0
        yield found


def test_cli__the_main_job_from_nothing_to_rest(shell: Shell) -> None:
    shown = shell.start("init", "--yes")
    assert shown.returncode == 0, shown.stderr
    assert "LS order id" in shown.stdout
    assert "dealsync.toml written" in shown.stdout

    plan = shell.start("plan", "--json", "--exit-code")
    assert plan.returncode == 2, plan.stderr
    found = json.loads(plan.stdout)
    assert set(found) >= {"actions", "reviews", "drift", "run"}
    assert {frozenset(a) for a in found["actions"]} == {frozenset(DESIGNED_KEYS)}
    assert {a["state"] for a in found["actions"]} == {"planned"}
    assert found["drift"]["paid_not_won"] > 0
    assert set(found["run"]) >= {"id", "started_at", "finished_at", "requests"}

    applied = shell.start("reconcile", "--apply")
    assert applied.returncode == 0, applied.stderr
    assert f"{found['drift']['paid_not_won']} deals closed as won" in applied.stdout

    rest = json.loads(shell.start("reconcile", "--apply", "--json").stdout)
    assert rest["actions"] == []
    assert rest["drift"]["paid_not_won"] == 0
    said = "".join(shell.outputs)
    assert [name for name in SECRETS if shell.environment[name] in said] == []
    assert "@example" not in said


def test_init__a_second_time_changes_nothing_and_keeps_what_a_person_wrote(ready: Shell) -> None:
    config = ready.folder / "dealsync.toml"
    own = config.read_text() + "\n[matching]\nwindow_days = 45  # we are slow\n"
    config.write_text(own)
    again = ready.run("init", "--yes")
    assert again.returncode == 0
    assert "was right already" in again.stdout
    assert "none, all there" in again.stdout
    assert config.read_text() == own


def test_init__names_of_another_account_can_be_given(shell: Shell) -> None:
    done = shell.run("init", "--yes", "--pipeline", "sales", "--attention-status", "Qualified", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["statuses"]["attention_status"] == "Qualified"


def test_init__an_unknown_name_lists_the_known_ones_and_writes_nothing(shell: Shell) -> None:
    line = shell.refused("init", "--yes", "--pipeline", "Nowhere")
    assert "Sales (7001)" in line
    assert "Needs attention" in shell.refused("init", "--yes", "--invoice-status", "Nowhere")
    assert not (shell.folder / "dealsync.toml").exists()
    assert shell.simulator.world.state()["kommo"]["custom_fields"]["leads"] == []


@pytest.mark.parametrize("text", ["kommo = 3\n", "[surprise]\nkey = 1\n", "[kommo\n"])
def test_init__a_wrong_file_is_one_clear_line_and_nothing_is_made(shell: Shell, text: str) -> None:
    (shell.folder / "dealsync.toml").write_text(text)
    assert "dealsync.toml" in shell.refused("init", "--yes")
    assert (shell.folder / "dealsync.toml").read_text() == text
    assert shell.simulator.world.state()["kommo"]["custom_fields"]["leads"] == []


def test_init__options_win_over_the_file_and_fields_that_are_gone_are_found_again(shell: Shell) -> None:
    assert shell.run("init", "--yes").returncode == 0
    config = shell.folder / "dealsync.toml"
    config.write_text(config.read_text().replace('"Sales"', "7001").replace("order_id = ", "order_id = 9"))
    done = shell.run("init", "--yes", "--attention-status", "Qualified")
    assert done.returncode == 0, done.stderr
    assert "pipeline = 7001" in config.read_text()
    assert 'attention_status = "Qualified"' in config.read_text()
    assert len(shell.simulator.world.state()["kommo"]["custom_fields"]["leads"]) == len(FIELDS)
    assert shell.run("plan").returncode == 0


def test_database__of_another_account_is_refused(ready: Shell, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'one.db'}"
    assert ready.run("plan", DEALSYNC_DATABASE_URL=database).returncode == 0
    with sqlite3.connect(tmp_path / "one.db") as db:
        db.execute("UPDATE identity SET value = '1'")
    db.close()
    assert "belongs to Kommo account 1" in ready.refused("plan", DEALSYNC_DATABASE_URL=database)


def test_plan__before_init_says_what_to_run(shell: Shell) -> None:
    assert "dealsync init" in shell.refused("plan")


def test_settings__missing_ones_are_all_named_at_once(ready: Shell) -> None:
    line = ready.refused("plan", LEMON_SQUEEZY_API_KEY="", KOMMO_TOKEN="", KOMMO_CLIENT_ID="")
    assert "LEMON_SQUEEZY_API_KEY" in line
    assert "KOMMO_TOKEN (missing; or set KOMMO_CLIENT_ID, KOMMO_CLIENT_SECRET, KOMMO_REDIRECT_URI" in line


def test_settings__oauth_does_without_a_token(ready: Shell, tmp_path: Path) -> None:
    """Its code is exchanged once, by whichever of two commands at once comes first."""
    own: dict[str, Any] = {"KOMMO_TOKEN": "", "DEALSYNC_DATABASE_URL": f"sqlite:///{tmp_path / 'oauth.db'}"}
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: ready.start("plan", **own), range(2)))
    assert [one.returncode for one in done] == [0, 0], [one.stderr for one in done]
    assert ready.run("plan", **own, KOMMO_AUTH_CODE="").returncode == 0
    line = ready.refused("plan", **own, KOMMO_AUTH_CODE="not-the-code")
    assert "Kommo refused KOMMO_AUTH_CODE" in line
    assert "not-the-code" not in line


def test_settings__the_articles_own_name_of_the_store_is_accepted(ready: Shell) -> None:
    store = ready.environment["LEMON_SQUEEZY_STORE_ID"]
    assert ready.run("plan", LEMON_SQUEEZY_STORE_ID="", LS_STORE_ID=store).returncode == 0


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"KOMMO_TOKEN": "wrong-token-1"}, ["kommo", "401"]),
        ({"LEMON_SQUEEZY_API_KEY": "wrong-key-1"}, ["lemon_squeezy", "401"]),
        ({"DEALSYNC_DATABASE_URL": "nonsense"}, ["DEALSYNC_DATABASE_URL"]),
        ({"DEALSYNC_DATABASE_URL": "mysql://u:hunter2@h/d"}, ["mysql", "neither SQLite"]),
        ({"DEALSYNC_DATABASE_URL": "sqlite:////nowhere/at/all.db"}, ["cannot be used"]),
        ({"DEALSYNC_DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:9/d"}, ["cannot be used", "127.0.0.1"]),
        ({"DEALSYNC_MODE": "dead"}, ["DEALSYNC_MODE"]),
        ({"KOMMO_REQUESTS_PER_SECOND": "50"}, ["KOMMO_REQUESTS_PER_SECOND"]),
        ({"DEALSYNC_CONFIG": "elsewhere.toml"}, ["elsewhere.toml"]),
        ({"KOMMO_TOKEN": "wrong-tökén"}, ["KOMMO_TOKEN", "copy it again"]),
        ({"LEMON_SQUEEZY_API_KEY": "wrong-1\nwrong-2"}, ["LEMON_SQUEEZY_API_KEY", "copy it again"]),
        ({"DEALSYNC_DATABASE_URL": "postgresql://u:p@h:hunter2/x"}, ["not a database URL"]),
        ({"DEALSYNC_DATABASE_URL": "postgresql://127.0.0.1:1/x?password=hunter2"}, ["cannot be used"]),
        ({"DEALSYNC_DATABASE_URL": "sqlite+aiosqlite:///x.db"}, ["neither SQLite"]),
        ({"KOMMO_API_URL": "localhost"}, ["KOMMO_API_URL"]),
        ({"LEMON_SQUEEZY_API_URL": "http://[bad"}, ["LEMON_SQUEEZY_API_URL"]),
        ({"LEMON_SQUEEZY_STORE_ID": "999"}, ["999", "4101"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_setting__is_one_clear_line(ready: Shell, environment: dict[str, Any], words: list[str]) -> None:
    line = ready.refused("reconcile", "--apply", **environment)
    assert [word for word in words if word not in line] == []
    assert "hunter2" not in line
    assert "wrong-" not in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not toml at all", ["cannot be read"]),
        ('[kommo]\npipeline = "Sales"\n', ["invoice_status", "attention_status"]),
        (KOMMO.format("Sales", "Nope"), ["Nope", "Needs attention"]),
        (KOMMO.format("Nope", "Needs attention"), ["Nope", "Sales"]),
        ('[kommo]\npipelin = "Sales"\n', ["pipelin"]),
        (
            KOMMO.format("Sales", "Needs attention") + '[checkout]\ncustom_price = "at times"\n',
            ["checkout.custom_price"],
        ),
        (KOMMO.format("Sales", "Needs attention") + "[matching]\nsettle_minutes = 1e300\n", ["settle_minutes"]),
        (KOMMO.format("Sales", "Needs attention") + "[fields]\norder_id = 999\n", ["LS order id", "dealsync init"]),
    ],
)
def test_bad_config__is_one_clear_line(ready: Shell, text: str, words: list[str]) -> None:
    (ready.folder / "bad.toml").write_text(text)
    line = ready.refused("plan", DEALSYNC_CONFIG="bad.toml")
    assert [word for word in words if word not in line] == []


def test_corrupt_database__is_one_clear_line_and_left_as_it_is(ready: Shell) -> None:
    broken = ready.folder / "broken.db"
    broken.write_bytes(b"this is no database, and somebody may need it" * 50)
    before = broken.read_bytes()
    line = ready.refused("reconcile", "--apply", DEALSYNC_DATABASE_URL="sqlite:///broken.db")
    assert "not a database" in line
    assert broken.read_bytes() == before


def test_unreachable_api__is_one_clear_line(ready: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    line = ready.refused("plan", KOMMO_API_URL=f"http://127.0.0.1:{port}")
    assert "kommo" in line
    assert "try again later" in line


def test_reconcile__a_plan_over_the_limit_exits_with_3_and_sends_nothing(ready: Shell) -> None:
    httpx.post(f"{ready.simulator.url}/control/requests/reset")
    line = ready.refused("reconcile", "--apply", "--max-changes", "1", code=3)
    assert "max_changes = 1" in line
    counts = httpx.get(f"{ready.simulator.url}/control/requests").json()["counts"]
    assert [name for name in counts if "GET" not in name] == []


def test_reconcile__an_unreadable_date_is_a_usage_error(ready: Shell) -> None:
    assert "yesterday" in ready.refused("plan", "--since", "yesterday")
    assert "--max-changes" in ready.refused("reconcile", "--max-changes", "-1")
    assert "No such command" in ready.refused("reconsile")


def test_plan__shows_people_a_table_that_survives_a_pipe(ready: Shell) -> None:
    done = ready.run("plan", COLUMNS="80")
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "A person must place order" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("command", [(), ("demo",), ("simulate",), ("init",), ("plan",), ("reconcile",)])
def test_help__tells_what_a_command_does(ready: Shell, command: tuple[str, ...]) -> None:
    done = ready.run(*command, "--help")
    assert done.returncode == 0
    assert "Usage: dealsync" in done.stdout


def test_help__does_not_load_the_heavy_libraries() -> None:
    code = (
        "import sys\nsys.argv = ['dealsync', '--help']\nfrom dealsync.cli import app\n"
        "try:\n    app()\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('pandas', 'sqlalchemy', 'httpx', 'prefect', 'uvicorn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_simulate__serves_both_apis_and_writes_a_private_env_file(tmp_path: Path) -> None:
    env_file = tmp_path / "simulated.env"
    command = [
        sys.executable,
        "-m",
        "dealsync",
        "simulate",
        "--port",
        "0",
        "--orders",
        "5",
        "--env-file",
        str(env_file),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=clean_environment({})) as process:
        assert process.stdout is not None
        try:
            assert "Ctrl-C stops" in process.stdout.readline()
            settings = dict(line.split("=", 1) for line in env_file.read_text().splitlines())
            assert env_file.stat().st_mode & 0o077 == 0
            headers = {"Authorization": f"Bearer {settings['KOMMO_TOKEN']}"}
            assert httpx.get(f"{settings['KOMMO_API_URL']}/api/v4/account", headers=headers).json()["currency"] == "USD"
            headers = {"Authorization": f"Bearer {settings['LEMON_SQUEEZY_API_KEY']}"}
            orders = httpx.get(f"{settings['LEMON_SQUEEZY_API_URL']}/v1/orders", headers=headers).json()
            assert orders["meta"]["page"]["total"] == 5
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_simulate__tells_programs_where_it_is() -> None:
    command = [sys.executable, "-m", "dealsync", "simulate", "--port", "0", "--orders", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=clean_environment({})) as process:
        assert process.stdout is not None
        found = json.loads("".join(process.stdout.readline() for _ in range(5)))
        assert httpx.get(found["control"]).is_success
        process.terminate()
    assert (found["env_file"], process.returncode) == (None, 0)


def test_simulate__a_taken_port_is_one_clear_line(ready: Shell) -> None:
    port = ready.simulator.url.rpartition(":")[2]
    assert "cannot listen" in ready.refused("simulate", "--port", port)


def test_reconcile__killed_in_mid_run_is_taken_over_and_nothing_is_doubled(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock of a killed run ends with its lease; its writes are looked up before anything is sent again."""
    monkeypatch.setattr(doubts, "KOMMO_READ_LAG", timedelta(0))
    assert shell.run("init", "--yes").returncode == 0
    httpx.post(f"{shell.simulator.url}/control/faults", json={"latency_ms": 300})
    command = [sys.executable, "-m", "dealsync", "reconcile", "--apply"]
    environment = clean_environment(shell.environment)
    with subprocess.Popen(command, cwd=shell.folder, env=environment, stderr=subprocess.DEVNULL) as process:
        _wait_for_a_write(shell, process)
        process.kill()
    httpx.post(f"{shell.simulator.url}/control/faults", json={"latency_ms": 0})
    _shorten_the_lease(shell)
    assert shell.run("reconcile", "--apply").returncode == 0
    kommo = shell.simulator.world.state()["kommo"]
    values = [v for lead in kommo["leads"] for v in lead["custom_fields_values"] or []]
    marks = [str(v["values"]) for v in values if v["field_name"] == "LS order id"]
    assert len(marks) == len(set(marks)) > 20
    emails = [str(c["custom_fields_values"]) for c in kommo["contacts"]]
    assert len(emails) == len(set(emails))
    assert json.loads(shell.run("plan", "--json").stdout)["actions"] == []


def test_reconcile__stopped_by_a_person_says_so_and_exits_with_130(ready: Shell) -> None:
    command = [sys.executable, "-m", "dealsync", "plan"]
    httpx.post(f"{ready.simulator.url}/control/faults", json={"latency_ms": 2000})
    httpx.post(f"{ready.simulator.url}/control/requests/reset")
    environment = clean_environment(ready.environment)
    # A job in the background inherits SIGINT ignored, and so would the command: it is to be as at a terminal.
    terminal: Any = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    with subprocess.Popen(
        command, cwd=ready.folder, env=environment, stderr=subprocess.PIPE, text=True, **terminal
    ) as process:
        while not httpx.get(f"{ready.simulator.url}/control/requests").json()["counts"]:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    httpx.post(f"{ready.simulator.url}/control/faults", json={"latency_ms": 0})
    assert (process.returncode, said.count("\n")) == (130, 1)
    assert "the next run goes on from there" in said
    assert ready.run("plan").returncode == 0


def _shorten_the_lease(shell: Shell) -> None:
    """Let the lock of the killed run end in two seconds rather than in twenty."""
    engine = open_database(f"sqlite:///{shell.folder / 'dealsync.db'}")
    with engine.begin() as db:
        held = db.execute(update(LockRow).values(expires_at=utc_now() + timedelta(seconds=2)))
    engine.dispose()
    assert held.rowcount == 1


def _wait_for_a_write(shell: Shell, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        counts = httpx.get(f"{shell.simulator.url}/control/requests").json()["counts"]
        if any("POST" in name and "custom_fields" not in name for name in counts):
            return
        time.sleep(0.01)
    pytest.fail("the run ended before it could be killed")
