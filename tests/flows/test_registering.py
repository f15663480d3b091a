"""`dealsync init --receiver-url`: the webhooks of both accounts, made once and kept right."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from dealsync.errors import ConfigError
from dealsync.registering import KOMMO_EVENTS, LEMON_SQUEEZY_EVENTS
from dealsync.settings import load_environment
from dealsync.setup import SetUp, Wishes, set_up
from tests.accounts import Accounts

URL = "https://deals.example"


def init(url: str = URL) -> SetUp:
    return asyncio.run(set_up(load_environment(), Wishes(receiver_url=url)))


def lemon_squeezy_hooks(accounts: Accounts) -> list[dict[str, Any]]:
    state = accounts.simulator.world.state()["lemon_squeezy"]
    return list(state["webhooks"])


def kommo_hooks(accounts: Accounts) -> list[dict[str, Any]]:
    answer = httpx.get(f"{accounts.simulator.url}/control/kommo", timeout=10).raise_for_status()
    return list(answer.json()["webhooks"])


def test_init__registers_both_webhooks_once_with_all_events_and_our_secret(accounts: Accounts) -> None:
    done = init()
    (hook,) = lemon_squeezy_hooks(accounts)
    assert hook["attributes"]["url"] == f"{URL}/webhooks/lemon-squeezy"
    assert set(hook["attributes"]["events"]) == set(LEMON_SQUEEZY_EVENTS)
    assert hook["hidden"]["secret"] == load_environment().webhook_secrets[0]
    (kommo,) = kommo_hooks(accounts)
    token = load_environment().kommo_webhook_token.get_secret_value()
    assert kommo["destination"] == f"{URL}/webhooks/kommo/{token}"
    assert set(kommo["settings"]) == set(KOMMO_EVENTS)
    assert "webhook" in done.webhooks[0]
    assert done.webhooks[0].endswith("made")
    assert 'url = "https://deals.example"' in (accounts.folder / "dealsync.toml").read_text()
    again = init()
    assert (len(lemon_squeezy_hooks(accounts)), len(kommo_hooks(accounts))) == (1, 1)
    assert all("was there" in line for line in again.webhooks)
    assert token not in "".join((*done.webhooks, *again.webhooks))


def test_init__mends_events_and_secret_of_a_webhook_that_is_there(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    init()
    monkeypatch.setenv("LEMON_SQUEEZY_WEBHOOK_SECRET", "a-new-secret,the-old-one")
    init()
    (hook,) = lemon_squeezy_hooks(accounts)
    assert hook["hidden"]["secret"] == "a-new-secret"


def test_init__tells_of_webhooks_of_others_without_their_whole_address(accounts: Accounts) -> None:
    init("https://old.example")
    lines = "\n".join(init().webhooks)
    assert "sends to old.example" in lines
    assert "/webhooks/" not in lines


def test_init__refuses_a_key_of_the_other_mode_and_a_missing_secret(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEALSYNC_MODE", "test")
    with pytest.raises(ConfigError, match="other mode"):
        init()
    monkeypatch.setenv("DEALSYNC_MODE", "live")
    monkeypatch.setenv("LEMON_SQUEEZY_WEBHOOK_SECRET", "")
    with pytest.raises(ConfigError, match="LEMON_SQUEEZY_WEBHOOK_SECRET is missing"):
        init()
    assert (lemon_squeezy_hooks(accounts), kommo_hooks(accounts)) == ([], [])


def test_init__goes_on_where_kommo_refuses_webhooks(accounts: Accounts) -> None:
    accounts.inject("POST", "/webhooks", status=403)
    done = init()
    assert any("Kommo: no webhook, it refused" in line for line in done.webhooks)
    assert len(lemon_squeezy_hooks(accounts)) == 1
