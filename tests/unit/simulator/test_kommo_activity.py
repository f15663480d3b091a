"""Notes, tasks, links and events beyond the first call, and what people do by hand."""

from typing import Any

import pytest

from dealsync.simulator.premises import INVOICE_SENT, NEW, SALES
from tests.unit.simulator.bench import Bench


def rows(answer: Any, plural: str) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()["_embedded"][plural]


def lead(bench: Bench, lead_id: int = 10001) -> Any:
    return bench.kommo.get(f"/leads/{lead_id}", params={"with": "contacts"}).json()


def note(bench: Bench, note_type: str = "common", **params: str) -> int:
    item = {"entity_id": 10001, "note_type": note_type, "params": {"text": "x", **params}}
    return int(rows(bench.kommo.post("/leads/notes", json=[item]), "notes")[0]["id"])


def events(bench: Bench, kind: str, **params: Any) -> Any:
    answer = bench.kommo.get("/events", params={"filter[type]": kind, **params})
    return rows(answer, "events") if answer.status_code == 200 else []


# --- notes ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("url", ["/leads/notes/{}", "/leads/10001/notes/{}"])
def test_note__is_changed_and_read_by_both_addresses(fresh: Bench, url: str) -> None:
    address = url.format(note(fresh))
    assert fresh.kommo.patch(address, json={"params": {"text": "new"}}).status_code == 200
    assert fresh.kommo.get(address).json()["params"] == {"text": "new"}
    assert fresh.kommo.get("/leads/10002/notes/400001").status_code == 204


def test_note__of_a_service_cannot_be_changed(fresh: Bench) -> None:
    note_id = note(fresh, "service_message", service="Shop")
    answer = fresh.kommo.patch("/leads/notes", json=[{"id": note_id, "entity_id": 10001, "params": {"text": "y"}}])
    assert answer.json()["validation-errors"][0]["errors"][0]["path"] == "note_type"


def test_note__is_pinned_and_shown_so_on_request(fresh: Bench) -> None:
    note_id = note(fresh)
    for base, verb, expected in (("/leads/notes", "pin", True), ("/leads/10001/notes", "unpin", False)):
        assert fresh.kommo.post(f"{base}/{note_id}/{verb}").status_code == 204
        shown = rows(fresh.kommo.get("/leads/notes", params={"with": "is_pinned"}), "notes")[0]
        assert shown["is_pinned"] is expected
    assert "is_pinned" not in rows(fresh.kommo.get("/leads/notes"), "notes")[0]


def test_notes__of_companies_are_filtered_by_type(fresh: Bench) -> None:
    company = rows(fresh.kommo.post("/companies", json=[{"name": "Acorn"}]), "companies")[0]["id"]
    common = {"note_type": "common", "params": {"text": "a"}}
    sms = {"note_type": "sms_in", "params": {"text": "b", "phone": "1"}}
    fresh.kommo.post(f"/companies/{company}/notes", json=[common, sms])
    found = rows(fresh.kommo.get("/companies/notes", params={"filter[note_type]": "sms_in"}), "notes")
    assert [one["params"]["text"] for one in found] == ["b"]


# --- tasks ----------------------------------------------------------------------------------------
def test_task__moves_to_another_deal_and_tells_both_what_is_next(fresh: Bench) -> None:
    item = {"text": "call", "complete_till": 1800000000, "entity_id": 10001, "entity_type": "leads"}
    task = rows(fresh.kommo.post("/tasks", json=[item]), "tasks")[0]["id"]
    change = {"entity_id": 10002, "entity_type": "leads", "complete_till": 1800000001}
    fresh.kommo.patch(f"/tasks/{task}", json=change)
    assert [lead(fresh, i)["closest_task_at"] for i in (10001, 10002)] == [None, 1800000001]
    (event,) = events(fresh, "task_deadline_changed")
    assert event["value_after"] == [{"task_deadline": {"timestamp": 1800000001}}]
    params = {"filter[closest_task_at][from]": 1800000001}
    assert [one["id"] for one in rows(fresh.kommo.get("/leads", params=params), "leads")] == [10002]


def test_task__completed_by_a_person_has_result_and_events(fresh: Bench) -> None:
    item = {"text": "call", "complete_till": 1800000000, "entity_id": 10001, "entity_type": "leads"}
    task = rows(fresh.kommo.post("/tasks", json=[item]), "tasks")[0]["id"]
    fresh.control.post(f"/tasks/{task}/complete", json={"result": "reached", "user_id": 503})
    shown = fresh.kommo.get(f"/tasks/{task}").json()
    assert (shown["is_completed"], shown["result"], shown["updated_by"]) == (True, {"text": "reached"}, 503)
    assert [event["created_by"] for event in events(fresh, "task_completed,task_result_added")] == [503, 503]


# --- lists ----------------------------------------------------------------------------------------
def test_lead_list__filters_by_what_the_reference_names(fresh: Bench) -> None:
    item = {"name": "Rare name", "price": 77777, "status_id": 142}
    lead_id = rows(fresh.kommo.post("/leads", json=[item]), "leads")[0]["id"]
    closed = lead(fresh, lead_id)["closed_at"]
    questions: list[dict[str, Any]] = [
        {"filter[name]": "rare name"},
        {"filter[price]": 77777},
        {"filter[price][from]": 77777, "filter[price][to]": 77777},
        {"filter[closed_at][from]": closed},
        {"filter[id]": lead_id, "filter[created_by][]": 501},
    ]
    for params in questions:
        assert [one["id"] for one in rows(fresh.kommo.get("/leads", params=params), "leads")] == [lead_id], params
    assert fresh.kommo.get("/leads", params={"filter[id]": lead_id, "filter[created_by]": 502}).status_code == 204


@pytest.mark.parametrize(
    ("kind", "value", "params", "hit"),
    [
        ("text", "ord-9", {"": "ord-9"}, True),
        ("text", "ord-9", {"": "ord"}, False),
        ("checkbox", True, {"": "1"}, True),
        ("numeric", "12.5", {"[from]": 12, "[to]": 13}, True),
        ("date_time", 1729717200, {"[from]": 1729717201}, False),
    ],
)
def test_lead_list__filters_by_custom_fields_where_switched_on(
    fresh: Bench, kind: str, value: Any, params: Any, hit: bool
) -> None:
    fresh.set(custom_field_filter=True)
    definition = [{"name": "F", "type": kind}]
    field_id = fresh.kommo.post("/leads/custom_fields", json=definition).json()["_embedded"]["custom_fields"][0]["id"]
    entry = {"field_id": field_id, "values": [{"value": value}]}
    fresh.kommo.patch("/leads/10001", json={"custom_fields_values": [entry]})
    query = {f"filter[custom_fields_values][{field_id}]{key}": text for key, text in params.items()}
    answer = fresh.kommo.get("/leads", params=query)
    assert (answer.status_code == 200 and [one["id"] for one in rows(answer, "leads")] == [10001]) is hit


def test_lead_list__drifts_while_it_is_walked(fresh: Bench) -> None:
    newest: dict[str, Any] = {"order[updated_at]": "desc", "limit": 3}
    first = [one["id"] for one in rows(fresh.kommo.get("/leads", params=newest), "leads")]
    last = rows(fresh.kommo.get("/leads", params={**newest, "order[updated_at]": "asc"}), "leads")[0]["id"]
    fresh.kommo.patch(f"/leads/{last}", json={"name": "just now"})
    second = [one["id"] for one in rows(fresh.kommo.get("/leads", params={**newest, "page": 2}), "leads")]
    assert set(first) & set(second)


# --- links ----------------------------------------------------------------------------------------
def test_links__are_seen_from_both_sides_and_by_the_mass_form(fresh: Bench) -> None:
    contact = rows(fresh.kommo.post("/contacts", json=[{"name": "Zoe"}]), "contacts")[0]["id"]
    link = {"entity_id": 10002, "to_entity_id": contact, "to_entity_type": "contacts"}
    assert fresh.kommo.post("/leads/link", json=[link]).status_code == 200
    (seen,) = rows(fresh.kommo.get(f"/contacts/{contact}/links"), "links")
    assert (seen["to_entity_type"], seen["to_entity_id"]) == ("leads", 10002)
    assert contact in [
        row["to_entity_id"] for row in rows(fresh.kommo.get("/leads/links?filter[entity_id][]=10002"), "links")
    ]
    params: dict[str, Any] = {"filter[to_entity_type]": "companies"}
    assert rows(fresh.kommo.get("/leads/10002/links", params=params), "links") == []
    back = [{"to_entity_id": 10002, "to_entity_type": "leads"}]
    assert fresh.kommo.post(f"/contacts/{contact}/link", json=back).status_code == 500
    assert fresh.kommo.post(f"/contacts/{contact}/unlink", json=back).status_code == 204
    assert contact not in [one["id"] for one in lead(fresh, 10002)["_embedded"]["contacts"]]
    assert [event["entity_id"] for event in events(fresh, "entity_unlinked", **{"filter[entity]": "lead"})] == [10002]


def test_link__refuses_what_is_not_there(fresh: Bench) -> None:
    links = [{"to_entity_id": 5, "to_entity_type": "contacts"}, {"to_entity_id": 5, "to_entity_type": "tasks"}]
    found = fresh.kommo.post("/leads/10001/link", json=links).json()["validation-errors"]
    assert [one["errors"][0]["path"] for one in found] == ["to_entity_id", "to_entity_type"]


# --- events ---------------------------------------------------------------------------------------
def test_events__are_found_by_the_stage_they_lead_to(fresh: Bench) -> None:
    fresh.kommo.patch("/leads/10001", json={"status_id": NEW})
    fresh.kommo.patch("/leads/10001", json={"status_id": INVOICE_SENT})
    stage = "filter[value_after][leads_statuses][0]"
    params: dict[str, Any] = {
        f"{stage}[pipeline_id]": SALES,
        f"{stage}[status_id]": INVOICE_SENT,
        "filter[entity]": "lead",
    }
    found = rows(fresh.kommo.get("/events", params={**params, "filter[entity_id]": 10001}), "events")
    assert {event["value_after"][0]["lead_status"]["id"] for event in found} == {INVOICE_SENT}
    again = rows(fresh.kommo.get("/events", params={"filter[id][]": found[0]["id"]}), "events")
    assert [event["id"] for event in again] == [found[0]["id"]]
    assert fresh.kommo.get(f"/events/{found[0]['id']}").json()["id"] == found[0]["id"]


def test_events__take_ten_ids_of_one_entity(fresh: Bench) -> None:
    many: Any = [("filter[entity]", "lead"), *(("filter[entity_id][]", str(n)) for n in range(11))]
    assert fresh.kommo.get("/events", params=many).status_code == 400
    assert fresh.kommo.get("/events", params={"filter[entity_id]": 10001}).status_code == 400
    types = {row["key"] for row in rows(fresh.kommo.get("/events/types"), "events_types")}
    assert {"lead_status_changed", "entity_merged"} <= types


# --- by hand --------------------------------------------------------------------------------------
def test_person__edits_price_fields_tags_and_owner(fresh: Bench) -> None:
    change = {"price": 321, "responsible_user_id": 503, "tags_to_add": [{"name": "hot"}], "user_id": 502}
    assert fresh.control.post("/leads/10001/edit", json=change).status_code == 200
    stored = lead(fresh)
    assert (stored["price"], stored["responsible_user_id"], stored["updated_by"]) == (321, 503, 502)
    assert [tag["name"] for tag in stored["_embedded"]["tags"]] == ["hot"]
    assert fresh.control.post("/leads/10001/edit", json={"responsible_user_id": 9}).status_code == 400
    (event,) = events(fresh, "entity_responsible_changed")
    assert event["created_by"] == 502


def test_merge__keeps_one_id_and_moves_what_hangs_on_the_other(fresh: Bench) -> None:
    item = {"text": "call", "complete_till": 1800000000, "entity_id": 10002, "entity_type": "leads"}
    fresh.kommo.post("/tasks", json=[item])
    fresh.kommo.post("/leads/10002/notes", json=[{"note_type": "common", "params": {"text": "kept"}}])
    contacts = {one["id"] for i in (10001, 10002) for one in lead(fresh, i)["_embedded"]["contacts"]}
    fresh.control.post("/leads/10001/merge", json={"lead_id": 10002, "user_id": 503})
    assert fresh.kommo.get("/leads/10002").status_code == 204
    assert fresh.kommo.get("/leads", params={"with": "only_deleted"}).status_code == 204
    merged = lead(fresh)
    assert {one["id"] for one in merged["_embedded"]["contacts"]} == contacts
    assert sum(one["is_main"] for one in merged["_embedded"]["contacts"]) == 1
    assert merged["closest_task_at"] == 1800000000
    assert rows(fresh.kommo.get("/leads/10001/notes"), "notes")[0]["params"] == {"text": "kept"}
    (event,) = events(fresh, "entity_merged")
    assert (event["entity_id"], event["created_by"]) == (10001, 503)
    assert fresh.control.post("/leads/10001/merge", json={"lead_id": 10002}).status_code == 404


def test_deleted_deal__comes_back_whole(fresh: Bench) -> None:
    before = lead(fresh)
    fresh.control.delete("/leads/10001")
    fresh.control.post("/leads/10001/restore")
    after = lead(fresh)
    assert {**after, "updated_at": 0, "updated_by": 0} == {**before, "updated_at": 0, "updated_by": 0}
    assert fresh.control.post("/leads/10001/restore").status_code == 404
    assert [event["entity_id"] for event in events(fresh, "lead_restored")] == [10001]


def test_person__makes_contacts_and_companies(fresh: Bench) -> None:
    for kind in ("contacts", "companies"):
        made = fresh.control.post(f"/{kind}", json={"name": "Ann Lee", "email": "ann@b.example", "phone": "1"}).json()
        stored = fresh.kommo.get(f"/{kind}/{made['id']}").json()
        assert [entry["field_code"] for entry in stored["custom_fields_values"]] == ["EMAIL", "PHONE"]
        found = fresh.kommo.get(f"/{kind}", params={"query": "ann@b.example"}).json()["_embedded"][kind]
        assert [one["id"] for one in found] == [made["id"]]


def test_world__goes_on_with_hooks_pins_and_merges_after_it_was_saved(fresh: Bench) -> None:
    fresh.kommo.post("/webhooks", json={"destination": "https://r.example", "settings": ["update_lead"]})
    fresh.control.post("/kommo/triggers", json={"url": "https://t.example", "status_id": INVOICE_SENT})
    fresh.kommo.post(f"/leads/notes/{note(fresh)}/pin")
    state = fresh.control.get("/state").json()
    fresh.control.put("/state", json=state)
    assert fresh.control.get("/kommo").json()["triggers"][0]["url"] == "https://t.example"
    assert fresh.kommo.get("/webhooks").json()["_total_items"] == 1
    shown = rows(fresh.kommo.get("/leads/notes", params={"with": "is_pinned"}), "notes")
    assert shown[0]["is_pinned"] is True
