"""The pages of `docs/`: made from the code where they say so, linked, and their commands run as a reader types them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dealsync.config import Config
from dealsync.rulebook import BEGIN, END, table
from dealsync.settings import Environment
from dealsync.settings_page import config_defaults, environment_defaults, page
from tests.accounts import INVOICE_SENT, WON, Accounts, simulated
from tests.cli.shell import typed
from tests.webhooks import Hooks

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.glob("*.md"))
FIRST_DAY = "first-day.md"
README = DOCS.parent / "README.md"
CONSOLE = re.compile(r"^```console\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
CLIENT = {"name": "Ann Example", "email": "ann@example.com"}


def text_of(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def commands_of(name: str) -> list[str]:
    """Return the commands that a page tells its reader to type, without the word dealsync."""
    lines = [line for block in CONSOLE.findall(text_of(name)) for line in block.splitlines()]
    assert all(line.startswith("$ dealsync ") for line in lines), name
    return [line.removeprefix("$ dealsync ") for line in lines]


def filled(command: str, **values: object) -> str:
    """Return a command with what its words in capitals stand for."""
    return re.sub(r"\b[A-Z]{3,}\b", lambda found: str(values[found.group()]), command)


# --- made from the code ----------------------------------------------------------------------------------------


def test_settings__are_as_the_code_has_them() -> None:
    assert text_of("settings.md") == page()


def test_settings__names_every_one_and_no_other() -> None:
    named = set(re.findall(r"`([A-Z_]{6,}|[a-z_]+\.[a-z_]+)`", "".join(line.partition(" | ")[0] + "\n" for line in
                text_of("settings.md").splitlines() if line.startswith("| "))))  # fmt: skip
    known = {*environment_defaults(), *config_defaults(), "DEALSYNC_BLOCK"}
    lists = {name for name, info in Config.model_fields.items() if "list[" in str(info.annotation)}
    assert {name for name in known if name not in named and name.partition(".")[0] not in lists} == set()
    assert {name for name in named if name not in known and not name.startswith("fields.")} == set()
    assert {name.upper() for name in Environment.model_fields} <= named


def test_rules__are_as_the_code_has_them() -> None:
    assert text_of("rules.md").split(BEGIN)[1].split(END)[0].strip() == table()
    named = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", table()))
    assert named <= set(config_defaults())


@pytest.mark.parametrize("path", [README, *PAGES], ids=lambda path: str(path.name))
def test_links__lead_to_pages_that_are_there(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+\.md)[^)]*\)", path.read_text(encoding="utf-8"))
    assert [target for target in targets if not (path.parent / target).is_file()] == []


def test_readme__leads_to_every_page() -> None:
    readme = README.read_text(encoding="utf-8")
    assert [path.name for path in PAGES if f"](docs/{path.name})" not in readme] == []


# --- run as they are typed -------------------------------------------------------------------------------------


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Accounts]:
    """Two accounts as they are before `init`, as `dealsync simulate --env-file .env` makes them."""
    with simulated(monkeypatch, tmp_path) as accounts:
        env = tmp_path / ".env"
        env.write_text("".join(f"{k}={v}\n" for k, v in accounts.simulator.environment().items()), encoding="utf-8")
        env.chmod(0o600)
        yield accounts


def test_first_day__ends_with_a_closed_deal_and_takes_it_back(fresh: Accounts) -> None:
    hooks, lead_id, said = None, 0, ""
    for command in commands_of(FIRST_DAY):
        if command == "checkouts":
            hooks = Hooks(fresh).register()
            lead_id = int(fresh.control("leads", price=490, contact=CLIENT, status_id=INVOICE_SENT)["id"])
        run_ids = re.findall(r"^Run (\S+):", said, flags=re.MULTILINE)
        line = filled(command, LEAD=lead_id, RUN=run_ids[-1] if run_ids else "")
        done = typed(*shlex.split(line))
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        if command == "checkouts":
            (checkout,) = fresh.checkouts()
            fresh.control(f"checkouts/{checkout['id']}/pay")
            assert hooks is not None
            hooks.deliver()
        if command == "reconcile --apply":
            said = done.stdout
            assert fresh.lead(lead_id)["status_id"] == WON
    assert fresh.lead(lead_id)["status_id"] == INVOICE_SENT


@pytest.mark.parametrize(
    "name", [path.name for path in PAGES if path.name != FIRST_DAY and CONSOLE.search(path.read_text(encoding="utf-8"))]
)
def test_commands__of_a_page_do_what_it_says(accounts: Accounts, hooks: Hooks, name: str) -> None:
    paid = {"price": 490, "contact": CLIENT}
    lead_id = int(accounts.control("leads", **paid)["id"])
    order_id = accounts.control("orders", email=CLIENT["email"], total=49000)["data"]["id"]
    hooks.deliver()
    run_id = "" if name == "plans.md" else accounts.run().run_id
    for command in commands_of(name):
        line = filled(command, LEAD=lead_id, ORDER=order_id, RUN=run_id, MONTH=f"{datetime.now(UTC):%Y-%m}")
        done = typed(*shlex.split(line))
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        if command.startswith("apply"):
            assert accounts.lead(lead_id)["status_id"] == WON
            run_id = re.findall(r"^Run (\S+):", done.stdout, flags=re.MULTILINE)[-1]
        if "--json" in command:
            assert json.loads(done.stdout)
    if name == "plans.md":
        assert accounts.lead(lead_id)["status_id"] != WON
