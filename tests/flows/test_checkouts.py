"""From a deal in the invoice stage to its checkout, and on to the paid and closed deal: stories without Prefect."""

from __future__ import annotations

import asyncio
import html
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import tomlkit
from typer.testing import CliRunner

from dealsync import doubts, drain, issuing
from dealsync import mailing as mailing_module
from dealsync.apis.lemonsqueezy.client import LemonSqueezy
from dealsync.apply import apply_actions
from dealsync.cli import app
from dealsync.core.evidence import CHECKOUT_KEY
from dealsync.errors import ConfigError, RunFailed
from dealsync.issued import Issued
from dealsync.issuing import issue_checkouts, open_slice, plan_slice, read_waiting, record_slice
from dealsync.ledger.runs import utc_now
from dealsync.mail import compose as composing
from dealsync.settings import load_environment, load_settings
from tests.accounts import INVOICE_SENT, LOST, QUALIFIED, SALES, WON, Accounts
from tests.mail.server import Server, running
from tests.mail.test_bounce import ID, POSTFIX
from tests.webhooks import Hooks

MOMENT = 1e-6
"""Days: over at once."""
NO_EMAIL = "taken.out@example.com"
ANN = {"name": "Ann Example", "email": "ann@example.com"}


def configure(accounts: Accounts, **sections: dict[str, Any]) -> None:
    path = accounts.folder / "dealsync.toml"
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    for name, values in sections.items():
        document[name] = {**document.get(name, {}), **values}
    path.write_text(tomlkit.dumps(document), encoding="utf-8")


def issued(*lead_ids: int, **options: Any) -> Issued:
    return asyncio.run(issue_checkouts(lead_ids=lead_ids, progress=lambda _text: None, **options))


def drained() -> None:
    asyncio.run(drain.drain(progress=lambda _text: None)).raise_if_failed()


def deal(accounts: Accounts, **changes: Any) -> int:
    """A deal that waits for payment."""
    body = {"price": 490, "contact": ANN, "status_id": INVOICE_SENT, **changes}
    return int(accounts.control("leads", **body)["id"])


def move(accounts: Accounts, lead_id: int, status_id: int) -> None:
    accounts.control(f"leads/{lead_id}/move", status_id=status_id)


def edit(accounts: Accounts, lead_id: int, **changes: Any) -> None:
    accounts.control(f"leads/{lead_id}/edit", **changes)


def link(accounts: Accounts, lead_id: int) -> str:
    return accounts.fields(lead_id).get("LS checkout link", "")


def tags(accounts: Accounts, lead_id: int) -> set[str]:
    return {tag["name"] for tag in accounts.lead(lead_id)["_embedded"]["tags"]}


def inject(accounts: Accounts, **fault: Any) -> None:
    """Let the next checkout that is asked for meet a fault."""
    accounts.control("faults", inject={"api": "lemonsqueezy", "method": "POST", "path": "/v1/checkouts", **fault})


def add_field(accounts: Accounts, name: str) -> int:
    """Make a text field of deals, as an admin does."""
    environment = load_environment()
    assert environment.kommo_token is not None
    made = httpx.post(
        f"{environment.kommo_origin}/api/v4/leads/custom_fields",
        json=[{"name": name, "type": "text"}],
        headers={"Authorization": f"Bearer {environment.kommo_token.get_secret_value()}"},
    ).raise_for_status()
    return int(made.json()["_embedded"]["custom_fields"][0]["id"])


def link_of(lead: dict[str, Any]) -> str:
    (field,) = lead["custom_fields_values"]
    return str(field["values"][0]["value"])


async def one_slice(lead_id: int) -> None:
    """Open a checkout and stop there, as a run that is killed does."""
    one = Issued(frozenset({lead_id}))
    async with open_slice(load_settings(), one, lambda _text: None) as run:
        await read_waiting(run, one)
        plan = await plan_slice(run, one)
        await apply_actions(run, record_slice(run, one, plan))


def only_task(accounts: Accounts, lead_id: int) -> str:
    (task,) = accounts.texts(lead_id)[1]
    return task


@pytest.fixture(autouse=True)
def _no_lag(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts.simulator.world.faults.update({"list_lag_s": 0})
    monkeypatch.setattr(doubts, "KOMMO_READ_LAG", timedelta(0))


@pytest.fixture
def variant(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is sold to every deal."""
    made = str(accounts.control("variants", name="Pro", price=49000)["data"]["id"])
    monkeypatch.setenv("LEMON_SQUEEZY_VARIANT_ID", made)
    return made


# --- the two ways ------------------------------------------------------------------------------------------------


def test_story__by_poll_alone_from_the_stage_to_the_paid_and_closed_deal(accounts: Accounts, variant: str) -> None:
    lead_id = deal(accounts, status_id=QUALIFIED)
    assert issued().headline() == "Checkouts: no deal waits for payment"
    move(accounts, lead_id, INVOICE_SENT)
    done = issued()
    assert done.headline() == "Checkouts: 1 opened"

    (made,) = accounts.checkouts()
    told = made["attributes"]["checkout_data"]
    assert (told["email"], told["name"], told["custom"]["kommo_lead_id"]) == (ANN["email"], ANN["name"], str(lead_id))
    assert str(made["attributes"]["variant_id"]) == variant
    assert made["attributes"]["custom_price"] is None
    assert link(accounts, lead_id) == made["attributes"]["url"]
    notes, tasks = accounts.texts(lead_id)
    assert [made["attributes"]["url"] in note for note in notes] == [True]
    assert tasks == []

    accounts.control(f"checkouts/{made['id']}/pay")
    accounts.run()
    assert accounts.lead(lead_id)["status_id"] == WON


def test_story__by_webhooks_from_the_stage_to_the_paid_and_closed_deal(
    accounts: Accounts, hooks: Hooks, variant: str
) -> None:
    lead_id = deal(accounts, status_id=QUALIFIED)
    accounts.run()
    hooks.sent("kommo")
    move(accounts, lead_id, INVOICE_SENT)
    assert set(hooks.deliver(sender="kommo")) == {200}
    drained()
    (made,) = accounts.checkouts()
    assert link(accounts, lead_id) == made["attributes"]["url"]

    assert set(hooks.deliver(sender="kommo")) == {200}  # of our own writes
    before = accounts.requests()["counts"]
    drained()
    assert accounts.requests()["counts"] == before

    accounts.control(f"checkouts/{made['id']}/pay", email="another@example.org")
    hooks.deliver()
    drained()
    assert accounts.lead(lead_id)["status_id"] == WON
    assert accounts.texts(lead_id)[1] == []
    assert issued().headline() == "Checkouts: no deal waits for payment"


def test_hook__of_a_digital_pipeline_is_enough(accounts: Accounts, hooks: Hooks, variant: str) -> None:
    """It has ids alone: no times, no name."""
    lead_id = deal(accounts)
    (sample,) = hooks.sent("kommo")
    account_id = accounts.kommo()["account"]["id"]
    told = {"id": lead_id, "status_id": INVOICE_SENT, "pipeline_id": SALES, "old_status_id": QUALIFIED}
    form = {f"leads[status][0][{name}]": str(value) for name, value in told.items()} | {"account[id]": str(account_id)}
    assert hooks.deliver([replace(sample, body=urlencode(form).encode())]) == [200]
    drained()
    assert link(accounts, lead_id) == accounts.checkouts()[0]["attributes"]["url"] != ""


# --- exactly one -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["poll", "webhook"])
def test_checkout__five_flips_in_and_out_leave_one_link(
    accounts: Accounts, hooks: Hooks, variant: str, way: str
) -> None:
    lead_id = deal(accounts, status_id=QUALIFIED)
    links = set()
    for _ in range(5):
        for status_id in (INVOICE_SENT, QUALIFIED):
            move(accounts, lead_id, status_id)
            if way == "poll":
                issued()
            else:
                hooks.deliver(sender="kommo")
                drained()
            links.add(link(accounts, lead_id))
    assert len(accounts.checkouts()) == len(accounts.texts(lead_id)[0]) == 1
    assert links == {accounts.checkouts()[0]["attributes"]["url"]}


@pytest.mark.parametrize("change", ["price", "email", "variant"])
def test_checkout__a_change_of_what_is_asked_gets_a_new_link_and_the_old_one_is_remembered(
    accounts: Accounts, hooks: Hooks, variant: str, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    configure(accounts, checkout={"custom_price": True})
    lead_id = deal(accounts)
    issued()
    if change == "price":
        edit(accounts, lead_id, price=390)
    elif change == "email":
        contact_id = accounts.lead(lead_id)["_embedded"]["contacts"][0]["id"]
        other = [{"field_code": "EMAIL", "values": [{"value": "ann@example.net", "enum_code": "WORK"}]}]
        accounts.control(f"contacts/{contact_id}/edit", custom_fields_values=other)
    else:
        made = accounts.control("variants", name="Team", price=99000)["data"]["id"]
        monkeypatch.setenv("LEMON_SQUEEZY_VARIANT_ID", made)
    assert issued().headline() == "Checkouts: 1 opened"
    old, new = accounts.checkouts()
    assert link(accounts, lead_id) == new["attributes"]["url"] != old["attributes"]["url"]
    assert len(accounts.texts(lead_id)[0]) == 2

    hooks.sent()
    accounts.control(f"checkouts/{old['id']}/pay")
    hooks.deliver()
    drained()
    assert accounts.lead(lead_id)["status_id"] == WON
    assert "older checkout link" in " ".join(accounts.texts(lead_id)[1])
    assert "ls:older-link" in tags(accounts, lead_id)


def test_checkout__a_payment_through_the_new_link_is_not_flagged(
    accounts: Accounts, hooks: Hooks, variant: str
) -> None:
    configure(accounts, checkout={"custom_price": True})
    lead_id = deal(accounts)
    issued()
    edit(accounts, lead_id, price=390)
    issued()
    hooks.sent()
    accounts.control(f"checkouts/{accounts.checkouts()[1]['id']}/pay")
    hooks.deliver()
    drained()
    assert (accounts.lead(lead_id)["status_id"], accounts.texts(lead_id)[1]) == (WON, [])


def test_checkout__an_old_link_paid_without_a_webhook_is_flagged_by_product_and_price(
    accounts: Accounts, variant: str
) -> None:
    configure(accounts, checkout={"custom_price": True})
    lead_id = deal(accounts)
    issued()
    edit(accounts, lead_id, price=390)
    issued()
    accounts.control(f"checkouts/{accounts.checkouts()[0]['id']}/pay")
    accounts.run()
    assert accounts.lead(lead_id)["status_id"] == WON
    assert "ls:older-link" in tags(accounts, lead_id)


def test_checkout__what_was_asked_for_before_has_its_old_link_again(accounts: Accounts, variant: str) -> None:
    configure(accounts, checkout={"custom_price": True})
    lead_id, links = deal(accounts), []
    for price in (490, 390, 490, 390):
        edit(accounts, lead_id, price=price)
        issued()
        links.append(link(accounts, lead_id))
    assert (len(accounts.checkouts()), links[0] == links[2] != links[1] == links[3]) == (2, True)


def test_checkout__a_lost_deal_gets_nothing_more(accounts: Accounts, variant: str) -> None:
    configure(accounts, checkout={"custom_price": True, "remind_after_days": MOMENT})
    lead_id = deal(accounts)
    issued(lead_id)
    before = accounts.texts(lead_id)
    move(accounts, lead_id, LOST)
    edit(accounts, lead_id, price=390)
    issued()
    assert (len(accounts.checkouts()), accounts.texts(lead_id)) == (1, before)


@pytest.mark.parametrize("fault", ["apply_then_drop", "apply_then_504"])
def test_checkout__a_lost_answer_is_looked_up_and_not_asked_for_again(
    accounts: Accounts, variant: str, fault: str
) -> None:
    lead_id = deal(accounts)
    inject(accounts, how=fault)
    done = issued()
    assert done.headline() == "Checkouts: 1 opened"
    done.raise_if_failed()
    assert [c["attributes"]["url"] for c in accounts.checkouts()] == [link(accounts, lead_id)]


def test_checkout__a_request_that_did_not_arrive_is_made_again_in_the_same_run(
    accounts: Accounts, variant: str
) -> None:
    lead_id = deal(accounts)
    inject(accounts, how="answer", status=500)
    done = issued()
    assert (done.headline(), len(accounts.checkouts())) == ("Checkouts: 1 opened", 1)
    assert link(accounts, lead_id) != ""


def test_checkout__is_found_by_a_database_that_knows_nothing(accounts: Accounts, variant: str) -> None:
    lead_id = deal(accounts)
    issued()
    (accounts.folder / "dealsync.db").unlink()
    issued()
    assert [c["attributes"]["url"] for c in accounts.checkouts()] == [link(accounts, lead_id)]


# --- what stands in the way --------------------------------------------------------------------------------------


def test_guard__each_obstacle_is_a_task_that_says_what_to_fix_and_nothing_is_opened(
    accounts: Accounts, variant: str
) -> None:
    obstacles = {
        deal(accounts, contact=None): "the deal has no contact",
        deal(accounts, contact={"name": "Bob", "email": NO_EMAIL}): "the contact has no e-mail address",
        deal(accounts, contact={"name": "Eve", "email": "eve at example"}): "eve at example is no e-mail address",
        deal(accounts, price=0): "the deal has no price",
    }
    for contact in accounts.simulator.world.kommo.contacts:
        if NO_EMAIL in str(contact):
            contact["custom_fields_values"] = None
    done = issued()
    assert done.headline() == "Checkouts: 4 flagged for a person"
    assert accounts.checkouts() == []
    for lead_id, words in obstacles.items():
        assert words in only_task(accounts, lead_id)
        assert tags(accounts, lead_id) == {"ls:no-checkout"}
    issued()
    assert [len(accounts.texts(lead_id)[1]) for lead_id in obstacles] == [1, 1, 1, 1]


def test_guard__what_is_mended_has_its_task_completed_and_its_checkout(accounts: Accounts, variant: str) -> None:
    lead_id = deal(accounts, price=0)
    issued()
    edit(accounts, lead_id, price=490)
    assert issued().headline() == "Checkouts: 1 opened"
    (task,) = (t for t in accounts.kommo()["tasks"] if t["entity_id"] == lead_id)
    assert (task["is_completed"], tags(accounts, lead_id)) == (True, set())
    assert link(accounts, lead_id) != ""


def test_guard__nothing_says_what_is_sold(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEMON_SQUEEZY_VARIANT_ID", "")
    lead_id = deal(accounts)
    issued()
    assert "nothing says what is sold" in only_task(accounts, lead_id)


def test_guard__a_deal_that_is_paid_already_and_comes_back_to_the_stage(accounts: Accounts, variant: str) -> None:
    lead_id = deal(accounts)
    issued()
    accounts.control(f"checkouts/{accounts.checkouts()[0]['id']}/pay")
    accounts.run()
    move(accounts, lead_id, INVOICE_SENT)
    assert issued().headline() == "Checkouts: 1 paid already"
    assert "has paid this deal already" in only_task(accounts, lead_id)
    assert len(accounts.checkouts()) == 1


def test_guard__a_deal_that_came_back_after_a_refund_is_asked_and_closed_once_more(
    accounts: Accounts, hooks: Hooks, variant: str
) -> None:
    lead_id = deal(accounts)
    issued()
    (first,) = accounts.checkouts()
    accounts.control(f"checkouts/{first['id']}/pay")
    accounts.run()
    order_id = accounts.fields(lead_id)["LS order id"]
    accounts.control(f"orders/{order_id}/refund")
    accounts.run()
    accounts.control("clock", advance_s=60)
    move(accounts, lead_id, INVOICE_SENT)
    issued()
    second = accounts.checkouts()[-1]
    assert (second["id"] != first["id"], link(accounts, lead_id)) == (True, second["attributes"]["url"])
    assert "can be paid no more" in accounts.texts(lead_id)[0][-1]
    accounts.control("clock", advance_s=60)
    hooks.sent()
    accounts.control(f"checkouts/{second['id']}/pay")
    hooks.deliver()
    drained()
    assert accounts.lead(lead_id)["status_id"] == WON


def test_guard__a_trial_that_runs_is_asked_for_nothing_more(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = {"name": "Team", "price": 49000, "interval": "month", "trial_days": 14}
    monkeypatch.setenv("LEMON_SQUEEZY_VARIANT_ID", str(accounts.control("variants", **plan)["data"]["id"]))
    lead_id = deal(accounts)
    issued()
    accounts.control(f"checkouts/{accounts.checkouts()[0]['id']}/pay")
    accounts.run()
    contact_id = accounts.lead(lead_id)["_embedded"]["contacts"][0]["id"]
    other = [{"field_code": "EMAIL", "values": [{"value": "ann@example.net", "enum_code": "WORK"}]}]
    accounts.control(f"contacts/{contact_id}/edit", custom_fields_values=other)
    assert issued().headline() == "Checkouts: 1 paid already"
    assert len(accounts.checkouts()) == 1


def test_stranger__whose_checkout_named_no_deal_gets_a_deal_while_others_wait(
    accounts: Accounts, hooks: Hooks, variant: str
) -> None:
    """Every checkout of ours carries its deal's id: a purchase whose webhook has none came another way."""
    lead_id = deal(accounts)
    issued()
    hooks.sent()
    accounts.control("orders", email="stranger@example.org", total=49000, variant_id=int(variant))
    hooks.deliver()
    drained()
    assert [lead["id"] == lead_id for lead in accounts.kommo()["leads"]] == [True, False]
    assert accounts.texts(lead_id)[1] == []


def test_webhook__that_a_poll_has_overtaken_leads_to_a_link_all_the_same(
    accounts: Accounts, hooks: Hooks, variant: str
) -> None:
    lead_id = deal(accounts, status_id=QUALIFIED)
    accounts.run()
    hooks.sent("kommo")
    move(accounts, lead_id, INVOICE_SENT)
    accounts.run()
    hooks.deliver(sender="kommo")
    drained()
    assert link(accounts, lead_id) == accounts.checkouts()[0]["attributes"]["url"]


def test_config__a_field_that_is_named_later_counts_for_deals_that_were_read_before(
    accounts: Accounts, variant: str
) -> None:
    seats = add_field(accounts, "Seats")
    lead_id = deal(accounts, age_days=3)
    edit(accounts, lead_id, custom_fields_values=[{"field_id": seats, "values": [{"value": "5"}]}])
    for lead in accounts.simulator.world.kommo.leads:
        lead["updated_at"] -= 86400
    accounts.run()
    configure(accounts, checkout={"quantity_field": "Seats"})
    issued()
    told = accounts.checkouts()[0]["attributes"]["checkout_data"]
    assert [one["quantity"] for one in told["variant_quantities"]] == [5]


def test_store__that_lemon_squeezy_does_not_list_is_an_obstacle_and_no_endless_loop(
    accounts: Accounts, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(_client: LemonSqueezy) -> list[Any]:
        return []

    configure(accounts, checkout={"custom_price": True})
    monkeypatch.setattr(LemonSqueezy, "stores", nothing)
    lead_id = deal(accounts)
    issued()
    assert "the store sells in unknown" in only_task(accounts, lead_id)


def test_guard__a_price_in_another_currency_than_the_stores_is_never_charged(accounts: Accounts, variant: str) -> None:
    configure(accounts, checkout={"custom_price": True})
    for store in accounts.simulator.world.lemon_squeezy.tables["stores"]:
        store["attributes"]["currency"] = "EUR"
    lead_id = deal(accounts)
    issued()
    assert "the store sells in EUR, the price of the deal is in USD" in only_task(accounts, lead_id)
    assert accounts.checkouts() == []


def test_guard__what_lemon_squeezy_refuses_is_told_in_its_words_and_stops_no_other(
    accounts: Accounts, variant: str
) -> None:
    first, second = deal(accounts), deal(accounts, contact={"name": "Bob", "email": "bob@example.com"})
    inject(accounts, how="answer", status=422)
    done = issued()
    done.raise_if_failed()  # a person was told
    assert done.counts() == {"opened": 1, "flagged": 1}
    refused = first if not link(accounts, first) else second
    assert "Lemon Squeezy refused it" in only_task(accounts, refused)
    assert issued().counts() == {"opened": 1, "live": 1}
    assert [t["is_completed"] for t in accounts.kommo()["tasks"]] == [True]


def test_guard__a_key_of_the_other_mode_opens_nothing(
    accounts: Accounts, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    deal(accounts)
    monkeypatch.setenv("DEALSYNC_MODE", "test")
    with pytest.raises(ConfigError, match="of the other mode"):
        issued()
    assert accounts.checkouts() == []


def test_guard__a_link_that_a_person_changed_is_left_alone(accounts: Accounts, variant: str) -> None:
    configure(accounts, checkout={"custom_price": True})
    lead_id = deal(accounts)
    issued()
    fields = {f["name"]: f["id"] for f in accounts.kommo()["custom_fields"]["leads"]}
    own = [{"field_id": fields["LS checkout link"], "values": [{"value": "https://acme.example/pay"}]}]
    edit(accounts, lead_id, price=390, custom_fields_values=own)
    done = issued()
    assert link(accounts, lead_id) == "https://acme.example/pay"
    assert [refusal.rule for refusal in done.refusals] == ["person_moved_it"]
    assert len(accounts.texts(lead_id)[0]) == 2


def test_outage__leaves_every_deal_for_the_next_run(accounts: Accounts, variant: str) -> None:
    lead_id = deal(accounts)
    accounts.simulator.world.faults.update({"ls_limit_enabled": False})
    inject(accounts, how="drop", times=10)
    done = issued()
    with pytest.raises(RunFailed, match=f"lead:{lead_id}:checkout:"):
        done.raise_if_failed()
    accounts.control("faults", inject=None)
    assert issued().headline() == "Checkouts: 1 opened"
    assert len(accounts.checkouts()) == 1


# --- what a checkout is made of ----------------------------------------------------------------------------------


def test_checkout__is_made_from_the_deals_own_fields(accounts: Accounts, variant: str) -> None:
    team = str(accounts.control("variants", name="Team", price=9900)["data"]["id"])
    fields = {name: add_field(accounts, name) for name in ("Plan", "Seats", "Coupon", "UTM source")}
    rules = [{"variant": team, "field": "plan", "value": "Team"}, {"variant": "999", "tag": "never"}]
    configure(
        accounts,
        checkout={
            "custom_price": True, "variants": rules, "quantity_field": "Seats", "discount_field": "Coupon",
            "custom": {"manager_id": "@owner", "utm_source": "UTM source"}, "expires_days": 14,
        },
    )  # fmt: skip
    values = {"Plan": "team", "Seats": "5", "Coupon": "SPRING25", "UTM source": "newsletter"}
    lead_id = deal(accounts)
    own = [{"field_id": fields[name], "values": [{"value": value}]} for name, value in values.items()]
    edit(accounts, lead_id, custom_fields_values=own)
    issued()
    made = accounts.checkouts()[0]["attributes"]
    told = made["checkout_data"]
    custom = {key: value for key, value in told["custom"].items() if key != CHECKOUT_KEY}
    owner = str(accounts.lead(lead_id)["responsible_user_id"])
    assert (str(made["variant_id"]), made["custom_price"]) == (team, 9800)
    assert [one["quantity"] for one in told["variant_quantities"]] == [5]
    assert told["discount_code"] == "SPRING25"
    assert custom == {"kommo_lead_id": str(lead_id), "manager_id": owner, "utm_source": "newsletter"}
    assert made["expires_at"] is not None
    assert "valid until" in accounts.texts(lead_id)[0][0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"quantity_field": "Nowhere"}, "checkout.quantity_field = 'Nowhere' names no field"),
        ({"discount_field": "LS plan"}, "is a field that dealsync fills itself"),
        ({"variants": [{"variant": "1"}]}, "names none of pipeline, tag, field"),
        ({"variants": [{"variant": "1", "field": "Plan"}]}, "field and value need each other"),
        ({"variants": [{"variant": "1", "tag": "x", "store": "77"}]}, "checkout.variants.0.store = 77 is not watched"),
        ({"variants": [{"variant": "1", "pipeline": "Nope"}]}, "checkout.variants.0.pipeline = 'Nope' is not watched"),
        ({"custom": {"kommo_lead_id": "@owner"}}, "not dealsync's own"),
        ({"custom": {"who": "@boss"}}, "the words are @owner, @pipeline, @price"),
    ],
)
def test_config__of_checkouts_that_cannot_be_meant_is_refused_by_name(
    accounts: Accounts, changes: dict[str, Any], words: str
) -> None:
    configure(accounts, checkout=changes)
    with pytest.raises(ConfigError) as refused:
        issued()
    assert words in str(refused.value)


@pytest.mark.parametrize(("when", "state"), [("task", "flagged"), ("nothing", "flagged"), ("reissue", "opened")])
def test_expiry__follows_the_policy(accounts: Accounts, variant: str, when: str, state: str) -> None:
    configure(accounts, checkout={"expires_days": MOMENT, "when_expired": when})
    lead_id = deal(accounts)
    asyncio.run(one_slice(lead_id))
    configure(accounts, checkout={"expires_days": 14})
    done = issued()
    assert done.counts() == {state: 1}
    assert len(accounts.checkouts()) == (2 if when == "reissue" else 1)
    assert len(accounts.texts(lead_id)[1]) == (when == "task")
    if when == "task":
        assert issued(lead_id, reissue=True).counts() == {"opened": 1}
        assert link(accounts, lead_id) == accounts.checkouts()[-1]["attributes"]["url"]


def test_chase__reminds_once_and_stops_with_the_payment(accounts: Accounts, variant: str) -> None:
    configure(accounts, checkout={"remind_after_days": MOMENT})
    lead_id = deal(accounts)
    issued()
    issued()
    assert accounts.texts(lead_id)[1] == []  # nobody has looked for payments since
    accounts.run()
    issued()
    issued()
    assert "is not paid yet: remind the client" in only_task(accounts, lead_id)
    accounts.control(f"checkouts/{accounts.checkouts()[0]['id']}/pay")
    accounts.run()
    issued()
    (task,) = (t for t in accounts.kommo()["tasks"] if t["entity_id"] == lead_id)
    assert (task["is_completed"], accounts.lead(lead_id)["status_id"]) == (True, WON)


def test_backfill__old_deals_get_link_and_field_but_no_note(accounts: Accounts, variant: str) -> None:
    old = deal(accounts)
    bare = deal(accounts, contact=None)
    configure(accounts, policy={"notify_since": utc_now() + timedelta(seconds=2)})
    new = deal(accounts, status_id=QUALIFIED)
    accounts.control("clock", advance_s=5)
    move(accounts, new, INVOICE_SENT)
    issued()
    assert link(accounts, old) != ""
    assert link(accounts, new) != ""
    assert [len(accounts.texts(lead_id)[0]) for lead_id in (old, new)] == [0, 1]
    assert accounts.texts(bare) == ([], [])


def test_burst__three_hundred_deals_have_one_link_each_within_few_requests(accounts: Accounts, variant: str) -> None:
    lead_ids = [deal(accounts, contact={"name": "B", "email": f"b{n}@example.com"}) for n in range(300)]
    told: list[str] = []
    done = asyncio.run(issue_checkouts(progress=told.append))
    assert done.counts() == {"opened": 300}
    links = [link_of(lead) for lead in accounts.kommo()["leads"]]
    assert len(set(links)) == len(lead_ids) == len(accounts.checkouts())
    assert any("opening checkouts, 20 of 25 done" in words for words in told)
    sent = done.as_json()["run"]["requests"]
    assert sent["lemon_squeezy POST /v1/checkouts"] == 300
    assert sum(count for name, count in sent.items() if name.startswith("kommo")) <= 80


# --- the e-mail to the client ------------------------------------------------------------------------------------


@contextmanager
def mailing(accounts: Accounts, monkeypatch: pytest.MonkeyPatch, server: Server, **checkout: Any) -> Iterator[None]:
    """Let dealsync write to clients, through a real mail server."""
    configure(
        accounts,
        checkout=checkout,
        email={"to_client": True, "sender": "Acme Billing <billing@acme.com>", "company": "Acme"},
    )
    with running(server) as postman:
        monkeypatch.setenv("SMTP_HOST", postman.host)
        monkeypatch.setenv("SMTP_PORT", str(postman.port))
        monkeypatch.setenv("SMTP_SECURITY", "none")
        yield


def letters(server: Server) -> list[EmailMessage]:
    found = [message_from_bytes(bytes(one.content or b""), policy=default) for one in server.taken]  # type: ignore[arg-type]
    return [one for one in found if isinstance(one, EmailMessage)]


def test_mail__brings_the_link_to_the_client_once(
    accounts: Accounts, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, lead_id = Server(), deal(accounts)
    with mailing(accounts, monkeypatch, server):
        done = issued()
        issued()
    assert done.headline() == "Checkouts: 1 opened, 1 e-mails sent"
    (message,) = letters(server)
    assert (message["To"], message["Subject"]) == ("Ann Example <ann@example.com>", "Your checkout link from Acme")
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert all(link(accounts, lead_id) in html.unescape(part.get_content()) for part in message.iter_parts())


def test_mail__that_is_refused_becomes_a_task_and_is_not_sent_again(
    accounts: Accounts, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, lead_id = Server({"RCPT": "550 5.1.1 <ann@example.com> is nobody"}), deal(accounts)
    with mailing(accounts, monkeypatch, server):
        issued().raise_if_failed()
        server.answers.clear()
        issued()
        assert server.taken == []
        assert "did not reach the client: 550 5.1.1 (address) is nobody" in only_task(accounts, lead_id)
        contact_id = accounts.lead(lead_id)["_embedded"]["contacts"][0]["id"]
        other = [{"field_code": "EMAIL", "values": [{"value": "ann@example.net", "enum_code": "WORK"}]}]
        accounts.control(f"contacts/{contact_id}/edit", custom_fields_values=other)
        issued()
    assert [message["To"].addresses[0].addr_spec for message in letters(server)] == ["ann@example.net"]
    (task,) = (t for t in accounts.kommo()["tasks"] if t["entity_id"] == lead_id)
    assert task["is_completed"]


@pytest.mark.parametrize("moves_on", [False, True])
def test_mail__that_comes_back_becomes_a_task(
    accounts: Accounts, variant: str, monkeypatch: pytest.MonkeyPatch, moves_on: bool
) -> None:
    server, lead_id = Server(), deal(accounts)
    with mailing(accounts, monkeypatch, server):
        issued()
        (message,) = letters(server)
        report = accounts.folder / "returned.eml"
        report.write_text(POSTFIX.replace(ID, str(message["Message-ID"])), encoding="utf-8")
        shown = CliRunner().invoke(app, ["bounce", str(report)])
        assert (shown.exit_code, "did not arrive: 550 5.1.1 (address)" in shown.output) == (0, True)
        if moves_on:
            move(accounts, lead_id, QUALIFIED)
        issued()
        issued()
    assert "did not reach the client: 550 5.1.1" in only_task(accounts, lead_id)
    assert len(server.taken) == 1
    assert "nothing to do" in CliRunner().invoke(app, ["bounce", "-"], input=b"Subject: hello").output


def test_mail__whose_answer_was_lost_is_a_question_for_a_person_and_not_sent_again(
    accounts: Accounts, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, lead_id = Server(hangs_up=True), deal(accounts)
    with mailing(accounts, monkeypatch, server):
        issued()
        server.hangs_up = False
        issued()
    assert len(server.taken) == 1
    assert "it may have been sent" in only_task(accounts, lead_id)


def test_mail__a_server_that_is_away_costs_nothing_but_time(
    accounts: Accounts, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, lead_id = Server({"RCPT": "451 later"}), deal(accounts)
    with mailing(accounts, monkeypatch, server):
        with pytest.raises(RunFailed, match="451 later"):
            issued().raise_if_failed()
        assert link(accounts, lead_id) != ""
        server.answers.clear()
        issued().raise_if_failed()
    assert (len(server.taken), accounts.texts(lead_id)[1]) == (1, [])


def test_mail__reminds_the_client_where_that_is_wished(
    accounts: Accounts, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, lead_id = Server(), deal(accounts)
    with mailing(accounts, monkeypatch, server, remind_after_days=MOMENT, remind_by="email"):
        issued()
        accounts.run()
        issued()
    assert [m["Subject"] for m in letters(server)] == [
        "Your checkout link from Acme",
        "A reminder: your checkout at Acme",
    ]
    assert accounts.texts(lead_id)[1] == []


def test_mail__needs_a_sender_and_a_server(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SMTP_HOST", raising=False)
    configure(accounts, email={"to_client": True, "sender": "billing@acme.com"})
    with pytest.raises(ConfigError, match="SMTP_HOST"):
        issued()
    configure(accounts, email={"sender": ""})
    with pytest.raises(ConfigError, match=r"email.to_client needs email\.sender"):
        issued()
    configure(accounts, email={"sender": "billing at acme"})
    with pytest.raises(ConfigError, match="is no sender"):
        issued()
    configure(
        accounts, email={"to_client": False, "sender": ""}, checkout={"remind_after_days": 3, "remind_by": "email"}
    )
    with pytest.raises(ConfigError, match=r"checkout.remind_by needs email\.sender"):
        issued()


@pytest.mark.parametrize(
    "code", ["q?Ann=0d=0aBcc:=20eve@evil.example", "q?Ann=0d=0a=0d=0aPay_eve", "b?DQpCY2M6IGVAeC55"]
)
def test_mail__a_contacts_name_is_text_whatever_it_holds(
    accounts: Accounts, variant: str, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    server = Server()
    deal(accounts, contact={"name": f"=?utf-8?{code}?=", "email": "ann@example.com"})
    with mailing(accounts, monkeypatch, server):
        issued().raise_if_failed()
    (message,), (envelope,) = letters(server), server.taken
    assert envelope.rcpt_tos == ["ann@example.com"]
    assert message.keys() == [
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type",
    ]  # fmt: skip
    assert message["To"].addresses[0].display_name == f"= ?utf-8?{code}?="
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


@pytest.mark.parametrize("knows_ascii_only", [False, True], ids=["any-server", "old-server"])
def test_mail__an_address_beyond_ascii_stops_no_other(
    accounts: Accounts, variant: str, monkeypatch: pytest.MonkeyPatch, *, knows_ascii_only: bool
) -> None:
    server = Server(knows_ascii_only=knows_ascii_only)
    odd, plain = deal(accounts, contact={"name": "Jörg", "email": "jörg@example.com"}), deal(accounts)
    with mailing(accounts, monkeypatch, server):
        issued().raise_if_failed()
        issued().raise_if_failed()
    reached = [envelope.rcpt_tos[0] for envelope in server.taken]
    assert reached == (["ann@example.com"] if knows_ascii_only else ["jörg@example.com", "ann@example.com"])
    assert accounts.texts(plain)[1] == []
    assert ["takes only ASCII" in task for task in accounts.texts(odd)[1]] == [True] * knows_ascii_only


def test_mail__that_cannot_be_written_is_a_task_and_stops_no_other(
    accounts: Accounts, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server()
    odd, plain = deal(accounts, contact={"name": "Bob", "email": "bob@example.com"}), deal(accounts)
    monkeypatch.setattr(composing, "address_for_wire", {"ann@example.com": "ann@example.com"}.get)
    with mailing(accounts, monkeypatch, server):
        done = issued()
        done.raise_if_failed()
        issued().raise_if_failed()
    assert [envelope.rcpt_tos for envelope in server.taken] == [["ann@example.com"]]
    assert "none that an e-mail can be sent to" in only_task(accounts, odd)
    assert accounts.texts(plain)[1] == []


def test_mail__put_off_each_time_becomes_a_task_and_holds_up_no_other(
    accounts: Accounts, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailing_module, "MOST_PUT_OFF", 3)
    server = Server({"RCPT bob@example.com": "451 4.7.1 <bob@example.com> not now"})
    odd, plain = deal(accounts, contact={"name": "Bob", "email": "bob@example.com"}), deal(accounts)
    with mailing(accounts, monkeypatch, server):
        with pytest.raises(RunFailed, match="not now"):
            issued().raise_if_failed()
        assert [envelope.rcpt_tos for envelope in server.taken] == [["ann@example.com"]]
        assert accounts.texts(odd)[1] == []
        for _ in range(3):
            issued()
        issued().raise_if_failed()
        assert "did not reach the client: The mail server puts it off: 451 4.7.1 (address) not now" in only_task(
            accounts, odd
        )
        server.answers.clear()
        issued().raise_if_failed()
    assert (len(server.taken), accounts.texts(plain)[1]) == (1, [])


def test_mail__a_server_that_is_gone_never_counts_against_a_letter(
    accounts: Accounts, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, lead_id = Server(), deal(accounts)
    with mailing(accounts, monkeypatch, server):
        monkeypatch.setattr(mailing_module, "MOST_PUT_OFF", 3)
        port = os.environ["SMTP_PORT"]
        monkeypatch.setenv("SMTP_PORT", "9")
        for _ in range(4):
            with pytest.raises(RunFailed, match="takes no e-mail"):
                issued().raise_if_failed()
        monkeypatch.setenv("SMTP_PORT", port)
        server.answers["RCPT"] = "451 greylisted"
        with pytest.raises(RunFailed, match="greylisted"):
            issued().raise_if_failed()
        server.answers.clear()
        issued().raise_if_failed()
    assert (len(server.taken), accounts.texts(lead_id)[1]) == (1, [])


def test_mail__comes_from_a_sender_that_every_server_takes_or_none_starts(
    accounts: Accounts, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server()
    deal(accounts)
    with mailing(accounts, monkeypatch, server):
        for name in ("sender", "reply_to"):
            configure(accounts, email={name: "Büro <büro@acme.com>"})
            with pytest.raises(ConfigError, match=rf"email\.{name}"):
                issued()
            configure(accounts, email={name: "Büro <billing@müller.de>"})
        issued().raise_if_failed()
    (message,), (envelope,) = letters(server), server.taken
    assert envelope.mail_from == "billing@xn--mller-kva.de"
    assert message["From"] == message["Reply-To"] == "Büro <billing@xn--mller-kva.de>"


def test_mail__to_a_person_who_was_forgotten_is_erased_and_not_sent(
    accounts: Accounts, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server({"RCPT ann@xn--mller-kva.de": "550 is nobody", "RCPT bob@example.com": "451 later"})
    deal(accounts, contact={"name": "Ann O'Neill", "email": "ann@müller.de"})
    deal(accounts, contact={"name": "Bob Example", "email": "bob@example.com"})
    with mailing(accounts, monkeypatch, server):
        issued()
        for address in ("ann@müller.de", "bob@example.com"):
            assert CliRunner().invoke(app, ["forget", address]).exit_code == 0
        with sqlite3.connect(accounts.folder / "dealsync.db") as db:
            actions = " ".join(f"{action} {error}" for action, error in db.execute("SELECT action, error FROM ledger"))
        for word in ("ann@", "bob@", "O'Neill", "O&#39;Neill", "Bob"):
            assert word not in actions
        server.answers.clear()
        issued()
        issued()
    assert server.taken == []


def test_mail__full_mailboxes_hold_up_nobody_elses_letter(
    accounts: Accounts, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuing, "SLICE", 2)
    full = {
        f"full{n}@example.com": deal(accounts, contact={"name": "F", "email": f"full{n}@example.com"}) for n in (1, 2)
    }
    server = Server({f"RCPT {address}": "452 4.2.2 mailbox full" for address in full})
    with mailing(accounts, monkeypatch, server):
        with pytest.raises(RunFailed, match="mailbox full"):
            issued().raise_if_failed()
        deal(accounts)
        issued()
        issued()
    assert [envelope.rcpt_tos for envelope in server.taken] == [["ann@example.com"]]


def test_checkouts__of_several_slices_ask_once_for_the_mode_of_the_key(
    accounts: Accounts, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuing, "SLICE", 2)
    for number in range(5):
        deal(accounts, contact={"name": f"Buyer {number}", "email": f"buyer{number}@example.com"})
    accounts.control("requests/reset")
    issued()
    counts = accounts.requests()["counts"]
    assert (counts["lemonsqueezy GET /v1/users/me"], counts["lemonsqueezy POST /v1/checkouts"]) == (1, 5)
