"""What objects were before they changed, since when findings are out of step, which reports were sent."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    past = op.create_table(
        "past",
        sa.Column("what", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=400), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("values", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("what", "name", "until"),
    )
    op.create_table(
        "sendings",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.add_column("findings", sa.Column("since", sa.DateTime(timezone=True), nullable=True))
    refunded = [
        *_before_refunds("orders", "order_id", "order_status", "product_name", "variant_name"),
        *_before_refunds("invoices", "invoice_id", "invoice_status"),
    ]
    if refunded:
        op.bulk_insert(past, refunded)


def _before_refunds(table: str, key: str, status: str, *names: str) -> list[dict[str, Any]]:
    """What is known as refunded was paid until then."""
    kept = (status, "total_minor", "refunded_minor", "refunded_at", "currency", *names)
    columns: list[Any] = [sa.column(name) for name in kept if name != "refunded_at"]
    times = [sa.column(name, sa.DateTime(timezone=True)) for name in ("refunded_at", "updated_at")]
    query = sa.select(sa.column(key), *columns, *times).select_from(sa.table(table))
    query = query.where(sa.or_(sa.column("refunded_minor") > 0, sa.column(status) == "fraudulent"))
    found = []
    for row in op.get_bind().execute(query).mappings():
        until: datetime = row["refunded_at"] or row["updated_at"]
        values = {name: row[name] for name in kept} | {status: "paid", "refunded_minor": 0, "refunded_at": None}
        aware = until if until.tzinfo else until.replace(tzinfo=UTC)
        found.append({"what": table, "name": row[key], "until": aware, "values": values})
    return found
