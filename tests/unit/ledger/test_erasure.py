"""Forgetting a person: nothing of him is left in any table, and what was decided stays."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, insert, text

from dealsync.core.evidence import Sender
from dealsync.core.letters import letter
from dealsync.core.plan import Action, Change, CheckoutWish, Kind, NewContact, Note, Outcome, Plan
from dealsync.core.states import State
from dealsync.core.texts import Texts
from dealsync.ledger.entries import Entries
from dealsync.ledger.erasure import FORGOTTEN, erase_person
from dealsync.ledger.inbox import Arrival, Inbox
from dealsync.ledger.journal import Journal
from dealsync.ledger.mirror import Mirror
from dealsync.ledger.runs import LOCK
from dealsync.ledger.tables import Base, LockRow
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


NAME = "Mü <Ann> O'Neill"
KINDS = {"email": Kind.EMAIL, "checkout": Kind.CHECKOUT}


@pytest.fixture
def _held(engine: Engine) -> None:
    """The run of these tests holds the lock: only then is what failed recorded."""
    with engine.begin() as db:
        db.execute(insert(LockRow).values(name=LOCK, holder="run", expires_at=NOW))


def meant(kind: str, address: str, name: str = NAME) -> Change:
    if kind == "checkout":
        return CheckoutWish(
            lead_id=31, store_id="1", variant_id="2", mark="a1b2", email=address, name=name, custom={"contact": name}
        )
    values = {"url": "https://acme.example/1", "price": "", "expires": "", "name": name, "company": "Acme"}
    return letter("mail_link", Texts(), address, name, values)


def record(engine: Engine, key: str, kind: Kind, change: Change, outcome: Outcome | None, *, sent: bool = True) -> None:
    """Write an action down, and what became of it: None for what is not known yet."""
    journal = Journal(engine)
    journal.record(Plan(actions=(Action(key, kind, "lead:31", 31, "new", "none", change),)), "run", NOW)
    if sent:
        journal.mark_sent({key: 31}, "run", NOW)
    journal.close([outcome] if outcome else [], [], NOW, run_id="run")


@pytest.mark.usefixtures("_held")
@pytest.mark.parametrize("kind", ["email", "checkout"])
@pytest.mark.parametrize("how", ["planned", "failed", "refused", "applied"])
@pytest.mark.parametrize("asked", ["mue@müller.de", "MUE@xn--mller-kva.de"])
def test_forget__what_was_meant_for_the_person_is_emptied_and_never_sent(
    engine: Engine, kind: str, how: str, asked: str
) -> None:
    key = f"lead:31:{kind}"
    became = {
        "failed": Outcome(key, State.FAILED, 31, error="later"),
        "refused": Outcome(key, State.FAILED, 31, error=f"{NAME} <mue@müller.de> is nobody", is_refused=True),
        "applied": Outcome(key, State.APPLIED, 31),
    }
    change = meant(kind, "mue@müller.de" if kind == "checkout" else "mue@xn--mller-kva.de")
    record(engine, key, KINDS[kind], change, became.get(how), sent=how != "planned")
    assert erase_person(engine, asked)["actions"] == 1
    left = everything(engine)
    for word in ("mue@", "müller.de", "o'neill", "o&#39;neill", "mü <", "mü &lt;"):
        assert word not in left
    entry = Entries(engine).find(key)
    assert entry.state is (State.APPLIED if how == "applied" else State.DISMISSED)
    assert entry.is_refused == (how == "refused")
    assert entry.error == {
        "planned": FORGOTTEN, "failed": "later", "refused": "(erased) <(erased)> is nobody", "applied": None,
    }[how]  # fmt: skip
    again = Action(key, KINDS[kind], "lead:31", 31, "new", "none", change)
    assert Journal(engine).record(Plan(actions=(again,)), "run", NOW) == ()
    assert Journal(engine).unfinished().actions == ()
    assert erase_person(engine, asked)["actions"] == 0


@pytest.mark.usefixtures("_held")
def test_forget__what_may_be_on_its_way_is_left_until_that_is_known(engine: Engine) -> None:
    record(engine, "lead:31:email", Kind.EMAIL, meant("email", ANN), None)
    assert erase_person(engine, ANN)["actions"] == 0
    assert [one.action.key for one in Journal(engine).doubts()] == ["lead:31:email"]
    Journal(engine).close([Outcome("lead:31:email", State.APPLIED, 31)], [], NOW, run_id="run")
    assert erase_person(engine, ANN)["actions"] == 1
    assert "ann.example" not in everything(engine)


@pytest.mark.usefixtures("_held")
def test_forget__what_waits_for_others_says_what_it_has_to_say(engine: Engine) -> None:
    """Joanna is not Ann, though her name holds the other, and a note about Ann is the deal's."""
    Mirror(engine).keep_orders([order(17, user_email=ANN, user_name="Ann")])
    waits = {
        "lead:31:email": (Kind.EMAIL, meant("email", "joanna@example.com", "Joanna")),
        "lead:32:email": (Kind.EMAIL, meant("email", f"jo{ANN}", "Joanna")),
        "lead:31:note": (Kind.NOTE, Note("Ann has a link")),
    }
    for key, (kind, change) in waits.items():
        record(engine, key, kind, change, Outcome(key, State.FAILED, 31, error="later"))
    assert erase_person(engine, ANN)["actions"] == 0
    assert {a.key: a.change for a in Journal(engine).unfinished().actions} == {k: c for k, (_, c) in waits.items()}


@pytest.mark.usefixtures("_held")
def test_forget__names_are_found_as_html_and_those_of_letters_too(engine: Engine) -> None:
    """The contact is gone, and its name stands in nothing but the ledger."""
    done = Outcome("lead:31:email", State.APPLIED, 31)
    record(engine, done.key, Kind.EMAIL, meant("email", "mue@müller.de"), done)
    told = Outcome("lead:31:note", State.APPLIED, 31, 5)
    record(engine, told.key, Kind.NOTE, Note("Mü &lt;Ann&gt; O'Neill and MÜ &LT;ANN&GT; O&#39;NEILL"), told)
    assert erase_person(engine, "mue@müller.de")["actions"] == 2
    assert "neill" not in everything(engine)


@pytest.mark.usefixtures("_held")
def test_forget__a_person_who_is_called_like_a_word_of_ours_breaks_no_entry(engine: Engine) -> None:
    Mirror(engine).keep_orders([order(17, user_email=ANN, user_name="Note")])
    done = Outcome("lead:31:note", State.APPLIED, 31, 5)
    record(engine, done.key, Kind.NOTE, Note("A note of Note"), done)
    assert erase_person(engine, ANN)["actions"] == 1
    with engine.begin() as db:
        db.execute(text("UPDATE ledger SET state = 'failed'"))
    (action,) = Journal(engine).unfinished().actions
    assert action.change == Note("A (erased) of (erased)")


@pytest.mark.parametrize("nobody", ["", "  "])
def test_forget__no_address_at_all_erases_nothing(engine: Engine, nobody: str) -> None:
    fill(engine)
    Mirror(engine).keep_orders([order(19, user_email="", user_name="Carl")])
    before = everything(engine)
    assert set(erase_person(engine, nobody).values()) == {0}
    assert everything(engine) == before


def test_forget__knows_an_address_in_either_spelling_of_its_domain(engine: Engine) -> None:
    Mirror(engine).keep_orders([order(17, user_email="mue@xn--mller-kva.de", user_name="Mü Ann")])
    Mirror(engine).keep_contacts([contact(81, "mue@müller.de")])
    erased = erase_person(engine, "mue@müller.de")
    assert (erased["orders"], erased["contacts"], erased["addresses"]) == (1, 1, 1)
    assert "mue@" not in everything(engine)
