"""A receiver in process, on a database of its own."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine

from dealsync.config import ClaimSection
from dealsync.ledger.database import open_database
from dealsync.receiver.app import Parts, make_app
from dealsync.receiver.page import Page
from tests.builders import NOW
from tests.databases import place_sqlite

SECRET, OLD_SECRET, TOKEN = "a webhook secret", "the one before", "kommo-webhook-token-1"
LEMON_SQUEEZY, KOMMO = "/webhooks/lemon-squeezy", f"/webhooks/kommo/{TOKEN}"


def database(folder: Path) -> Engine:
    return open_database(place_sqlite(folder / "dealsync.db"))


def parts(engine: Engine, *, clock: Callable[[], datetime] = lambda: NOW, **changes: Any) -> Parts:
    settings = {"kommo_token": TOKEN, **changes}
    return Parts(engine, [SECRET, OLD_SECRET], b"k" * 32, Page(ClaimSection(), "en"), clock, **settings)


@asynccontextmanager
async def client(made: Parts) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(make_app(made))
    async with httpx.AsyncClient(transport=transport, base_url="http://receiver") as http:
        yield http


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"X-Signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


def order(event_id: str = "w-1", name: str = "order_created") -> bytes:
    return (
        b'{"meta":{"event_name":"%s","webhook_id":"%s"},"data":{"type":"orders","id":"17","attributes":'
        b'{"updated_at":"2026-06-01T11:59:58.000000Z"}}}' % (name.encode(), event_id.encode())
    )
