"""One Prefect server for the tests of one group (`tests.schedule`), which do not mind each other's runs."""

from collections.abc import Iterator

import pytest

from dealsync.local_prefect import LocalPrefect


@pytest.fixture(scope="session")
def shared_prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPrefect]:
    """A server: it takes a quarter of a minute to start. One module after the other serves its flows on it."""
    with LocalPrefect.running(tmp_path_factory.mktemp("prefect")) as server:
        yield server


@pytest.fixture(scope="session")
def prefect(shared_prefect: LocalPrefect) -> LocalPrefect:
    """The same, where a module has no own idea of it."""
    return shared_prefect
