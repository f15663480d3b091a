"""What the outside world calls, in process: every answer, what is stored, and the page that a buyer sees."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from dealsync.config import ClaimSection
from dealsync.core.claims import ClaimToken, claim_url
from dealsync.ledger.evidence import MOST_CLAIMS, Evidence
from dealsync.receiver.app import Parts, make_app
from dealsync.receiver.body import LARGEST_BODY
from dealsync.receiver.page import Page
from tests.builders import NOW, RECEIPT

SECRET, KEY = "a webhook secret", b"k" * 32
WORDS = ClaimSection(company="Acme <b>", return_url="https://acme.example/start")
LINK = claim_url("https://deals.example", ClaimToken("nonce", 31, "77", NOW), KEY)
ORDER = json.dumps(
    {
        "meta": {"event_name": "order_created", "webhook_id": "w-1", "custom_data": {"kommo_lead_id": "31"}},
        "data": {"type": "orders", "id": "17", "attributes": {"store_id": 4101, "test_mode": False}},
    }
).encode()


@pytest.fixture
async def client(engine: Engine) -> AsyncIterator[httpx.AsyncClient]:
    app = make_app(Parts(engine, [SECRET], KEY, Page(WORDS, "en"), lambda: NOW))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://receiver") as http:
        yield http


async def post(client: httpx.AsyncClient, body: bytes, signature: str | None = None) -> httpx.Response:
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest() if signature is None else signature
    return await client.post("/webhooks/lemon-squeezy", content=body, headers={"X-Signature": signature})


def visit(order_id: str = "17", identifier: str = RECEIPT, link: str = LINK) -> str:
    filled = urlsplit(link.replace("[order_id]", order_id).replace("[order_identifier]", identifier))
    return f"{filled.path}?{filled.query}"


def break_database(engine: Engine) -> None:
    def refuse(*_arguments: Any) -> None:
        raise OperationalError("", {}, Exception("disk I/O error"))

    event.listen(engine, "before_cursor_execute", refuse)


async def test_webhook__is_stored_once_and_answered_200_each_time(client: httpx.AsyncClient, engine: Engine) -> None:
    answers = [await post(client, ORDER) for _ in range(2)]
    assert [(a.status_code, a.text) for a in answers] == [(200, "stored"), (200, "stored before")]
    hints = Evidence(engine).hints()
    assert hints[["kind", "order_id", "lead_text"]].values.tolist() == [["explicit", "17", "31"]]


@pytest.mark.parametrize("signature", ["", "0" * 64, "nonsense"])
async def test_webhook__that_is_not_signed_is_refused_and_not_stored(
    client: httpx.AsyncClient, engine: Engine, signature: str
) -> None:
    assert (await post(client, ORDER, signature)).status_code == 401
    assert Evidence(engine).hints().empty


async def test_webhook__nothing_is_parsed_before_it_is_verified(client: httpx.AsyncClient) -> None:
    assert (await post(client, b"nonsense", "0" * 64)).status_code == 401
    assert (await post(client, b"nonsense")).status_code == 400


async def test_webhook__that_is_too_large_is_cut_off(client: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 10 * LARGEST_BODY:
            sent += 100_000
            yield b"x" * 100_000

    answer = await client.post("/webhooks/lemon-squeezy", content=endless(), headers={"X-Signature": "0" * 64})
    assert answer.status_code == 413
    assert sent <= LARGEST_BODY + 200_000


async def test_webhook__is_not_lost_while_the_database_is_down(client: httpx.AsyncClient, engine: Engine) -> None:
    break_database(engine)
    assert (await post(client, ORDER)).status_code == 503
    assert (await client.get("/readyz")).status_code == 503
    assert (await client.get("/healthz")).status_code == 200


async def test_webhook__of_an_unknown_event_is_stored_all_the_same(client: httpx.AsyncClient, engine: Engine) -> None:
    strange = {"meta": {"event_name": "moon_landed"}, "data": {"type": "moons", "id": "1", "attributes": {}}}
    assert (await post(client, json.dumps(strange).encode())).text == "stored"
    assert Evidence(engine).hints().empty


async def test_claim__thanks_the_buyer_and_stores_what_the_link_says(client: httpx.AsyncClient, engine: Engine) -> None:
    page = await client.get(visit())
    assert (page.status_code, WORDS.title in page.text) == (200, True)
    columns = ["kind", "order_id", "lead_text", "order_identifier", "variant_id"]
    assert Evidence(engine).hints()[columns].values.tolist() == [["claim", "17", "31", RECEIPT, "77"]]


async def test_claim__a_link_claims_an_order_once_few_orders_in_all_and_every_visitor_is_thanked(
    client: httpx.AsyncClient, engine: Engine
) -> None:
    pages = [await client.get(visit(str(order_id))) for order_id in (17, 17, 18, *range(100, 200))]
    assert {page.status_code for page in pages} == {200}
    claimed = list(Evidence(engine).hints()["order_id"])
    assert (len(claimed), sorted(claimed)[:2]) == (MOST_CLAIMS, ["100", "101"])
    assert claimed.count("17") == 1


@pytest.mark.parametrize(
    "path",
    ["/claim", visit(order_id="[order_id]"), visit().replace("t=", "t=x"), visit(link=LINK.replace("?t=", "?q="))],
)  # fmt: skip
async def test_claim__a_link_that_is_not_whole_says_so_kindly_and_claims_nothing(
    client: httpx.AsyncClient, engine: Engine, path: str
) -> None:
    page = await client.get(path)
    assert (page.status_code, WORDS.incomplete_title in page.text) == (400, True)
    assert Evidence(engine).hints().empty


async def test_claim__the_page_runs_nothing_loads_nothing_and_shows_nothing_of_the_buyer(
    client: httpx.AsyncClient,
) -> None:
    page = await client.get(visit() + "&email=ann%40example.com&name=%3Cscript%3E")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "<script" not in page.text.lower()
    assert "Acme &lt;b&gt;" in page.text
    assert not {"ann@example.com", RECEIPT, "nonce"} & set(page.text.replace('"', " ").split())
    assert (page.headers["cache-control"], page.headers["referrer-policy"]) == ("no-store", "no-referrer")


async def test_claim__the_style_that_the_policy_allows_is_the_one_on_the_page(client: httpx.AsyncClient) -> None:
    import base64

    page = await client.get(visit())
    style = page.text.split("<style>")[1].split("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in page.headers["content-security-policy"]


async def test_claim__buyers_are_thanked_even_while_the_database_is_down(
    client: httpx.AsyncClient, engine: Engine
) -> None:
    break_database(engine)
    page = await client.get(visit())
    assert (page.status_code, WORDS.title in page.text) == (503, True)


async def test_page__says_what_the_company_wants_in_its_language(engine: Engine) -> None:
    look = ClaimSection(title="Danke", text="Erster Absatz.\nZweiter.")
    app = make_app(Parts(engine, [SECRET], KEY, Page(look, "de"), lambda: NOW))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://receiver") as http:
        text = (await http.get(visit())).text
    assert '<html lang="de">' in text
    assert "<p>Erster Absatz.</p>\n<p>Zweiter.</p>" in text
    assert "<a " not in text


def test_visit__is_what_a_browser_would_send() -> None:
    assert dict(parse_qsl(urlsplit(visit()).query))["order"] == "17"
