"""Changes -> exactly the bodies that say no more than they must; and the simulator accepts every one of them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dealsync.apis.kommo import render
from dealsync.core.mapping import FIELD_KEYS, FIELDS, NUMERIC_KEYS, TIME_KEYS, plain_time
from dealsync.core.plan import DealChange, NewContact, NewDeal, Note, Task
from dealsync.simulator.seed import seeded
from tests.unit.simulator.bench import NOW, Bench, bench

IDS = {key: 500 + number for number, key in enumerate(FIELD_KEYS)}
SALES, QUALIFIED, INVOICE_SENT, WON = 7001, 70012, 70013, 142


# --- exact bodies --------------------------------------------------------------------------------------------


def test_deal_change__puts_all_changes_of_a_deal_into_one_item() -> None:
    changes = [
        DealChange(pipeline_id=SALES, status_id=WON),
        DealChange(price=490),
        DealChange(fields={"status": "paid", "order_id": "17"}, tags_to_add=("paid", "ls")),
        DealChange(fields={"status": "refunded"}, tags_to_add=("ls", "late")),
    ]
    assert render.deal_change(5, changes, IDS) == {
        "id": 5,
        "request_id": "5",
        "pipeline_id": SALES,
        "status_id": WON,
        "price": 490,
        "custom_fields_values": [
            {"field_id": IDS["order_id"], "values": [{"value": "17"}]},
            {"field_id": IDS["status"], "values": [{"value": "refunded"}]},
        ],
        "tags_to_add": [{"name": "paid"}, {"name": "ls"}, {"name": "late"}],
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (DealChange(), {}),
        (DealChange(price=0), {"price": 0}),
        (DealChange(pipeline_id=SALES, status_id=WON), {"pipeline_id": SALES, "status_id": WON}),
        (DealChange(status_id=WON), {"status_id": WON}),
        (DealChange(pipeline_id=SALES), {"pipeline_id": SALES}),
        (DealChange(tags_to_add=("a",)), {"tags_to_add": [{"name": "a"}]}),
        (
            DealChange(fields={"currency": "USD"}),
            {"custom_fields_values": [{"field_id": IDS["currency"], "values": [{"value": "USD"}]}]},
        ),
    ],
)
def test_deal_change__says_only_what_changes(change: DealChange, said: dict[str, Any]) -> None:
    assert render.deal_change(5, [change], IDS) == {"id": 5, "request_id": "5", **said}


def test_new_deal__of_a_known_contact() -> None:
    deal = NewDeal("Order 17", SALES, WON, 49, 502, {"order_id": "17"}, tags=("ls",))
    assert render.new_deal(deal, [DealChange(tags_to_add=("ls", "late"))], 9, IDS, "order:17:deal") == {
        "name": "Order 17",
        "pipeline_id": SALES,
        "status_id": WON,
        "price": 49,
        "responsible_user_id": 502,
        "custom_fields_values": [{"field_id": IDS["order_id"], "values": [{"value": "17"}]}],
        "_embedded": {
            "tags": [{"name": "ls"}, {"name": "late"}],
            "contacts": [{"id": 9, "is_main": True}],
        },
        "request_id": "order:17:deal",
    }


def test_new_deal__leaves_out_price_owner_and_contact_rather_than_null() -> None:
    body = render.new_deal(NewDeal("x", SALES, WON, None, None, {}), [], None, IDS, "k")
    assert {"price", "responsible_user_id"}.isdisjoint(body)
    assert "contacts" not in body["_embedded"]
    assert list(nulls(body)) == []


def test_new_deal__leaves_out_fields_and_tags_that_it_has_not() -> None:
    body = render.new_deal(NewDeal("x", SALES, WON, None, None, {}), [], None, IDS, "k")
    assert body == {"name": "x", "pipeline_id": SALES, "status_id": WON, "_embedded": {}, "request_id": "k"}


def test_new_contact__has_its_email_as_a_work_address() -> None:
    email = {"field_code": "EMAIL", "values": [{"value": "ann@example.com", "enum_code": "WORK"}]}
    assert render.new_contact(NewContact("Ann", "ann@example.com", None), "k") == {
        "name": "Ann",
        "custom_fields_values": [email],
        "request_id": "k",
    }
    assert render.new_contact(NewContact("Ann", "ann@example.com", 502), "k")["responsible_user_id"] == 502


def test_note__names_its_deal() -> None:
    assert render.note(5, Note("paid"), "k") == {
        "entity_id": 5,
        "note_type": "common",
        "params": {"text": "paid"},
        "request_id": "k",
    }


def test_task__leaves_out_an_owner_it_has_not() -> None:
    task = Task("check", datetime(2026, 6, 2, 9, tzinfo=UTC), None)
    body = {
        "entity_id": 5,
        "entity_type": "leads",
        "task_type_id": 1,
        "text": "check",
        "complete_till": 1780390800,
        "request_id": "k",
    }
    assert render.task(5, task, "k") == body
    assert render.task(5, Task("check", task.due_at, 502), "k") == {**body, "responsible_user_id": 502}


def test_ls_fields__are_all_of_ours_in_order() -> None:
    assert render.ls_fields() == [{"name": f.name, "type": f.field_type} for f in FIELDS]
    assert {"name": "LS amount paid", "type": "numeric"} in render.ls_fields()


# --- whatever is made is accepted ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kommo() -> Iterator[Bench]:
    with bench(seeded(orders=0, now=NOW)) as one:
        yield one


@pytest.fixture(scope="module")
def field_ids(kommo: Bench) -> dict[str, int]:
    answer = kommo.kommo.post("/leads/custom_fields", json=render.ls_fields())
    made = answer.raise_for_status().json()["_embedded"]["custom_fields"]
    return {field.key: row["id"] for field, row in zip(FIELDS, made, strict=True)}


@pytest.fixture(scope="module")
def lead_id(kommo: Bench) -> int:
    answer = kommo.kommo.post("/leads", json=[{"name": "Deal", "pipeline_id": SALES, "status_id": QUALIFIED}])
    lead: int = answer.json()["_embedded"]["leads"][0]["id"]
    return lead


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=40)
AMOUNT = st.decimals(0, 10**9, places=2, allow_nan=False).map(lambda amount: format(amount.normalize(), "f"))
OWNER = st.none() | st.sampled_from([501, 502, 503])
STATUS = st.sampled_from([QUALIFIED, INVOICE_SENT, WON, 143])
TIME = st.integers(0, 4 * 10**9).map(lambda seconds: plain_time(datetime.fromtimestamp(seconds, UTC)))
KINDS = {key: AMOUNT if key in NUMERIC_KEYS else TIME if key in TIME_KEYS else TEXT for key in FIELD_KEYS}
WANTED = st.fixed_dictionaries({}, optional=KINDS)
TAGS = st.lists(TEXT, max_size=3).map(tuple)
CHANGE = st.builds(
    lambda status_id, price, wanted, tags: DealChange(
        pipeline_id=None if status_id is None else SALES,
        status_id=status_id,
        price=price,
        fields=wanted,
        tags_to_add=tags,
    ),
    st.none() | STATUS,
    st.none() | st.integers(0, 10**9),
    WANTED,
    TAGS,
)
NEW_DEAL = st.builds(NewDeal, TEXT, st.just(SALES), STATUS, st.none() | st.integers(0, 10**9), OWNER, WANTED, tags=TAGS)


def nulls(value: Any) -> Iterator[Any]:
    """Every null inside a body."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from nulls(part)
    elif value is None:
        yield value


def accepted(answer_of: Bench, method: str, path: str, body: dict[str, Any], plural: str) -> int:
    """The id that came of a body with no null in it."""
    assert list(nulls(body)) == []
    answer = answer_of.kommo.request(method, path, json=[body])
    assert answer.status_code == 200, answer.text
    [row] = answer.json()["_embedded"][plural]
    made: int = row["id"]
    return made


def as_held(key: str, value: str) -> str | int:
    """A field's value as Kommo holds it: times are Unix seconds."""
    return int(datetime.fromisoformat(value).timestamp()) if key in TIME_KEYS else value


def filled(lead: dict[str, Any]) -> dict[int, str]:
    return {entry["field_id"]: entry["values"][0]["value"] for entry in lead["custom_fields_values"] or ()}


@given(changes=st.lists(CHANGE, max_size=3))
def test_deal_change__is_always_accepted(
    kommo: Bench, field_ids: dict[str, int], lead_id: int, changes: list[DealChange]
) -> None:
    accepted(kommo, "PATCH", "/leads", render.deal_change(lead_id, changes, field_ids), "leads")
    lead = kommo.kommo.get(f"/leads/{lead_id}").json()
    wanted = {field_ids[key]: as_held(key, value) for change in changes for key, value in change.fields.items()}
    assert wanted.items() <= filled(lead).items()
    assert lead["price"] == next((c.price for c in reversed(changes) if c.price is not None), lead["price"])
    assert {tag for change in changes for tag in change.tags_to_add} <= {t["name"] for t in lead["_embedded"]["tags"]}


@given(deal=NEW_DEAL, changes=st.lists(CHANGE, max_size=2))
def test_new_deal__is_always_accepted(
    kommo: Bench, field_ids: dict[str, int], deal: NewDeal, changes: list[DealChange]
) -> None:
    made = accepted(kommo, "POST", "/leads", render.new_deal(deal, changes, None, field_ids, "k"), "leads")
    lead = kommo.kommo.get(f"/leads/{made}").json()
    assert (lead["name"], lead["status_id"], lead["price"]) == (deal.name, deal.status_id, deal.price or 0)
    assert filled(lead) == {field_ids[key]: as_held(key, value) for key, value in deal.fields.items()}


@given(contact=st.builds(NewContact, TEXT, st.emails(), OWNER))
def test_new_contact__is_always_accepted(kommo: Bench, contact: NewContact) -> None:
    made = accepted(kommo, "POST", "/contacts", render.new_contact(contact, "k"), "contacts")
    read = kommo.kommo.get(f"/contacts/{made}").json()
    assert (read["name"], read["custom_fields_values"][0]["values"][0]["value"]) == (contact.name, contact.email)


@given(text=TEXT)
def test_note__is_always_accepted(kommo: Bench, lead_id: int, text: str) -> None:
    made = accepted(kommo, "POST", "/leads/notes", render.note(lead_id, Note(text), "k"), "notes")
    assert kommo.kommo.get(f"/leads/notes/{made}").json()["params"]["text"] == text


DUE = st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - made aware


@given(task=st.builds(Task, TEXT, DUE, OWNER))
def test_task__is_always_accepted(kommo: Bench, lead_id: int, task: Task) -> None:
    made = accepted(kommo, "POST", "/tasks", render.task(lead_id, task, "k"), "tasks")
    read = kommo.kommo.get(f"/tasks/{made}").json()
    assert (read["text"], read["complete_till"]) == (task.text, int(task.due_at.timestamp()))


def test_deal_change__never_sends_null() -> None:
    assert list(nulls(render.deal_change(5, [DealChange(status_id=WON)], IDS))) == []
