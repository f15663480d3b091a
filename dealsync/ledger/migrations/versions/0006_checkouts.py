"""Checkouts for deals: what they are made from, what they were opened for, and what was refused."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("deals") as table:
        table.add_column(sa.Column("other_fields", sa.JSON(), nullable=True))
    for name in ("lead_contacts", "contact_emails"):
        with op.batch_alter_table(name) as table:
            table.add_column(sa.Column("place", sa.BigInteger(), nullable=False, server_default="0"))
    with op.batch_alter_table("contact_emails") as table:
        table.add_column(sa.Column("typed", sa.Text(), nullable=False, server_default=""))
    with op.batch_alter_table("checkouts") as table:
        table.add_column(sa.Column("mark", sa.Text(), nullable=False, server_default=""))
    op.create_index("ix_checkouts_lead_text", "checkouts", ["lead_text"])
    with op.batch_alter_table("ledger") as table:
        table.add_column(sa.Column("is_refused", sa.Boolean(), nullable=False, server_default=sa.false()))
    # What was read so far lacks all that: the next run reads it again, once.
    op.execute("DELETE FROM watermarks WHERE name IN ('deals', 'contacts')")
