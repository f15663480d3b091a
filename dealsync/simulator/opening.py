"""Which world a simulator starts with: a seeded, a recorded or a saved one; and saving it at the end."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypedDict, Unpack

from dealsync.simulator.samples import recorded
from dealsync.simulator.saved import LoadError, from_json, to_json
from dealsync.simulator.seed import seeded
from dealsync.simulator.world import World


class Start(TypedDict, total=False):
    """What a world is made of; all of it has a default."""

    seed: int  # 1
    orders: int  # past orders of a seeded world: 120
    now: datetime | None  # aware; None is the real current time
    running: bool  # False: the clock only moves when it is told to
    samples: Path | None  # a folder of recorded payloads to serve instead of a seeded world
    state: Path | None  # a saved world; when the file is there it is gone on from, whatever else is said
    latency_ms: int  # short for the switch
    faults: Mapping[str, Any]  # switches by name; they win over saved ones


def opening(**start: Unpack[Start]) -> World:
    """Return the world to start with.

    Raises ValueError for a bad switch, LoadError (one too) for a bad state, FileNotFoundError for an empty
    folder of samples or a state's folder that is not there.
    """
    world = _world(start)
    if start.get("latency_ms"):
        world.faults.latency_ms = start["latency_ms"]
    world.faults.update(start.get("faults", {}))
    return world


def _world(start: Start) -> World:
    state, samples = start.get("state"), start.get("samples")
    seed, now, running = start.get("seed", 1), start.get("now"), start.get("running", True)
    if state is not None and state.exists():
        return read_state(state)
    if state is not None and not state.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {state.parent} to save the state in")
    if samples is not None:
        return recorded(samples, seed=seed, now=now, running=running)
    return seeded(seed=seed, orders=start.get("orders", 120), now=now, running=running)


def read_state(path: Path) -> World:
    """Return the world saved in a file. Raises LoadError that names the file."""
    world = World()
    try:
        world.load(from_json(path.read_bytes()))
    except LoadError as reason:
        raise LoadError(f"{path} is not a saved state: {reason}") from reason
    return world


def write_state(path: Path, world: World) -> None:
    """Save a world to a file that only its owner may read: it holds keys. The old file stays until the new is whole."""
    new = path.with_name(f"{path.name}.new")
    new.touch(mode=0o600)
    new.write_text(to_json(world.state()), encoding="utf-8")
    new.replace(path)
