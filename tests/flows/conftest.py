"""A Prefect server for the tests of a module: what one module serves would run in the folder of another."""

from collections.abc import Iterator

import pytest

from dealsync.local_prefect import LocalPrefect


@pytest.fixture(scope="module")
def shared_prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPrefect]:
    """A server: it takes a quarter of a minute to start."""
    with LocalPrefect.running(tmp_path_factory.mktemp("prefect")) as server:
        yield server


@pytest.fixture(scope="module")
def prefect(shared_prefect: LocalPrefect) -> LocalPrefect:
    """The same, where a module has no own idea of it."""
    return shared_prefect
