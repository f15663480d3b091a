"""`dealsync doctor` as a person and a program meet it: what it prints, how it ends, and that it changes nothing."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, text
from typer.testing import CliRunner, Result

from dealsync.cli import app
from dealsync.core.checkup import CATALOGUE, Status
from dealsync.ledger.runs import utc_now
from dealsync.ledger.tables import TokenRow
from dealsync.settings import load_environment
from tests import postgres
from tests.checks.test_checks import ban, key_is_revoked, schema_is_older, slow_down, state_folder_cannot_be_used
from tests.checks.world import World
from tests.webhooks import NOWHERE

OFFLINE = {kind.code for kind in CATALOGUE if kind.offline}


@pytest.fixture
def alone(world: World) -> World:
    """Without Prefect and with a receiver that nobody runs: what the command itself reaches from here."""
    world.set(PREFECT_API_URL="")
    return world


def doctor(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["doctor", *arguments], env={"COLUMNS": "80", "NO_COLOR": "1"})


def dump(world: World) -> list[str]:
    """Every row of the database but the turns of requests."""
    with closing(sqlite3.connect(world.folder / "dealsync.db")) as db:
        return [line for line in db.iterdump() if not line.startswith('INSERT INTO "paces"')]


def requests_of(world: World) -> dict[str, int]:
    return dict(world.accounts.requests()["counts"])


def test_doctor__changes_nothing(world: World) -> None:
    world.accounts.control("requests/reset")
    before = dump(world)
    config = (world.folder / "dealsync.toml").read_bytes()
    world.look()
    assert dump(world) == before
    assert (world.folder / "dealsync.toml").read_bytes() == config
    asked = requests_of(world)
    assert asked
    assert all(" GET " in name for name in asked), asked


def test_doctor__does_not_migrate(world: World) -> None:
    schema_is_older(world)
    world.look()
    with closing(sqlite3.connect(world.folder / "dealsync.db")) as db:
        assert db.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)


def test_doctor__makes_no_database(world: World) -> None:
    world.set(DEALSYNC_DATABASE_URL=f"sqlite:///{world.folder}/other.db")
    world.look()
    assert not (world.folder / "other.db").exists()


def test_doctor__asks_nobody_when_it_is_offline(world: World) -> None:
    world.accounts.control("requests/reset")
    world.broken["*"] = 500
    found = world.look(offline=True)
    assert {one.kind.code for one in found} == OFFLINE
    assert {one.verdict.status for one in found} == {Status.OK}
    assert requests_of(world) == {}


def test_doctor__skips_what_would_say_nothing(world: World) -> None:
    key_is_revoked(world)
    words = {one.kind.code: one.verdict for one in world.look()}
    assert (words["DS102"].status, words["DS102"].words) == (Status.SKIPPED, "needs DS101")
    assert (words["DS106"].status, words["DS106"].words) == (Status.SKIPPED, "needs DS105")
    assert words["DS201"].status is Status.OK


def test_doctor__sends_nothing_to_who_has_banned_us(world: World) -> None:
    ban(world, "kommo", load_environment().kommo_origin)
    world.accounts.control("requests/reset")
    world.look()
    assert not [name for name in requests_of(world) if name.startswith("kommo")]


def test_doctor__paces_nobody_without_a_folder_for_turns(world: World) -> None:
    state_folder_cannot_be_used(world)
    world.accounts.control("requests/reset")
    world.look()
    assert requests_of(world) == {}


def test_doctor__goes_on_at_half_the_rate(world: World) -> None:
    slow_down(world, "kommo", load_environment().kommo_origin)
    words = {one.kind.code: one.verdict for one in world.look()}
    assert words["DS201"].status is Status.OK
    assert "half the rate" in words["DS203"].words


def test_doctor__asks_the_receiver_where_it_is_told_to(world: World) -> None:
    world.look(url="https://deals.example.com/")
    assert "https://deals.example.com" in world.asked
    assert NOWHERE not in world.asked


def test_doctor__renews_no_tokens_and_says_how_long_they_last(world: World) -> None:
    world.set(KOMMO_TOKEN="")
    code = requests_of(world).get("kommo POST /oauth2/access_token", 0)
    assert world.troubles(offline=True) == {"DS202": Status.FAILED}
    keep_pair(world, "an-access-token", ends_in=timedelta(hours=20))
    assert world.troubles(offline=True) == {}
    (told,) = (one.verdict for one in world.look(offline=True) if one.kind.code == "DS202")
    assert "if no run renews it" in told.words
    keep_pair(world, "an-access-token", ends_in=-timedelta(hours=20))
    found = {one.kind.code: one.verdict for one in world.look()}
    assert found["DS202"].status is Status.OK
    assert (found["DS201"].status, found["DS201"].words) == (
        Status.SKIPPED,
        "the access token has ended; the next run renews it",
    )
    keep_pair(world, "an-access-token", ends_in=-timedelta(days=95))
    assert world.troubles(offline=True) == {"DS202": Status.FAILED}
    assert requests_of(world).get("kommo POST /oauth2/access_token", 0) == code


def keep_pair(world: World, access: str, *, ends_in: timedelta) -> None:
    environment = load_environment()
    row = {
        "name": f"kommo {environment.kommo_origin} {environment.kommo_client_id}",
        "access_token": access,
        "refresh_token": "a-refresh-token",
        "expires_at": utc_now() + ends_in,
        "codes": "",
    }
    with world.database() as engine, engine.begin() as db:
        db.execute(text("DELETE FROM tokens"))
        db.execute(insert(TokenRow).values(row))


@pytest.mark.skipif(not postgres.is_available(), reason=postgres.MISSING)
def test_doctor__looks_at_postgresql_likewise(world: World) -> None:
    world.ls_webhook["last_sent_at"] = None  # what it sent came into the other database
    with postgres.running() as url:
        world.set(DEALSYNC_DATABASE_URL=url)
        assert world.troubles() == {"DS302": Status.FAILED}
        assert world.troubles() == {"DS302": Status.FAILED}, "it made a schema"
        with world.database():
            pass  # opening brings the schema up to date
        assert world.troubles() == {"DS510": Status.WARNING}
        slow_down(world, "kommo", load_environment().kommo_origin)
        assert world.troubles() == {"DS203": Status.WARNING, "DS510": Status.WARNING}


def test_doctor__names_a_database_that_does_not_answer_without_its_password(world: World) -> None:
    world.set(DEALSYNC_DATABASE_URL="postgresql://somebody:pass-word@127.0.0.1:9/deals")
    found = {one.kind.code: one.verdict for one in world.look()}
    assert found["DS301"].status is Status.FAILED
    assert "postgresql 127.0.0.1/deals" in found["DS301"].words
    assert "pass-word" not in "".join(verdict.words for verdict in found.values())
    assert found["DS201"].status is Status.OK


def test_command__prints_a_line_a_check_and_the_way_out(alone: World) -> None:
    assert alone
    done = doctor()
    lines = done.stdout.splitlines()
    assert (done.exit_code, lines[0]) == (1, "DS101 ok      the API key is valid: Lemon Squeezy takes it")
    assert max(map(len, lines)) <= 80
    at = next(number for number, line in enumerate(lines) if line.startswith("DS505 failed"))
    assert "-> Start `dealsync serve`" in " ".join(line.strip() for line in lines[at : at + 4])
    assert "DS506 skipped the receiver is ready: needs DS505" in lines
    assert lines[-1].endswith("1 failed, 8 skipped")


def test_command__ends_well_when_nothing_failed_though_there_are_warnings(alone: World) -> None:
    alone.set(DEALSYNC_ALERT_URLS="")
    done = doctor("--offline")
    assert (done.exit_code, "DS514 warning" in done.stdout) == (0, True)


def test_command__prints_json_for_programs(alone: World) -> None:
    assert alone
    done = doctor("--json", "--offline")
    checks = json.loads(done.stdout)["checks"]
    assert done.exit_code == 0
    assert {check["code"] for check in checks} == OFFLINE
    assert {frozenset(check) for check in checks} == {frozenset({"code", "name", "status", "words", "way_out"})}
    assert {check["status"] for check in checks} == {"ok"}
    assert {check["way_out"] for check in checks} == {""}
    alone.set(DEALSYNC_ALERT_URLS="")
    (warned,) = (c for c in json.loads(doctor("--json", "--offline").stdout)["checks"] if c["status"] == "warning")
    assert (warned["code"], "mailto://" in warned["way_out"]) == ("DS514", True)


def test_command__shows_no_secret_and_no_person(alone: World, tmp_path: Path) -> None:
    assert tmp_path == alone.folder
    environment = load_environment()
    printed = doctor().stdout + doctor("--json").stdout
    held = [
        environment.lemon_squeezy_api_key,
        environment.lemon_squeezy_webhook_secret,
        environment.kommo_webhook_token,
        environment.kommo_client_secret,
        environment.dealsync_alert_urls,
    ]
    assert environment.kommo_token is not None
    for secret in [*held, environment.kommo_token]:
        assert secret.get_secret_value()
        assert secret.get_secret_value() not in printed
    assert not {"Ann", "ann@example.com", "Nora", "Omar", "secret-path"} & set(printed.replace('"', " ").split())
