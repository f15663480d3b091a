"""Kommo lists and single objects. Expected shapes come from the recorded samples."""

import json
from typing import Any

import pytest

from dealsync.simulator.premises import INVOICE_SENT, NEW, PARTNERS, QUALIFIED, SALES
from tests.unit.simulator.bench import SAMPLES, Bench


def sample(name: str) -> Any:
    return json.loads((SAMPLES / "kommo" / name).read_text(encoding="utf-8"))


def rows(answer: Any, plural: str = "leads") -> list[Any]:
    found: list[Any] = answer.json()["_embedded"][plural]
    return found


def test_lead_list__has_the_recorded_envelope_and_keys(past: Bench) -> None:
    body = past.kommo.get("/leads", params={"limit": 250}).json()
    recorded = sample("leads_list.kommo.json")
    assert body.keys() == recorded.keys()
    lead, expected = body["_embedded"]["leads"][0], recorded["_embedded"]["leads"][0]
    assert lead.keys() == expected.keys()
    assert lead["_embedded"].keys() == expected["_embedded"].keys()


def test_contact_list__has_the_recorded_keys_and_email_entry(past: Bench) -> None:
    contact = rows(past.kommo.get("/contacts"), "contacts")[0]
    expected = sample("contacts_list.kommo.json")["_embedded"]["contacts"][0]
    assert contact.keys() == expected.keys()
    entry = contact["custom_fields_values"][0]
    assert entry.keys() >= expected["custom_fields_values"][0].keys()
    assert entry["field_code"] == "EMAIL"
    assert entry["values"][0].keys() == {"value", "enum_id", "enum_code"}


def test_lead_list__is_walked_by_next_links_without_gaps(past: Bench) -> None:
    seen: list[int] = []
    answer = past.kommo.get("/leads", params={"limit": 50, "order[id]": "asc"})
    while True:
        seen += [lead["id"] for lead in rows(answer)]
        following = answer.json()["_links"].get("next")
        if following is None:
            break
        answer = past.kommo.get(following["href"])
    assert seen == sorted(lead["id"] for lead in past.world.kommo.leads)


def test_lead_list__is_204_past_the_end_and_for_no_hits(past: Bench) -> None:
    for params in ({"page": 1000}, {"filter[id][]": 999999}, {"query": "nobody@nowhere.example"}):
        answer = past.kommo.get("/leads", params=params)
        assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize(
    "url",
    ["/leads?filter[id][]=10001&filter[id][]=10003", "/leads?filter[id][0]=10001&filter[id][1]=10003"],
)
def test_lead_list__takes_both_array_forms(past: Bench, url: str) -> None:
    assert [lead["id"] for lead in rows(past.kommo.get(url))] == [10001, 10003]


def test_lead_list__takes_a_single_id(past: Bench) -> None:
    assert [lead["id"] for lead in rows(past.kommo.get("/leads?filter[id]=10002"))] == [10002]


def test_lead_list__filters_by_several_stages(past: Bench) -> None:
    params = {
        "filter[statuses][0][pipeline_id]": SALES,
        "filter[statuses][0][status_id]": NEW,
        "filter[statuses][1][pipeline_id]": SALES,
        "filter[statuses][1][status_id]": INVOICE_SENT,
        "limit": 250,
    }
    found = {(lead["pipeline_id"], lead["status_id"]) for lead in rows(past.kommo.get("/leads", params=params))}
    assert found == {(SALES, NEW), (SALES, INVOICE_SENT)}


def test_lead_list__filters_by_pipeline_and_owner_together(past: Bench) -> None:
    params = {"filter[pipeline_id][]": PARTNERS, "filter[responsible_user_id]": 502, "limit": 250}
    found = rows(past.kommo.get("/leads", params=params))
    expected = [
        lead["id"]
        for lead in past.world.kommo.leads
        if lead["pipeline_id"] == PARTNERS and lead["responsible_user_id"] == 502
    ]
    assert expected
    assert sorted(lead["id"] for lead in found) == sorted(expected)


def test_lead_list__includes_both_ends_of_a_range_and_orders_by_it(past: Bench) -> None:
    times = sorted(lead["updated_at"] for lead in past.world.kommo.leads)
    low, high = times[10], times[20]
    params = {"filter[updated_at][from]": low, "filter[updated_at][to]": high, "order[updated_at]": "desc"}
    found = [lead["updated_at"] for lead in rows(past.kommo.get("/leads", params=params))]
    assert found == [moment for moment in reversed(times) if low <= moment <= high]


def test_lead_list__shows_contacts_only_on_request(past: Bench) -> None:
    plain = rows(past.kommo.get("/leads"))[0]
    full = rows(past.kommo.get("/leads", params={"with": "contacts,loss_reason"}))[0]
    assert "contacts" not in plain["_embedded"]
    assert full["_embedded"]["contacts"][0].keys() == {"id", "is_main", "_links"}
    assert full["_embedded"]["loss_reason"] == []


def test_lead_list__without_the_filter_add_on_ignores_filters(fresh: Bench) -> None:
    fresh.set(filters_enabled=False)
    everything = rows(fresh.kommo.get("/leads", params={"filter[id][]": 10001}))
    assert len(everything) == len(fresh.world.kommo.leads)


@pytest.mark.parametrize(("mode", "limit"), [("clamp", 250), ("fallback_50", 50)])
def test_lead_list__limits_above_250_follow_the_switch(fresh: Bench, mode: str, limit: int) -> None:
    fresh.set(limit_over_250=mode)
    body = fresh.kommo.get("/leads", params={"limit": 500}).json()
    assert body["_links"]["self"]["href"].endswith(f"limit={limit}")


def test_lead__unknown_or_deleted_is_204_and_deleted_ones_are_listed_apart(fresh: Bench) -> None:
    assert fresh.kommo.get("/leads/999").status_code == 204
    fresh.control.delete("/leads/10001")
    assert fresh.kommo.get("/leads/10001").status_code == 204
    (gone,) = rows(fresh.kommo.get("/leads", params={"with": "only_deleted"}))
    assert (gone["id"], gone["is_deleted"]) == (10001, True)


def test_contact__names_its_deals_on_request(past: Bench) -> None:
    lead = past.kommo.get("/leads/10001", params={"with": "contacts"}).json()
    contact_id = lead["_embedded"]["contacts"][0]["id"]
    contact = past.kommo.get(f"/contacts/{contact_id}", params={"with": "leads"}).json()
    assert 10001 in [one["id"] for one in contact["_embedded"]["leads"]]


def test_search__is_fuzzy_and_lags(fresh: Bench) -> None:
    fresh.set(search_lag_s=5)
    emails = [{"field_code": "EMAIL", "values": [{"value": "Zoe@One.example"}]}]
    others = [{"field_code": "EMAIL", "values": [{"value": "zoe@two.example"}]}]
    items = [{"name": "A", "custom_fields_values": emails}, {"name": "B", "custom_fields_values": others}]
    fresh.kommo.post("/contacts", json=items)
    assert fresh.kommo.get("/contacts", params={"query": "zoe@one.example"}).status_code == 204
    fresh.control.post("/clock", json={"advance_s": 6})
    found = rows(fresh.kommo.get("/contacts", params={"query": "zoe@one.example"}), "contacts")
    assert [one["name"] for one in found] == ["A", "B"]  # the second is a near miss


def test_updated_list__hides_very_recent_changes(fresh: Bench) -> None:
    fresh.set(list_lag_s=2)
    since = fresh.world.clock.seconds()
    fresh.kommo.patch("/leads/10001", json={"price": 5})
    recent = {"filter[updated_at][from]": since}
    assert fresh.kommo.get("/leads", params=recent).status_code == 204
    assert fresh.kommo.get("/leads/10001").json()["price"] == 5
    fresh.control.post("/clock", json={"advance_s": 3})
    assert [lead["id"] for lead in rows(fresh.kommo.get("/leads", params=recent))] == [10001]


def test_pipelines__have_unsorted_first_and_142_143_in_each(past: Bench) -> None:
    body = past.kommo.get("/leads/pipelines").json()
    assert body["_total_items"] == 2
    recorded = sample("pipelines_list.amocrm.json")["_embedded"]["pipelines"][0]
    for pipeline in body["_embedded"]["pipelines"]:
        assert pipeline.keys() == recorded.keys()
        statuses = pipeline["_embedded"]["statuses"]
        assert statuses[0].keys() == recorded["_embedded"]["statuses"][0].keys()
        assert [status["id"] for status in statuses[-2:]] == [142, 143]
    assert body["_embedded"]["pipelines"][0]["_embedded"]["statuses"][0]["type"] == 1
    one = past.kommo.get(f"/leads/pipelines/{SALES}/statuses/{QUALIFIED}").json()
    assert one["name"] == "Qualified"


def test_users_and_account__have_the_recorded_keys(past: Bench) -> None:
    body = past.kommo.get("/users", params={"with": "role,group"}).json()
    recorded = sample("users_list_with_role_group.kommo.json")
    assert body.keys() == recorded.keys()
    assert body["_embedded"]["users"][0].keys() == recorded["_embedded"]["users"][0].keys()
    assert [user["id"] for user in body["_embedded"]["users"]] == [501, 502, 503]
    account = past.kommo.get("/account", params={"with": "datetime_settings,task_types"}).json()
    assert (account["subdomain"], account["currency"]) == ("simulated", "USD")
    assert account["_embedded"].keys() == {"datetime_settings", "task_types"}


def test_events__tell_of_stage_and_price(fresh: Bench) -> None:
    fresh.kommo.patch(
        "/leads", json=[{"id": 10001, "price": 7, "status_id": QUALIFIED, "tags_to_add": [{"name": "x"}]}]
    )
    params: dict[str, str | int] = {"filter[entity]": "lead", "filter[entity_id][]": 10001}
    kinds = [event["type"] for event in rows(fresh.kommo.get("/events", params=params), "events")[:3]]
    assert set(kinds) == {"lead_status_changed", "sale_field_changed", "entity_tag_added"}
    params["filter[type]"] = "lead_status_changed"
    (event, *_) = rows(fresh.kommo.get("/events", params=params), "events")
    expected = sample("events_list_status_changed.kommo.json")["_embedded"]["events"][0]
    assert event.keys() == expected.keys()
    assert event["value_after"] == [{"lead_status": {"id": QUALIFIED, "pipeline_id": SALES}}]
