"""Payments find their deals by every kind of evidence: whole stories against both simulated APIs."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from threading import Thread
from typing import Any

import httpx
import pytest
import tomlkit
import uvicorn

from dealsync import poll
from dealsync.checkouts import open_checkout
from dealsync.core.evidence import IssuedCheckout
from dealsync.core.models import Money, Tier
from dealsync.core.plan import CheckoutWish
from dealsync.receiver.app import make_app
from dealsync.receiver.serve import parts_of
from dealsync.reviewing import resolve_review
from dealsync.run import open_run
from dealsync.settings import build_store, load_environment, load_settings
from tests.accounts import ATTENTION, NEW, SALES, WON, Accounts

STORE = "4101"
AGREEMENT = 70022
VARIANTS = (("Basic", 9900), ("Pro", 49000), ("Team", 99000))


def configure(accounts: Accounts, **sections: Any) -> None:
    path = accounts.folder / "dealsync.toml"
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    document.update(sections)
    path.write_text(tomlkit.dumps(document), encoding="utf-8")


def variants(accounts: Accounts) -> list[str]:
    return [str(accounts.control("variants", name=n, price=p)["data"]["id"]) for n, p in VARIANTS]


def opened(*wishes: CheckoutWish) -> list[IssuedCheckout]:
    async def work() -> list[IssuedCheckout]:
        async with open_run("checkouts") as run:
            return [await open_checkout(run, wish) for wish in wishes]

    return asyncio.run(work())


def paid(accounts: Accounts, checkout: IssuedCheckout, **typed: Any) -> dict[str, Any]:
    return accounts.control(f"checkouts/{checkout.checkout_id}/pay", **typed)


def open_deal(accounts: Accounts, email: str, price: int, **extra: Any) -> int:
    contact = {"name": email.partition("@")[0], "email": email}
    return int(accounts.control("leads", price=price, contact=contact, **extra)["id"])


def tiers() -> dict[str, tuple[int, str]]:
    """Return the deal and the tier of every order that has one."""
    links = build_store(load_settings().environment).journal.links()
    return {
        str(i): (int(d), str(t)) for i, d, t in zip(links["order_id"], links["lead_id"], links["tier"], strict=True)
    }


@contextmanager
def receiving() -> Iterator[str]:
    """Run the real receiver, with the settings of this process, on a free port."""
    server = uvicorn.Server(uvicorn.Config(make_app(parts_of(load_settings())), port=0, log_level="error"))
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
        assert thread.is_alive()
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def test_claim__the_buyer_who_comes_back_places_a_payment_that_nothing_else_could(accounts: Accounts) -> None:
    pro = variants(accounts)[1]
    lead_id = open_deal(accounts, "ann@example.com", 700)
    configure(accounts, claim={"company": "Acme"})
    with receiving() as origin:
        configure(accounts, receiver={"url": origin})
        (checkout,) = opened(CheckoutWish(lead_id=lead_id, store_id=STORE, variant_id=pro, email="ann@example.com"))
        order = paid(accounts, checkout, email="someone.else@example.net")
        page = httpx.get(order["meta"]["redirect_url"], timeout=10)
        assert (page.status_code, "Acme" in page.text) == (200, True)
    accounts.run().raise_if_failed()
    assert tiers() == {order["data"]["id"]: (lead_id, Tier.CLAIM)}
    assert accounts.lead(lead_id)["status_id"] == WON


def test_webhook__of_a_checkout_that_a_person_made_places_the_payment(accounts: Accounts) -> None:
    lead_id = open_deal(accounts, "ann@example.com", 700)
    with receiving() as origin:
        secret = load_settings().environment.webhook_secrets[0]
        url = f"{accounts.simulator.url}/lemonsqueezy/v1/webhooks"
        body = {"data": {"type": "webhooks", "attributes": {"url": f"{origin}/webhooks/lemon-squeezy", "events":
                ["order_created"], "secret": secret}, "relationships": {"store": {"data": {"type": "stores", "id":
                STORE}}}}}  # fmt: skip
        key = load_settings().environment.lemon_squeezy_api_key.get_secret_value()
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/vnd.api+json"}
        httpx.post(url, json=body, headers=headers, timeout=10).raise_for_status()
        order = accounts.control("orders", email="x@example.net", total=49000, lead_id=lead_id)
        accounts.control("clock", advance_s=30)  # what is due is delivered meanwhile
    accounts.run().raise_if_failed()
    assert tiers() == {order["data"]["id"]: (lead_id, Tier.EXPLICIT)}


def test_receiver_off__fifty_payments_of_issued_checkouts_are_on_the_right_deal_or_with_a_person(
    accounts: Accounts,
) -> None:
    """Some buyers type another address, some share a mailbox: no payment lands on a wrong deal or makes a new one."""
    chance, ids = random.Random(4), variants(accounts)  # noqa: S311 - the same story every time
    truth: dict[str, int] = {}
    wishes: list[CheckoutWish] = []
    for number in range(50):
        kind = number % len(VARIANTS)
        email = "office@shared.example" if number % 10 == 0 else f"buyer{number}@example.com"
        lead_id = open_deal(accounts, email, VARIANTS[kind][1] // 100)
        own_price = Money(VARIANTS[kind][1], "USD") if number % 4 == 0 else None
        wishes.append(
            CheckoutWish(lead_id=lead_id, store_id=STORE, variant_id=ids[kind], email=email, custom_price=own_price)
        )
    for checkout in chance.sample(opened(*wishes), 50):
        typed = {"email": f"new{checkout.lead_text}@example.org"} if chance.random() < 0.2 else {}
        truth[paid(accounts, checkout, **typed)["data"]["id"]] = int(checkout.lead_text)
    accounts.control("clock", advance_s=600)
    report = accounts.run()
    report.raise_if_failed()
    placed, asked = tiers(), {review.order_id for review in report.plan.reviews}
    assert {order_id: lead_id for order_id, (lead_id, _) in placed.items()}.items() <= truth.items()
    assert placed.keys() | asked == truth.keys()
    assert len(placed) > 25
    won = {lead["id"] for lead in accounts.kommo()["leads"] if lead["status_id"] == WON}
    assert won == {lead_id for lead_id, _ in placed.values()}
    assert len(accounts.kommo()["leads"]) == 50


def test_merge__a_payment_follows_the_deal_into_the_one_that_took_it_in(accounts: Accounts) -> None:
    pro = variants(accounts)[1]
    gone, survivor = (open_deal(accounts, f"{name}@example.com", 490) for name in ("ann", "bob"))
    (checkout,) = opened(CheckoutWish(lead_id=gone, store_id=STORE, variant_id=pro, email="ann@example.com"))
    accounts.control(f"leads/{survivor}/merge", lead_id=gone)
    order = paid(accounts, checkout)
    accounts.run(deep=True).raise_if_failed()
    assert tiers() == {order["data"]["id"]: (survivor, Tier.CHECKOUT)}
    assert accounts.lead(survivor)["status_id"] == WON


def test_merge__a_refund_reaches_the_deal_that_took_in_the_one_that_was_paid(accounts: Accounts) -> None:
    gone, survivor = (open_deal(accounts, f"{name}@example.com", 490) for name in ("ann", "bob"))
    order = accounts.control("orders", email="ann@example.com", total=49000)["data"]["id"]
    accounts.run().raise_if_failed()
    accounts.control(f"leads/{survivor}/merge", lead_id=gone)
    accounts.control(f"orders/{order}/refund")
    report = accounts.run()
    report.raise_if_failed()
    assert tiers()[order] == (survivor, Tier.CONTACT)
    assert report.plan.reviews == ()
    assert accounts.lead(survivor)["status_id"] == ATTENTION


def test_merge__leaves_the_deal_that_took_in_a_paid_one_won_and_doubles_no_note(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is owed on it, so only the walk over all deals misses it."""
    monkeypatch.setattr(poll, "CLOCK_SKEW", -timedelta(hours=1))
    gone, survivor = (open_deal(accounts, f"{name}@example.com", 490) for name in ("ann", "bob"))
    order = accounts.control("orders", email="ann@example.com", total=49000)["data"]["id"]
    accounts.run().raise_if_failed()
    before = len(accounts.kommo()["notes"]["leads"])
    accounts.control(f"leads/{survivor}/merge", lead_id=gone)
    accounts.run(deep=True).raise_if_failed()
    accounts.run().raise_if_failed()
    assert tiers()[order][0] == survivor
    assert (accounts.lead(survivor)["status_id"], accounts.fields(survivor)["LS order id"]) == (WON, order)
    assert len(accounts.kommo()["notes"]["leads"]) == before
    assert accounts.run().plan.actions == ()


def test_deleted_deal__whose_payment_a_person_places_on_another_one_is_carried_out_there(accounts: Accounts) -> None:
    first, second = (open_deal(accounts, f"{name}@example.com", 490) for name in ("ann", "bob"))
    order = accounts.control("orders", email="ann@example.com", total=49000)["data"]["id"]
    accounts.run().raise_if_failed()
    accounts.delete(first)
    accounts.run().raise_if_failed()
    assert accounts.lead(second)["status_id"] == NEW
    asyncio.run(resolve_review(load_environment(), order, second, decided_by="tester"))
    for _ in range(2):
        accounts.run().raise_if_failed()
    assert (accounts.lead(second)["status_id"], accounts.fields(second)["LS order id"]) == (WON, order)
    assert len(accounts.texts(second)[0]) == 1
    assert accounts.run().plan.actions == ()
    accounts.control(f"orders/{order}/refund")
    accounts.run().raise_if_failed()
    assert accounts.lead(second)["status_id"] == ATTENTION


@pytest.mark.parametrize("lie", ["abc", "", "12 34", "1" + "0" * 30, "77777"])
def test_lie__in_a_checkouts_custom_data_is_reported_and_the_payment_finds_its_deal(
    accounts: Accounts, lie: str
) -> None:
    pro = variants(accounts)[1]
    lead_id = open_deal(accounts, "ann@example.com", 490)
    honest = CheckoutWish(lead_id=lead_id, store_id=STORE, variant_id=pro, email="ann@example.com")
    (checkout,) = opened(replace(honest, lead_id=1))
    build_store(load_settings().environment).evidence.keep_checkouts([replace(checkout, lead_text=lie)])
    paid(accounts, checkout)
    report = accounts.run()
    report.raise_if_failed()
    assert accounts.lead(lead_id)["status_id"] == WON
    assert any("names a deal that is not there" in oddity.reason for oddity in report.plan.oddities)


def test_products__decide_pipeline_tag_and_name_of_a_self_serve_deal(accounts: Accounts) -> None:
    configure(
        accounts,
        self_serve={"tag": "web"},
        pipelines=[{"pipeline": "Partners", "invoice_status": "First talk", "attention_status": "Agreement"}],
        products=[{"store": STORE, "pipeline": "Partners", "tag": "partner", "name": "{{ product }}: {{ buyer }}"}],
    )
    order = accounts.control("orders", email="zoe@example.net", name="Zoe", total=49000)["data"]["id"]
    accounts.run().raise_if_failed()
    (lead,) = accounts.kommo()["leads"]
    assert (lead["status_id"], lead["pipeline_id"] == SALES, lead["name"].endswith(": Zoe")) == (WON, False, True)
    assert {tag["name"] for tag in lead["_embedded"]["tags"]} == {"web", "partner"}
    accounts.control(f"orders/{order}/refund")
    accounts.run().raise_if_failed()
    assert accounts.lead(lead["id"])["status_id"] == AGREEMENT


def test_open_checkout__carries_the_deals_id_and_is_known_at_once(accounts: Accounts) -> None:
    pro = variants(accounts)[1]
    lead_id = open_deal(accounts, "ann@example.com", 490)
    wish = CheckoutWish(lead_id=lead_id, store_id=STORE, variant_id=pro, email=" Ann@Example.com", custom={"plan": "p"})
    (checkout,) = opened(wish)
    assert (checkout.lead_text, checkout.email, checkout.custom["plan"]) == (str(lead_id), "ann@example.com", "p")
    assert accounts.lead(lead_id)["status_id"] == NEW
