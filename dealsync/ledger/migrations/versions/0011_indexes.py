"""Indexes for what is asked all the time of tables that only grow. One that somebody made by hand may be there."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

INDEXES: dict[str, list[tuple[str, ...]]] = {
    "claims": [("lead_id",)],
    "deals": [("status_id", "pipeline_id")],
    "findings": [("source",), ("lead_id",), ("ended_at",)],
    "inbox": [("object_id",), ("lead_text",), ("sender", "received_at")],
    "ledger": [("source",), ("planned_at",), ("state", "closed_at")],
    "reviews": [("decided_at",)],
    "runs": [("outcome", "started_at")],
}
FEW = (
    ("ix_inbox_has_body", "inbox", ["state", "received_at"], "length(body) > 0"),
    ("ix_ledger_is_alarm", "ledger", ["idempotency_key"], "alarm <> ''"),
)


def upgrade() -> None:
    for table, indexes in INDEXES.items():
        for columns in indexes:
            op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns), if_not_exists=True)
    for name, table, wanted, condition in FEW:
        where = sa.text(condition)
        op.create_index(name, table, wanted, if_not_exists=True, sqlite_where=where, postgresql_where=where)
    op.drop_index("ix_findings_kind", table_name="findings", if_exists=True)
