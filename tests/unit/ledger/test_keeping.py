"""What is read again as it is stored costs no writing, and whatever differs is taken, however little it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event, select

from dealsync.core.models import Contact, Deal, Order, Subscription
from dealsync.core.plan import DealChange, Seen
from dealsync.ledger.mirror import Accepted, Mirror
from dealsync.ledger.tables import OrderRow, SightingRow
from tests.builders import NOW, contact, deal, invoice, order, subscription

READ = "https://store.example/receipt/17"
FULL_DEAL = deal(contacts=(81, 82), tags=("paid", "vip"), closed_at=NOW, fields={"order_id": "17", "other:511": "text"})
KEPT: dict[str, tuple[Callable[[Mirror], Callable[[Any], None]], Any]] = {
    "orders": (lambda mirror: mirror.keep_orders, order(receipt_url=f"{READ}?signature=1", refunded_at=NOW)),
    "subscriptions": (lambda mirror: mirror.keep_subscriptions, subscription(portal_url="https://x.example/b?s=1")),
    "invoices": (lambda mirror: mirror.keep_invoices, invoice()),
    "deals": (lambda mirror: mirror.keep_deals, FULL_DEAL),
    "contacts": (lambda mirror: mirror.keep_contacts, replace(contact(81, "a@b.example"), typed=("A@b.example",))),
}


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """Gather the first word of whatever is sent to the database."""
    sent: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        sent.append(statement.split()[0])

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


@pytest.mark.parametrize("table", list(KEPT))
def test_keeping__what_is_read_again_as_it_is_stored_writes_nothing(engine: Engine, table: str) -> None:
    keep, one = KEPT[table]
    with statements(engine) as sent:
        keep(Mirror(engine))([one])
    assert "INSERT" in sent
    with statements(engine) as sent:
        keep(Mirror(engine))([one])
    assert set(sent) == {"SELECT"}


def test_keeping__another_signature_of_the_same_link_is_no_change(engine: Engine) -> None:
    mirror, (one, same, other) = Mirror(engine), (order(receipt_url=f"{READ}{s}") for s in ("?s=1", "?s=2", "1?s=3"))
    mirror.keep_orders([one])
    with statements(engine) as sent:
        mirror.keep_orders([same])
    assert set(sent) == {"SELECT"}
    mirror.keep_orders([other])
    assert list(mirror.orders()["receipt_url"]) == [f"{READ}1?s=3"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (order(), order(user_name="Another Name")),
        (order(), order(refunded_at=NOW)),
        (subscription(), subscription(is_cancelled=True)),
        (FULL_DEAL, replace(FULL_DEAL, tags=("vip", "paid"))),
        (FULL_DEAL, replace(FULL_DEAL, fields={"order_id": "17", "other:511": "another text"})),
        (FULL_DEAL, replace(FULL_DEAL, contact_ids=(82, 81))),
        (contact(81, "a@b.example"), contact(81, "a@b.example", "b@b.example")),
        (contact(81, "a@b.example"), replace(contact(81, "a@b.example"), typed=("A@b.example",))),
    ],
)
def test_keeping__whatever_differs_is_taken_though_the_time_is_the_same(
    engine: Engine, before: Order | Subscription | Deal | Contact, after: Order | Subscription | Deal | Contact
) -> None:
    mirror = Mirror(engine)
    keep: dict[type, Callable[[Any], None]] = {
        Order: mirror.keep_orders,
        Subscription: mirror.keep_subscriptions,
        Deal: mirror.keep_deals,
        Contact: mirror.keep_contacts,
    }
    for one in (before, after):
        keep[type(one)]([one])
    # It is stored now as it was read last: to read it once more writes nothing.
    with statements(engine) as sent:
        keep[type(after)]([after])
    assert set(sent) == {"SELECT"}


def test_keeping__of_a_page_only_what_differs_is_written_and_told(engine: Engine) -> None:
    mirror = Mirror(engine)
    page = [order(i) for i in range(1000, 1100)]
    mirror.keep_orders(page)
    with engine.begin() as db:
        db.execute(SightingRow.__table__.delete())  # type: ignore[attr-defined]
    page[7] = order(1007, total=7, updated_at=NOW)
    page[8] = order(1008, total=8, updated_at=NOW - timedelta(days=9))  # older than what is stored
    mirror.keep_orders([*page, order(2000)])
    with engine.connect() as db:
        told = {row.about: row.is_first for row in db.execute(select(SightingRow.about, SightingRow.is_first))}
        rows = db.execute(select(OrderRow.order_id, OrderRow.total_minor))
        totals = {row.order_id: row.total_minor for row in rows}
    assert told == {"order:1007": False, "order:2000": True}
    assert totals == {str(i): 49000 for i in range(1000, 1100)} | {"1007": 7, "2000": 49000}


def test_accepted__the_changes_of_a_batch_are_one_transaction(engine: Engine) -> None:
    mirror, commits = Mirror(engine), list[None]()
    mirror.keep_deals([deal(31), deal(32), deal(33)])
    event.listen(engine, "commit", lambda _conn: commits.append(None))
    prices = {31: 100, 32: 200, 99: 300}  # one was never read
    mirror.apply_changes([Accepted(i, DealChange(price=price), NOW) for i, price in prices.items()])
    assert len(commits) == 1
    stands = mirror.stands([31, 32, 33, 99])
    assert {i: (d.price, d.written) for i, d in stands.items()} == {
        31: (100, {"price": "100"}),
        32: (200, {"price": "200"}),
        33: (490, {}),
    }


def test_remember__what_is_known_already_is_not_written_again(engine: Engine) -> None:
    mirror = Mirror(engine)
    mirror.keep_deals([deal(31), deal(32)])
    mirror.remember([Seen(31, {"price": "1"}), Seen(32, {"price": "2"})])
    with statements(engine) as sent:
        mirror.remember([Seen(31, {"price": "1"})])
    assert set(sent) == {"SELECT"}
    mirror.remember([Seen(31, {"price": "1"}), Seen(32, {"status_id": "142"})])
    written = {i: d.written for i, d in mirror.stands([31, 32]).items()}
    assert written == {31: {"price": "1"}, 32: {"price": "2", "status_id": "142"}}
