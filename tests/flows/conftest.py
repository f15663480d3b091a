from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.accounts import Accounts, simulated


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Accounts]:
    """Two almost empty accounts: what a story needs, it puts there."""
    with simulated(monkeypatch, tmp_path) as found:
        found.init()
        yield found


@pytest.fixture
def seeded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Accounts]:
    """The seeded world of 120 orders, of whose paid ones 15% have a deal that is still open."""
    with simulated(monkeypatch, tmp_path, orders=120) as found:
        found.init()
        yield found
