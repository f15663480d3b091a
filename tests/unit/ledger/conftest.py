from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from dealsync.ledger.database import open_database
from dealsync.ledger.tables import Base
from tests import postgres
from tests.databases import place_sqlite


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    if not postgres.is_available():
        pytest.skip(postgres.MISSING)
    with postgres.running() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty, migrated database of each kind."""
    url = place_sqlite(tmp_path / "test.db") if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    found = open_database(url)
    yield found
    if request.param == "postgresql":
        tables = ", ".join(f'"{table.name}"' for table in Base.metadata.sorted_tables)
        with found.begin() as db:
            db.execute(text(f"TRUNCATE {tables} RESTART IDENTITY"))
    found.dispose()
