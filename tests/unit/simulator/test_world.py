"""The seeded past: the same for the same seed, and with exactly the drift it claims."""

import json
from collections import Counter
from datetime import timedelta

import pytest

from dealsync.simulator.premises import SALES
from dealsync.simulator.seed import ODDITIES, OPEN_STATUSES, seeded
from dealsync.simulator.world import World
from tests.unit.simulator.bench import NOW


def state(world: World) -> str:
    return json.dumps({key: value for key, value in world.state().items() if key != "clock"})


def test_world__is_the_same_for_the_same_seed_and_start() -> None:
    assert state(seeded(seed=3, orders=60, now=NOW)) == state(seeded(seed=3, orders=60, now=NOW))
    assert state(seeded(seed=3, orders=60, now=NOW)) != state(seeded(seed=4, orders=60, now=NOW))


@pytest.mark.parametrize("orders", [0, 1, 39, 40, 120, 200])
@pytest.mark.parametrize("seed", [1, 2])
def test_world__has_exactly_the_planted_share_open(orders: int, seed: int) -> None:
    world = seeded(seed=seed, orders=orders, now=NOW)
    paid = {
        order["id"]: order["attributes"]
        for order in world.lemon_squeezy.tables["orders"]
        if order["attributes"]["status"] == "paid" and not order["attributes"]["test_mode"]
    }
    still_open = [i for i, planted in world.truth.items() if planted["class"] == "open"]
    assert len(world.truth) == orders
    assert len(still_open) == round(0.15 * len(paid))
    for order_id in still_open:
        lead = world.kommo.leads.get(world.truth[order_id]["lead_id"])
        assert lead is not None
        assert lead["pipeline_id"] == SALES
        assert lead["status_id"] in OPEN_STATUSES
        assert lead["price"] == paid[order_id]["total"] // 100


def test_world__holds_every_oddity_from_40_orders_up() -> None:
    counts = Counter(planted["class"] for planted in seeded(orders=40, now=NOW).truth.values())
    assert all(counts[kind] >= 1 for kind in ODDITIES)
    assert counts["other_currency"] == 1


def test_world__won_deals_were_closed_after_their_order() -> None:
    world = seeded(now=NOW)
    for order_id, planted in world.truth.items():
        if planted["class"] == "won":
            order = world.lemon_squeezy.find("orders", order_id)
            lead = world.kommo.leads.get(planted["lead_id"])
            assert order is not None
            assert lead is not None
            after_s = lead["closed_at"] - world.lemon_squeezy.created(order)
            assert 300 <= after_s <= 8 * 3600
            assert lead["price"] == order["attributes"]["total"] // 100


def test_world__nothing_happens_in_the_future_or_the_last_hour() -> None:
    world = seeded(now=NOW)
    latest = (NOW - timedelta(hours=1)).isoformat()
    assert all(o["attributes"]["created_at"] < latest for o in world.lemon_squeezy.tables["orders"])
    for kind in ("orders", "subscriptions", "subscription-invoices"):
        updates = [o["attributes"]["updated_at"] for o in world.lemon_squeezy.tables[kind]]
        assert max(updates) < NOW.isoformat()
    assert max(lead["updated_at"] for lead in world.kommo.leads) <= NOW.timestamp()


def test_world__older_subscriptions_were_renewed() -> None:
    invoices = seeded(now=NOW).lemon_squeezy.tables["subscription-invoices"]
    reasons = Counter(invoice["attributes"]["billing_reason"] for invoice in invoices)
    assert reasons["initial"] > 0
    assert reasons["renewal"] > 0
