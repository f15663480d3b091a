"""A world as a file: what `World.state` returns, as JSON."""

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class LoadError(ValueError):
    """What should be loaded is not the state of a world; the message says what is wrong."""


def to_json(state: dict[str, Any]) -> str:
    """Return a state as text; equal worlds give equal texts."""
    return json.dumps(state, ensure_ascii=False, separators=(",", ":"))


def from_json(text: str | bytes) -> dict[str, Any]:
    """Return a state from its text. Raises LoadError."""
    try:
        state = json.loads(text)
    except ValueError as reason:
        raise LoadError(f"it is not JSON: {reason}") from None
    if not isinstance(state, dict):
        raise LoadError("it is not a JSON object")
    return state


def saved_random(rng: random.Random) -> list[Any]:
    """Return the state of a random generator as JSON-ready values."""
    version, internal, gauss = rng.getstate()
    return [version, list(internal), gauss]


def restore_random(rng: random.Random, saved: list[Any]) -> None:
    """Let a generator go on where another one stood."""
    version, internal, gauss = saved
    rng.setstate((version, tuple(internal), gauss))


@contextmanager
def naming_what_is_wrong() -> Iterator[None]:
    """Turn what goes wrong while a state is taken apart into one LoadError."""
    try:
        yield
    except KeyError as missing:
        raise LoadError(f"it lacks {missing.args[0]!r}") from missing
    except (TypeError, ValueError, AttributeError) as wrong:
        raise LoadError(f"it does not hold what a saved state holds: {wrong}") from wrong
