"""`dealsync doctor`: in a healthy world all is well, and one broken thing trips its own check and no other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert, text, update

from dealsync.core.checkup import CATALOGUE, Status
from dealsync.core.evidence import Sender
from dealsync.core.turns import Rate
from dealsync.ledger.approvals import Approval, Approvals
from dealsync.ledger.blocks import Blocks
from dealsync.ledger.runs import KOMMO_ACCOUNT, STUCK, utc_now
from dealsync.ledger.slots import SharedSlots, limit_name
from dealsync.ledger.tables import EventRow, FindingRow, IdentityRow, LedgerEntry, OrderRow, RunRow
from dealsync.settings import load_environment
from tests.checks.world import World

Break = Callable[[World], None]
FAILED, WARNING = Status.FAILED, Status.WARNING
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BROKEN: list[tuple[str, Status, str, Break]] = []


def breaks(code: str, status: Status = FAILED) -> Callable[[Break], Break]:
    """Note how a check's subject is broken."""

    def noted(function: Break) -> Break:
        BROKEN.append((code, status, function.__name__, function))
        return function

    return noted


# --- Lemon Squeezy -----------------------------------------------------------------------------------------------


@breaks("DS101")
def key_is_revoked(world: World) -> None:
    world.set(LEMON_SQUEEZY_API_KEY="a-key-that-was-revoked")


@breaks("DS102")
def key_is_of_the_other_mode(world: World) -> None:
    world.set(DEALSYNC_MODE="test")


@breaks("DS103")
def store_is_somebody_elses(world: World) -> None:
    world.set(LEMON_SQUEEZY_STORE_ID="999999")


@breaks("DS103")
def further_store_is_not_there(world: World) -> None:
    world.configure("lemon_squeezy", stores=["999999"])


@breaks("DS104")
def variant_is_gone(world: World) -> None:
    world.set(LEMON_SQUEEZY_VARIANT_ID="999999")


@breaks("DS104")
def variant_is_another_stores(world: World) -> None:
    for product in world.accounts.simulator.world.lemon_squeezy.tables["products"]:
        product["attributes"]["store_id"] = 4102


@breaks("DS104", WARNING)
def no_variant_is_named(world: World) -> None:
    world.set(LEMON_SQUEEZY_VARIANT_ID="")


@breaks("DS105")
def webhook_is_deleted(world: World) -> None:
    (hook,) = world.lemon_squeezy("GET", "webhooks").json()["data"]
    world.lemon_squeezy("DELETE", f"webhooks/{hook['id']}")


@breaks("DS105")
def webhook_is_there_twice(world: World) -> None:
    (hook,) = world.lemon_squeezy("GET", "webhooks").json()["data"]
    attributes = {"url": hook["attributes"]["url"], "events": hook["attributes"]["events"], "secret": "a-secret"}
    store = {"store": {"data": {"type": "stores", "id": str(hook["attributes"]["store_id"])}}}
    world.lemon_squeezy(
        "POST", "webhooks", {"data": {"type": "webhooks", "attributes": attributes, "relationships": store}}
    )


@breaks("DS106")
def webhook_lacks_refunds(world: World) -> None:
    world.ls_webhook["events"].remove("order_refunded")


@breaks("DS107")
def what_was_sent_never_came(world: World) -> None:
    with world.database() as engine, engine.begin() as db:
        db.execute(delete(EventRow))


@breaks("DS107", WARNING)
def what_was_sent_last_did_not_come(world: World) -> None:
    world.ls_webhook["last_sent_at"] = f"{utc_now() + HOUR:%Y-%m-%dT%H:%M:%S.000000Z}"


@breaks("DS108", WARNING)
def lemon_squeezy_asked_for_patience(world: World) -> None:
    slow_down(world, "lemon_squeezy", load_environment().lemon_squeezy_api_url)


@breaks("DS108")
def lemon_squeezy_has_banned_us(world: World) -> None:
    ban(world, "lemon_squeezy", load_environment().lemon_squeezy_api_url)


# --- Kommo -------------------------------------------------------------------------------------------------------


@breaks("DS201")
def integration_is_switched_off(world: World) -> None:
    world.accounts.control("kommo/integration", on=False)


@breaks("DS202")
def token_has_ended(world: World) -> None:
    world.give_token(utc_now() - DAY)


@breaks("DS202", WARNING)
def token_is_about_to_end(world: World) -> None:
    world.give_token(utc_now() + 3 * DAY)


@breaks("DS203", WARNING)
def kommo_answered_429(world: World) -> None:
    slow_down(world, "kommo", load_environment().kommo_origin)


@breaks("DS203", WARNING)
def kommo_asks_to_wait_for_a_moment(world: World) -> None:
    hold(world, "kommo", load_environment().kommo_origin, 30)


@breaks("DS203")
def kommo_asks_to_wait_longer_than_anybody_does(world: World) -> None:
    hold(world, "kommo", load_environment().kommo_origin, 300)


@breaks("DS203")
def kommo_has_banned_us(world: World) -> None:
    ban(world, "kommo", load_environment().kommo_origin)


@breaks("DS204", WARNING)
def account_is_renamed(world: World) -> None:
    world.accounts.control("kommo", subdomain="renamed")


@breaks("DS205")
def user_is_no_admin(world: World) -> None:
    world.accounts.control("users/501", is_admin=False)


@breaks("DS206", WARNING)
def plan_has_no_webhooks(world: World) -> None:
    world.accounts.inject("GET", "/webhooks", how="answer", status=402)


@breaks("DS207")
def kommo_webhook_is_deleted(world: World) -> None:
    world.kommo.hooks.registered.clear()


@breaks("DS207")
def kommo_webhook_has_an_old_token(world: World) -> None:
    world.set(KOMMO_WEBHOOK_TOKEN="a-new-token-of-the-webhook")


@breaks("DS208")
def kommo_webhook_lacks_moves(world: World) -> None:
    world.kommo_webhook["settings"].remove("status_lead")


@breaks("DS209")
def kommo_webhook_is_switched_off(world: World) -> None:
    world.kommo_webhook["disabled"] = True


@breaks("DS210")
def stage_is_gone(world: World) -> None:
    world.configure("kommo", invoice_status="Gone")


@breaks("DS211")
def stages_are_one(world: World) -> None:
    world.configure("kommo", invoice_status="Needs attention")


@breaks("DS211")
def stage_is_a_closed_one(world: World) -> None:
    world.configure("kommo", attention_status=143)


@breaks("DS212")
def field_is_deleted(world: World) -> None:
    fields = world.kommo.custom_fields["leads"]
    del fields[field_id(world, "LS status")]


@breaks("DS213")
def field_has_another_type(world: World) -> None:
    world.kommo.custom_fields["leads"][field_id(world, "LS status")]["type"] = "checkbox"


@breaks("DS214")
def field_is_the_apis_alone(world: World) -> None:
    world.kommo.custom_fields["leads"][field_id(world, "LS order id")]["is_api_only"] = True


@breaks("DS215")
def other_field_is_gone(world: World) -> None:
    world.configure("self_serve", fields={"utm_source": "No such field"})


@breaks("DS216", WARNING)
def owner_is_switched_off(world: World) -> None:
    world.accounts.control("users/503", is_active=False)


@breaks("DS216")
def all_owners_are_switched_off(world: World) -> None:
    world.configure("owners", users=[502])
    world.accounts.control("users/502", is_active=False)


@breaks("DS216")
def owner_is_unknown(world: World) -> None:
    world.configure("owners", users=[501, 999])


@breaks("DS217", WARNING)
def filters_are_ignored(world: World) -> None:
    world.accounts.control("faults", filters_enabled=False)


# --- database ----------------------------------------------------------------------------------------------------


@breaks("DS301")
def database_is_not_there(world: World) -> None:
    world.set(DEALSYNC_DATABASE_URL=f"sqlite:///{world.folder}/other.db")


@breaks("DS301")
def database_is_no_address(world: World) -> None:
    world.set(DEALSYNC_DATABASE_URL="a password that is no address")


@breaks("DS302")
def schema_is_older(world: World) -> None:
    with world.database() as engine, engine.begin() as db:
        db.execute(text("UPDATE alembic_version SET version_num = '0001'"))


@breaks("DS303")
def database_is_another_accounts(world: World) -> None:
    with world.store() as store:
        store.runs.rebind(KOMMO_ACCOUNT, "42")


@breaks("DS304")
def state_folder_cannot_be_used(world: World) -> None:
    world.set(DEALSYNC_STATE_DIR=str(world.folder / "dealsync.toml" / "state"))


# --- Prefect -----------------------------------------------------------------------------------------------------


@breaks("DS401")
def prefect_does_not_answer(world: World) -> None:
    world.broken["/api/health"] = 503


@breaks("DS401")
def prefect_refuses_the_password(world: World) -> None:
    world.set(PREFECT_API_AUTH_STRING="admin:wrong")


@breaks("DS402", WARNING)
def prefect_is_a_newer_one(world: World) -> None:
    world.prefect.version = "3.11.0"


@breaks("DS403")
def deployment_is_missing(world: World) -> None:
    del world.prefect.deployments["deep-sweep"]


@breaks("DS403")
def somebody_else_answers_for_prefect(world: World) -> None:
    world.prefect.deployments = {"reconcile": {"detail": "something else"}}


@breaks("DS404")
def deployment_is_paused(world: World) -> None:
    world.prefect.deployments["reconcile"]["paused"] = True


@breaks("DS404")
def schedule_is_off(world: World) -> None:
    world.prefect.deployments["process-inbox"]["schedules"][0]["active"] = False


@breaks("DS405")
def worker_is_dead(world: World) -> None:
    for row in world.prefect.deployments.values():
        row["last_polled"] = (utc_now() - timedelta(minutes=5)).isoformat()


@breaks("DS405")
def nobody_ever_polled(world: World) -> None:
    world.prefect.deployments["reconcile"]["last_polled"] = None


@breaks("DS406")
def scheduler_is_dead(world: World) -> None:
    world.prefect.runs.remove(world.prefect.run_of("reconcile", "SCHEDULED"))


@breaks("DS407")
def last_flow_run_crashed(world: World) -> None:
    world.prefect.run_of("reconcile", "COMPLETED").update(state_type="CRASHED", state_name="Crashed")


@breaks("DS407")
def flow_run_is_late(world: World) -> None:
    at = (utc_now() - HOUR).isoformat()
    world.prefect.run_of("deep-sweep", "SCHEDULED").update(expected_start_time=at, state_name="Late")


# --- receiver and ourselves --------------------------------------------------------------------------------------


@breaks("DS501")
def setting_is_wrong(world: World) -> None:
    world.set(KOMMO_DOMAIN="not a host")


@breaks("DS502")
def configuration_has_an_unknown_key(world: World) -> None:
    world.configure("policy", reopen_everything=True)


@breaks("DS502")
def file_of_texts_is_missing(world: World) -> None:
    world.configure("texts", file="gone.toml")


@breaks("DS503")
def env_is_for_everybody(world: World) -> None:
    (world.folder / ".env").chmod(0o644)


@breaks("DS504")
def clock_is_wrong(world: World) -> None:
    world.clock = lambda: utc_now() - 10 * timedelta(minutes=1)


@breaks("DS504", WARNING)
def clock_is_unsure(world: World) -> None:
    world.clock = lambda: utc_now() - timedelta(minutes=1)


@breaks("DS505")
def proxy_finds_no_receiver(world: World) -> None:
    world.broken |= {"/healthz": 502, "/readyz": 502}


@breaks("DS506")
def receiver_is_not_ready(world: World) -> None:
    world.broken["/readyz"] = 503


@breaks("DS507")
def nothing_drains_the_inbox(world: World) -> None:
    change_event(world, state="waiting", next_try_at=utc_now() - HOUR)


@breaks("DS508")
def event_is_parked(world: World) -> None:
    change_event(world, state="parked", attempts=7, error="order:17: not there")


@breaks("DS509")
def write_fails_again_and_again(world: World) -> None:
    with world.database() as engine, engine.begin() as db:
        db.execute(update(LedgerEntry).where(LedgerEntry.kind == "note").values(state="failed", attempts=3, error="no"))


@breaks("DS510")
def no_run_comes(world: World) -> None:
    with world.database() as engine, engine.begin() as db:
        db.execute(update(RunRow).values(started_at=utc_now() - 5 * HOUR))


@breaks("DS510", WARNING)
def no_run_ever_went_through(world: World) -> None:
    with world.database() as engine, engine.begin() as db:
        db.execute(delete(RunRow))


@breaks("DS511")
def run_is_stuck(world: World) -> None:
    run = {"run_id": "stuck", "job": "process-inbox", "started_at": utc_now(), "outcome": STUCK, "summary": {}}
    with world.database() as engine, engine.begin() as db:
        db.execute(insert(RunRow).values(run))


@breaks("DS515", WARNING)
def plan_waits_for_a_person(world: World) -> None:
    now = utc_now()
    with world.database() as engine:
        Approvals(engine).ask(Approval("asking", now, now + HOUR, ("it is large",), {"close": 300}))


@breaks("DS512")
def payment_is_out_of_step_for_long(world: World) -> None:
    long_ago = utc_now() - 30 * HOUR
    row = {"finding": "paid_not_won:order:17", "kind": "paid_not_won", "source": "order:17", "lead_id": 1}
    with world.database() as engine, engine.begin() as db:
        db.execute(insert(FindingRow).values({**row, "first_seen_at": long_ago, "last_seen_at": utc_now()}))


@breaks("DS513")
def webhooks_have_stopped(world: World) -> None:
    """A sale two hours ago that a poll saw; the last webhook came before it, and Lemon Squeezy sent none since."""
    noted = IdentityRow.name == "receiver"
    world.ls_webhook["last_sent_at"] = None
    with world.database() as engine, engine.begin() as db:
        since = f"{(utc_now() - 9 * HOUR).isoformat()}"
        db.execute(update(IdentityRow).where(noted).values(value=f"http://127.0.0.1:9 {since}"))
        db.execute(update(EventRow).values(received_at=utc_now() - 3 * HOUR, order_id="another"))
        db.execute(update(OrderRow).values(created_at=utc_now() - 2 * HOUR))


@breaks("DS514", WARNING)
def nobody_hears_of_alerts(world: World) -> None:
    world.set(DEALSYNC_ALERT_URLS="")


@breaks("DS514")
def address_of_alerts_is_none(world: World) -> None:
    world.set(DEALSYNC_ALERT_URLS="nonsense://with-a-password")


def slow_down(world: World, api: str, origin: str) -> None:
    with turns(world, api, origin) as slots:
        asyncio.run(slots.slow_down())


def hold(world: World, api: str, origin: str, wait_s: float) -> None:
    with turns(world, api, origin) as slots:
        asyncio.run(slots.hold(wait_s))


@contextmanager
def turns(world: World, api: str, origin: str) -> Iterator[SharedSlots]:
    """The turns that real processes share."""
    with world.store() as store:
        limits = store.limits
        yield SharedSlots(limit_name(api, origin), Rate(6.0), database=limits.database, machine=limits.machine)


def ban(world: World, api: str, origin: str) -> None:
    with world.database() as engine:
        Blocks(engine).add(limit_name(api, origin), "HTTP 403 page")


def change_event(world: World, **values: Any) -> None:
    with world.database() as engine, engine.begin() as db:
        db.execute(update(EventRow).where(EventRow.sender == Sender.LEMON_SQUEEZY.value).values(values))


def field_id(world: World, name: str) -> int:
    return next(int(i) for i, field in world.kommo.custom_fields["leads"].items() if field["name"] == name)


# --- what is true of all -----------------------------------------------------------------------------------------


def test_doctor__finds_a_healthy_world_well(world: World) -> None:
    found = world.look()
    assert {one.kind.code: one.verdict for one in found if one.verdict.status is not Status.OK} == {}
    assert [one.kind for one in found] == list(CATALOGUE)


@pytest.mark.parametrize(
    ("code", "status", "breaking"),
    [(code, status, breaking) for code, status, _, breaking in BROKEN],
    ids=[f"{code}-{name}" for code, _, name, _ in BROKEN],
)
def test_doctor__trips_on_what_is_broken_and_on_nothing_else(
    code: str, status: Status, breaking: Break, world: World
) -> None:
    breaking(world)
    assert world.troubles() == {code: status}


def test_doctor__has_a_broken_world_for_every_check() -> None:
    assert {code for code, *_ in BROKEN} == {kind.code for kind in CATALOGUE}
