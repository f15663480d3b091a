"""Webhooks on their way: what is due when, what the switches do to them, and what they are told about."""

import random
from typing import Any

import pytest

from dealsync.simulator.clock import Clock
from dealsync.simulator.deliveries import Deliveries, Delivery
from dealsync.simulator.faults import Faults
from dealsync.simulator.schedule import Schedule
from tests.unit.simulator.bench import NOW, Bench

START = NOW.timestamp()
URL = "https://receiver.example/hook"


class Post:
    """Deliveries on a clock that stands still, and their attempts by hand."""

    def __init__(self, seed: int = 1, **switches: Any) -> None:
        self.clock = Clock(NOW, running=False)
        self.schedule = Schedule(self.clock)
        faults = Faults()
        faults.update(switches)
        self.deliveries = Deliveries(self.clock, faults, self.schedule, random.Random(seed))  # noqa: S311

    def send(self, label: str = "event", after_s: float = 0.0) -> Delivery:
        return self.deliveries.send("kommo", URL, {"x-a": "b"}, b"body \xff", label, after_s=after_s)

    def due(self, after_s: float = 0.0) -> list[Delivery]:
        self.clock.advance(after_s)
        self.schedule.run_due(self.clock.now())
        return self.deliveries.take_due()

    def moments(self) -> list[float]:
        return [entry["at"] - START for entry in self.schedule.entries()]


def test_delivery__is_due_after_its_wait_and_once() -> None:
    post = Post()
    now, later = post.send(), post.send(after_s=30)
    assert post.due() == [now]
    assert post.due(29) == []
    assert post.due(1) == [later]
    assert post.due(100) == []


def test_delivery__is_tried_again_as_its_sender_says() -> None:
    post = Post()
    told: list[tuple[str, int]] = []
    asked: list[int | None] = []

    def next_wait_s(delivery: Delivery, status: int | None) -> float | None:
        asked.append(status)
        return 10.0 if len(delivery.attempts) < 3 else None

    post.deliveries.policy("kommo", next_wait_s)
    post.deliveries.listener("kommo", lambda one: told.append((one.state, len(one.attempts))))
    delivery = post.send()
    for wait_s, status, error in ((0, 500, None), (10, None, "no answer"), (10, 302, None)):
        assert post.due(wait_s) == [delivery]
        post.deliveries.attempted(delivery, status, error)
    assert delivery.state == "lost"
    assert delivery.attempts == [
        {"at": START, "status": 500, "error": None},
        {"at": START + 10, "status": None, "error": "no answer"},
        {"at": START + 20, "status": 302, "error": None},
    ]
    assert asked == [500, None, 302]
    assert told == [("waiting", 1), ("waiting", 2), ("lost", 3)]


def test_delivery__succeeds_as_its_sender_says() -> None:
    post = Post()
    post.deliveries.success("kommo", lambda status: status == 201)
    good, bad = post.send(), post.send()
    post.due()
    post.deliveries.attempted(good, 201)
    post.deliveries.attempted(bad, 200)
    assert (good.state, bad.state) == ("delivered", "lost")


def test_time_scale__brings_everything_sooner() -> None:
    post = Post(webhook_time_scale=0.01)
    post.deliveries.policy("kommo", lambda delivery, status: 300.0)
    delivery = post.send(after_s=100)
    assert post.moments() == [1.0]
    post.due(1)
    post.deliveries.attempted(delivery, 500)
    assert post.moments() == [4.0]


def test_loss__drops_a_share_and_the_same_ones_for_a_seed() -> None:
    runs = []
    for seed in (1, 1, 2):
        post = Post(seed, webhook_loss=0.3)
        runs.append([post.send().state for _ in range(300)])
        assert len(post.due()) == runs[-1].count("waiting")
    assert runs[0] == runs[1] != runs[2]
    assert 60 < runs[0].count("dropped") < 120


def test_duplicates__are_deliveries_of_their_own() -> None:
    post = Post(webhook_duplicates=1)
    post.send("once")
    assert [(one.id, one.label, one.body) for one in post.due()] == [
        (1, "once", b"body \xff"),
        (2, "once", b"body \xff"),
    ]


@pytest.mark.parametrize(("switches", "most_s"), [({"webhook_delay_s": 60}, 60), ({"webhook_shuffle": True}, 0.5)])
def test_delay_and_shuffle__mix_the_order(switches: dict[str, Any], most_s: float) -> None:
    post = Post(**switches)
    for _ in range(20):
        post.send()
    assert all(0 <= moment <= most_s for moment in post.moments())
    arrived = [one.id for one in post.due(most_s)]
    assert sorted(arrived) == list(range(1, 21)) != arrived


def test_resend__sends_the_stored_body_again() -> None:
    post = Post()
    first = post.send()
    post.due()
    post.deliveries.attempted(first, 500)
    again = post.deliveries.resend(first.id)
    assert (again.id, again.body, again.headers, again.state) == (2, first.body, first.headers, "waiting")
    assert post.due() == [again]
    with pytest.raises(KeyError):
        post.deliveries.resend(77)


def test_load__makes_what_was_under_way_due_again() -> None:
    post, other = Post(), Post()
    under_way, planned = post.send(), post.send(after_s=5)
    assert post.due() == [under_way]
    state = post.deliveries.state()
    other.deliveries.load(state)
    other.schedule.restore(post.schedule.entries())
    assert other.deliveries.state() == state
    assert [(one.id, one.body) for one in other.due()] == [(under_way.id, b"body \xff")]
    assert [one.id for one in other.due(5)] == [planned.id]
    post.deliveries.load(state)
    post.deliveries.attempted(under_way, 200)  # of the world before: nobody waits for it
    assert post.deliveries.all()[0].attempts == []


# --- by the control routes ------------------------------------------------------------------------
def test_control__lists_and_resends_without_telling_secrets(fresh: Bench) -> None:
    sent = fresh.world.deliveries.send("kommo", URL, {"x-signature": "hidden"}, b"secret", "add_lead")
    fresh.world.deliveries.send("lemonsqueezy", URL, {}, b"", "order_created")
    answer = fresh.control.get("/deliveries", params={"sender": "kommo"})
    assert answer.json()["deliveries"] == [
        {
            "id": sent.id,
            "sender": "kommo",
            "label": "add_lead",
            "url": URL,
            "state": "waiting",
            "sent_at": sent.sent_at,
            "attempts": [],
        }
    ]
    assert len(fresh.control.get("/deliveries").json()["deliveries"]) == 2
    assert fresh.control.get("/deliveries", params={"sender": "me"}).status_code == 400
    again = fresh.control.post(f"/deliveries/{sent.id}/resend")
    assert (again.status_code, again.json()["id"]) == (201, 3)
    assert fresh.world.deliveries.all("kommo")[-1].body == b"secret"
    assert fresh.control.post("/deliveries/99/resend").status_code == 404
