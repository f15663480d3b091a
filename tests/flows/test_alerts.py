"""Alerts: once when something goes wrong with dealsync itself, once when it is well again; to a real HTTP receiver."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest
import tomlkit
from sqlalchemy import select, update
from typer.testing import CliRunner, Result

from dealsync import settings
from dealsync.alerting import RECEIVER, watch
from dealsync.cli import app
from dealsync.core.alerts import WELL_AGAIN
from dealsync.errors import Banned
from dealsync.ledger.runs import STUCK, utc_now
from dealsync.ledger.slots import SharedSlots
from dealsync.ledger.tables import EventRow, FindingRow, IdentityRow, OrderRow, RunRow
from dealsync.receiver import serve
from dealsync.receiver.app import make_app
from dealsync.settings import build_store, load_environment, load_settings
from tests.accounts import INVOICE_SENT, Accounts
from tests.checks.world import jwt
from tests.cli.shell import spawned
from tests.cli.shell import typed as dealsync
from tests.cli.test_inbox import park, payment
from tests.webhooks import Hooks


class Bell(HTTPServer):
    """Takes messages as Apprise's `json://` sends them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Ear)
        self.heard: list[dict[str, Any]] = []
        self.rung = threading.Event()
        self.status = 200

    @property
    def titles(self) -> list[str]:
        return [one["title"] for one in self.heard]


class _Ear(BaseHTTPRequestHandler):
    server: Bell

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.status == 200:
            self.server.heard.append(json.loads(body))
            self.server.rung.set()
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Nobody reads it."""


@contextmanager
def ringing() -> Iterator[Bell]:
    bell = Bell()
    thread = threading.Thread(target=bell.serve_forever)
    thread.start()
    try:
        yield bell
    finally:
        bell.shutdown()
        thread.join()
        bell.server_close()


@pytest.fixture
def bell(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bell]:
    with ringing() as found:
        monkeypatch.setenv("DEALSYNC_ALERT_URLS", f"json://127.0.0.1:{found.server_port}/secret-path")
        yield found


def looked() -> None:
    asyncio.run(watch(load_settings(), build_store(load_environment())))


@pytest.fixture
def _remembered_bans(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The turns of real runs, which remember a ban."""
    assert accounts
    monkeypatch.setattr(settings, "SharedSlots", SharedSlots)


@pytest.mark.usefixtures("_remembered_bans")
def test_alert__of_a_ban_comes_once_and_its_end_once(accounts: Accounts, bell: Bell) -> None:
    accounts.inject("GET", "/leads", how="answer", status=403, html=True)
    for _ in range(3):
        with pytest.raises(Banned):
            accounts.run()
    assert bell.titles == ["dealsync: ban"]
    assert "dealsync unblock" in bell.heard[0]["message"]
    shown = spawned("alerts")
    assert (shown.returncode, shown.stdout.startswith("ban: kommo has blocked this address")) == (1, True)
    build_store(load_environment()).limits.lift_blocks()
    accounts.run()
    accounts.run()
    assert bell.titles == ["dealsync: ban", "dealsync: ban is over"]
    assert (dealsync("alerts").stdout, dealsync("alerts", "--json").returncode) == ("All is well.\n", 0)


def test_alert__of_a_write_that_fails_again_and_again(accounts: Accounts, bell: Bell) -> None:
    lead_id = accounts.control("leads", price=490)["id"]
    accounts.control("orders", email="a@example.com", total=49000, custom_data={"kommo_lead_id": str(lead_id)})
    for number in range(4):
        accounts.inject("POST", "/leads/notes", how="answer", status=400)
        accounts.run()
        assert len(bell.heard) == (number >= 2)
    assert "order:" in bell.heard[0]["message"]
    assert "ledger list --state failed" in bell.heard[0]["message"]
    accounts.run()
    assert bell.titles == ["dealsync: parked-writes", "dealsync: parked-writes is over"]


def test_alert__of_a_write_that_a_person_gave_up_ends(accounts: Accounts, bell: Bell) -> None:
    lead_id = accounts.control("leads", price=490)["id"]
    accounts.control("orders", email="a@example.com", total=49000, custom_data={"kommo_lead_id": str(lead_id)})
    for _ in range(3):
        accounts.inject("POST", "/leads/notes", how="answer", status=400)
        accounts.run()
    assert dealsync("ledger", "dismiss", "--failed").returncode == 0
    accounts.run()
    assert bell.titles == ["dealsync: parked-writes", "dealsync: parked-writes is over"]
    assert accounts.texts(lead_id)[0] == []


def test_alert__of_webhooks_that_were_given_up(accounts: Accounts, hooks: Hooks, bell: Bell) -> None:
    _, _, event_id = payment(accounts, hooks)
    park(hooks, event_id)
    looked()
    looked()
    hooks.inbox.dismiss(event_id, "a tester", utc_now())
    looked()
    assert bell.titles == ["dealsync: parked-events", "dealsync: parked-events is over"]


def test_alert__of_a_run_that_got_stuck_and_of_one_that_is_missing(accounts: Accounts, bell: Bell) -> None:
    accounts.run()
    store = build_store(load_environment())
    with store.limits.database.begin() as db:
        db.execute(update(RunRow).values(started_at=utc_now() - timedelta(hours=5)))
    looked()
    assert bell.titles == ["dealsync: late-run"]
    with store.limits.database.begin() as db:
        db.execute(update(RunRow).values(outcome=STUCK))
    looked()
    assert bell.titles[1:] == ["dealsync: stuck-run", "dealsync: late-run is over"]
    accounts.run()
    assert bell.titles[3:] == ["dealsync: stuck-run is over"]


def unreached(accounts: Accounts) -> None:
    """A payment whose deal cannot be closed; its run, and a day that passes."""
    accounts.control("leads", price=50, contact={"name": "Ann", "email": "ann@example.com"}, age_days=9)
    accounts.control("leads", price=99, status_id=INVOICE_SENT, age_days=9)
    accounts.control("orders", email="ann@example.com", total=5000)
    accounts.inject("PATCH", "/leads", how="answer", status=400, times=9)
    accounts.run()
    with build_store(load_environment()).limits.database.begin() as db:
        db.execute(update(FindingRow).values(first_seen_at=utc_now() - timedelta(hours=25)))


def test_alert__of_what_is_out_of_step_for_long(accounts: Accounts, bell: Bell) -> None:
    unreached(accounts)
    assert bell.titles == []
    looked()
    looked()
    assert bell.titles == ["dealsync: old-drift"]
    assert "1 paid_not_won" in bell.heard[0]["message"]
    assert "stuck" not in bell.heard[0]["message"]
    accounts.control("faults", inject=None)
    accounts.run()
    accounts.run().raise_if_failed()
    assert bell.titles == ["dealsync: old-drift", "dealsync: old-drift is over"]


def test_alert__of_what_is_out_of_step_is_told_of_no_longer_than_somebody_wants(accounts: Accounts, bell: Bell) -> None:
    configure(accounts, drift_hours=0)
    unreached(accounts)
    looked()
    assert bell.titles == []


def test_alert__of_a_receiver_that_hears_nothing_of_payments(accounts: Accounts, hooks: Hooks, bell: Bell) -> None:
    configure(accounts, section="receiver", url="https://deals.example")
    looked()
    later(hours=1)  # since an hour ago that is its address
    accounts.control("orders", email="before@example.com", total=4900, age_minutes=60 * 24)
    hooks.sent()
    accounts.run()
    accounts.control("orders", email="untold@example.com", total=4900)
    accounts.run()
    assert bell.titles == []  # young: its webhook may still come
    later(hours=2)
    looked()
    looked()
    assert bell.titles == ["dealsync: silent-receiver"]
    assert "1 orders since" in bell.heard[0]["message"]
    assert "none ever came" in bell.heard[0]["message"]
    assert alerts().stdout.startswith("silent-receiver: ")
    hooks.deliver()
    looked()
    assert bell.titles == ["dealsync: silent-receiver", "dealsync: silent-receiver is over"]


def test_alert__of_a_receiver_that_fell_silent_needs_no_address(accounts: Accounts, hooks: Hooks, bell: Bell) -> None:
    accounts.control("orders", email="told@example.com", total=4900)
    hooks.deliver()
    accounts.control("orders", email="untold@example.com", total=4900)
    accounts.run()
    looked()
    assert bell.titles == []
    with build_store(load_environment()).limits.database.begin() as db:
        db.execute(update(EventRow).values(received_at=utc_now() - timedelta(hours=3)))
    later(hours=2)
    looked()
    assert bell.titles == ["dealsync: silent-receiver"]
    assert "the last one came at" in bell.heard[0]["message"]


def test_alert__of_silence_is_none_where_no_webhook_is_expected(accounts: Accounts, bell: Bell) -> None:
    accounts.control("orders", email="untold@example.com", total=4900)
    accounts.run()
    later(hours=2)
    looked()
    assert bell.titles == []


def test_alert__of_a_token_that_is_about_to_end(
    accounts: Accounts, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    for days in (300, 6, 3):
        monkeypatch.setenv("KOMMO_TOKEN", jwt(utc_now() + timedelta(days=days)))
        looked()
    assert bell.titles == ["dealsync: expiring-token"]
    assert "Access to Kommo ends at" in bell.heard[0]["message"]
    configure(accounts, token_days=1)
    looked()
    assert bell.titles == ["dealsync: expiring-token", "dealsync: expiring-token is over"]


def test_alerts__tell_is_for_cron(accounts: Accounts, bell: Bell) -> None:
    accounts.run()
    with build_store(load_environment()).limits.database.begin() as db:
        db.execute(update(RunRow).values(started_at=utc_now() - timedelta(hours=5)))
    assert (alerts().exit_code, bell.titles) == (1, [])
    assert (alerts("--tell").exit_code, bell.titles) == (1, ["dealsync: late-run"])
    assert (alerts("--tell").exit_code, bell.titles) == (1, ["dealsync: late-run"])


async def test_receiver__notices_a_dead_scheduler_by_itself(
    accounts: Accounts, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(accounts.run)
    with build_store(load_environment()).limits.database.begin() as db:
        db.execute(update(RunRow).values(started_at=utc_now() - timedelta(hours=5)))
    monkeypatch.setattr(serve, "LOOK_EVERY_S", 0.05)
    receiver = make_app(serve.parts_of(load_settings()))
    async with receiver.router.lifespan_context(receiver):
        assert await asyncio.to_thread(bell.rung.wait, 20)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(receiver), base_url="http://receiver") as http:
            assert (await http.get("/healthz")).status_code == 200
    assert bell.titles == ["dealsync: late-run"]


def alerts(*arguments: str) -> Result:
    """Run the command in this process: a new one takes its time to load."""
    return CliRunner().invoke(app, ["alerts", *arguments])


def configure(accounts: Accounts, *, section: str = "alerts", **values: Any) -> None:
    path = accounts.folder / "dealsync.toml"
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    document[section] = values
    path.write_text(tomlkit.dumps(document), encoding="utf-8")


def later(*, hours: float) -> None:
    """Let what polls saw, and what was noted of the receiver, be older."""
    ago = timedelta(hours=hours)
    with build_store(load_environment()).limits.database.begin() as db:
        for order_id, at in db.execute(select(OrderRow.order_id, OrderRow.created_at)).all():
            db.execute(update(OrderRow).where(OrderRow.order_id == order_id).values(created_at=at - ago))
        noted = db.scalar(select(IdentityRow.value).where(IdentityRow.name == RECEIVER))
        if noted:
            url, _, since = noted.partition(" ")
            value = f"{url} {(datetime.fromisoformat(since) - ago).isoformat()}"
            db.execute(update(IdentityRow).where(IdentityRow.name == RECEIVER).values(value=value))


def test_alert__that_two_processes_see_at_once_is_told_by_one(accounts: Accounts, bell: Bell) -> None:
    store = build_store(load_environment())
    assert [store.alerts.raise_("ban", utc_now()) for _ in range(2)] == [True, False]
    assert [store.alerts.lower("ban") is None for _ in range(2)] == [False, True]
    assert accounts
    assert bell.heard == []


@pytest.mark.usefixtures("_remembered_bans")
def test_alert__whose_server_is_away_stops_no_run(
    accounts: Accounts, bell: Bell, caplog: pytest.LogCaptureFixture
) -> None:
    bell.status = 500
    accounts.inject("GET", "/leads", how="answer", status=403, html=True)
    with pytest.raises(Banned):
        accounts.run()
    assert bell.heard == []
    assert "the alert ban reached not everybody" in caplog.text
    assert "secret-path" not in caplog.text


def test_alerts__test_sends_a_message_or_says_which_address_is_none(
    accounts: Accounts, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (dealsync("alerts", "--test").stdout, bell.titles) == ("Sent to 1 address\n", ["dealsync: test is over"])
    monkeypatch.setenv("DEALSYNC_ALERT_URLS", "nonsense://with-a-password")
    wrong = dealsync("alerts", "--test")
    assert (wrong.returncode, "number 1 (nonsense:" in wrong.stderr) == (1, True)
    assert "with-a-password" not in wrong.stderr
    monkeypatch.setenv("DEALSYNC_ALERT_URLS", "")
    assert "is empty" in dealsync("alerts", "--test").stderr
    assert accounts


def test_alerts__each_has_an_end_that_says_something() -> None:
    assert all(words.endswith(".") for words in WELL_AGAIN.values())
