"""The events of a month as CSV: a row for each payment and refund, and nothing personal."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from datetime import UTC
from io import StringIO

from dealsync.core.figures import Figures, Placed

HEAD = (
    "month", "what", "at_utc", "order_number", "order_id", "invoice_id", "subscription_id", "product", "currency",
    "amount_minor", "amount", "deal_id", "owner_id", "owner", "evidence",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What spreadsheets take for the beginning of a formula."""
BYTE_ORDER_MARK = "\ufeff"
"""By it Excel knows that the file is UTF-8."""


def sheet(figures: Figures) -> bytes:
    """Return the CSV of a month, the oldest event first. Refunds are positive, too: `what` says what they are."""
    owners = {row.user_id: row.name for row in figures.by_owner if row.user_id is not None}
    text = StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(HEAD)
    for placed in figures.events:
        writer.writerow(harmless(cell) for cell in _row(figures.month, placed, owners))
    return (BYTE_ORDER_MARK + text.getvalue()).encode()


def _row(month: str, placed: Placed, owners: Mapping[int, str]) -> tuple[object, ...]:
    event = placed.event
    kind, _, source_id = event.source.partition(":")
    return (
        month,
        event.movement.value,
        event.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        event.number,
        event.order_id,
        source_id if kind == "invoice" else None,
        event.subscription_id,
        event.product,
        event.amount.currency,
        event.amount.minor,
        format(event.amount.major, "f"),
        placed.lead_id,
        placed.owner_id,
        owners.get(placed.owner_id or 0, ""),
        placed.tier,
    )


def harmless(cell: object) -> object:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip(" ").startswith(FORMULA) else cell
