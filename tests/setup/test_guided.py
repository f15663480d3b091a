"""`dealsync init` at a terminal: every answer typed, both accounts simulated."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from dealsync.apis.kommo.client import Kommo
from dealsync.core.mapping import FIELDS
from dealsync.errors import ConfigError, Unreachable
from dealsync.setup import SILENT, Option, Wishes, begin
from dealsync.setup.questions import Nobody
from tests.accounts import INVOICE_SENT, SALES, Accounts, simulated
from tests.typist import DOWN, ENTER, SPACE, STOP, dotenv, guided, unattended

RECEIVER = "https://deals.example"
PLACES = ("LEMON_SQUEEZY_API_URL", "KOMMO_API_URL")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Accounts]:
    """Two accounts, and a folder in which nothing is set up: no key, no file."""
    with simulated(monkeypatch, tmp_path, orders=3) as found:
        for name in found.simulator.environment().keys() - set(PLACES):
            monkeypatch.delenv(name)
        yield found


@pytest.fixture
def keyed(bare: Accounts) -> Accounts:
    """The same with keys in `.env`."""
    given = bare.simulator.environment()
    names = (
        "LEMON_SQUEEZY_API_KEY",
        "LEMON_SQUEEZY_STORE_ID",
        "LEMON_SQUEEZY_VARIANT_ID",
        "KOMMO_DOMAIN",
        "KOMMO_TOKEN",
    )
    (bare.folder / ".env").write_text("".join(f"{name}={given[name]}\n" for name in names))
    return bare


def key_of(accounts: Accounts, name: str) -> str:
    return accounts.simulator.environment()[name]


def entering(accounts: Accounts) -> list[str]:
    """What a person types until both accounts let dealsync in."""
    given = accounts.simulator.environment()
    return [
        given["LEMON_SQUEEZY_API_KEY"], ENTER,
        given["KOMMO_DOMAIN"], ENTER,
        ENTER,  # a long-lived token
        given["KOMMO_TOKEN"], ENTER,
    ]  # fmt: skip


CHOOSING = (
    ENTER,  # the main pipeline
    ENTER,  # Invoice sent
    ENTER,  # Needs attention
    DOWN, SPACE, ENTER,  # without the second of three users
    RECEIVER, ENTER,
    DOWN, ENTER, ENTER,  # round to the first product, its first variant
    ENTER,  # go on
)  # fmt: skip


def writes(accounts: Accounts) -> list[str]:
    return [name for name in accounts.requests()["counts"] if "GET" not in name]


def forget_requests(accounts: Accounts) -> None:
    httpx.post(f"{accounts.simulator.url}/control/requests/reset", timeout=10).raise_for_status()


def hooks_of(accounts: Accounts) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    world = accounts.simulator.world
    return list(world.state()["lemon_squeezy"]["webhooks"]), list(world.kommo.hooks.registered.values())


def test_guided__from_nothing_to_both_files_and_a_second_time_changes_nothing(
    bare: Accounts, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="dealsync")
    done = guided(*entering(bare), *CHOOSING)
    settings, env, config = dotenv(bare.folder), bare.folder / ".env", bare.folder / "dealsync.toml"
    assert settings["LEMON_SQUEEZY_API_KEY"] == key_of(bare, "LEMON_SQUEEZY_API_KEY")
    assert settings["KOMMO_TOKEN"] == key_of(bare, "KOMMO_TOKEN")
    assert settings["LEMON_SQUEEZY_STORE_ID"] == "4101"
    tables = bare.simulator.world.lemon_squeezy.tables
    product = min(tables["products"], key=lambda row: str(row["attributes"]["name"]))
    variants = [row for row in tables["variants"] if str(row["attributes"]["product_id"]) == str(product["id"])]
    assert settings["LEMON_SQUEEZY_VARIANT_ID"] == str(min(row["id"] for row in variants))
    assert env.stat().st_mode & 0o777 == 0o600
    (ls_hook,), (kommo_hook,) = hooks_of(bare)
    assert ls_hook["hidden"]["secret"] == settings["LEMON_SQUEEZY_WEBHOOK_SECRET"]
    assert kommo_hook["destination"] == f"{RECEIVER}/webhooks/kommo/{settings['KOMMO_WEBHOOK_TOKEN']}"
    assert set(done.users) == {501, 503}
    assert "users = [501, 503]" in config.read_text()
    assert [line for line in config.read_text().splitlines() if line and "#" not in line] == []

    before, written = (env.read_bytes(), config.read_bytes()), env.stat().st_mtime_ns
    forget_requests(bare)
    again = guided()
    assert not again.changed
    assert all("is right" in line for line in again.webhooks)
    assert (env.read_bytes(), config.read_bytes()) == before
    assert env.stat().st_mtime_ns == written
    assert writes(bare) == []
    assert len(bare.kommo()["custom_fields"]["leads"]) == len(FIELDS)

    said = "".join(capsys.readouterr()) + caplog.text + str(done) + str(again)
    secrets = [settings[name] for name in settings if "KEY" in name or "TOKEN" in name or "SECRET" in name]
    assert len(secrets) == 4
    assert [secret for secret in secrets if secret in said] == []


def test_guided__a_wrong_key_and_token_are_told_and_asked_for_again(
    bare: Accounts, capsys: pytest.CaptureFixture[str]
) -> None:
    right = entering(bare)
    guided("wrong-key-1", ENTER, *right[:5], "wrong-token-1", ENTER, *right[5:], *CHOOSING)
    said = capsys.readouterr().out
    assert "Lemon Squeezy does not know this key" in said
    assert "It sees: Simulated Store (4101)" in said
    assert "live-mode key" in said
    assert "Kommo does not let dealsync in" in said
    assert "wrong-" not in said + (bare.folder / ".env").read_text()


def test_guided__a_host_without_an_answer_is_asked_for_again(
    bare: Accounts, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bare.inject("GET", "/account", status=404)
    right = entering(bare)
    guided(*right[:2], "acme.kommo.com", ENTER, *right[4:], "\x15" + key_of(bare, "KOMMO_DOMAIN"), ENTER, *CHOOSING)
    assert "There is no answer from acme.kommo.com" in capsys.readouterr().out
    assert dotenv(bare.folder)["KOMMO_DOMAIN"] == key_of(bare, "KOMMO_DOMAIN")


def test_guided__an_integration_enters_by_its_code_which_is_not_kept(bare: Accounts) -> None:
    given = bare.simulator.environment()
    typed = [given["KOMMO_CLIENT_ID"], given["KOMMO_CLIENT_SECRET"], given["KOMMO_REDIRECT_URI"]]
    oauth = [key for part in typed for key in (part, ENTER)]
    guided(*entering(bare)[:4], DOWN, ENTER, *oauth, "no-code", ENTER, given["KOMMO_AUTH_CODE"], ENTER, *CHOOSING)
    text = (bare.folder / ".env").read_text()
    assert f"KOMMO_CLIENT_ID={given['KOMMO_CLIENT_ID']}" in text
    assert "KOMMO_TOKEN" not in text
    assert given["KOMMO_AUTH_CODE"] not in text
    forget_requests(bare)
    guided()
    assert writes(bare) == []


@pytest.mark.parametrize("answers", [0, 1, 2, 5, 8, 10, 13, 16, 18])
def test_guided__ctrl_c_at_any_question_leaves_nothing_half_done(bare: Accounts, answers: int) -> None:
    keys = [*entering(bare), *CHOOSING][:answers]
    with pytest.raises(KeyboardInterrupt):
        guided(*keys, STOP)
    assert {path.name for path in bare.folder.iterdir()} & {".env", "dealsync.toml"} == set()
    assert list(bare.folder.glob(".*")) == []
    assert writes(bare) == []


def test_guided__no_to_what_is_to_be_made_writes_nothing(bare: Accounts) -> None:
    with pytest.raises(ConfigError, match="before anything was made"):
        guided(*entering(bare), *CHOOSING[:-1], "n")
    assert not (bare.folder / ".env").exists()
    assert writes(bare) == []


def test_guided__a_missing_stage_is_made_where_a_person_says_so(keyed: Accounts) -> None:
    pipeline = keyed.simulator.world.kommo.pipelines[SALES]
    kept = [s for s in pipeline["_embedded"]["statuses"] if s["name"] != "Needs attention"]
    pipeline["_embedded"]["statuses"] = kept
    done = guided(ENTER, ENTER, ENTER, ENTER, ENTER, ENTER)
    assert done.stages_made == ("Needs attention",)
    stages = [(s["name"], s["id"]) for s in pipeline["_embedded"]["statuses"]]
    assert [name for name, _ in stages][-3:] == ["Needs attention", "Closed - won", "Closed - lost"]
    assert 'attention_status = "Needs attention"' in (keyed.folder / "dealsync.toml").read_text()
    assert guided(ENTER).stages_made == ()


def test_guided__another_stage_can_be_picked(keyed: Accounts) -> None:
    pipeline = keyed.simulator.world.kommo.pipelines[SALES]
    next(s for s in pipeline["_embedded"]["statuses"] if s["id"] == INVOICE_SENT)["name"] = "Billed"
    done = guided(ENTER, DOWN, DOWN, DOWN, ENTER, ENTER, ENTER, ENTER, ENTER)
    assert (done.statuses["invoice_status"], done.stages_made) == ("Billed", ())


class Agreeing(Nobody):
    """A person who takes whatever is proposed."""

    guided = True

    def __init__(self) -> None:
        self.offered: dict[str, list[str]] = {}

    async def choose(self, question: str, options: Sequence[Option], proposed: Any) -> Any:
        self.offered[question] = [option.title for option in options]
        return proposed


def test_guided__pipelines_and_stages_are_shown_with_their_deals(keyed: Accounts) -> None:
    lead = keyed.control("leads", name="Waits", price=1, contact={"name": "Ann", "email": "ann@example.com"})
    keyed.control(f"leads/{lead['id']}/move", status_id=INVOICE_SENT)
    person = Agreeing()
    done = asyncio.run(begin(Wishes(), person))
    leads = keyed.kommo()["leads"]
    pipelines, stages = person.offered["Which pipeline?"], next(v for k, v in person.offered.items() if "payment" in k)
    assert pipelines[0].startswith(f"Sales  ({sum(lead['pipeline_id'] == SALES for lead in leads)} deals; New, ")
    assert pipelines[1] == "Partners  (1 deal; First talk, Agreement)"
    waiting = sum(lead["status_id"] == INVOICE_SENT for lead in leads)
    assert f"Invoice sent  ({waiting} deal{'s' * (waiting != 1)})" in stages
    assert not any("Closed" in stage or "Incoming" in stage for stage in stages)
    assert done.pipeline == "Sales"


def test_guided__a_receiver_that_was_never_ours_is_left_alone_unless_said_so(keyed: Accounts) -> None:
    asyncio.run(begin(Wishes(receiver_url="https://their.example"), SILENT))
    (keyed.folder / "dealsync.toml").unlink()
    done = asyncio.run(begin(Wishes(receiver_url=RECEIVER), Agreeing()))
    assert [len(hooks) for hooks in hooks_of(keyed)] == [2, 2]
    assert sum("their.example" in line for line in done.webhooks) == 2


def test_guided__a_test_key_sets_the_mode(keyed: Accounts, capsys: pytest.CaptureFixture[str]) -> None:
    keyed.simulator.world.lemon_squeezy.test_mode_key = True
    guided(ENTER, *[ENTER] * 6)
    assert "test-mode key" in capsys.readouterr().out
    assert dotenv(keyed.folder)["DEALSYNC_MODE"] == "test"


def test_guided__a_key_of_the_environment_is_not_replaced_in_vain(
    bare: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEMON_SQUEEZY_API_KEY", "wrong-key-1")
    with pytest.raises(ConfigError, match="set in the environment"):
        guided()
    assert not (bare.folder / ".env").exists()


def test_guided__what_stands_in_env_is_replaced_only_on_demand_and_the_rest_stays(keyed: Accounts) -> None:
    env = keyed.folder / ".env"
    token = key_of(keyed, "KOMMO_TOKEN")
    around = env.read_bytes().replace(f"KOMMO_TOKEN={token}\n".encode(), b"")
    env.write_bytes(b"# mine \xc3\xa4\r\nOTHER = 'x' # y\r\nKOMMO_TOKEN=wrong-token-1\r\n\r\n" + around.rstrip(b"\n"))
    before = env.read_bytes()
    with pytest.raises(ConfigError, match="was not replaced"):
        guided("n")
    assert env.read_bytes() == before
    guided("y", token, ENTER, *[ENTER] * 6)
    after = env.read_bytes()
    assert after.startswith(before.replace(b"wrong-token-1", token.encode()) + b"\r\n")
    added = after[len(before.replace(b"wrong-token-1", token.encode())) :].decode().split()
    assert [line.partition("=")[0] for line in added] == ["LEMON_SQUEEZY_WEBHOOK_SECRET", "KOMMO_WEBHOOK_TOKEN"]


def test_guided__webhooks_of_a_receiver_that_was_are_moved_and_removed(keyed: Accounts) -> None:
    guided(*[ENTER] * 4, "https://old.example", ENTER, ENTER)
    done = guided(ENTER, ENTER, ENTER, wishes=Wishes(receiver_url=RECEIVER))
    (ls_hook,), (kommo_hook,) = hooks_of(keyed)
    assert ls_hook["attributes"]["url"] == f"{RECEIVER}/webhooks/lemon-squeezy"
    assert kommo_hook["destination"].startswith(f"{RECEIVER}/webhooks/kommo/")
    assert any("removed" in line for line in done.webhooks)
    assert f'url = "{RECEIVER}"' in (keyed.folder / "dealsync.toml").read_text()


def test_guided__who_is_no_admin_is_told_and_goes_on_where_that_can_be(
    bare: Accounts, capsys: pytest.CaptureFixture[str]
) -> None:
    bare.control("users/501", is_admin=False)
    keys = [*entering(bare), DOWN, ENTER, ENTER, ENTER, ENTER, RECEIVER, ENTER, ENTER, ENTER]
    done = guided(*keys)
    assert "not as an admin" in capsys.readouterr().out
    assert any("admins only" in line for line in done.unfinished)
    assert any("the LS fields" in line for line in done.unfinished)
    assert any("Kommo: no webhook, it refused" in line for line in done.webhooks)
    assert done.next_steps[0].startswith("mend")
    assert "users" not in (bare.folder / "dealsync.toml").read_text()
    assert dotenv(bare.folder)["KOMMO_TOKEN"] == key_of(bare, "KOMMO_TOKEN")
    bare.control("users/501", is_admin=True)
    assert guided(ENTER, ENTER, ENTER).unfinished == ()


def test_guided__an_account_without_pipelines_is_one_clear_line(keyed: Accounts) -> None:
    keyed.simulator.world.kommo.pipelines.clear()
    with pytest.raises(ConfigError, match="no pipeline"):
        guided()


def test_guided__a_store_without_products_leaves_checkouts_for_later(
    bare: Accounts, capsys: pytest.CaptureFixture[str]
) -> None:
    for row in bare.simulator.world.lemon_squeezy.tables["products"]:
        row["attributes"]["status"] = "draft"
    done = guided(*entering(bare), *CHOOSING[:8], ENTER)
    assert "no published product" in capsys.readouterr().out
    assert any("LEMON_SQUEEZY_VARIANT_ID" in step for step in done.next_steps)


def test_init__is_done_although_the_names_cannot_be_read_once_more_and_the_first_run_reads_them(
    keyed: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([Kommo.pipelines])

    async def once(kommo: Kommo) -> Any:
        if (read := next(answers, None)) is None:
            raise Unreachable("kommo: away for a moment")
        return await read(kommo)

    with monkeypatch.context() as patch:
        patch.setattr(Kommo, "pipelines", once)
        done = unattended()
    assert (done.changed, len(done.fields_made)) == (True, len(FIELDS))
    forget_requests(keyed)
    keyed.run(apply=False)
    assert keyed.requests()["counts"]["kommo GET /api/v4/leads/pipelines"] == 1
