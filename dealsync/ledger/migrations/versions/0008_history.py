"""What was seen and done, step by step: the newest state alone does not tell why a deal is as it is."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "sightings",
        sa.Column("sighting_id", NUMBER, nullable=False),
        sa.Column("about", sa.String(length=80), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("how", sa.String(length=20), nullable=False),
        sa.Column("is_first", sa.Boolean(), nullable=False),
        sa.Column("is_own", sa.Boolean(), nullable=False),
        sa.Column("changed_at", TIME, nullable=True),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("sighting_id"),
    )
    op.create_table(
        "placings",
        sa.Column("placing_id", NUMBER, nullable=False),
        sa.Column("order_id", sa.String(length=64), nullable=False),
        sa.Column("lead_id", sa.BigInteger(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("placing_id"),
    )
    op.create_table(
        "steps",
        sa.Column("step_id", NUMBER, nullable=False),
        sa.Column("idempotency_key", sa.String(length=200), nullable=False),
        sa.Column("step", sa.String(length=20), nullable=False),
        sa.Column("was", sa.String(length=20), nullable=True),
        sa.Column("at", TIME, nullable=False),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("by_reading", sa.Boolean(), nullable=False),
        sa.Column("lead_id", sa.BigInteger(), nullable=True),
        sa.Column("result_id", sa.BigInteger(), nullable=True),
        sa.Column("words", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("step_id"),
    )
    op.create_table(
        "past_findings",
        sa.Column("past_finding_id", NUMBER, nullable=False),
        sa.Column("finding", sa.String(length=400), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("lead_id", sa.BigInteger(), nullable=True),
        sa.Column("first_seen_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("past_finding_id"),
    )
    for name, column in (
        ("sightings", "about"), ("sightings", "at"), ("placings", "order_id"), ("placings", "lead_id"),
        ("steps", "idempotency_key"), ("steps", "at"), ("past_findings", "source"), ("past_findings", "lead_id"),
        ("past_findings", "ended_at"),
    ):  # fmt: skip
        op.create_index(f"ix_{name}_{column}", name, [column])
    with op.batch_alter_table("findings") as table:
        table.add_column(sa.Column("reason", sa.Text(), nullable=False, server_default=""))
    # What was linked before there was a history: when, and by what, is known.
    op.execute(
        "INSERT INTO placings (order_id, lead_id, tier, evidence, at) "
        "SELECT order_id, lead_id, tier, evidence, linked_at FROM links ORDER BY linked_at, order_id"
    )
