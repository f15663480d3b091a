"""What it costs to keep what was read: `python -m benchmarks.keeping`.

Pages of orders (100), deals (250) and contacts (250) as the APIs give them, kept in SQLite: read for the first time,
read again as they were, and read again with another value in every object. CPU of this process, as others may be at
work beside it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, report
from dealsync.core.models import Contact, Deal, Money, Order
from dealsync.ledger.database import open_database
from dealsync.ledger.mirror import Mirror
from tests.builders import contact, deal, order

LATER = timedelta(hours=1)
UNCHANGED_S = 0.015
"""The most that a page may cost that is read again as it was: the most frequent case by far."""
Page = Sequence[Any]


def main() -> None:
    """Print the table."""
    report(figures("--quick" in sys.argv))


def figures(quick: bool) -> Iterator[Figure]:
    """Yield rows a second of CPU, for each kind of object."""
    pages = 8 if quick else 80
    kinds: list[tuple[str, int, Callable[[int], Any], Callable[[Any], Any], str]] = [
        ("orders", 100, an_order, another_order, "keep_orders"),
        ("deals", 250, a_deal, another_deal, "keep_deals"),
        ("contacts", 250, a_contact, another_contact, "keep_contacts"),
    ]
    for name, size, make, change, method in kinds:
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            mirror = Mirror(open_database(f"sqlite:///{Path(folder) / 'keeping.db'}"))
            keep: Callable[[Page], None] = getattr(mirror, method)
            read = [[make(n) for n in range(page * size, (page + 1) * size)] for page in range(pages)]
            changed = [[change(one) for one in page] for page in read]
            for what, some, goal in (
                ("first read", read, None),
                ("unchanged", read, size / UNCHANGED_S),
                ("changed", changed, None),
            ):
                seconds = _cpu_s(keep, some)
                note = f"{seconds / pages * 1000:.1f} ms a page of {size}"
                yield Figure(f"keeping {name}, {what}", pages * size / seconds, "/s", goal=goal, note=note)


def an_order(number: int) -> Order:
    """Return an order with everything that one has."""
    return order(
        number,
        user_email=f"buyer{number}@example.com",
        receipt_url=f"https://store.example/receipt/{number}",
        identifier=f"5f1a2b3c-0000-4000-8000-{number:012}",
        customer_id=str(number),
        product_id="21",
        subtotal_minor=49000,
    )


def another_order(one: Order) -> Order:
    """Return it after a part of it was given back."""
    return replace(one, refunded=Money(1000, "USD"), updated_at=one.updated_at + LATER)


def a_deal(number: int) -> Deal:
    """Return a deal that an order has won."""
    stored = {"order_id": str(number), "order_number": str(number), "status": "paid", "amount_paid": "490"}
    return deal(number + 1, fields={**stored, "currency": "USD"}, contacts=(number + 1,), tags=("paid",))


def another_deal(one: Deal) -> Deal:
    """Return it after somebody set another price."""
    return replace(one, price=500, updated_at=one.updated_at + LATER)


def a_contact(number: int) -> Contact:
    """Return a contact with an address."""
    return contact(number + 1, f"buyer{number}@example.com")


def another_contact(one: Contact) -> Contact:
    """Return it after somebody added an address."""
    return replace(one, emails=(*one.emails, f"x{one.contact_id}@example.com"), updated_at=one.updated_at + LATER)


def _cpu_s(keep: Callable[[Page], None], pages: Sequence[Page]) -> float:
    began = time.process_time()
    for page in pages:
        keep(page)
    return time.process_time() - began


if __name__ == "__main__":
    main()
