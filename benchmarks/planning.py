"""How long one plan takes and how much memory it needs, by the number of orders: `python -m benchmarks.planning`.

As many deals as orders, all linked; one in a hundred has drifted (paid, but the deal is open).
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from dealsync.core.mapping import FIELD_KEYS
from dealsync.core.owners import Owners, RotaUser
from dealsync.core.planner import make_plan
from dealsync.core.policy import Funnel, Policy
from dealsync.core.tables import (
    Tables,
)
from tests.builders import World

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SIZES = (10_000, 100_000)
POLICY = Policy(frozenset({"1"}), False, (Funnel(1, 3, 4),), "USD", Owners(users=(RotaUser(501),)), notify_since=NOW)


def build(size: int) -> Tables:
    """Return the tables of an account with `size` orders and as many deals."""
    ids = pd.Series(np.arange(size).astype(str), dtype="str")
    then = pd.Series(pd.Timestamp(NOW - timedelta(days=30)), index=ids.index)
    drifted = np.arange(size) % 100 == 0
    orders = pd.DataFrame(
        {"order_id": ids, "store_id": "1", "number": np.arange(size), "order_status": "paid", "total_minor": 49000,
         "refunded_minor": 0, "currency": "USD", "user_email": ids + "@example.com", "user_name": "B",
         "product_name": "Pro", "variant_name": "Yearly", "variant_id": "31", "quantity": 1, "test_mode": False,
         "created_at": then, "updated_at": then, "refunded_at": pd.Series(pd.NaT, index=ids.index, dtype=then.dtype),
         "receipt_url": pd.Series(None, index=ids.index, dtype="str"), "identifier": ids, "customer_id": ids,
         "product_id": "21", "subtotal_minor": pd.Series(49000, index=ids.index, dtype="Int64"), "discount_minor": 0,
         "tax_minor": 0, "setup_fee_minor": 0}
    )  # fmt: skip
    stored = {
        "order_id": ids,
        "order_number": ids,
        "status": "paid",
        "amount_paid": "490",
        "currency": "USD",
        "lifetime_revenue": "490",
    }
    deals = pd.DataFrame(
        {"lead_id": np.arange(size), "name": "D", "pipeline_id": 1, "status_id": np.where(drifted, 2, 142),
         "price": 490, "responsible_user_id": pd.Series(501, index=ids.index, dtype="Int64"), "created_at": then,
         "updated_at": then, "closed_at": then, "is_deleted": False,
         "written": pd.Series("{}", index=ids.index, dtype="str"),
         "entered_at": pd.Series(pd.NaT, index=ids.index, dtype=then.dtype),
         "entered_by": pd.Series(None, index=ids.index, dtype="Int64"),
         **{f"ls_{key}": stored.get(key, pd.Series(None, index=ids.index, dtype="str")) for key in FIELD_KEYS}}
    )  # fmt: skip
    none = World().tables()
    links = pd.DataFrame({"order_id": ids, "lead_id": np.arange(size), "tier": "field", "evidence": "x"})
    return Tables(
        orders=orders,
        subscriptions=none.subscriptions,
        invoices=none.invoices,
        deals=deals,
        contact_emails=none.contact_emails,
        lead_contacts=none.lead_contacts,
        links=links,
        ledger=none.ledger,
        hints=none.hints,
        checkouts=none.checkouts,
        merges=none.merges,
        decisions=none.decisions,
        customers=none.customers,
        companies=none.companies,
    )


def measure(size: int) -> None:
    """Print one row; called in a process of its own, so that its peak memory is its own."""
    tables = build(size)
    began = time.perf_counter()
    plan = make_plan(tables, POLICY, NOW)
    seconds = time.perf_counter() - began
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{size:>10,} {len(plan.actions):>10,} {seconds:>9.2f} s {peak_mb:>9.0f} MB", flush=True)


def main() -> None:
    """Print the table."""
    if len(sys.argv) > 1:
        measure(int(sys.argv[1]))
        return
    print(f"{'orders':>10} {'actions':>10} {'one plan':>11} {'peak':>12}", flush=True)
    for size in SIZES:
        subprocess.run([sys.executable, "-m", "benchmarks.planning", str(size)], check=True)  # noqa: S603


if __name__ == "__main__":
    main()
