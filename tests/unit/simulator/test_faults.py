"""Rate limits, the block, and one-shot faults."""

import asyncio
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from dealsync.simulator.faults import Faults, described, parsed
from dealsync.simulator.server import Simulator
from tests.unit.simulator.bench import Bench


def test_kommo_limit__is_seven_in_a_second_then_429_then_a_block(fresh: Bench) -> None:
    fresh.set(kommo_limit_enabled=True)
    answers = [fresh.kommo.get("/account") for _ in range(29)]
    assert [answer.status_code for answer in answers] == [200] * 7 + [429] * 21 + [403]
    refused = answers[7]
    assert refused.json()["retry_after"] == 300
    assert "retry-after" not in refused.headers
    blocked = answers[-1]
    assert blocked.headers["content-type"].startswith("text/html")
    token = fresh.kommo.post("http://test/kommo/oauth2/access_token", json={"code": "x"})
    assert token.status_code == 403
    assert fresh.control.get("/requests").json()["refused_429"]["kommo"] == 21
    fresh.control.post("/requests/reset")
    assert fresh.kommo.get("/account").status_code == 200


def test_injection__hits_only_what_matches_and_only_so_often(fresh: Bench) -> None:
    fault = {"api": "kommo", "method": "GET", "path": "/api/v4/leads", "times": 2, "status": 503, "html": True}
    fresh.control.post("/faults", json={"inject": fault})
    assert fresh.kommo.get("/contacts").status_code == 200
    answers = [fresh.kommo.get("/leads") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert answers[0].headers["content-type"].startswith("text/html")


def test_injection__null_forgets_what_is_pending(fresh: Bench) -> None:
    fresh.control.post("/faults", json={"inject": [{"api": "lemonsqueezy"}, {"api": "kommo"}]})
    fresh.control.post("/faults", json={"inject": None})
    assert fresh.kommo.get("/account").status_code == 200


def test_injection__apply_then_504_applies(fresh: Bench) -> None:
    fresh.control.post("/faults", json={"inject": {"api": "kommo", "method": "PATCH", "how": "apply_then_504"}})
    assert fresh.kommo.patch("/leads/10001", json={"name": "done"}).status_code == 504
    assert fresh.kommo.get("/leads/10001").json()["name"] == "done"


def test_injection__fails_in_the_shape_of_its_api(fresh: Bench) -> None:
    for api, client, path in (("kommo", fresh.kommo, "/account"), ("lemonsqueezy", fresh.lemon_squeezy, "/users/me")):
        fresh.set(inject=[{"api": api, "status": 500}, {"api": api, "status": 422}])
        server, refusal = client.get(path), client.get(path)
        assert (server.status_code, refusal.status_code) == (500, 422)
        if api == "kommo":
            assert server.json().keys() == {"title", "status", "detail", "trace_id"}
            assert (server.json()["title"], refusal.json()["title"]) == ("ErrInternalServer", "Unprocessable Entity")
        else:
            assert server.json().keys() == {"message", "event_id"}
            assert refusal.json()["errors"][0]["status"] == "422"


def test_write_then_drop__hits_every_write_until_it_is_off(fresh: Bench) -> None:
    fresh.set(write_then_drop="504")
    assert [fresh.kommo.patch("/leads/10001", json={"name": name}).status_code for name in "ab"] == [504, 504]
    assert fresh.kommo.get("/leads/10001").json()["name"] == "b"
    assert fresh.lemon_squeezy.post("/webhooks", json={}).status_code == 400
    fresh.set(write_then_drop="off")
    assert fresh.kommo.patch("/leads/10001", json={"name": "c"}).status_code == 200


def test_lang__changes_the_texts_of_errors_and_nothing_else(fresh: Bench) -> None:
    def refused() -> dict[str, Any]:
        body: dict[str, Any] = fresh.kommo.patch("/leads/10001", json={"name": 5}).json()
        return body

    english = refused()
    fresh.set(lang="pt")
    portuguese = refused()
    assert portuguese["detail"] != english["detail"]
    (one,), (other,) = (body["validation-errors"][0]["errors"] for body in (english, portuguese))
    assert one["detail"] != other["detail"]
    assert (one["code"], one["path"]) == (other["code"], other["path"])
    fresh.set(lang="en")
    assert refused() == english


def test_injection__drops_real_connections(server: Simulator) -> None:
    headers = {"authorization": f"Bearer {server.world.secrets.kommo.token}"}
    with httpx.Client(base_url=f"{server.url}/kommo/api/v4", headers=headers) as client:
        for how, name in (("apply_then_drop", "applied"), ("drop", "not applied")):
            server.world.faults.update({"inject": {"api": "kommo", "method": "PATCH", "how": how}})
            with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
                client.patch("/leads/10001", json={"name": name})
        assert client.get("/leads/10001").json()["name"] == "applied"


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_injection__cuts_a_body_short_on_the_way_or_before(method: str) -> None:
    body = {"name": "applied"} if method == "PATCH" else None
    with Simulator.running(orders=10) as own:
        headers = {"authorization": f"Bearer {own.world.secrets.kommo.token}"}
        with httpx.Client(base_url=f"{own.url}/kommo/api/v4", headers=headers) as client:
            own.world.faults.update({"inject": {"api": "kommo", "method": method, "how": "apply_then_cut"}})
            with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
                client.request(method, "/leads/10001", json=body)
            own.world.faults.update({"inject": {"api": "kommo", "method": method, "how": "apply_then_halve"}})
            answer = client.request(method, "/leads/10001", json=body)
            assert (answer.status_code, len(answer.content)) == (200, int(answer.headers["content-length"]))
            with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
                answer.json()
            assert method == "GET" or client.get("/leads/10001").json()["name"] == "applied"


def test_injection__asks_for_patience(fresh: Bench) -> None:
    fresh.set(inject={"api": "kommo", "status": 429, "html": True, "retry_after": "7"})
    answer = fresh.kommo.get("/account")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")


def test_server__answers_at_its_url_with_its_environment(server: Simulator) -> None:
    told = server.environment()
    headers = {"authorization": f"Bearer {told['LEMON_SQUEEZY_API_KEY']}"}
    body = httpx.get(f"{told['LEMON_SQUEEZY_API_URL']}/v1/users/me", headers=headers).json()
    assert body["links"]["self"].startswith(server.url)
    store = httpx.get(f"{told['LEMON_SQUEEZY_API_URL']}/v1/stores/{told['LEMON_SQUEEZY_STORE_ID']}", headers=headers)
    assert store.status_code == 200
    headers = {"authorization": f"Bearer {told['KOMMO_TOKEN']}"}
    assert httpx.get(f"{told['KOMMO_API_URL']}/api/v4/account", headers=headers).status_code == 200
    assert told["KOMMO_DOMAIN"] == "simulated.kommo.com"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve__stops_cleanly_on_a_signal(number: signal.Signals) -> None:
    ready = "on_ready=lambda simulator: print(simulator.url, flush=True)"
    program = f"from dealsync.simulator.server import serve; serve(port=0, orders=5, {ready})"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert httpx.get(f"{url}/control").status_code == 200
        process.send_signal(number)
        assert process.wait(10) == 0


def test_server__refuses_a_taken_port(server: Simulator) -> None:
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"), Simulator.running(port=port):
        pass


def test_server__refuses_a_folder_without_samples(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no recorded payloads"), Simulator.running(samples=tmp_path):
        pass


# --- switches -------------------------------------------------------------------------------------
def test_switches__are_described_with_their_defaults() -> None:
    found = {switch["name"]: switch for switch in described()}
    assert found.keys() == Faults().settings().keys()
    assert all(switch["meaning"] and switch["type"] for switch in found.values())
    assert found["batch_mode"]["type"] == "all_or_nothing | apply_valid"
    assert (found["kommo_per_second"]["type"], found["kommo_per_second"]["default"]) == ("whole number", 7)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("latency_ms=150", "latency_ms", 150),
        ("search_lag_s = 0.5", "search_lag_s", 0.5),
        ("minor_units=on", "minor_units", True),
        ("filters_enabled=False", "filters_enabled", False),
        ("batch_mode=apply_valid", "batch_mode", "apply_valid"),
        ('inject={"api":"kommo","status":503}', "inject", {"api": "kommo", "status": 503}),
    ],
)
def test_switches__are_read_as_a_person_types_them(text: str, name: str, value: object) -> None:
    assert parsed(text) == (name, value)
    Faults().update(dict([parsed(text)]))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("latency_ms", "NAME=VALUE"),
        ("speed=1", "unknown switch speed"),
        ("latency_ms=", "whole number"),
        ("latency_ms=1.5", "whole number"),
        ("latency_ms=-1", "from 0 up"),
        ("search_lag_s=Infinity", "from 0 up"),
        ("search_lag_s=NaN", "from 0 up"),
        ("minor_units=1", "true or false"),
        ("batch_mode=both", "all_or_nothing, apply_valid"),
        ("webhook_loss=1.5", "share from 0 to 1"),
        ("inject=[1]", "inject"),
    ],
)
def test_switches__refuse_what_makes_no_sense(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=re.escape(word)):
        Faults().update(dict([parsed(text)]))


def test_kommo_429__is_html_and_has_a_header_where_switched_so(fresh: Bench) -> None:
    fresh.set(kommo_limit_enabled=True, kommo_per_second=1, kommo_429_html=True, retry_after_header=True)
    fresh.kommo.get("/account")
    refused = fresh.kommo.get("/account")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "300")
    assert refused.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("told", [True, False])
def test_lemon_squeezy_429__tells_when_to_come_again_where_switched_so(fresh: Bench, told: bool) -> None:
    fresh.set(ls_limit_enabled=True, ls_per_minute=1, ls_retry_after=told)
    fresh.lemon_squeezy.get("/orders")
    refused = fresh.lemon_squeezy.get("/orders")
    assert refused.status_code == 429
    assert ("retry-after" in refused.headers, "x-ratelimit-reset" in refused.headers) == (told, told)


def test_latency__varies_by_the_jitter(fresh: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for here; a server's own ticker, which wakes ten times a second, is no answer's latency."""
    waits: list[float] = []
    really = asyncio.sleep

    async def sleep(seconds: float) -> None:
        if seconds >= 1:
            waits.append(seconds)
        else:
            await really(seconds)

    monkeypatch.setattr("dealsync.simulator.gate.asyncio.sleep", sleep)
    fresh.set(latency_ms=1000, latency_jitter_ms=500)
    for _ in range(20):
        fresh.kommo.get("/account")
    assert len(set(waits)) == 20
    assert 1 <= min(waits) < max(waits) <= 1.5
