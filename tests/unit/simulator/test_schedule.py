"""What is planned happens in order, at its own moment."""

import pytest

from dealsync.simulator.clock import Clock
from dealsync.simulator.schedule import Schedule
from dealsync.simulator.table import Record
from dealsync.simulator.world import World
from tests.unit.simulator.bench import NOW

START = NOW.timestamp()


def world_that_notes() -> tuple[World, list[tuple[float, str]]]:
    """Return a world whose entries "note" write down when they ran; "again" plans one more note."""
    world = World(start=NOW, running=False)
    seen: list[tuple[float, str]] = []

    def note(payload: Record) -> None:
        seen.append((world.clock.now() - START, payload["name"]))

    def again(payload: Record) -> None:
        world.schedule.at(world.clock.now() + 1, "note", {"name": "added"})

    world.schedule.on("note", note)
    world.schedule.on("again", again)
    return world, seen


def test_schedule__runs_in_order_of_moment_then_of_adding() -> None:
    world, seen = world_that_notes()
    for seconds, name in ((20, "late"), (10, "first"), (10, "second"), (99, "not yet"), (-5, "overdue")):
        world.schedule.at(START + seconds, "note", {"name": name})
    world.advance(50)
    assert seen == [(-5, "overdue"), (10, "first"), (10, "second"), (20, "late")]
    assert world.clock.now() == START + 50
    assert [entry["payload"] for entry in world.schedule.entries() if entry["kind"] == "note"] == [{"name": "not yet"}]


def test_schedule__runs_what_an_entry_adds_at_its_moment() -> None:
    world, seen = world_that_notes()
    world.schedule.at(START + 3, "again", {})
    world.schedule.at(START + 5, "note", {"name": "after"})
    world.advance(10)
    assert seen == [(4, "added"), (5, "after")]


def test_advance__stops_at_every_moment_with_something_due() -> None:
    world, seen = world_that_notes()
    for seconds in (3, 3, 7):
        world.schedule.at(START + seconds, "note", {"name": "x"})
    assert [(moment - START, len(seen)) for moment in world.steps(10)] == [(3, 2), (7, 3), (10, 3)]


def test_advance__goes_forward_only() -> None:
    world, _ = world_that_notes()
    with pytest.raises(ValueError, match="forward"):
        world.advance(-1)


def test_restore__goes_on_with_what_was_planned() -> None:
    world, _ = world_that_notes()
    for name in ("a", "b"):
        world.schedule.at(START + 5, "note", {"name": name})
    other, seen = world_that_notes()
    other.schedule.restore(world.schedule.entries())
    assert other.schedule.entries() == world.schedule.entries()
    other.schedule.at(START + 5, "note", {"name": "c"})
    other.advance(5)
    assert [name for _, name in seen] == ["a", "b", "c"]


def test_schedule__refuses_what_nobody_would_do() -> None:
    schedule = Schedule(Clock(NOW))
    with pytest.raises(KeyError, match="odd"):
        schedule.at(0, "odd", {})
    schedule.on("odd", lambda payload: None)
    with pytest.raises(ValueError, match="odd"):
        schedule.on("odd", lambda payload: None)
