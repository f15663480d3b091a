"""What becomes of each webhook, and the Kommo account as last read."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    with op.batch_alter_table("inbox") as table:
        table.add_column(sa.Column("sender", sa.Text(), nullable=False, server_default="lemon_squeezy"))
        table.add_column(sa.Column("object_created_at", TIME, nullable=True))
        table.add_column(sa.Column("object_updated_at", TIME, nullable=True))
        # The hourly run has looked at whatever came before there was a hot path.
        table.add_column(sa.Column("state", sa.String(length=20), nullable=False, server_default="done"))
        table.add_column(sa.Column("attempts", sa.BigInteger(), nullable=False, server_default="0"))
        table.add_column(
            sa.Column("next_try_at", TIME, nullable=False, server_default=sa.text("'2020-01-01 00:00:00+00:00'"))
        )
        table.add_column(sa.Column("error", sa.Text(), nullable=True))
        table.add_column(sa.Column("result", sa.Text(), nullable=False, server_default=""))
        table.add_column(sa.Column("changes", sa.BigInteger(), nullable=False, server_default="0"))
        table.add_column(sa.Column("done_at", TIME, nullable=True))
    op.execute("UPDATE inbox SET next_try_at = received_at")
    op.create_index("ix_inbox_state_next_try_at", "inbox", ["state", "next_try_at"])
    op.create_index("ix_inbox_done_at", "inbox", ["done_at"])
    op.create_table(
        "accounts",
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("view", sa.JSON(), nullable=False),
        sa.Column("read_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
