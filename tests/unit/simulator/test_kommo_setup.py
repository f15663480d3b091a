"""What an account consists of: pipelines, fields, catalogs, sources, users, tokens, incoming leads."""

import base64
import json
from typing import Any

import pytest

from dealsync.simulator.premises import NEW, PARTNERS, QUALIFIED, SALES, UNSORTED
from tests.unit.simulator.bench import Bench

PIPELINE = {"name": "Events", "sort": 30, "is_main": False, "is_unsorted_on": True}


def made(answer: Any, plural: str) -> Any:
    assert answer.status_code in (200, 201), answer.text
    return answer.json()["_embedded"][plural][0]


# --- pipelines ------------------------------------------------------------------------------------
def test_pipeline__is_made_with_system_stages_and_taken_away_while_empty(fresh: Bench) -> None:
    statuses = [{"name": "First", "sort": 20}, {"id": 142, "name": "Done"}]
    pipeline = made(
        fresh.kommo.post("/leads/pipelines", json=[{**PIPELINE, "_embedded": {"statuses": statuses}}]), "pipelines"
    )
    stages = pipeline["_embedded"]["statuses"]
    assert [stage["name"] for stage in stages] == ["Incoming leads", "First", "Done", "Closed - lost"]
    assert [stage["type"] for stage in stages] == [1, 0, 0, 0]
    assert [stage["id"] for stage in stages[2:]] == [142, 143]
    url = f"/leads/pipelines/{pipeline['id']}"
    lead = made(fresh.kommo.post("/leads", json=[{"pipeline_id": pipeline["id"]}]), "leads")
    assert fresh.kommo.delete(url).status_code == 400
    fresh.kommo.patch(f"/leads/{lead['id']}", json={"pipeline_id": SALES})
    assert fresh.kommo.delete(url).json() == {}
    assert fresh.kommo.get(url).status_code == 404


def test_pipeline__needs_its_four_keys_and_there_is_one_main(fresh: Bench) -> None:
    answer = fresh.kommo.post("/leads/pipelines", json=[{"name": "x"}])
    paths = [error["path"] for error in answer.json()["validation-errors"][0]["errors"]]
    assert paths == ["sort", "is_main", "is_unsorted_on"]
    fresh.kommo.patch(f"/leads/pipelines/{PARTNERS}", json={"is_main": True})
    mains = {p["id"] for p in fresh.kommo.get("/leads/pipelines").json()["_embedded"]["pipelines"] if p["is_main"]}
    assert mains == {PARTNERS}


def test_status__system_ones_are_only_renamed(fresh: Bench) -> None:
    base = f"/leads/pipelines/{SALES}/statuses"
    assert fresh.kommo.patch(f"{base}/142", json={"name": "Paid"}).json()["name"] == "Paid"
    assert fresh.kommo.patch(f"{base}/142", json={"sort": 1}).status_code == 400
    for status_id in (142, UNSORTED):
        assert fresh.kommo.delete(f"{base}/{status_id}").status_code == 400
    status = made(fresh.kommo.post(base, json=[{"name": "Talk", "sort": 35}]), "statuses")
    names = [s["name"] for s in fresh.kommo.get(base).json()["_embedded"]["statuses"]]
    assert names.index("Qualified") < names.index("Talk") < names.index("Invoice sent")
    assert fresh.kommo.delete(f"{base}/{status['id']}").status_code == 204


def test_setup__is_for_admins(fresh: Bench) -> None:
    own = {"x-context-user-id": "502"}
    assert fresh.kommo.post("/leads/pipelines", json=[PIPELINE], headers=own).status_code == 403
    assert (
        fresh.kommo.post("/leads/custom_fields", json=[{"name": "a", "type": "text"}], headers=own).status_code == 403
    )
    assert fresh.kommo.get("/account", headers=own).json()["current_user_id"] == 502
    assert fresh.kommo.get("/account", headers={"x-context-user-id": "9"}).status_code == 401
    lead = made(fresh.kommo.post("/leads", json=[{"name": "x"}], headers=own), "leads")
    assert fresh.kommo.get(f"/leads/{lead['id']}").json()["created_by"] == 502


# --- fields, catalogs, sources --------------------------------------------------------------------
def test_field__keeps_the_options_that_are_sent_with_their_ids(fresh: Bench) -> None:
    definition = {"name": "Plan", "type": "select", "enums": [{"value": "S", "sort": 1}, {"value": "L", "sort": 2}]}
    field = made(fresh.kommo.post("/leads/custom_fields", json=[definition]), "custom_fields")
    small = field["enums"][0]
    change = {"name": "Plan!", "enums": [{**small, "value": "Small"}, {"value": "L", "sort": 2}]}
    changed = fresh.kommo.patch(f"/leads/custom_fields/{field['id']}", json=change).json()
    assert changed["name"] == "Plan!"
    assert changed["enums"][0] == {**small, "value": "Small"}
    assert changed["enums"][1]["id"] != field["enums"][1]["id"]


def test_field__that_is_deleted_takes_its_values_along(fresh: Bench) -> None:
    field = made(fresh.kommo.post("/leads/custom_fields", json=[{"name": "F", "type": "text"}]), "custom_fields")
    entry = {"field_id": field["id"], "values": [{"value": "x"}]}
    fresh.kommo.patch("/leads/10001", json={"custom_fields_values": [entry]})
    assert fresh.kommo.delete(f"/leads/custom_fields/{field['id']}").status_code == 204
    assert fresh.kommo.get("/leads/10001").json()["custom_fields_values"] is None
    assert fresh.kommo.delete("/contacts/custom_fields/7001").status_code == 400


def test_group__has_a_text_id(fresh: Bench) -> None:
    base = "/leads/custom_fields/groups"
    assert fresh.kommo.get(base).status_code == 204
    group = made(fresh.kommo.post(base, json=[{"name": "Money"}]), "custom_field_groups")
    assert group["id"].startswith("leads_")
    assert fresh.kommo.patch(f"{base}/{group['id']}", json={"name": "Cash"}).json()["name"] == "Cash"
    assert fresh.kommo.delete(f"{base}/{group['id']}").status_code == 204


@pytest.mark.parametrize(
    ("kind", "written", "read"),
    [
        (
            "smart_address",
            {"value": "Berlin", "enum_code": "city"},
            {"value": "Berlin", "enum_id": 3, "enum_code": "city"},
        ),
        ("chained_list", {"catalog_id": 1, "catalog_element_id": 2}, {"catalog_id": 1, "catalog_element_id": 2}),
        ("legal_entity", {"value": {"name": "Acorn"}}, {"value": {"name": "Acorn"}}),
    ],
)
def test_field__of_an_object_type_reads_back(fresh: Bench, kind: str, written: Any, read: Any) -> None:
    field = made(fresh.kommo.post("/leads/custom_fields", json=[{"name": "F", "type": kind}]), "custom_fields")
    entry = {"field_id": field["id"], "values": [written]}
    assert fresh.kommo.patch("/leads/10001", json={"custom_fields_values": [entry]}).status_code == 200
    assert fresh.kommo.get("/leads/10001").json()["custom_fields_values"][0]["values"] == [read]


def test_catalogs__are_ten_at_most_and_one_of_products(fresh: Bench) -> None:
    items = [{"name": f"C{n}"} for n in range(10)]
    assert fresh.kommo.post("/catalogs", json=[*items, {"name": "more"}]).status_code == 400
    assert fresh.kommo.post("/catalogs", json=[{"name": "P", "type": "products"}]).status_code == 200
    assert fresh.kommo.post("/catalogs", json=[{"name": "P", "type": "products"}]).status_code == 400
    assert fresh.kommo.get("/catalogs").json()["_embedded"]["catalogs"][0]["type"] == "products"


def test_sources__are_204_until_there_is_one(fresh: Bench) -> None:
    assert fresh.kommo.get("/sources").status_code == 204
    source = made(fresh.kommo.post("/sources", json=[{"name": "Site", "external_id": "s"}]), "sources")
    assert fresh.kommo.get("/sources").json()["_total_items"] == 1
    assert fresh.kommo.delete(f"/sources/{source['id']}").status_code == 204


# --- users, tokens --------------------------------------------------------------------------------
def test_deactivated_user__cannot_be_responsible(fresh: Bench) -> None:
    assert fresh.control.post("/users/502", json={"is_active": False}).json()["rights"]["is_active"] is False
    for path, item in (
        ("/leads", {"responsible_user_id": 502}),
        ("/contacts", {"responsible_user_id": 502}),
        ("/tasks", {"text": "x", "complete_till": 1, "responsible_user_id": 502}),
    ):
        answer = fresh.kommo.post(path, json=[item])
        assert answer.json()["validation-errors"][0]["errors"][0]["path"] == "responsible_user_id"


def test_integration__that_is_switched_off_answers_401_to_its_tokens(fresh: Bench) -> None:
    own = fresh.world.secrets.kommo
    url = "http://test/kommo/oauth2/access_token"
    base = {"client_id": own.client_id, "client_secret": own.client_secret, "redirect_uri": own.redirect_uri}
    pair = fresh.kommo.post(url, json={**base, "grant_type": "authorization_code", "code": own.code}).json()
    where = "http://test/kommo/oauth2/account/current/subdomain"
    refresh = {"x-refresh-token": pair["refresh_token"]}
    assert fresh.kommo.get(where, headers=refresh).json()["subdomain"] == "simulated"
    fresh.control.post("/kommo/integration", json={"on": False})
    header = {"authorization": f"Bearer {pair['access_token']}"}
    assert fresh.kommo.get("/account").status_code == 401
    assert fresh.kommo.get("/account", headers=header).status_code == 401
    assert fresh.kommo.get(where, headers=refresh).status_code == 401
    fresh.control.post("/kommo/integration", json={"on": True})
    assert fresh.kommo.get("/account").status_code == 200
    renewal = {**base, "grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
    refused = fresh.kommo.post(url, json=renewal)
    assert (refused.status_code, {"title", "detail", "hint"} <= refused.json().keys()) == (400, True)
    code = fresh.control.post("/kommo/code").json()["code"]
    by_code = {**base, "grant_type": "authorization_code", "code": code}
    assert fresh.kommo.post(url, json=by_code).status_code == 200


def test_token__is_given_for_a_form_too_and_reads_as_a_jwt(fresh: Bench) -> None:
    own = fresh.world.secrets.kommo
    form = {"client_id": own.client_id, "client_secret": own.client_secret, "redirect_uri": own.redirect_uri}
    url = "http://test/kommo/oauth2/access_token"
    pair = fresh.kommo.post(url, data={**form, "grant_type": "authorization_code", "code": own.code}).json()
    claims = json.loads(base64.urlsafe_b64decode(pair["access_token"].split(".")[1] + "=="))
    assert claims["exp"] - claims["iat"] == pair["expires_in"] == 86400
    assert claims["aud"] == own.client_id


def test_account__tells_of_the_filter_add_on(fresh: Bench) -> None:
    params = {"with": "is_api_filter_enabled"}
    assert fresh.kommo.get("/account", params=params).json()["is_api_filter_enabled"] is True
    fresh.set(filters_enabled=False)
    assert fresh.kommo.get("/account", params=params).json()["is_api_filter_enabled"] is False


# --- complex, incoming leads ----------------------------------------------------------------------
def test_complex__with_metadata_makes_an_incoming_lead_that_can_be_accepted(fresh: Bench) -> None:
    metadata = {"category": "forms", "form_id": 1, "form_name": "Site"}
    item = {"name": "Web", "status_id": NEW, "_embedded": {"metadata": metadata, "contacts": [{"name": "C"}]}}
    (row,) = fresh.kommo.post("/leads/complex", json=[item]).json()
    assert fresh.kommo.get(f"/leads/{row['id']}").json()["status_id"] == UNSORTED
    (waiting,) = fresh.kommo.get("/leads/unsorted").json()["_embedded"]["unsorted"]
    assert (waiting["category"], waiting["_embedded"]["leads"][0]["id"]) == ("forms", row["id"])
    body = {"user_id": 502, "status_id": QUALIFIED}
    assert fresh.kommo.post(f"/leads/unsorted/{waiting['uid']}/accept", json=body).status_code == 200
    lead = fresh.kommo.get(f"/leads/{row['id']}").json()
    assert (lead["status_id"], lead["responsible_user_id"]) == (QUALIFIED, 502)
    assert fresh.kommo.get("/leads/unsorted").status_code == 204


def test_complex__falls_into_the_deal_of_the_same_person_where_duplicates_are_controlled(fresh: Bench) -> None:
    emails = [{"field_code": "EMAIL", "values": [{"value": "one@b.example"}]}]
    item = {"_embedded": {"contacts": [{"name": "A", "custom_fields_values": emails}]}}
    (first,) = fresh.kommo.post("/leads/complex", json=[item]).json()
    fresh.control.post("/kommo", json={"duplicate_control": True})
    answer = fresh.kommo.post("/leads/complex", json=[{**item, "request_id": "a"}, {**item, "request_id": "b"}])
    (row,) = answer.json()
    assert (row["id"], row["merged"], row["request_id"]) == (first["id"], True, ["a", "b"])


def test_complex__links_contact_and_company_to_each_other(fresh: Bench) -> None:
    item = {"_embedded": {"contacts": [{"name": "A"}], "companies": [{"name": "Acorn"}]}}
    (row,) = fresh.kommo.post("/leads/complex", json=[item]).json()
    lead = fresh.kommo.get(f"/leads/{row['id']}").json()
    assert [one["id"] for one in lead["_embedded"]["companies"]] == [row["company_id"]]
    contact = fresh.kommo.get(f"/contacts/{row['contact_id']}").json()
    assert [one["id"] for one in contact["_embedded"]["companies"]] == [row["company_id"]]
    company = fresh.kommo.get(f"/companies/{row['company_id']}", params={"with": "leads,contacts"}).json()
    assert [one["id"] for one in company["_embedded"]["leads"]] == [row["id"]]
    assert [one["id"] for one in company["_embedded"]["contacts"]] == [row["contact_id"]]


def test_complex__takes_one_contact_and_forty_fields(fresh: Bench) -> None:
    two = {"_embedded": {"contacts": [{"name": "A"}, {"name": "B"}]}}
    many = {"custom_fields_values": [{"field_id": 1, "values": None}] * 41}
    for item, path in ((two, "_embedded.contacts.1"), (many, "custom_fields_values.40")):
        answer = fresh.kommo.post("/leads/complex", json=[item])
        assert answer.json()["validation-errors"][0]["errors"][0]["path"] == path
