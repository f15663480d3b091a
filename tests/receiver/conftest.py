"""The database of a receiver in process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from dealsync.ledger.database import open_database


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    opened = open_database(f"sqlite:///{tmp_path / 'dealsync.db'}")
    yield opened
    opened.dispose()
