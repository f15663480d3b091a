"""The cassettes themselves: nothing secret in them, each says where it comes from, none is missing in CI."""

from pathlib import Path

import pytest

from dealsync.simulator.seed import seeded
from dealsync.simulator.server import Simulator
from tests.contract import scenario
from tests.contract.cassettes import FOLDER, REPLAY_ORIGIN, leaks, secrets_of, unscrubbed
from tests.contract.conftest import must_record

ENVIRONMENT = Simulator("http://127.0.0.1:8787", seeded(seed=scenario.SEED, orders=0, now=scenario.NOW)).environment()
LIVE = "# origin: live account"
HARMLESS = f"""\
# origin: simulator, seed 1
interactions:
- request:
    body: ''
    headers: {{accept: [application/json]}}
    method: GET
    uri: {REPLAY_ORIGIN}/kommo/api/v4/account
  response:
    body: {{string: '{{"name":"Ann","email":"ann@example.com"}}'}}
    headers: {{content-type: [application/json]}}
    status: {{code: 200, message: OK}}
version: 1
"""


def test_cassettes__hold_no_secret_and_say_their_origin() -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.rglob("*.yaml")}
    secrets = secrets_of(ENVIRONMENT)
    assert {name: found for name, text in texts.items() if (found := leaks(text, secrets))} == {}
    assert [name for name, text in texts.items() if not text.startswith(("# origin: simulator, seed 1", LIVE))] == []


def test_cassettes__of_live_accounts_hold_nothing_of_anybody() -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.rglob("*.yaml")}
    found = {name: unscrubbed(text) for name, text in texts.items() if text.startswith(LIVE)}
    assert {name: faults for name, faults in found.items() if faults} == {}


def test_secrets__are_the_keys_tokens_and_codes_of_an_environment() -> None:
    secrets = secrets_of(ENVIRONMENT)
    assert {ENVIRONMENT["KOMMO_TOKEN"], ENVIRONMENT["LEMON_SQUEEZY_API_KEY"], ENVIRONMENT["KOMMO_AUTH_CODE"]} < {
        *secrets
    }
    assert {ENVIRONMENT["KOMMO_CLIENT_SECRET"], ENVIRONMENT["LEMON_SQUEEZY_WEBHOOK_SECRET"]} < {*secrets}
    assert all(secrets)
    assert "4101" not in secrets


def test_leaks__finds_nothing_in_a_harmless_cassette() -> None:
    assert leaks(HARMLESS, secrets_of(ENVIRONMENT)) == []


@pytest.mark.parametrize("secret", secrets_of(ENVIRONMENT))
def test_leaks__finds_every_planted_secret(secret: str) -> None:
    planted = HARMLESS.replace('"Ann"', f'"{secret}"')
    assert f"the secret {secret!r}" in leaks(planted, secrets_of(ENVIRONMENT))


@pytest.mark.parametrize(
    ("old", "planted", "found"),
    [
        ("headers: {accept", "headers: {AUTHORIZATION: [x], accept", "an Authorization header"),
        ("headers: {content-type", "headers: {authorization: [x], content-type", "an Authorization header"),
        ('"Ann"', '"Bearer abc"', "a bearer token"),
        ("ann@example.com", "ann@gmail.com", "an e-mail at gmail.com"),
        ("ann@example.com", "ann@notexample.com", "an e-mail at notexample.com"),
        (REPLAY_ORIGIN, "http://127.0.0.1:4711", "an address of the recording machine"),
    ],
)
def test_leaks__finds_what_is_planted(old: str, planted: str, found: str) -> None:
    assert old in HARMLESS
    assert leaks(HARMLESS.replace(old, planted), []) == [found]


def test_must_record__fails_in_ci_when_a_cassette_is_missing(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"missing\.yaml is missing; run `make record`"):
        must_record(tmp_path / "missing.yaml", {"CI": "true"})


@pytest.mark.parametrize(
    ("exists", "environment", "recorded"),
    [
        (False, {}, True),
        (False, {"CI": "false"}, True),
        (True, {}, False),
        (True, {"CI": "true"}, False),
        (True, {"DEALSYNC_RECORD": "1"}, True),
    ],
)
def test_must_record__is_asked_for_or_follows_from_a_missing_cassette(
    tmp_path: Path, exists: bool, environment: dict[str, str], recorded: bool
) -> None:
    path = tmp_path / "one.yaml"
    if exists:
        path.touch()
    assert must_record(path, environment) is recorded
