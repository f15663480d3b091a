"""Recording from a live account: who is asked, and that nothing of anybody gets into a cassette."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dealsync.apis.lemonsqueezy.client import LemonSqueezy
from dealsync.simulator.server import Simulator
from tests.contract import scenario
from tests.contract.apis import Apis
from tests.contract.cassettes import REPLAY_ORIGIN, leaks, recorder, secrets_of, unscrubbed
from tests.contract.conftest import store_of
from tests.contract.live import connected, credentials
from tests.contract.scrub import KEPT_KEYS, Scrubber
from tests.unit.apis import samples

ASKED = {"DEALSYNC_RECORD_LIVE": "1", "LEMON_SQUEEZY_API_KEY": "key", "LEMON_SQUEEZY_STORE_ID": "4101"}
PLANTED = [
    "Planted Person",
    "planted.person@private.example",
    "+44 20 7946 0000",
    "442079460000",
    "https://shop.private.example/checkout?signature=abc",
    "http://private.example",
]


@pytest.mark.parametrize(
    ("environment", "is_asked"),
    [
        (ASKED, True),
        ({**ASKED, "DEALSYNC_RECORD_LIVE": "0"}, False),
        ({name: value for name, value in ASKED.items() if name != "DEALSYNC_RECORD_LIVE"}, False),
        ({**ASKED, "LEMON_SQUEEZY_API_KEY": " "}, False),
        ({"DEALSYNC_RECORD_LIVE": "1", "LEMON_SQUEEZY_API_KEY": "key"}, False),
    ],
)
def test_credentials__need_to_be_there_and_asked_for(environment: dict[str, str], is_asked: bool) -> None:
    assert (credentials(environment, "lemonsqueezy") is not None) is is_asked
    assert credentials(environment, "kommo") is None


@pytest.mark.parametrize("is_test_mode", [False, True])
async def test_connected__refuses_a_key_of_the_live_mode(is_test_mode: bool) -> None:
    with Simulator.running(seed=scenario.SEED, orders=0, now=scenario.NOW) as simulator:
        simulator.world.lemon_squeezy.test_mode_key = is_test_mode
        key = simulator.environment()["LEMON_SQUEEZY_API_KEY"]
        environment = {"LEMON_SQUEEZY_API_KEY": key, "LEMON_SQUEEZY_STORE_ID": scenario.STORE_ID}
        refusal = ""
        try:
            async with connected("lemonsqueezy", environment, f"{simulator.url}/lemonsqueezy") as apis:
                assert apis.secrets() == [key]
        except pytest.fail.Exception as error:
            refusal = str(error)
    assert refusal == (
        "" if is_test_mode else "LEMON_SQUEEZY_API_KEY is a live-mode key; record with one of the test mode"
    )


async def story(client: LemonSqueezy) -> list[str]:
    """Reads that ask for what they were told."""
    found = []
    async for page in client.orders(scenario.STORE_ID):
        for order in page.rows:
            found += [again.id for again in await client.orders_of(scenario.STORE_ID, order.user_email)]
    return found


async def test_recording__of_an_account_shows_nobody_and_is_replayed(live: Apis, tmp_path: Path) -> None:
    path = tmp_path / "story.yaml"
    tape = recorder(
        f"{live.origin}/lemonsqueezy",
        "live account, lemonsqueezy in test mode, store 4101",
        moved_to=f"{REPLAY_ORIGIN}/lemonsqueezy",
        scrubber=Scrubber(REPLAY_ORIGIN),
    )
    with tape.use_cassette(path):
        recorded = await story(live.lemon_squeezy())
    text = path.read_text(encoding="utf-8")
    assert len(recorded) == 3
    assert leaks(text, live.secrets()) == unscrubbed(text) == []
    assert not any(name in text for name in ("ann@", "ann%40", '"Ann"', '"Ben"', "Simulated", "signature="))
    assert store_of(text) == "4101"
    with recorder(None, "").use_cassette(path) as cassette:
        replayed = Apis(REPLAY_ORIGIN, None)
        assert await story(replayed.lemon_squeezy()) == recorded
        await replayed.close()
        assert cassette.all_played


async def test_unscrubbed__finds_what_a_recording_of_the_simulator_shows(live: Apis, tmp_path: Path) -> None:
    with recorder(live.origin, "live account").use_cassette(tmp_path / "story.yaml"):
        await story(live.lemon_squeezy())
    assert {*unscrubbed((tmp_path / "story.yaml").read_text())} == {"an address in a request", "a text in an answer"}


# --- the scrubber ----------------------------------------------------------------------------------------------

KEYS = st.sampled_from(
    ["name", "user_email", "text", "values", "value", "custom", "phone", "url", "first_name", "code"]
)
HARMLESS = st.sampled_from(["", "2026-06-01T12:00:00.000000Z", "0b5a0c9e-6a5c-4d0a-9d5e-6d1f4f0a2b3c"])
LEAVES = st.none() | st.booleans() | st.integers() | HARMLESS | st.sampled_from(PLANTED)
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))


def shape(value: Any) -> Any:
    """The same with types in the place of texts."""
    if isinstance(value, dict):
        return {key: shape(part) for key, part in value.items()}
    if isinstance(value, list):
        return [shape(part) for part in value]
    return str if isinstance(value, str) else value


@given(JSON)
def test_scrubber__leaves_the_shape_and_nothing_of_anybody(value: Any) -> None:
    scrubbed = json.loads(Scrubber(REPLAY_ORIGIN).body(json.dumps(value).encode()))
    assert shape(scrubbed) == shape(value)
    assert not any(planted in json.dumps(scrubbed) for planted in PLANTED)
    assert json.loads(Scrubber(REPLAY_ORIGIN).body(json.dumps(scrubbed).encode())) == scrubbed


def test_scrubber__says_the_same_for_the_same_and_keeps_what_a_client_reads() -> None:
    scrubber = Scrubber(REPLAY_ORIGIN)
    order = scrubber.value(samples.lemon_squeezy("order-retrieve"))
    again = scrubber.value(samples.lemon_squeezy("order-retrieve"))
    attributes = order["attributes"]
    assert order == again
    assert (order["type"], order["id"], attributes["currency"]) == ("orders", "1899988", "GBP")
    assert (attributes["status"], attributes["total"], attributes["currency_rate"]) == ("paid", 1199, "1.27487800")
    assert attributes["created_at"] == "2024-01-12T19:08:56.000000Z"
    assert attributes["urls"]["receipt"].endswith("/my-orders/08caeb7e-3c21-4e8a-a0bb-4cbf3e2659cf")
    assert attributes["user_name"].startswith("text ")
    assert scrubber.uri("/v1/orders?filter%5Buser_email%5D=buyer1%40example.com&x=1").endswith(
        f"={attributes['user_email'].replace('@', '%40')}&x=1"
    )


@pytest.mark.parametrize("key", sorted(KEPT_KEYS))
def test_scrubber__takes_addresses_out_of_words_that_it_keeps(key: str) -> None:
    scrubbed = Scrubber(REPLAY_ORIGIN).value({key: "The address planted.person@private.example is taken."})
    assert "planted" not in scrubbed[key]
    assert scrubbed[key].startswith("The address person1@example.com is")


@pytest.mark.parametrize("page", [b"<html>Dear Planted Person</html>", b"Planted Person", b"\xff"])
def test_scrubber__drops_what_is_no_json(page: bytes) -> None:
    assert b"Planted" not in Scrubber(REPLAY_ORIGIN).body(page)
    assert Scrubber(REPLAY_ORIGIN).body(b"") == b""


def test_secrets__of_a_live_environment_are_its_keys_and_tokens() -> None:
    assert secrets_of({**ASKED, "KOMMO_TOKEN": "token"}) == ["key", "token"]
