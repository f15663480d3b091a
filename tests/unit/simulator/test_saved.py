"""A world is the same again when it is loaded, and equal requests make equal worlds."""

import json
from typing import Any

import pytest

from dealsync.simulator.saved import LoadError, from_json, to_json
from dealsync.simulator.seed import seeded
from dealsync.simulator.world import World
from tests.unit.simulator.bench import NOW, Bench, bench
from tests.unit.simulator.play import Play


def busy(one: Bench) -> Play:
    one.set(list_lag_s=2.0, search_lag_s=5.0, webhook_duplicates=0.5, webhook_loss=0.2, webhook_delay_s=30)
    play = Play(one)
    play.listen()
    play.log_in()
    for number in range(4):
        play.sell(number)
    one.control.post("/faults", json={"inject": {"api": "kommo", "path": "/api/v4/users", "status": 503}})
    return play


def saved(world: World) -> str:
    return to_json(world.state())


def test_play__is_answered_the_same_from_the_same_seed_and_start() -> None:
    runs: list[tuple[Any, str]] = []
    for _ in range(2):
        with bench(seeded(seed=5, orders=45, now=NOW, running=False)) as one:
            play = busy(one)
            play.look()
            runs.append((play.answers, saved(one.world)))
    assert runs[0] == runs[1]
    assert len(runs[0][0]) > 40
    states = {one["state"] for one in json.loads(runs[0][1])["deliveries"]["all"]}
    assert {"waiting", "dropped"} <= states


def test_load__gives_back_what_was_saved_byte_by_byte() -> None:
    with bench(seeded(orders=45, now=NOW, running=False)) as one:
        busy(one)
        text = saved(one.world)
    loaded = World(seed=99)
    loaded.load(from_json(text))
    assert saved(loaded) == text


def test_load__goes_on_as_the_original_does() -> None:
    with bench(seeded(orders=45, now=NOW, running=False)) as one:
        busy(one)
        copy = World()
        copy.load(from_json(saved(one.world)))
        continued = []
        for world in (one.world, copy):
            world.faults.update({"inject": None})
            with bench(world) as going_on:
                going_on.set(list_lag_s=2.0, search_lag_s=5.0)
                play = Play(going_on)
                play.look()  # what was just written is hidden by the lags in both
                play.sell(1)
                play.look()
                continued.append((play.answers, saved(world)))
    assert continued[0] == continued[1]


def test_state__is_read_and_replaced_by_http(fresh: Bench) -> None:
    fresh.control.post("/clock", json={"running": False})
    before = fresh.control.get("/state")
    fresh.control.post("/leads", json={"price": 5, "name": "too much"})
    fresh.control.post("/clock", json={"advance_s": 60})
    assert fresh.control.get("/state").content != before.content
    assert fresh.control.put("/state", content=before.content).status_code == 200
    assert fresh.control.get("/state").content == before.content
    assert fresh.kommo.get("/leads", params={"query": "too much"}).status_code == 204


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda state: state.pop("seed"), "'seed'"),
        (lambda state: state["kommo"].pop("leads"), "'leads'"),
        (lambda state: state["lemon_squeezy"].update(orders=5), "does not hold"),
        (lambda state: state["faults"].update(speed=1), "unknown switch speed"),
        (lambda state: state["schedule"].append({"at": 1, "kind": "odd", "payload": {}}), "odd"),
    ],
)
def test_state__that_is_none_is_refused_and_changes_nothing(fresh: Bench, damage: Any, word: str) -> None:
    fresh.control.post("/clock", json={"running": False})
    before = fresh.control.get("/state")
    state = before.json()
    damage(state)
    answer = fresh.control.put("/state", json=state)
    assert answer.status_code == 400
    assert word in answer.json()["error"]
    assert fresh.control.get("/state").content == before.content


@pytest.mark.parametrize("text", ["", "{", "[]", "7"])
def test_from_json__refuses_what_is_no_object(text: str) -> None:
    with pytest.raises(LoadError):
        from_json(text)


def test_load__sets_switches_a_saved_world_does_not_know_to_their_defaults() -> None:
    world = World(start=NOW)
    state = from_json(saved(world))
    del state["faults"]["latency_ms"]
    world.faults.latency_ms = 70
    world.load(state)
    assert world.faults.latency_ms == 0
