"""`dealsync receive` as its user runs it: a real server in a process of its own."""

import hashlib
import hmac
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from dealsync.settings import build_store, load_settings
from tests.accounts import Accounts

BODY = b'{"meta":{"event_name":"order_created"},"data":{"type":"orders","id":"17","attributes":{}}}'


def signed(event_id: str) -> tuple[bytes, dict[str, str]]:
    """Return an event of this id as it is sent, with its headers."""
    body = BODY.replace(b'{"event_name"', b'{"webhook_id":"%s","event_name"' % event_id.encode())
    (secret, *_) = load_settings().environment.webhook_secrets
    return body, {"X-Signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


@contextmanager
def receiving() -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-u", "-m", "dealsync", "receive", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found is not None
            yield process, found.group()
        finally:
            process.kill()


def test_receive__takes_events_in_and_keeps_them_over_a_stop(accounts: Accounts) -> None:
    assert accounts
    environment = load_settings().environment
    secret = environment.webhook_secrets[0]
    signature = hmac.new(secret.encode(), BODY, hashlib.sha256).hexdigest()
    with receiving() as (process, url):
        assert httpx.get(f"{url}/readyz", timeout=10).text == "ready"
        answer = httpx.post(
            f"{url}/webhooks/lemon-squeezy", content=BODY, headers={"X-Signature": signature}, timeout=10
        )
        assert (answer.status_code, "server" in answer.headers) == (200, False)
        os.kill(process.pid, signal.SIGTERM)
        process.wait(20)
    with receiving() as (_, url):
        again = httpx.post(
            f"{url}/webhooks/lemon-squeezy", content=BODY, headers={"X-Signature": signature}, timeout=10
        )
        assert again.text == "stored before"
    assert list(build_store(environment).evidence.hints()["order_id"]) == ["17"]


def test_receive__without_a_secret_refuses_to_start_in_one_clear_line(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert accounts
    monkeypatch.setenv("LEMON_SQUEEZY_WEBHOOK_SECRET", " , ")
    command = [sys.executable, "-m", "dealsync", "receive", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "LEMON_SQUEEZY_WEBHOOK_SECRET is missing" in done.stderr
