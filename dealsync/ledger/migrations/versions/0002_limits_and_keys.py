"""Limits and keys that all processes share: turns, blocks, OAuth tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "paces",
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("last_turn", sa.BigInteger(), nullable=False),
        sa.Column("hold_until", sa.BigInteger(), nullable=False),
        sa.Column("slow_until", sa.BigInteger(), nullable=False),
        sa.Column("urgent_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "flights",
        sa.Column("flight", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("flight"),
    )
    with op.batch_alter_table("flights") as batch_op:
        batch_op.create_index(batch_op.f("ix_flights_name"), ["name"], unique=False)

    op.create_table(
        "blocks",
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("blocked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "tokens",
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("access_token", sa.Text(), nullable=False),
        sa.Column("refresh_token", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("codes", sa.Text(), nullable=False),
        sa.Column("renewing_since", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )


def downgrade() -> None:
    for name in ("tokens", "blocks", "flights", "paces"):
        op.drop_table(name)
