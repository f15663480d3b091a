"""A Prefect server as its UI asks it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from tenacity import RetryCallState, retry, retry_if_result, stop_after_delay, wait_fixed

from dealsync.local_prefect import LocalPrefect


def ask(server: LocalPrefect, method: str, path: str, body: Any = None) -> Any:
    """Send a request to its API; return the answer."""
    answer = _sent(method, f"{server.ui_url}/api{path}", body).raise_for_status()
    return answer.json() if answer.content else None


def _last(state: RetryCallState) -> Any:
    return state.outcome.result() if state.outcome else None


@retry(
    retry=retry_if_result(lambda answer: answer.status_code == httpx.codes.SERVICE_UNAVAILABLE),
    stop=stop_after_delay(60),
    wait=wait_fixed(0.5),
    retry_error_callback=_last,
)
def _sent(method: str, url: str, body: Any) -> httpx.Response:
    """A busy server answers 503 for moments, and has done nothing."""
    return httpx.request(method, url, json=body, timeout=30)


@contextmanager
def variable(server: LocalPrefect, name: str, value: Any) -> Iterator[None]:
    """Set a variable for a while."""
    ask(server, "POST", "/variables/", {"name": name, "value": value})
    try:
        yield
    finally:
        ask(server, "DELETE", f"/variables/name/{name}")


@contextmanager
def block(server: LocalPrefect, **data: str) -> Iterator[str]:
    """Fill in the block of accounts for a while; what is not given is left empty. Yields its id."""
    kind = ask(server, "GET", "/block_types/slug/dealsync-accounts")["id"]
    wanted = {"block_schemas": {"block_type_id": {"any_": [kind]}}}
    schema = ask(server, "POST", "/block_schemas/filter", wanted)[0]["id"]
    document = {"name": "dealsync", "block_type_id": kind, "block_schema_id": schema, "data": data}
    made = ask(server, "POST", "/block_documents/", document)["id"]
    try:
        yield str(made)
    finally:
        ask(server, "DELETE", f"/block_documents/{made}")
