"""The healthy world, once for all tests of a file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checks.world import Original, World, healthy


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Original]:
    with healthy(tmp_path_factory.mktemp("healthy")) as found:
        yield found


@pytest.fixture
def world(original: Original, tmp_path: Path) -> Iterator[World]:
    with original.copied(tmp_path) as found:
        yield found
