from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from dealsync.ledger.database import open_database
from dealsync.ledger.tables import Base
from tests import postgres


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    if not postgres.is_available():
        pytest.skip(postgres.MISSING)
    with postgres.running() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty, migrated database of each kind."""
    sqlite = f"sqlite:///{tmp_path / 'test.db'}"
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    found = open_database(url)
    yield found
    if request.param == "postgresql":
        with found.begin() as db:
            db.execute(text("DROP TABLE alembic_version"))
            Base.metadata.drop_all(db)
    found.dispose()
