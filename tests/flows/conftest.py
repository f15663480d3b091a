"""One Prefect server for the flow tests that do not mind each other's runs: it takes a quarter of a minute to start."""

from collections.abc import Iterator

import pytest

from dealsync.local_prefect import LocalPrefect


@pytest.fixture(scope="session")
def shared_prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPrefect]:
    with LocalPrefect.running(tmp_path_factory.mktemp("shared-prefect")) as server:
        yield server
