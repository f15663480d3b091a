"""Forgetting a person: nothing of him is left in any table, and what was decided stays."""

from __future__ import annotations

from sqlalchemy import Engine, text

from dealsync.core.evidence import Sender
from dealsync.core.plan import Action, Kind, NewContact, Outcome, Plan
from dealsync.core.states import State
from dealsync.ledger.erasure import erase_person
from dealsync.ledger.inbox import Arrival, Inbox
from dealsync.ledger.journal import Journal
from dealsync.ledger.mirror import Mirror
from dealsync.ledger.tables import Base
from tests.builders import NOW, contact, order, subscription
from tests.unit.core.test_inbox import event

ANN, BOB = "Ann.Example@example.com", "bob@example.com"
BODY = b'{"meta":{"custom_data":{"name":"Ann"}},"data":{"attributes":{"user_email":"%s"}}}'


def everything(engine: Engine) -> str:
    """Every value of every table, in lower case."""
    with engine.connect() as db:
        tables = Base.metadata.sorted_tables
        rows = [tuple(row) for table in tables for row in db.execute(text(f"SELECT * FROM {table.name}"))]  # noqa: S608
    return " ".join(bytes(v).decode() if isinstance(v, bytes | memoryview) else str(v) for r in rows for v in r).lower()


def fill(engine: Engine) -> None:
    custom = {"kommo_lead_id": "31", "name": "Ann Example"}
    inbox, mirror, journal = Inbox(engine), Mirror(engine), Journal(engine)
    arrivals = [Arrival(event(event_id=name, custom=custom), BODY % mail.encode(), NOW) for name, mail in
                (("w-1", ANN), ("w-2", BOB), ("w-3", ANN.lower()))]  # fmt: skip
    form = b"contacts%5Badd%5D=ann.example%40example.com"
    inbox.keep([*arrivals, Arrival(event(event_id="w-4", sender=Sender.KOMMO), form, NOW)])
    mirror.keep_orders([order(17, user_email=ANN, user_name="Ann Example"), order(18, user_email=BOB, user_name="Bob")])
    mirror.keep_subscriptions([subscription(9, user_email=ANN)])
    mirror.keep_contacts([contact(81, ANN.lower()), contact(82, BOB)])
    made = Action(
        "order:17:contact", Kind.CREATE_CONTACT, "order:17", None, "new", "none", NewContact("Ann Example", ANN, None)
    )
    journal.record(Plan(actions=(made,)), "run", NOW)
    journal.close([Outcome(made.key, State.APPLIED, None, 81)], [], NOW, run_id="run")


def test_forget__leaves_nothing_of_the_person_and_all_of_the_others(engine: Engine) -> None:
    fill(engine)
    erased = erase_person(engine, f"  {ANN.upper()} ")
    assert erased == {"webhooks": 3, "actions": 1, "checkouts": 0, "orders": 1, "subscriptions": 1, "contacts": 1,
                      "addresses": 1}  # fmt: skip
    left = everything(engine)
    assert "ann.example" not in left
    assert left.count("ann example") == 1  # the name that came with Bob's webhook is not known to be hers
    assert BOB in left
    assert Inbox(engine).find("w-1").event.custom == {"kommo_lead_id": "31"}
    assert Journal(engine).result_ids(["order:17:contact"]) == {"order:17:contact": 81}


def test_forget__somebody_who_is_not_there_changes_nothing(engine: Engine) -> None:
    fill(engine)
    before = everything(engine)
    assert set(erase_person(engine, "nobody@example.com").values()) == {0}
    assert everything(engine) == before
