"""Every call of the Kommo client, and every way in which it can fail."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import TypeVar

import pytest

from dealsync.apis.kommo import client as module
from dealsync.apis.kommo import render
from dealsync.apis.kommo.client import Kommo
from dealsync.apis.kommo.normalise import Account, Company, CustomField, Hook, User
from dealsync.core.mapping import FIELDS
from dealsync.core.models import Contact, Deal
from dealsync.core.plan import DealChange, NewCompany, NewContact, NewDeal, Note, Task
from dealsync.errors import AnswerLost, Banned, FiltersIgnored, Rejected, Unauthorized, Unreachable
from tests.contract.apis import Apis
from tests.contract.scenario import (
    ADMIN,
    ANN,
    ANN_DEAL,
    BEN,
    BEN_DEAL,
    DELETED_DEAL,
    INVOICE_SENT,
    NOW,
    QUALIFIED,
    SALES,
    WON,
    WON_DEAL,
)

Row = TypeVar("Row")


async def pages_of(walk: AsyncIterator[list[Row]]) -> list[list[Row]]:
    return [page async for page in walk]


async def fields_made(client: Kommo) -> dict[str, int]:
    """Make the LS fields; return their ids by key."""
    made = await client.create_deal_custom_fields(render.ls_fields())
    return {field.key: custom.field_id for field, custom in zip(FIELDS, made, strict=True)}


async def deal_of(client: Kommo, lead_id: int, field_ids: dict[str, int] | None = None) -> Deal:
    keys = {field_id: key for key, field_id in (field_ids or {}).items()}
    return (await client.deals_by_id([lead_id], keys))[lead_id]


async def companies_made(client: Kommo, *names: str) -> dict[str, int]:
    """Make companies; return their ids by name."""
    return await client.create_companies([render.new_company(NewCompany(name, None), name) for name in names])


def days_ago(days: int) -> datetime:
    return NOW - timedelta(days=days)


# --- the account ---------------------------------------------------------------------------------------------


async def test_account__is_that_of_the_token(apis: Apis) -> None:
    assert await apis.kommo().account() == Account(31000001, "Simulated", "simulated", "USD", "America/New_York")


async def test_pipelines__come_main_first_with_statuses_in_order(apis: Apis) -> None:
    sales, partners = await apis.kommo().pipelines()
    assert (sales.pipeline_id, sales.name, sales.is_main) == (SALES, "Sales", True)
    names = ["Incoming leads", "New", "Qualified", "Invoice sent", "Needs attention", "Closed - won", "Closed - lost"]
    assert [status.name for status in sales.statuses] == names
    assert [status.status_id for status in sales.statuses if not status.accepts_deals] == [70010]
    assert (partners.name, partners.is_main) == ("Partners", False)
    assert {142, 143} < {status.status_id for status in partners.statuses}


async def test_create_statuses__makes_stages_before_won_and_lost(apis: Apis) -> None:
    client = apis.kommo()
    items = [{"name": "Billed", "sort": 60}, {"name": "Refunds", "sort": 70}]
    made = await client.create_statuses(SALES, items)
    assert [(status.name, status.sort, status.accepts_deals) for status in made] == [
        ("Billed", 60, True),
        ("Refunds", 70, True),
    ]
    sales, _ = await client.pipelines()
    assert sales.statuses[-4:-2] == tuple(made)


async def test_users__are_named_with_their_activity(apis: Apis) -> None:
    users = await apis.kommo().users()
    assert users[0] == User(ADMIN, "Nora Admin", is_active=True)
    assert [user.user_id for user in users] == [501, 502, 503]


async def test_deal_custom_fields__are_none_in_a_new_account(apis: Apis) -> None:
    client = apis.kommo()
    assert await client.deal_custom_fields() == []
    assert client.requests == {"kommo GET /api/v4/leads/custom_fields": 1}


async def test_create_deal_custom_fields__makes_ours_in_order(apis: Apis) -> None:
    client = apis.kommo()
    made = await client.create_deal_custom_fields(render.ls_fields())
    assert [(field.name, field.field_type) for field in made] == [(field.name, field.field_type) for field in FIELDS]
    assert len({field.field_id for field in made}) == len(FIELDS)
    assert await client.deal_custom_fields() == made


async def test_deal_custom_fields__are_read_to_the_last_page(apis: Apis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 3)
    client = apis.kommo()
    made = await client.create_deal_custom_fields(render.ls_fields())
    assert await client.deal_custom_fields() == made
    assert client.requests["kommo GET /api/v4/leads/custom_fields"] == 6
    assert isinstance(made[0], CustomField)


# --- deals and contacts --------------------------------------------------------------------------------------


async def test_deals__come_by_ascending_id_with_their_contacts(apis: Apis) -> None:
    client = apis.kommo()
    [page] = await pages_of(client.deals({}))
    assert [deal.lead_id for deal in page] == [ANN_DEAL, BEN_DEAL, WON_DEAL]
    assert page[0] == Deal(
        lead_id=ANN_DEAL,
        name="Ann's deal",
        pipeline_id=SALES,
        status_id=INVOICE_SENT,
        price=490,
        responsible_user_id=ADMIN,
        created_at=days_ago(3),
        updated_at=days_ago(3),
        contact_ids=(ANN,),
    )
    assert (page[2].status_id, page[2].is_open, page[2].contact_ids) == (WON, False, ())
    assert client.refused.reasons == []


async def test_deals__are_walked_to_the_last_page(apis: Apis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    pages = await pages_of(apis.kommo().deals({}))
    assert [[deal.lead_id for deal in page] for page in pages] == [[ANN_DEAL, BEN_DEAL], [WON_DEAL]]


async def test_deals__can_be_those_updated_since(apis: Apis) -> None:
    [page] = await pages_of(apis.kommo().deals({}, since=days_ago(2)))
    assert [deal.lead_id for deal in page] == [BEN_DEAL, WON_DEAL]


async def test_deals__stop_where_filters_are_ignored(apis: Apis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows came that the filter should have kept back: nobody walks a whole account for that."""
    monkeypatch.setattr(module, "ENOUGH_ROWS", 2)
    monkeypatch.setattr(module, "PAGE", 3)
    apis.switch(filters_enabled=False)
    client = apis.kommo()
    with pytest.raises(FiltersIgnored, match="Kommo ignores filters in this account: 3 of 3 leads are not what was"):
        await pages_of(client.deals({}, since=NOW + timedelta(days=1)))
    with pytest.raises(FiltersIgnored, match="contacts"):
        await pages_of(client.contacts(since=NOW + timedelta(days=1)))
    assert sum(client.requests.values()) == 2


async def test_deals__may_hold_a_few_older_ones(apis: Apis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share of strange rows is no proof: lists lag."""
    monkeypatch.setattr(module, "ENOUGH_ROWS", 3)
    apis.switch(filters_enabled=False)
    [page] = await pages_of(apis.kommo().deals({}, since=days_ago(2)))
    assert [deal.lead_id for deal in page] == [ANN_DEAL, BEN_DEAL, WON_DEAL]


async def test_deals__are_no_page_when_the_answer_is_204(apis: Apis) -> None:
    client = apis.kommo()
    assert await pages_of(client.deals({}, since=NOW + timedelta(days=1))) == []
    assert sum(client.requests.values()) == 1


async def test_deleted_deal_ids__are_those_in_the_recycle_bin(apis: Apis) -> None:
    client = apis.kommo()
    assert await client.deleted_deal_ids() == [DELETED_DEAL]
    assert await client.deleted_deal_ids(since=days_ago(1)) == [DELETED_DEAL]


async def test_deals_by_id__finds_those_that_exist(apis: Apis) -> None:
    found = await apis.kommo().deals_by_id([WON_DEAL, 99, DELETED_DEAL, ANN_DEAL], {})
    assert {lead_id: deal.name for lead_id, deal in found.items()} == {ANN_DEAL: "Ann's deal", WON_DEAL: "Won deal"}


async def test_deals_by_id__leaves_out_others_where_filters_are_ignored(apis: Apis) -> None:
    apis.switch(filters_enabled=False)
    assert set(await apis.kommo().deals_by_id([BEN_DEAL, 99], {})) == {BEN_DEAL}


async def test_deals_by_id__are_read_one_by_one_where_filters_are_ignored(
    apis: Apis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ENOUGH_ROWS", 3)
    apis.switch(filters_enabled=False)
    client = apis.kommo()
    assert set(await client.deals_by_id([BEN_DEAL, 99, DELETED_DEAL], {})) == {BEN_DEAL}
    assert client.requests == {"kommo GET /api/v4/leads": 1, "kommo GET /api/v4/leads/{id}": 3}


async def test_deals_by_id__asks_in_batches(apis: Apis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KOMMO_IDS_PER_FILTER", 2)
    client = apis.kommo()
    assert set(await client.deals_by_id([ANN_DEAL, BEN_DEAL, WON_DEAL], {})) == {ANN_DEAL, BEN_DEAL, WON_DEAL}
    assert client.requests == {"kommo GET /api/v4/leads": 2}


async def test_newest_deals__come_newest_first_and_stop_at_the_first_old_page(
    apis: Apis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 1)
    apis.switch(filters_enabled=False)
    client = apis.kommo()
    assert [deal.lead_id for deal in await client.newest_deals({}, since=days_ago(1))] == [WON_DEAL]
    assert client.requests == {"kommo GET /api/v4/leads": 2}


async def test_contacts__carry_their_emails(apis: Apis) -> None:
    [page] = await pages_of(apis.kommo().contacts())
    assert page == [
        Contact(ANN, "Ann", ("ann@example.com",), ADMIN, days_ago(3)),
        Contact(BEN, "Ben", ("ben@example.com",), ADMIN, days_ago(2)),
    ]


async def test_contacts__can_be_those_updated_since(apis: Apis) -> None:
    [page] = await pages_of(apis.kommo().contacts(since=days_ago(2)))
    assert [contact.contact_id for contact in page] == [BEN]


async def test_contacts_by_id__finds_those_that_exist(apis: Apis) -> None:
    client = apis.kommo()
    found = await client.contacts_by_id([BEN, 99, ANN])
    assert {contact_id: contact.emails for contact_id, contact in found.items()} == {
        ANN: ("ann@example.com",),
        BEN: ("ben@example.com",),
    }
    assert client.requests == {"kommo GET /api/v4/contacts": 1}


async def test_contacts_by_id__are_read_one_by_one_where_filters_are_ignored(
    apis: Apis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ENOUGH_ROWS", 1)
    monkeypatch.setattr(module, "SANE_SHARE", 0.4)
    apis.switch(filters_enabled=False)
    client = apis.kommo()
    assert set(await client.contacts_by_id([BEN, 99])) == {BEN}
    assert client.requests == {"kommo GET /api/v4/contacts": 1, "kommo GET /api/v4/contacts/{id}": 2}


async def test_newest_contacts__come_newest_first(apis: Apis) -> None:
    client = apis.kommo()
    assert [contact.contact_id for contact in await client.newest_contacts(since=days_ago(9))] == [BEN, ANN]
    assert [contact.contact_id for contact in await client.newest_contacts(since=days_ago(2))] == [BEN]


async def test_companies__are_those_whose_name_holds_the_text(apis: Apis) -> None:
    client = apis.kommo()
    made = await companies_made(client, "Acme GmbH", "Other", "ACME GmbH & Sons")
    found = await client.companies("acme gmbh")
    assert {c.name: c.company_id for c in found} == {name: i for name, i in made.items() if name != "Other"}
    assert await client.companies("nobody") == []


async def test_has_company__tells_whether_it_is_there(apis: Apis) -> None:
    client = apis.kommo()
    made = await companies_made(client, "Acme", "Other")
    assert await client.has_company(made["Other"]) is True
    assert await client.has_company(max(made.values()) + 1) is False


async def test_has_company__is_not_fooled_where_filters_are_ignored(apis: Apis) -> None:
    apis.switch(filters_enabled=False)
    client = apis.kommo()
    made = await companies_made(client, "Acme")
    assert await client.has_company(made["Acme"] + 1) is False


async def test_newest_companies__come_newest_first_and_stop_at_the_first_old_page(
    apis: Apis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 1)
    client = apis.kommo()
    made = await companies_made(client, "Acme", "Other")
    other, acme = Company(made["Other"], "Other", NOW), Company(made["Acme"], "Acme", NOW)
    assert await client.newest_companies(since=NOW) == [other, acme]
    assert client.requests["kommo GET /api/v4/companies"] == 2
    assert await client.newest_companies(since=NOW + timedelta(seconds=1)) == []
    assert client.requests["kommo GET /api/v4/companies"] == 3


# --- writes --------------------------------------------------------------------------------------------------


async def test_create_companies__are_what_a_new_deal_can_be_linked_to(apis: Apis) -> None:
    client = apis.kommo()
    owned = render.new_company(NewCompany("Acme", 502), "order:17:company")
    made = await client.create_companies([owned])
    assert set(made) == {"order:17:company"}
    new = NewDeal("Order 17", SALES, WON, 49, None, {})
    company_id = made["order:17:company"]
    body = render.new_deal(new, [], ANN, {}, "order:17", company_id=company_id)
    assert body["_embedded"]["companies"] == [{"id": company_id}]
    lead_id = (await client.create_deals([body]))["order:17"]
    assert (await deal_of(client, lead_id)).contact_ids == (ANN,)
    with pytest.raises(Rejected):
        await client.create_deals([render.new_deal(new, [], None, {}, "order:18", company_id=company_id + 1)])


async def test_create_contacts__answers_ids_by_request_id(apis: Apis) -> None:
    client = apis.kommo()
    people = [NewContact("Dee", "Dee@example.com", ADMIN), NewContact("Eve", "eve@example.com", None)]
    items = [render.new_contact(person, person.name) for person in people]
    made = await client.create_contacts(items)
    assert set(made) == {"Dee", "Eve"}
    [page] = await pages_of(client.contacts())
    read = {contact.contact_id: contact for contact in page}
    assert (read[made["Dee"]].name, read[made["Dee"]].emails) == ("Dee", ("dee@example.com",))
    assert read[made["Eve"]].emails == ("eve@example.com",)


async def test_create_deals__are_read_back_as_meant(apis: Apis) -> None:
    client = apis.kommo()
    field_ids = await fields_made(client)
    fields = {"order_id": "17", "amount_paid": "49.9", "currency": "USD", "receipt_link": "https://app.example/r/17"}
    new = NewDeal("Order 17", SALES, WON, 49, 502, fields, tags=("dealsync",))
    made = await client.create_deals([render.new_deal(new, [], ANN, field_ids, "order:17")])
    assert set(made) == {"order:17"}
    deal = await deal_of(client, made["order:17"], field_ids)
    assert (deal.name, deal.pipeline_id, deal.status_id, deal.price) == ("Order 17", SALES, WON, 49)
    assert (deal.responsible_user_id, deal.contact_ids, deal.tags) == (502, (ANN,), ("dealsync",))
    assert deal.fields == fields
    assert deal.closed_at == NOW


async def test_create_deals__are_told_apart_by_request_id_in_any_order(apis: Apis) -> None:
    apis.switch(shuffle_batch_answers=True)
    client = apis.kommo()
    new = {f"order:{n}": NewDeal(f"Order {n}", SALES, QUALIFIED, n, None, {}) for n in range(5)}
    made = await client.create_deals([render.new_deal(deal, [], None, {}, key) for key, deal in new.items()])
    read = await client.deals_by_id(made.values(), {})
    assert {key: read[lead_id].name for key, lead_id in made.items()} == {key: d.name for key, d in new.items()}


async def test_update_deals__answers_the_time_of_each_change(apis: Apis) -> None:
    client = apis.kommo()
    field_ids = await fields_made(client)
    changes = [
        DealChange(pipeline_id=SALES, status_id=WON, price=500),
        DealChange(fields={"order_id": "500001", "amount_paid": "490"}, tags_to_add=("paid",)),
    ]
    items = [render.deal_change(ANN_DEAL, changes, field_ids), render.deal_change(BEN_DEAL, [DealChange(price=1)], {})]
    assert await client.update_deals(items) == {ANN_DEAL: NOW, BEN_DEAL: NOW}
    ann = await deal_of(client, ANN_DEAL, field_ids)
    assert (ann.status_id, ann.price, ann.tags, ann.closed_at) == (WON, 500, ("paid",), NOW)
    assert ann.fields == {"order_id": "500001", "amount_paid": "490"}
    assert ann.contact_ids == (ANN,)
    assert (await deal_of(client, BEN_DEAL)).price == 1


async def test_create_notes__are_found_again_on_their_deal(apis: Apis) -> None:
    client = apis.kommo()
    made = await client.create_notes(
        [render.note(ANN_DEAL, Note("Paid: order 500001"), "n1"), render.note(BEN_DEAL, Note("Other"), "n2")]
    )
    [note] = await client.notes_of(ANN_DEAL)
    assert (note.id, note.lead_id, note.text) == (made["n1"], ANN_DEAL, "Paid: order 500001")


async def test_notes_of__a_deal_without_any_are_none(apis: Apis) -> None:
    assert await apis.kommo().notes_of(WON_DEAL) == []


async def test_create_tasks__are_found_again_on_their_deal(apis: Apis) -> None:
    client = apis.kommo()
    task = Task("Check the payment", NOW + timedelta(days=1), responsible_user_id=None)
    made = await client.create_tasks([render.task(ANN_DEAL, task, "t1"), render.task(BEN_DEAL, task, "t2")])
    [read] = await client.tasks_of(ANN_DEAL)
    assert (read.id, read.lead_id, read.text) == (made["t1"], ANN_DEAL, "Check the payment")


async def test_tasks_of__leaves_out_others_where_filters_are_ignored(apis: Apis) -> None:
    client = apis.kommo()
    task = Task("Check", NOW + timedelta(days=1), responsible_user_id=502)
    await client.create_tasks([render.task(lead_id, task, str(lead_id)) for lead_id in (ANN_DEAL, BEN_DEAL)])
    apis.switch(filters_enabled=False)
    assert [read.lead_id for read in await client.tasks_of(BEN_DEAL)] == [BEN_DEAL]


@pytest.mark.parametrize("shape", ["wrapped", "bare"])
async def test_single_patch__is_understood_in_both_shapes(apis: Apis, shape: str) -> None:
    apis.switch(single_patch_shape=shape)
    client = apis.kommo()
    changed_at = await client.update_deal({"id": ANN_DEAL, "price": 500})
    [page] = await pages_of(client.deals({}))
    assert (page[0].price, page[0].updated_at) == (500, changed_at)
    task = Task("Check the payment", NOW + timedelta(days=1), responsible_user_id=None)
    made = await client.create_tasks([render.task(ANN_DEAL, task, "t1")])
    assert await client.complete_task(made["t1"], "It was paid") >= changed_at


async def test_hooks__are_registered_once_and_removed(apis: Apis) -> None:
    client = apis.kommo()
    assert await client.hooks() == []
    destination = "https://dealsync.example/webhooks/kommo/secret"
    hook = await client.register_hook(destination, ["status_lead"])
    assert hook == Hook(destination, ("status_lead",), is_disabled=False)
    again = await client.register_hook(destination, ["status_lead", "update_lead"])
    assert set(again.events) == {"status_lead", "update_lead"}
    assert [found.destination for found in await client.hooks()] == [destination]
    assert await client.remove_hook(destination) is True
    assert await client.remove_hook(destination) is False
    assert await client.hooks() == []


# --- failures ------------------------------------------------------------------------------------------------


async def test_wrong_token__is_unauthorized(apis: Apis) -> None:
    client = apis.kommo("not-the-token")
    with pytest.raises(Unauthorized, match=r"Invalid user name or password \(HTTP 401\); check the key") as caught:
        await client.account()
    assert "not-the-token" not in str(caught.value)
    with pytest.raises(Unauthorized):
        await client.create_notes([render.note(ANN_DEAL, Note("x"), "n")])
    assert sum(client.requests.values()) == 2


async def test_unknown_path__is_rejected(apis: Apis) -> None:
    with pytest.raises(Rejected, match=r"HTTP 404") as caught:
        await apis.kommo(below="/kommo/elsewhere").account()
    assert caught.value.status == 404


async def test_more_than_250_items__are_rejected_unread(apis: Apis) -> None:
    client = apis.kommo()
    with pytest.raises(Rejected, match=r"250.*HTTP 422") as caught:
        await client.update_deals([{"id": ANN_DEAL, "price": n} for n in range(251)])
    assert (caught.value.status, caught.value.items) == (422, {})
    assert (await deal_of(client, ANN_DEAL)).price == 490


async def test_refused_item__is_named_by_its_request_id(apis: Apis) -> None:
    client = apis.kommo()
    good = render.deal_change(ANN_DEAL, [DealChange(price=1)], {})
    bad = render.deal_change(BEN_DEAL, [DealChange(pipeline_id=SALES, status_id=999)], {})
    with pytest.raises(Rejected, match="HTTP 400") as caught:
        await client.update_deals([good, bad])
    assert set(caught.value.items) == {str(BEN_DEAL)}
    assert caught.value.items[str(BEN_DEAL)].startswith("status_id: NotSupportedChoice")
    assert (await deal_of(client, ANN_DEAL)).price == 490


async def test_refused_item__may_leave_its_neighbours_written(apis: Apis) -> None:
    apis.switch(batch_mode="apply_valid")
    client = apis.kommo()
    bad = render.note(99, Note("nowhere"), "bad")
    with pytest.raises(Rejected) as caught:
        await client.create_notes([render.note(ANN_DEAL, Note("here"), "good"), bad])
    assert set(caught.value.items) == {"bad"}
    assert [note.text for note in await client.notes_of(ANN_DEAL)] == ["here"]


async def test_broken_rule__is_named_by_its_deal(apis: Apis) -> None:
    """Shape B: rules are checked after validation, and named by entity id."""
    with pytest.raises(Rejected, match="HTTP 400") as caught:
        await apis.kommo().update_deals([{"id": BEN_DEAL, "loss_reason_id": None}])
    assert set(caught.value.items) == {str(BEN_DEAL)}
    assert caught.value.items[str(BEN_DEAL)]


async def test_429__is_waited_out_and_the_read_repeated(apis: Apis) -> None:
    apis.switch(inject={"api": "kommo", "status": 429, "times": 2})
    client = apis.kommo()
    assert (await client.account()).subdomain == "simulated"
    assert client.requests == {"kommo GET /api/v4/account": 3}


async def test_429__with_a_long_wait_is_unreachable_at_once(apis: Apis) -> None:
    apis.switch(kommo_limit_enabled=True, kommo_per_second=0)
    client = apis.kommo()
    with pytest.raises(Unreachable, match="asks to wait 300 s") as caught:
        await client.account()
    assert caught.value.status == 429
    assert sum(client.requests.values()) == 1


async def test_429__on_a_write_is_not_repeated(apis: Apis) -> None:
    apis.switch(inject={"api": "kommo", "status": 429})
    client = apis.kommo()
    with pytest.raises(AnswerLost, match="HTTP 429") as caught:
        await client.create_notes([render.note(ANN_DEAL, Note("once"), "n")])
    assert caught.value.status == 429
    assert client.requests == {"kommo POST /api/v4/leads/notes": 1}


async def test_html_403__is_a_ban_after_which_nothing_is_sent(apis: Apis) -> None:
    apis.switch(inject={"api": "kommo", "status": 403, "html": True})
    client = apis.kommo()
    with pytest.raises(Banned, match="blocked this address"):
        await client.account()
    with pytest.raises(Banned):
        await client.account()
    with pytest.raises(Banned):
        await client.create_notes([render.note(ANN_DEAL, Note("x"), "n")])
    assert sum(client.requests.values()) == 1
    if apis.is_live:
        assert apis.received("kommo GET /api/v4/account") == 1
        assert apis.received("kommo POST /api/v4/leads/notes") == 0


async def test_json_403__is_unauthorized_and_no_ban(apis: Apis) -> None:
    apis.switch(inject={"api": "kommo", "status": 403})
    client = apis.kommo()
    with pytest.raises(Unauthorized, match="HTTP 403"):
        await client.users()
    assert len(await client.users()) == 3


async def test_server_error__on_a_read_is_repeated(apis: Apis) -> None:
    faults = [{"api": "kommo", "status": 500}, {"api": "kommo", "status": 503, "html": True}]
    apis.switch(inject=faults)
    client = apis.kommo()
    assert len(await client.pipelines()) == 2
    assert client.requests == {"kommo GET /api/v4/leads/pipelines": 3}


async def test_server_error__on_a_write_may_have_happened(apis: Apis) -> None:
    apis.switch(inject={"api": "kommo", "method": "POST", "status": 502, "html": True})
    client = apis.kommo()
    with pytest.raises(AnswerLost, match="HTTP 502") as caught:
        await client.create_deals([{"name": "Once", "request_id": "k"}])
    assert caught.value.status == 502
    assert client.requests == {"kommo POST /api/v4/leads": 1}


async def test_504__on_a_write_that_happened_loses_the_answer(apis: Apis) -> None:
    apis.switch(inject={"api": "kommo", "method": "POST", "path": "/api/v4/leads/notes", "how": "apply_then_504"})
    client = apis.kommo()
    with pytest.raises(AnswerLost, match=r"HTTP 504; it may have happened"):
        await client.create_notes([render.note(ANN_DEAL, Note("written once"), "n")])
    assert [note.text for note in await client.notes_of(ANN_DEAL)] == ["written once"]
    assert client.requests["kommo POST /api/v4/leads/notes"] == 1


# A cut connection has no answer that a cassette could hold: simulator only.
@pytest.mark.parametrize(("how", "written"), [("apply_then_drop", ["note"]), ("drop", [])])
async def test_cut_connection__on_a_write_loses_the_answer(live: Apis, how: str, written: list[str]) -> None:
    live.switch(inject={"api": "kommo", "method": "POST", "how": how})
    client = live.kommo()
    with pytest.raises(AnswerLost, match="no answer") as caught:
        await client.create_notes([render.note(ANN_DEAL, Note("note"), "n")])
    assert caught.value.status is None
    assert live.received("kommo POST /api/v4/leads/notes") == 1
    assert [note.text for note in await client.notes_of(ANN_DEAL)] == written


async def test_cut_connection__on_a_read_is_read_again(live: Apis) -> None:
    live.switch(inject={"api": "kommo", "how": "drop", "times": 2})
    assert (await live.kommo().account()).account_id == 31000001
    assert live.received("kommo GET /api/v4/account") == 3
