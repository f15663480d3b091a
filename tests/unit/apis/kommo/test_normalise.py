"""Published and damaged objects -> values, or a refusal that names the object and nothing else."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import given

from dealsync.apis.kommo import normalise
from dealsync.apis.kommo.client import Kommo
from dealsync.apis.kommo.normalise import Account, CustomField, Move, Status, User, Written
from dealsync.apis.pace import Pace
from dealsync.apis.transport import FixedToken
from dealsync.core.models import Contact, Deal
from dealsync.errors import AnswerLost, UnexpectedAnswer
from tests.turns import LocalSlots
from tests.unit.apis import samples
from tests.unit.apis.damage import EMAIL, UNSTORABLE_TEXTS, built, damaged, unstorable
from tests.unit.apis.wire import connect, run

LEAD = samples.kommo("lead_get_with_all.amocrm")
CONTACT = samples.kommo_rows("contacts_list.kommo", "contacts")[0]
FIELD = {"field_id": 501, "field_name": "x", "field_code": None, "field_type": "numeric", "values": [{"value": "1"}]}
KEYS = {501: "amount_paid", 502: "order_id", 503: "receipt_link"}


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def deal(**changes: Any) -> Deal:
    """The published lead with other values; `...` drops one."""
    return normalise.deal({key: value for key, value in {**LEAD, **changes}.items() if value is not ...}, KEYS)


def values(field_id: Any, *found: Any) -> dict[str, Any]:
    return {"field_id": field_id, "values": [{"value": value} for value in found]}


def contact(*emails: Any, code: str = "EMAIL") -> Contact:
    field = {**values(9, *emails), "field_code": code}
    return normalise.contact({**CONTACT, "custom_fields_values": [field]})


# --- published payloads --------------------------------------------------------------------------------------


def test_deal__of_kommos_list() -> None:
    [row] = samples.kommo_rows("leads_list.kommo", "leads")
    assert normalise.deal(row, {1928052: "status"}) == Deal(
        lead_id=20024930,
        name="Lead 1",
        pipeline_id=12215168,
        status_id=94386187,
        price=0,
        responsible_user_id=11087123,
        created_at=at(1760976072),
        updated_at=at(1760976072),
        fields={"status": "Diagnostic"},
    )
    assert normalise.deal(row, {}).fields == {}


def test_deal__of_a_second_page() -> None:
    first, second = (normalise.deal(row, KEYS) for row in samples.kommo_rows("leads_list_page2.amocrm", "leads"))
    assert (first.lead_id, first.name, first.price, first.status_id) == (19619, "Сделка для примера", 46333, 142)
    assert (first.is_open, first.closed_at, first.fields) == (False, at(1483005931), {})
    assert (second.lead_id, second.price, second.contact_ids, second.tags) == (14460, 655, (), ())


def test_deal__with_everything() -> None:
    assert deal() == Deal(
        lead_id=3912171,
        name="Example",
        pipeline_id=3104455,
        status_id=143,
        price=12,
        responsible_user_id=504141,
        created_at=at(1585299171),
        updated_at=at(1590683337),
        closed_at=at(1590683337),
        contact_ids=(10971465,),
        tags=("тест",),
    )


def test_contact__of_kommos_list_has_a_phone_and_no_email() -> None:
    assert normalise.contact(CONTACT) == Contact(406322, "Sam", (), 8375357, at(1686670710))


def test_contact__of_the_other_samples() -> None:
    one, two = map(normalise.contact, samples.kommo_rows("contacts_list.amocrm", "contacts"))
    assert (one.contact_id, one.name, two.contact_id, two.name) == (7143599, "1", 7767065, "dsgdsg")
    found = normalise.contact(samples.kommo("contact_get_with_leads.amocrm"))
    assert found == Contact(3, "Example Person", (), 504141, at(1590943929))


def test_pipeline__has_its_statuses_in_order() -> None:
    [found] = map(normalise.pipeline, samples.kommo_rows("pipelines_list.amocrm", "pipelines"))
    assert (found.pipeline_id, found.name, found.is_main) == (3177727, "Воронка", True)
    assert [s.status_id for s in found.statuses] == [32392156, 32392159, 32392165, 142, 143]
    assert found.statuses[0] == Status(32392156, "Неразобранное", accepts_deals=False, sort=10)
    assert all(s.accepts_deals for s in found.statuses[1:])


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("statuses_list.kommo", [58141803, 58141807, 58141811, 58141815, 58141819, 142, 143]),
        ("statuses_list.amocrm", [32392156, 32392159, 32392165, 142, 143]),
    ],
)
def test_pipeline__sorts_statuses_that_come_in_any_order(name: str, ids: list[int]) -> None:
    rows = samples.kommo_rows(name, "statuses")
    found = normalise.pipeline({"id": 1, "name": "p", "_embedded": {"statuses": rows[::-1]}})
    assert [s.status_id for s in found.statuses] == ids
    assert [s.accepts_deals for s in found.statuses] == [False, *[True] * (len(ids) - 1)]


@pytest.mark.parametrize(
    ("name", "first"),
    [("users_list.amocrm", "Пользователь для примера 2"), ("users_list_with_role_group.kommo", "Example user")],
)
def test_user__of_the_published_lists(name: str, first: str) -> None:
    found = [normalise.user(row) for row in samples.kommo_rows(name, "users")]
    assert found[0] == User(123123, first, is_active=True)
    assert len(found) == 2


def test_user__can_be_inactive_or_without_rights() -> None:
    assert normalise.user({"id": 5, "name": "x", "rights": {"is_active": False}}).is_active is False
    assert normalise.user({"id": 5, "name": "x", "rights": []}).is_active is True


def test_account__without_a_currency_is_in_dollars() -> None:
    assert normalise.account(samples.kommo("account_with_all.amocrm")) == Account(
        1231414, "example", "example", "USD", "Europe/Moscow"
    )
    assert normalise.account({"id": 1, "name": "n", "subdomain": "s", "currency": "EUR"}).currency == "EUR"


def test_custom_field__of_the_published_lists() -> None:
    found = [normalise.custom_field(row) for row in samples.kommo_rows("custom_fields_list.amocrm", "custom_fields")]
    assert found == [
        CustomField(4439091, "Пример текстового поля", "text"),
        CustomField(4440043, "Пример поля с типом 'data'", "date"),  # noqa: RUF001
    ]
    [made] = samples.kommo_rows("custom_fields_post_response.amocrm", "custom_fields")
    assert normalise.custom_field(made) == CustomField(4457223, "multi select", "multiselect")


def test_note__of_the_published_lists() -> None:
    assert [normalise.note(row) for row in samples.kommo_rows("notes_list_by_entity.amocrm", "notes")] == [
        Written(42709325, 26050861, "Текст примечания 2"),
        Written(42736075, 26050861, "Текст примечания"),
    ]
    common, attachment = (normalise.note(row) for row in samples.kommo_rows("notes_list.kommo", "notes"))
    assert (common.text, attachment.text) == ("Note text", "")
    by_type = [normalise.note(row) for row in samples.kommo_rows("notes_list_by_type.amocrm", "notes")]
    assert [(n.id, n.lead_id) for n in by_type] == [(42709325, 26050861), (42709842, 26053794)]


def test_task__of_the_published_lists() -> None:
    [found] = map(normalise.task, samples.kommo_rows("tasks_list.kommo", "tasks"))
    assert found == Written(7087, 167353, "Send an invitation")
    found = [normalise.task(row) for row in samples.kommo_rows("tasks_list.amocrm", "tasks")][1]
    assert found == Written(215089, 1035487, "Назначить встречу с клиентом")  # noqa: RUF001


# --- odd values ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nothing", [None, [], {}, ...])
def test_deal__does_without_its_optional_parts(nothing: Any) -> None:
    found = deal(custom_fields_values=nothing, _embedded=nothing)
    assert (found.fields, found.contact_ids, found.tags) == ({}, (), ())
    inside = deal(_embedded={"contacts": nothing if nothing is not ... else [], "tags": None})
    assert (inside.contact_ids, inside.tags) == ((), ())


@pytest.mark.parametrize(
    ("given_value", "read"),
    [("12.50", "12.5"), (12.5, "12.5"), (490, "490"), ("490", "490"), ("1e2", "100"), ("about ten", "about ten")],
)
def test_deal__reads_amounts_in_one_form(given_value: Any, read: str) -> None:
    assert deal(custom_fields_values=[values(501, given_value)]).fields == {"amount_paid": read}


@pytest.mark.parametrize("empty", [values(502), values(502, None), values(502, ""), {"field_id": 502, "values": None}])
def test_deal__leaves_out_fields_without_a_value(empty: dict[str, Any]) -> None:
    assert deal(custom_fields_values=[empty, values(503, "https://x.example")]).fields == {
        "receipt_link": "https://x.example"
    }


def test_deal__has_its_main_contact_first() -> None:
    contacts = [{"id": 7, "is_main": False}, {"id": 5, "is_main": True}, {"id": 6}]
    assert deal(_embedded={"contacts": contacts}).contact_ids == (5, 7, 6)


def test_deal__takes_numbers_sent_as_text() -> None:
    found = deal(id="5", price="490", status_id="142", created_at="1585299171")
    assert (found.lead_id, found.price, found.status_id, found.created_at) == (5, 490, 142, at(1585299171))


def test_deal__of_nobody_is_nobodys() -> None:
    assert deal(responsible_user_id=0).responsible_user_id is None
    assert deal(responsible_user_id=...).responsible_user_id is None


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"status_id": None}, "status_id"),
        ({"pipeline_id": ...}, "pipeline_id"),
        ({"price": 10**40}, "price"),
        ({"price": 12.5}, "price"),
        ({"updated_at": None}, "updated_at"),
        ({"updated_at": EMAIL}, "updated_at"),
        ({"custom_fields_values": [{"field_id": EMAIL}]}, "custom_fields_values.0.field_id"),
    ],
)
def test_deal__that_cannot_be_read_is_named_with_its_field(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(UnexpectedAnswer, match=f"^deal 3912171 cannot be read: {named}: ") as caught:
        deal(**changes)
    assert EMAIL not in str(caught.value)


def test_deal__of_a_giant_id_is_refused_by_name() -> None:
    with pytest.raises(UnexpectedAnswer, match=f"deal {'9' * 40} cannot be read: id: "):
        deal(id="9" * 40)


def test_deal__refuses_a_time_without_a_zone() -> None:
    with pytest.raises(UnexpectedAnswer, match="deal 3912171 cannot be read: updated_at"):
        deal(updated_at="2026-06-01T12:00:00")


def test_deal__refuses_an_owner_that_no_column_holds() -> None:
    with pytest.raises(UnexpectedAnswer, match="deal 3912171 cannot be read: responsible_user_id"):
        deal(responsible_user_id=10**40)


def test_contact__has_each_email_once_in_the_order_of_the_card() -> None:
    assert contact(" Ann@Example.com ", "b@example.com", "ann@example.com", None, "", "  ").emails == (
        "ann@example.com",
        "b@example.com",
    )
    assert contact("12025550101", code="PHONE").emails == ()


@pytest.mark.parametrize("text", UNSTORABLE_TEXTS)
@pytest.mark.parametrize(
    "build",
    [
        lambda text: deal(name=text),
        lambda text: deal(_embedded={"tags": [{"name": text}]}),
        lambda text: normalise.note({"id": 1, "entity_id": 2, "params": {"text": text}}),
        lambda text: normalise.task({"id": 1, "entity_id": 2, "text": text}),
        lambda text: normalise.contact({**CONTACT, "name": text}),
        lambda text: deal(custom_fields_values=[values(502, text)]),
        lambda text: deal(custom_fields_values=[values(501, text)]),
        contact,
        lambda text: normalise.account({"id": 1, "name": "n", "subdomain": "s", "currency": text}),
        lambda text: normalise.custom_field({"id": 1, "name": "n", "type": text}),
    ],
    ids=["deal", "tag", "note", "task", "contact", "field", "amount", "email", "currency", "type"],
)
def test_text__that_cannot_be_stored_is_cleaned(build: Callable[[str], object], text: str) -> None:
    assert unstorable(build(text)) == []


NO_SECONDS: list[object] = [None, "soon", -1, 10**15, True, {}, "²", 1.5, "2026-06-01T12:00:00Z", "1589556420 "]


def test_time__is_aware_or_refused() -> None:
    for seconds in (1589556420, "1589556420"):
        assert normalise.changed({"id": 5, "updated_at": seconds}) == (5, at(1589556420))
    for wrong in NO_SECONDS:
        with pytest.raises(UnexpectedAnswer, match="row 5 cannot be read: updated_at: "):
            normalise.changed({"id": 5, "updated_at": wrong})


@pytest.mark.parametrize("giant", ["1e999999", "1e-999999", "1e999999999", "-1E+100", "9" * 41, "²", ".", ""])
def test_deal__leaves_an_amount_beyond_measure_as_it_is(giant: str) -> None:
    assert deal(custom_fields_values=[values(501, giant)]).fields == ({"amount_paid": giant} if giant else {})


@pytest.mark.parametrize("nothing", [None, [], {}])
def test_nothing__in_an_optional_place_is_its_default(nothing: Any) -> None:
    found = deal(price=nothing, responsible_user_id=nothing, closed_at=nothing, is_deleted=nothing, name=nothing)
    assert (found.price, found.responsible_user_id, found.closed_at, found.is_deleted, found.name) == (
        (0, None, None, False, "")
    )
    assert deal(_embedded={"contacts": [{"id": 7, "is_main": nothing}]}).contact_ids == (7,)
    assert normalise.account({"id": 1, "currency": nothing}).currency == "USD"


@pytest.mark.parametrize(
    ("after", "status_id"),
    [([{"lead_status": {"id": 142}}], 142), ([{"note": {}}, {"lead_status": {"id": "143"}}], 143), ([], 0), (None, 0)],
)
def test_event__tells_the_status_a_deal_was_move(after: Any, status_id: int) -> None:
    event = {"id": "01ab", "entity_id": 5, "created_at": 1780315200, "created_by": 501, "value_after": after}
    assert normalise.move(event) == Move(5, status_id, datetime(2026, 6, 1, 12, tzinfo=UTC), 501)


@pytest.mark.parametrize("after", [["x"], [{"lead_status": 5}], [{"lead_status": {"id": "x"}}]])
def test_event__in_an_odd_shape_is_refused_by_name(after: Any) -> None:
    with pytest.raises(UnexpectedAnswer, match="event 01ab cannot be read: value_after"):
        normalise.move({"id": "01ab", "entity_id": 5, "created_at": 1780315200, "value_after": after})


BUILDERS: list[tuple[Callable[[object], object], str]] = [
    (lambda row: normalise.deal(row, KEYS), "deal"),
    (normalise.deletion, "deal"),
    (normalise.contact, "contact"),
    (normalise.pipeline, "pipeline"),
    (normalise.user, "user"),
    (normalise.custom_field, "custom field"),
    (normalise.note, "note"),
    (normalise.task, "task"),
    (normalise.created, "row"),
    (normalise.changed, "row"),
]


@pytest.mark.parametrize(
    "row", [None, 5, EMAIL, [], [EMAIL], {}, {"id": None}, {"id": [EMAIL]}, {"id": EMAIL}], ids=repr
)
@pytest.mark.parametrize(("build", "kind"), BUILDERS)
def test_row__without_an_id_is_refused_without_showing_it(
    build: Callable[[object], object], kind: str, row: object
) -> None:
    with pytest.raises(UnexpectedAnswer, match=f"^{kind} without an id cannot be read: ") as caught:
        build(row)
    assert EMAIL not in str(caught.value)


# --- any damage ----------------------------------------------------------------------------------------------


KEPT: tuple[tuple[str | int, ...], ...] = (("id",),)
FULL_LEAD = {**LEAD, "custom_fields_values": [FIELD, values(502, "17"), values(503, "https://x.example")]}
FULL_CONTACT = {**CONTACT, "custom_fields_values": [{**values(9, "ann@example.com"), "field_code": "EMAIL"}]}
PIPELINE = samples.kommo_rows("pipelines_list.amocrm", "pipelines")[0]
USER = samples.kommo_rows("users_list.amocrm", "users")[0]


@given(damaged(FULL_LEAD, KEPT))
def test_deal__of_any_damage_parses_or_is_named(data: dict[str, Any]) -> None:
    built(lambda lead: normalise.deal(lead, KEYS), data, f"deal {data['id']}")


@given(damaged(FULL_CONTACT, KEPT))
def test_contact__of_any_damage_parses_or_is_named(data: dict[str, Any]) -> None:
    built(normalise.contact, data, f"contact {data['id']}")


@given(damaged(PIPELINE, KEPT))
def test_pipeline__of_any_damage_parses_or_is_named(data: dict[str, Any]) -> None:
    built(normalise.pipeline, data, f"pipeline {data['id']}")


@given(damaged(USER, KEPT))
def test_user__of_any_damage_parses_or_is_named(data: dict[str, Any]) -> None:
    built(normalise.user, data, f"user {data['id']}")


@given(damaged(samples.kommo("account_with_all.amocrm")))
def test_account__of_any_damage_parses_or_is_named(data: dict[str, Any]) -> None:
    built(normalise.account, data, "the Kommo account")


# --- answers to writes ---------------------------------------------------------------------------------------


def update(monkeypatch: pytest.MonkeyPatch, answer: httpx.Response) -> dict[int, datetime]:
    times: dict[int, datetime] = asked(monkeypatch, answer, lambda client: client.update_deals([{"id": 1}]))
    return times


def create(monkeypatch: pytest.MonkeyPatch, answer: httpx.Response, call: str) -> dict[str, int]:
    ids: dict[str, int] = asked(monkeypatch, answer, lambda client: getattr(client, call)([{}]))
    return ids


def asked(monkeypatch: pytest.MonkeyPatch, answer: httpx.Response, call: Callable[[Kommo], Any]) -> Any:
    connect(monkeypatch, answer)

    async def story() -> Any:
        client = Kommo(origin="https://api.example", auth=FixedToken("t"), pace=Pace("kommo", LocalSlots(10)))
        try:
            return await call(client)
        finally:
            await client.close()

    return run(story())


def published(name: str) -> httpx.Response:
    return httpx.Response(200, json=samples.kommo(name))


def test_update_deals__reads_the_published_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert update(monkeypatch, published("leads_patch_response.amocrm")) == {
        54886: at(1589556420),
        54884: at(1589556420),
    }


@pytest.mark.parametrize(
    ("call", "name", "ids"),
    [
        ("create_deals", "leads_post_response.kommo", {"0": 152462, "1": 152464}),
        ("create_deals", "leads_post_response.amocrm", {"0": 10185151, "1": 10185153}),
        ("create_tasks", "tasks_post_response.amocrm", {"example": 4745251}),
        (
            "create_notes",
            "notes_post_response.amocrm",
            {"0": 76787983, "1": 76787985, "2": 76787987, "3": 76787989},
        ),
    ],
)
def test_create__reads_the_published_answer(
    monkeypatch: pytest.MonkeyPatch, call: str, name: str, ids: dict[str, int]
) -> None:
    assert create(monkeypatch, published(name), call) == ids


@pytest.mark.parametrize("answer", [httpx.Response(204), httpx.Response(200, json={"_embedded": {"leads": []}})])
def test_write__answered_with_nothing_mentions_nothing(monkeypatch: pytest.MonkeyPatch, answer: httpx.Response) -> None:
    assert update(monkeypatch, answer) == {}


ODD_ANSWERS: list[Any] = [
    {},
    [],
    5,
    "x",
    {"_embedded": []},
    {"_embedded": "leads"},
    {"_embedded": {"leads": None}},
    {"_embedded": {"leads": {}}},
    {"_embedded": {"leads": [None]}},
    {"_embedded": {"leads": [{"updated_at": 1}]}},
    {"_embedded": {"leads": [{"id": 5, "updated_at": None, "request_id": "k"}, {"id": None}]}},
]


@pytest.mark.parametrize("answer", ODD_ANSWERS, ids=repr)
def test_write__answered_in_an_odd_shape_may_have_happened(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    with pytest.raises(AnswerLost):
        create(monkeypatch, httpx.Response(200, json=answer), "create_deals")


@pytest.mark.parametrize("answer", ODD_ANSWERS, ids=repr)
@pytest.mark.parametrize(
    ("call", "plural"),
    [
        ("update_deals", "leads"),
        ("create_contacts", "contacts"),
        ("create_notes", "notes"),
        ("create_tasks", "tasks"),
        ("create_deal_custom_fields", "custom_fields"),
    ],
)
def test_write__of_any_kind_answered_in_an_odd_shape_may_have_happened(
    monkeypatch: pytest.MonkeyPatch, call: str, plural: str, answer: Any
) -> None:
    embedded = answer.get("_embedded") if isinstance(answer, dict) else None
    moved = {"_embedded": {plural: embedded["leads"]}} if isinstance(embedded, dict) else answer
    with pytest.raises(AnswerLost, match=r"/api/v4/.+; it may have happened all the same"):
        create(monkeypatch, httpx.Response(200, json=moved), call)


@pytest.mark.parametrize("row", [{"id": 5}, {"id": 5, "request_id": None}, {"id": 10**40, "request_id": "k"}])
def test_create__answered_without_its_request_id_may_have_happened(
    monkeypatch: pytest.MonkeyPatch, row: dict[str, Any]
) -> None:
    rows = [{"id": 4, "request_id": "j"}, row]
    with pytest.raises(AnswerLost, match=r"row .+ cannot be read"):
        create(monkeypatch, httpx.Response(200, json={"_embedded": {"leads": rows}}), "create_deals")


@pytest.mark.parametrize("answer", [[], {"_embedded": []}, {"_embedded": {"pipelines": 5}}, 5], ids=repr)
def test_read__answered_in_an_odd_shape_is_unexpected(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    with pytest.raises(UnexpectedAnswer, match=r"_embedded\.pipelines"):
        asked(monkeypatch, httpx.Response(200, json=answer), lambda client: client.pipelines())


def test_deleted_deal_ids__pass_over_a_row_without_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"is_deleted": True}, {"id": 5, "is_deleted": True}]
    answer = httpx.Response(200, json={"_embedded": {"leads": rows}})
    assert asked(monkeypatch, answer, lambda client: client.deleted_deal_ids()) == [5]


def test_deals__go_on_without_a_row_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = httpx.Response(200, json={"_embedded": {"leads": [{**LEAD, "id": 5, "price": "x"}, LEAD]}})

    async def story(client: Kommo) -> tuple[list[int], list[str]]:
        found = [deal.lead_id async for page in client.deals({}) for deal in page]
        return found, client.refused.reasons

    found, reasons = asked(monkeypatch, answer, story)
    assert found == [LEAD["id"]]
    [reason] = reasons
    assert reason.startswith("deal 5 cannot be read: price: ")


@pytest.mark.parametrize("links", [None, [], "next", {"next": None}, {"self": {}}], ids=repr)
def test_deals__end_where_there_is_no_next_link(monkeypatch: pytest.MonkeyPatch, links: Any) -> None:
    answer = httpx.Response(200, json={"_links": links, "_embedded": {"leads": [None, 5, LEAD]}})

    async def story(client: Kommo) -> tuple[list[int], list[str]]:
        found = [deal.lead_id async for page in client.deals({}) for deal in page]
        return found, client.refused.reasons

    found, reasons = asked(monkeypatch, answer, story)
    assert found == [LEAD["id"]]
    assert len(reasons) == 2
    assert all(reason.startswith("deal without an id cannot be read: ") for reason in reasons)


def test_pipelines__go_on_without_one_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = httpx.Response(200, json={"_embedded": {"pipelines": [{"id": None}, PIPELINE]}})
    found = asked(monkeypatch, answer, lambda client: client.pipelines())
    assert [pipeline.pipeline_id for pipeline in found] == [PIPELINE["id"]]
