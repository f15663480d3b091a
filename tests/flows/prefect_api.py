"""A Prefect server as its UI asks it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from dealsync.local_prefect import LocalPrefect


def ask(server: LocalPrefect, method: str, path: str, body: Any = None) -> Any:
    """Send a request to its API; return the answer."""
    answer = httpx.request(method, f"{server.ui_url}/api{path}", json=body, timeout=30).raise_for_status()
    return answer.json() if answer.content else None


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
