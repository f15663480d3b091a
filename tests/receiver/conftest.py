"""The database of a receiver in process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from dealsync.ledger.database import open_database
from tests.databases import place_sqlite


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    opened = open_database(place_sqlite(tmp_path / "dealsync.db"))
    yield opened
    opened.dispose()
