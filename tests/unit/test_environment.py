"""Credentials from a block before those of the environment, and what the variables of the Prefect UI change."""

from pathlib import Path
from typing import Any

import pytest

from dealsync.core.turns import Rate
from dealsync.errors import ConfigError
from dealsync.settings import Overrides, Settings, block_name, lemon_squeezy_rate, load_environment
from dealsync.switches import switched
from tests.unit.test_settings import config

SOURCE = "the block dealsync-accounts/dealsync"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("LEMON_SQUEEZY_STORE_ID", "DEALSYNC_MODE", "DEALSYNC_BLOCK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "LEMON_SQUEEZY_API_KEY": "key-of-the-environment",
        "LS_STORE_ID": "1",
        "KOMMO_DOMAIN": "environment.kommo.com",
        "KOMMO_TOKEN": "token-of-the-environment",
    }.items():
        monkeypatch.setenv(name, value)


def test_overrides__go_before_the_environment_whichever_of_its_names_is_set() -> None:
    given = {"lemon_squeezy_store_id": "2", "kommo_token": "token-of-the-block"}
    found = load_environment(Overrides(SOURCE, given))
    assert found.lemon_squeezy_store_id == "2"
    assert found.kommo_token is not None
    assert found.kommo_token.get_secret_value() == "token-of-the-block"
    assert found.lemon_squeezy_api_key.get_secret_value() == "key-of-the-environment"
    assert found.kommo_domain == "environment.kommo.com"


def test_overrides__that_are_wrong_are_named_with_where_they_are_from_and_never_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ConfigError) as wrong:
        load_environment(Overrides(SOURCE, {"kommo_token": "two words"}))
    assert f"KOMMO_TOKEN: as {SOURCE} has it" in str(wrong.value)
    assert "two words" not in str(wrong.value) + repr(Overrides(SOURCE, {"kommo_token": "two words"}))
    monkeypatch.setenv("LEMON_SQUEEZY_API_KEY", "")
    with pytest.raises(ConfigError, match=f"Set them in {SOURCE}, in the environment or in .env"):
        load_environment(Overrides(SOURCE, {"kommo_token": "fine"}))


def test_block__has_a_name_of_its_own_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    assert block_name() == "dealsync"
    monkeypatch.setenv("DEALSYNC_BLOCK", "acme-live")
    assert block_name() == "acme-live"
    monkeypatch.setenv("DEALSYNC_BLOCK", "Acme live")
    with pytest.raises(ConfigError, match="DEALSYNC_BLOCK"):
        block_name()


def settings() -> Settings:
    return Settings(load_environment(), config())


@pytest.mark.parametrize(
    ("variables", "paused", "max_changes"),
    [
        ({}, False, 200),
        ({"dealsync_paused": "", "dealsync_max_changes": None}, False, 200),
        ({"dealsync_paused": True, "dealsync_max_changes": 0}, True, 0),
        ({"dealsync_paused": "yes", "dealsync_max_changes": "1000"}, True, 1000),
        ({"dealsync_paused": "false"}, False, 200),
    ],
)
def test_variables__change_what_they_name(variables: dict[str, Any], paused: bool, max_changes: int) -> None:
    found = switched(settings(), variables)
    assert (found.paused, found.config.limits.max_changes) == (paused, max_changes)


@pytest.mark.parametrize(
    ("name", "value"),
    [("dealsync_paused", "perhaps"), ("dealsync_max_changes", -1), ("dealsync_max_changes", [5])],
)
def test_variables__that_are_wrong_are_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"Prefect variable wrong: {name} "):
        switched(settings(), {name: value})


def test_tags__name_every_store_and_the_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings().tags == ["store:1", "live"]
    monkeypatch.setenv("DEALSYNC_MODE", "test")
    both = Settings(load_environment(), config("[lemon_squeezy]\nstores = [2, 1]"))
    assert both.tags == ["store:1", "store:2", "test"]


@pytest.mark.parametrize(
    ("in_a_minute", "at_once", "kept"),
    [(None, 20, 5), ("300", 21, 5), ("6", 1, 0), ("1", 1, 0)],
)
def test_lemon_squeezy__is_asked_at_once_up_to_a_part_of_its_minute(
    monkeypatch: pytest.MonkeyPatch, in_a_minute: str | None, at_once: int, kept: int
) -> None:
    if in_a_minute:
        monkeypatch.setenv("LEMON_SQUEEZY_REQUESTS_PER_MINUTE", in_a_minute)
    most = int(in_a_minute or 280)
    expected = Rate(most / 60, at_once=at_once, most=most, window_s=60.0, kept_for_urgent=kept, in_the_air=10)
    assert lemon_squeezy_rate(load_environment()) == expected


def test_lemon_squeezy__is_asked_evenly_if_its_minute_turns_out_to_be_no_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dealsync.settings.LS_MINUTE_COUNTS_AS_A_WHOLE", False)
    assert lemon_squeezy_rate(load_environment()) == Rate(280 / 60)
