"""One Prefect server for the modules that are marked with the group `prefect`."""

from collections.abc import Iterator

import pytest

from dealsync.local_prefect import LocalPrefect


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPrefect]:
    """A server: it takes a quarter of a minute to start. One module after the other serves its flows on it."""
    with LocalPrefect.running(tmp_path_factory.mktemp("prefect")) as server:
        yield server
