"""Evidence (webhooks, claims, checkouts, merges), decided reviews, and the parts of an order's total."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
NEW_TABLES = ("companies", "customers", "merges", "inbox", "claims", "checkouts")
TEXTS, AMOUNTS = ("identifier", "customer_id", "product_id"), ("discount_minor", "tax_minor", "setup_fee_minor")


def upgrade() -> None:
    with op.batch_alter_table("orders") as table:
        for name in TEXTS:
            table.add_column(sa.Column(name, sa.Text(), nullable=False, server_default=""))
        table.add_column(sa.Column("subtotal_minor", sa.BigInteger(), nullable=True))
        for name in AMOUNTS:
            table.add_column(sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    with op.batch_alter_table("reviews") as table:
        table.add_column(sa.Column("details", sa.JSON(), nullable=False, server_default="[]"))
        table.add_column(sa.Column("state", sa.String(length=20), nullable=False, server_default="open"))
        table.add_column(sa.Column("decision", sa.Text(), nullable=True))
        table.add_column(sa.Column("decided_by", sa.Text(), nullable=True))
        table.add_column(sa.Column("decided_at", TIME, nullable=True))
        table.create_index("ix_reviews_state", ["state"])
    _evidence()
    # What is new in an order was never read: walk the lists once more. Watermarks are kept by store from now on.
    op.execute("DELETE FROM watermarks WHERE name IN ('orders', 'subscriptions', 'invoices')")


def _evidence() -> None:
    op.create_table(
        "customers",
        sa.Column("customer_id", sa.String(length=64), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("customer_id"),
    )
    op.create_table(
        "companies",
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("company_id", sa.BigInteger(), nullable=True),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "merges",
        sa.Column("gone_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("lead_id", sa.BigInteger(), nullable=True),
        sa.Column("first_sought_at", TIME, nullable=False),
        sa.Column("sought_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("gone_id"),
    )
    op.create_table(
        "inbox",
        sa.Column("event_id", sa.String(length=100), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("event_name", "object_type", "object_id")),
        *(sa.Column(name, sa.Text(), nullable=True) for name in ("order_id", "subscription_id", "store_id")),
        sa.Column("test_mode", sa.Boolean(), nullable=False),
        sa.Column("custom", sa.JSON(), nullable=False),
        sa.Column("lead_text", sa.Text(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_table(
        "claims",
        sa.Column("nonce", sa.String(length=64), nullable=False),
        *(sa.Column(name, sa.String(length=64), nullable=False) for name in ("order_id", "order_identifier")),
        sa.Column("lead_id", sa.BigInteger(), nullable=False),
        sa.Column("variant_id", sa.Text(), nullable=False),
        sa.Column("issued_at", TIME, nullable=False),
        sa.Column("claimed_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("nonce", "order_id", "order_identifier"),
    )
    op.create_table(
        "checkouts",
        sa.Column("checkout_id", sa.String(length=64), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("store_id", "variant_id", "lead_text", "email")),
        sa.Column("custom_price", sa.BigInteger(), nullable=True),
        sa.Column("custom", sa.JSON(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("test_mode", sa.Boolean(), nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("checkout_id"),
    )
    for table, columns in {
        "inbox": ("order_id", "subscription_id", "received_at"),
        "claims": ("order_id",),
        "checkouts": ("created_at",),
    }.items():
        for column in columns:
            op.create_index(f"ix_{table}_{column}", table, [column])


def downgrade() -> None:
    for name in NEW_TABLES:
        op.drop_table(name)
    with op.batch_alter_table("reviews") as table:
        table.drop_index("ix_reviews_state")
        for name in ("details", "state", "decision", "decided_by", "decided_at"):
            table.drop_column(name)
    with op.batch_alter_table("orders") as table:
        for name in (*TEXTS, "subtotal_minor", *AMOUNTS):
            table.drop_column(name)
