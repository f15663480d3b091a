"""One simulator of the default seed for reading, and fresh ones in memory for writing."""

from collections.abc import Iterator

import pytest

from dealsync.simulator.seed import seeded
from dealsync.simulator.server import Simulator
from tests.unit.simulator.bench import NOW, Bench, bench


@pytest.fixture
def fresh() -> Iterator[Bench]:
    with bench(seeded(orders=10, now=NOW)) as one:
        yield one


@pytest.fixture(scope="module")
def past() -> Iterator[Bench]:
    """A world of the default size, for reading only."""
    with bench(seeded(now=NOW)) as one:
        yield one


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    with Simulator.running(orders=10) as simulator:
        yield simulator
