"""The small world that every contract test starts from. Recordings and live runs find the same ids in it."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from dealsync.simulator.server import create_app
from dealsync.simulator.world import World

SEED = 1
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
STORE_ID = "4101"
TEAM, TEAM_MONTHLY = 81003, 81004  # variants
SALES, QUALIFIED, INVOICE_SENT, WON = 7001, 70012, 70013, 142
ADMIN = 501
ANN_DEAL, BEN_DEAL, WON_DEAL, DELETED_DEAL = 10001, 10002, 10003, 10004
ANN, BEN = 200001, 200002  # contacts
QUIET = {"kommo_limit_enabled": False, "ls_limit_enabled": False, "list_lag_s": 0, "search_lag_s": 0}


async def furnish(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock of an empty world, turn limits and lags off, and fill it."""
    monkeypatch.setattr(world.clock, "now", NOW.timestamp)
    world.faults.update(QUIET)
    happenings = [
        *(("/orders", body) for body in _orders()),
        ("/orders/500003/refund", {"amount": 1000}),
        *(("/leads", body) for body in _leads()),
    ]
    in_memory = httpx.ASGITransport(create_app(world))
    async with httpx.AsyncClient(base_url="http://world/control", transport=in_memory) as control:
        for path, body in happenings:
            (await control.post(path, json=body)).raise_for_status()
        (await control.delete(f"/leads/{DELETED_DEAL}")).raise_for_status()


def _orders() -> list[dict[str, Any]]:
    return [
        {"email": "ann@example.com", "name": "Ann", "variant_id": TEAM, "age_minutes": 180},
        {"email": "ben@example.com", "name": "Ben", "variant_id": TEAM_MONTHLY, "age_minutes": 120},
        {"email": "cy@example.com", "name": "Cy", "total": 4999, "currency": "EUR", "age_minutes": 60},
    ]


def _leads() -> list[dict[str, Any]]:
    ann, ben = ({"name": name, "email": f"{name.lower()}@example.com"} for name in ("Ann", "Ben"))
    return [
        {"name": "Ann's deal", "price": 490, "status_id": INVOICE_SENT, "contact": ann, "age_days": 3},
        {"name": "Ben's deal", "price": 99, "status_id": QUALIFIED, "contact": ben, "age_days": 2},
        {"name": "Won deal", "price": 10, "status_id": WON, "age_days": 1},
        {"name": "Deleted deal", "price": 1, "status_id": QUALIFIED},
    ]
