"""`dealsync init --yes`: no questions, and a second time no writes."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import httpx
import pytest

from dealsync.errors import ConfigError
from dealsync.registering import plain_address, receiver_address
from dealsync.settings import load_environment
from dealsync.setup import Wishes
from dealsync.setup.files import EnvFile, write_at_once
from tests.accounts import SALES, Accounts
from tests.typist import dotenv, unattended

RECEIVER = "https://deals.example"


def writes_of(accounts: Accounts) -> list[str]:
    counts = httpx.get(f"{accounts.simulator.url}/control/requests", timeout=10).json()["counts"]
    return [name for name in counts if "GET" not in name]


def forget_requests(accounts: Accounts) -> None:
    httpx.post(f"{accounts.simulator.url}/control/requests/reset", timeout=10).raise_for_status()


def hooks_of(accounts: Accounts) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    world = accounts.simulator.world
    return list(world.state()["lemon_squeezy"]["webhooks"]), list(world.kommo.hooks.registered.values())


def test_unattended__secrets_that_are_missing_are_made_and_kept(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LEMON_SQUEEZY_WEBHOOK_SECRET")
    monkeypatch.delenv("KOMMO_WEBHOOK_TOKEN")
    done = unattended(Wishes(receiver_url=RECEIVER))
    made = dotenv(accounts.folder)
    assert done.env_names == ("LEMON_SQUEEZY_WEBHOOK_SECRET", "KOMMO_WEBHOOK_TOKEN")
    assert set(made) == set(done.env_names)
    (ls_hook,), (kommo_hook,) = hooks_of(accounts)
    assert ls_hook["hidden"]["secret"] == made["LEMON_SQUEEZY_WEBHOOK_SECRET"]
    assert kommo_hook["destination"].endswith(made["KOMMO_WEBHOOK_TOKEN"])
    before = (accounts.folder / ".env").read_bytes()
    again = unattended()
    assert (again.env_names, again.changed) == ((), False)
    assert (accounts.folder / ".env").read_bytes() == before
    said = "".join(capsys.readouterr()) + str(done.as_json())
    assert [name for name, secret in made.items() if secret in said] == []


def test_unattended__missing_keys_are_all_named_and_nothing_is_written(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("LEMON_SQUEEZY_API_KEY", "LEMON_SQUEEZY_STORE_ID", "KOMMO_DOMAIN", "KOMMO_TOKEN", "KOMMO_CLIENT_ID")
    for name in (*names, "KOMMO_WEBHOOK_TOKEN"):
        monkeypatch.delenv(name)
    with pytest.raises(ConfigError) as caught:
        unattended()
    assert [name for name in names if name not in str(caught.value)] == []
    assert not (accounts.folder / ".env").exists()


def test_unattended__the_second_time_nothing_is_sent_anywhere(accounts: Accounts) -> None:
    unattended(Wishes(receiver_url=RECEIVER))
    config = accounts.folder / "dealsync.toml"
    before = config.read_bytes()
    for spelling in (RECEIVER, f"{RECEIVER}/", "HTTPS://Deals.Example:443", f"{RECEIVER}/webhooks/lemon-squeezy/"):
        forget_requests(accounts)
        done = unattended(Wishes(receiver_url=spelling))
        assert writes_of(accounts) == [], spelling
        assert not done.changed
    assert config.read_bytes() == before
    assert [len(hooks) for hooks in hooks_of(accounts)] == [1, 1]


def test_unattended__webhooks_in_another_spelling_are_not_registered_twice(accounts: Accounts) -> None:
    unattended(Wishes(receiver_url=RECEIVER))
    ls_hooks, _ = hooks_of(accounts)
    registered = accounts.simulator.world.kommo.hooks.registered
    key = load_environment().lemon_squeezy_api_key.get_secret_value()
    attributes = {"url": "https://DEALS.example/Webhooks/Lemon-Squeezy/"}
    httpx.patch(
        f"{accounts.simulator.url}/lemonsqueezy/v1/webhooks/{ls_hooks[0]['id']}",
        json={"data": {"type": "webhooks", "id": str(ls_hooks[0]["id"]), "attributes": attributes}},
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/vnd.api+json"},
    ).raise_for_status()
    (hook,) = registered.values()
    other = hook["destination"].replace("deals.example", "Deals.Example") + "/"
    registered.clear()
    registered[other] = {**hook, "destination": other, "settings": ["add_lead"]}
    unattended(Wishes(receiver_url=RECEIVER))
    (ls_hook,), (kommo_hook,) = hooks_of(accounts)
    assert ls_hook["attributes"]["url"] == f"{RECEIVER}/webhooks/lemon-squeezy"
    assert len(kommo_hook["settings"]) > 1


def test_unattended__a_receiver_that_was_is_told_of_and_left(accounts: Accounts) -> None:
    unattended(Wishes(receiver_url="https://old.example"))
    done = unattended(Wishes(receiver_url=RECEIVER))
    told = [line for line in done.webhooks if "old.example, a receiver that was" in line]
    assert len(told) == 2
    assert [len(hooks) for hooks in hooks_of(accounts)] == [2, 2]


def test_unattended__webhooks_can_be_set_again_though_they_seem_right(accounts: Accounts) -> None:
    unattended(Wishes(receiver_url=RECEIVER))
    webhooks = accounts.simulator.world.lemon_squeezy.tables["webhooks"]
    for hook in webhooks:
        hook["hidden"]["secret"] = "somebody-elses"
    unattended(Wishes(receiver_url=RECEIVER, renew_webhooks=True))
    (hook,), _ = hooks_of(accounts)
    assert hook["hidden"]["secret"] == load_environment().webhook_secrets[0]


def test_unattended__stages_are_made_only_on_demand(accounts: Accounts) -> None:
    (accounts.folder / "dealsync.toml").unlink()
    pipeline = accounts.simulator.world.kommo.pipelines[SALES]
    usual = ("Invoice sent", "Needs attention")
    pipeline["_embedded"]["statuses"] = [s for s in pipeline["_embedded"]["statuses"] if s["name"] not in usual]
    with pytest.raises(ConfigError, match="--create-stages"):
        unattended()
    assert not (accounts.folder / "dealsync.toml").exists()
    done = unattended(Wishes(create_stages=True))
    assert done.stages_made == usual
    assert [s["name"] for s in pipeline["_embedded"]["statuses"]][-4:-2] == list(usual)
    assert unattended(Wishes(create_stages=True)).stages_made == ()
    assert accounts.run(apply=False).plan.actions == ()


def test_unattended__a_stage_that_kommo_refuses_is_told_and_the_rest_is_done(accounts: Accounts) -> None:
    (accounts.folder / "dealsync.toml").unlink()
    accounts.inject("POST", f"/leads/pipelines/{SALES}/statuses", status=403)
    done = unattended(Wishes(attention_status="Refunds", create_stages=True))
    assert len(done.unfinished) == 1
    assert "the missing stages" in done.unfinished[0]
    assert done.next_steps[0].startswith("mend")
    assert (accounts.folder / "dealsync.toml").exists()


def test_unattended__next_steps_follow_how_far_one_is(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    first = unattended().next_steps
    assert first[0].startswith("`dealsync plan`")
    assert any("--receiver-url" in step for step in first)
    accounts.run()
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    later = unattended(Wishes(receiver_url=RECEIVER)).next_steps
    assert later == ("`dealsync serve` takes in webhooks and runs everything on time",)


def test_unattended__what_is_hardly_meant_is_remarked(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unattended().remarks == ()
    monkeypatch.setenv("DEALSYNC_MODE", "test")
    (accounts.folder / ".env").write_text("# open\n")
    (accounts.folder / ".env").chmod(0o644)
    mode, readable = unattended().remarks
    assert "live-mode one, and dealsync is in test mode" in mode
    assert "chmod 600 .env" in readable


def test_env_file__keeps_every_byte_and_quotes_what_needs_it(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    before = b"\xef\xbb\xbf# k\xc3\xa4se\r\n\r\nexport A = 'b' # c\r\nB=1"
    path.write_bytes(before)
    env = EnvFile(path)
    assert (env.holds("a"), env.holds("C")) == (True, False)
    env.set("C", "it's #1")
    assert env.write()
    assert path.read_bytes() == before + b"\r\nC='it\\'s #1'\r\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not EnvFile(path).write()


def test_files__a_link_stays_one_and_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    real, link = tmp_path / "real.toml", tmp_path / "link.toml"
    real.write_text("a = 1\n")
    real.chmod(0o640)
    link.symlink_to(real)
    write_at_once(link, b"a = 2\n")
    assert link.is_symlink()
    assert (real.read_text(), stat.S_IMODE(real.stat().st_mode)) == ("a = 2\n", 0o640)
    with pytest.raises(ConfigError, match="cannot be written"):
        write_at_once(tmp_path / "no folder" / "x.toml", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        write_at_once(tmp_path / "folder", b"")
    assert {path.name for path in tmp_path.iterdir()} == {"real.toml", "link.toml", "folder"}


def test_config__own_lines_order_and_line_ends_stay(accounts: Accounts) -> None:
    config = accounts.folder / "dealsync.toml"
    own = b'# ours\r\n[limits]\r\nmax_changes = 7 # few\r\n\r\n[kommo] # funnel\r\ninvoice_status = "invoice SENT"\r\n'
    config.write_bytes(own)
    unattended(Wishes(receiver_url="https://old.example"))
    written = config.read_bytes()
    assert written.startswith(own)
    text = written.decode()
    config.write_text(text.replace("# the part before /webhooks", "# my own words"), newline="")
    unattended(Wishes(receiver_url=RECEIVER))
    assert f'url = "{RECEIVER}" # my own words' in config.read_text()


@pytest.mark.parametrize(
    ("typed", "plain"),
    [
        ("https://A.example/", "https://a.example"),
        (" HTTPS://a.example:443/Path/ ", "https://a.example/Path"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[bad", "http://[bad"),
    ],
)
def test_address__is_written_one_way(typed: str, plain: str) -> None:
    assert plain_address(typed) == plain
    assert receiver_address(f"{plain}/webhooks/kommo") == plain
