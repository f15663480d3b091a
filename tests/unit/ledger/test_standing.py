"""How a schema stands, looked at without changing it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from dealsync.errors import DatabaseError
from dealsync.ledger import revisions
from dealsync.ledger.database import connect, open_database, standing
from dealsync.ledger.revisions import MIGRATIONS, newest


def test_standing__of_a_migrated_schema_is_what_is_needed(engine: Engine) -> None:
    found = standing(engine)
    assert found.present == found.needed
    assert found.needed


def test_standing__of_an_older_schema_is_told_and_stays(engine: Engine) -> None:
    needed = standing(engine).needed

    def claim(version: str | None) -> None:
        with engine.begin() as db:
            db.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})

    claim("0001")
    assert [standing(engine).present for _ in range(2)] == ["0001", "0001"]
    claim(needed)


def test_standing__of_a_database_without_a_schema_makes_none(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    engine = connect(f"sqlite:///{path}")
    assert standing(engine).present is None
    assert inspect(engine).get_table_names() == []
    engine.dispose()


def test_standing__of_a_file_that_is_not_there_makes_none(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    with pytest.raises(DatabaseError, match=r"There is no file .*none\.db yet"):
        standing(connect(f"sqlite:///{path}"))
    assert not path.exists()


def test_standing__of_what_is_no_database_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_text("this is a text, and no database " * 99, encoding="utf-8")
    with pytest.raises(DatabaseError, match="cannot be used: file is not a database"):
        standing(connect(f"sqlite:///{path}"))


def test_schema__that_a_newer_program_made_is_refused_in_one_line_and_stays(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'newer.db'}"
    made = open_database(url)
    with made.begin() as db:
        db.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(
        DatabaseError, match=r"newer\.db cannot be used: Can't locate revision identified by '9999'"
    ) as no:
        open_database(url)
    assert "\n" not in str(no.value)
    assert standing(made).present == "9999"
    made.dispose()


def test_schema__that_claims_two_revisions_is_refused_in_one_line(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'two.db'}"
    made = open_database(url)
    with made.begin() as db:
        db.execute(text("INSERT INTO alembic_version VALUES ('0009')"))
    with pytest.raises(DatabaseError, match=r"two\.db cannot be used: its table alembic_version names several"):
        open_database(url)
    made.dispose()


def test_newest__of_an_installation_without_its_steps_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revisions, "MIGRATIONS", tmp_path)
    newest.cache_clear()
    with pytest.raises(DatabaseError, match="install it anew"):
        open_database(f"sqlite:///{tmp_path / 'any.db'}")


def test_newest__is_the_last_step_that_alembic_knows() -> None:
    assert newest() == ScriptDirectory(str(MIGRATIONS)).get_current_head()


def test_database__that_is_up_to_date_is_opened_without_alembic(tmp_path: Path) -> None:
    """Its import takes longer than most commands."""
    url = f"sqlite:///{tmp_path / 'made.db'}"
    open_database(url).dispose()
    script = (
        "import sys; from dealsync.ledger.database import open_database; open_database(sys.argv[1]);"
        "print('alembic' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", script, url], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
