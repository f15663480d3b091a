"""Brings a schema up to date. Alembic takes longer to import than most commands take to run, so who needs no step of
it does without.
"""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from dealsync.errors import DatabaseError
from dealsync.ledger.revisions import MIGRATIONS


def upgrade(connection: Connection) -> None:
    """Take every step that is missing. Raises DatabaseError for a revision that this program does not know."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise DatabaseError(str(error)) from error
