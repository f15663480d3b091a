"""Every object the simulated Kommo answers has the keys and JSON types of the recorded samples."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from dealsync.simulator.kommo.hooks import form_body
from dealsync.simulator.premises import NEW, SALES
from dealsync.simulator.seed import seeded
from tests.unit.simulator.bench import NOW, SAMPLES, Bench, bench

# amoCRM's samples have no trace of these keys; the reference lists them for Kommo.
KOMMO_LEAD = {"is_price_computed", "labor_cost"}
KOMMO_PERSON = {"is_deleted", "is_unsorted"}
EVERYTHING_OF_AN_ACCOUNT = (
    "amojo_id,amojo_rights,users_groups,task_types,version,entity_names,datetime_settings,drive_url,"
    "is_api_filter_enabled"
)
RESULT = "is not like []"  # a task's result is [] until there is one (4.2)
FIELD = {"account_id", "code", "is_deletable", "hidden_statuses", "triggers", "entity_type", "currency", "settings"}


@pytest.fixture(scope="module")
def full() -> Iterator[Bench]:
    """A world with at least one object of every kind."""
    with bench(seeded(orders=10, now=NOW)) as one:
        _fill(one)
        yield one


def _fill(bench: Bench) -> None:
    def post(path: str, items: Any) -> Any:
        answer = bench.kommo.post(path, json=items)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    post("/leads/custom_fields", [{"name": "Size", "type": "select", "enums": [{"value": "S", "sort": 1}]}])
    company = post("/companies", [{"name": "Acorn", "custom_fields_values": _phone()}])["_embedded"]["companies"][0][
        "id"
    ]
    contact = post("/contacts", [{"name": "Ann"}])["_embedded"]["contacts"][0]["id"]
    catalog = post("/catalogs", [{"name": "Goods", "type": "products"}])["_embedded"]["catalogs"][0]["id"]
    fields = post(f"/catalogs/{catalog}/custom_fields", [{"name": "SKU", "type": "text", "code": "SKU"}])
    sku = fields["_embedded"]["custom_fields"][0]["id"]
    element = {"name": "Book", "custom_fields_values": [{"field_id": sku, "values": [{"value": "x"}]}]}
    element_id = post(f"/catalogs/{catalog}/elements", [element])["_embedded"]["elements"][0]["id"]
    links = [
        {"to_entity_id": element_id, "to_entity_type": "catalog_elements", "metadata": {"catalog_id": catalog}},
        {"to_entity_id": company, "to_entity_type": "companies"},
        {"to_entity_id": contact, "to_entity_type": "contacts"},
    ]
    post("/leads/10001/link", links)
    post(f"/contacts/{contact}/link", [links[1]])
    post("/leads/tags", [{"name": "paid", "color": "DDEBB5"}])
    lost = {"id": 10001, "status_id": 143, "loss_reason_id": 90001, "tags_to_add": [{"name": "paid"}]}
    assert bench.kommo.patch("/leads", json=[lost]).status_code == 200
    post("/leads/10001/notes", [{"note_type": "common", "params": {"text": "x"}}])
    task = {"text": "call", "complete_till": 1800000000, "entity_id": 10001, "entity_type": "leads"}
    post("/tasks", [{**task, "is_completed": True, "result": {"text": "done"}}])
    post("/webhooks", {"destination": "https://receiver.example", "settings": ["add_lead"]})
    post("/sources", [{"name": "Site", "external_id": "site", "pipeline_id": SALES}])


def _phone() -> list[Any]:
    return [{"field_code": "PHONE", "values": [{"value": "+1", "enum_code": "WORK"}]}]


def _recorded(name: str) -> Any:
    return json.loads((SAMPLES / "kommo" / name).read_text(encoding="utf-8"))


def _at(node: Any, path: str) -> Any:
    for step in path.split(".") if path else ():
        node = node[int(step)] if step.isdigit() else node[step]
    return node


def _differences(ours: Any, recorded: Any, extra: set[str], path: str = "") -> Iterator[str]:
    """Yield where two JSON values differ in keys or types; null goes with anything, lists by their first rows."""
    if ours is None or recorded is None:
        return
    if isinstance(ours, bool) != isinstance(recorded, bool) or not isinstance(ours, type(recorded)):
        yield f"{path}: {ours!r} is not like {recorded!r}"
    elif isinstance(ours, dict):
        yield from (f"{path}.{key} is missing" for key in recorded.keys() - ours.keys())
        yield from (f"{path}.{key} is recorded nowhere" for key in ours.keys() - recorded.keys() - extra)
        for key in ours.keys() & recorded.keys():
            yield from _differences(ours[key], recorded[key], extra, f"{path}.{key}")
    elif isinstance(ours, list) and ours and recorded:
        yield from _differences(ours[0], recorded[0], extra, f"{path}.0")


@pytest.mark.parametrize(
    ("url", "path", "file", "recorded_path", "extra", "missing"),
    [
        ("/leads", "", "leads_list.kommo.json", "", set(), set()),
        (
            "/leads?limit=1&page=2",
            "_embedded.leads.0",
            "leads_list_page2.amocrm.json",
            "_embedded.leads.0",
            KOMMO_LEAD,
            {"source_id"},
        ),
        (
            "/leads/10001?with=contacts,loss_reason,catalog_elements,source_id,is_price_modified_by_robot",
            "",
            "lead_get_with_all.amocrm.json",
            "",
            KOMMO_LEAD,
            {"source"},
        ),
        (
            "/contacts",
            "_embedded.contacts.0",
            "contacts_list.kommo.json",
            "_embedded.contacts.0",
            {"is_computed"},
            set(),
        ),
        (
            "/contacts/200001?with=leads,customers,catalog_elements",
            "",
            "contact_get_with_leads.amocrm.json",
            "",
            KOMMO_PERSON | {"is_computed", "enum_code"},
            {"enum"},
        ),
        (
            "/companies?limit=1",
            "_embedded.companies.0",
            "companies_list.amocrm.json",
            "_embedded.companies.0",
            KOMMO_PERSON,
            set(),
        ),
        ("/companies/300001", "", "company_get.amocrm.json", "", KOMMO_PERSON | {"is_computed", "enum_code"}, {"enum"}),
        ("/leads/10001/notes", "", "notes_list.kommo.json", "", set(), {"next"}),
        ("/leads/notes/400001", "", "note_get.amocrm.json", "", set(), set()),
        ("/tasks", "_embedded.tasks.0", "tasks_list.kommo.json", "_embedded.tasks.0", set(), {RESULT}),
        ("/tasks/600001", "", "task_get.amocrm.json", "", set(), set()),
        (
            "/events?filter[type]=lead_status_changed",
            "_embedded.events.0",
            "events_list_status_changed.kommo.json",
            "_embedded.events.0",
            set(),
            set(),
        ),
        (
            "/events?limit=1",
            "_embedded.events.0",
            "events_list.amocrm.json",
            "_embedded.events.0",
            {"task", "note"},
            {"entity._links"},
        ),
        (
            "/users?with=role,group",
            "_embedded.users.0",
            "users_list_with_role_group.kommo.json",
            "_embedded.users.0",
            set(),
            set(),
        ),
        (
            f"/account?with={EVERYTHING_OF_AN_ACCOUNT}",
            "",
            "account_with_all.amocrm.json",
            "",
            {"currency", "currency_symbol", "created_at", "created_by", "updated_at", "updated_by"},
            {"uuid", "leads.ru", "leads.es", "leads.en.gender"},
        ),
        ("/leads/pipelines", "", "pipelines_list.amocrm.json", "", set(), set()),
        (f"/leads/pipelines/{SALES}", "", "pipeline_get.amocrm.json", "", set(), set()),
        (f"/leads/pipelines/{SALES}/statuses", "", "statuses_list.kommo.json", "", set(), set()),
        (f"/leads/pipelines/{SALES}/statuses?with=descriptions", "", "statuses_list.amocrm.json", "", set(), set()),
        (f"/leads/pipelines/{SALES}/statuses/{NEW}", "", "status_get.kommo.json", "", set(), set()),
        ("/leads/custom_fields", "", "custom_fields_list.amocrm.json", "", FIELD, {"next"}),
        ("/contacts/custom_fields/7001", "", "custom_field_get.amocrm.json", "", FIELD, set()),
        ("/leads/tags", "", "tags_list.amocrm.json", "", set(), {"next"}),
        ("/catalogs", "_embedded.catalogs.0", "catalogs_list.amocrm.json", "_embedded.catalogs.0", set(), set()),
        (
            "/catalogs/5001/elements",
            "_embedded.elements.0",
            "catalog_elements_list.kommo.json",
            "_embedded.elements.0",
            {"is_computed"},
            set(),
        ),
        ("/catalogs/5001/elements/800001", "", "catalog_element_get.amocrm.json", "", {"is_computed"}, set()),
        ("/leads/10001/links", "", "lead_links_list.amocrm.json", "", set(), set()),
        ("/leads/links?filter[entity_id][]=10001", "", "leads_links_mass_list.amocrm.json", "", set(), set()),
        ("/webhooks", "", "webhooks_list.amocrm.json", "", set(), set()),
        ("/sources", "", "sources_list.amocrm.json", "", set(), set()),
        ("/sources/9601", "", "source_get.amocrm.json", "", set(), set()),
    ],
)
def test_answer__has_the_recorded_shape(
    full: Bench, url: str, path: str, file: str, recorded_path: str, extra: set[str], missing: set[str]
) -> None:
    answer = full.kommo.get(url)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/hal+json"
    assert len(answer.headers["x-request-id"]) == 32
    ours, recorded = _at(answer.json(), path), _at(_recorded(file), recorded_path)
    allowed = {name if name == RESULT else f"{name} is missing" for name in missing} or {"never"}
    found = [one for one in _differences(ours, recorded, extra) if not one.endswith(tuple(allowed))]
    assert found == []


@pytest.mark.parametrize(
    ("method", "url", "body", "file", "extra"),
    [
        ("POST", "/leads", [{"name": "a"}], "leads_post_response.kommo.json", set()),
        ("PATCH", "/leads", [{"id": 10002, "name": "b"}], "leads_patch_response.amocrm.json", set()),
        ("POST", "/contacts", [{"name": "a"}], "contacts_post_response.amocrm.json", KOMMO_PERSON),
        ("PATCH", "/contacts", [{"id": 200001, "name": "b"}], "contacts_patch_response.kommo.json", set()),
        ("POST", "/companies", [{"name": "a"}], "companies_post_response.amocrm.json", set()),
        ("PATCH", "/companies", [{"id": 300001, "name": "b"}], "companies_patch_response.amocrm.json", set()),
        (
            "PATCH",
            "/leads/notes",
            [{"id": 400001, "entity_id": 10001, "params": {"text": "y"}}],
            "notes_patch_response.kommo.json",
            set(),
        ),
        ("PATCH", "/leads/10001/notes/400001", {"params": {"text": "z"}}, "notes_patch_response.amocrm.json", set()),
        ("PATCH", "/tasks/600001", {"text": "z"}, "tasks_patch_response.kommo.json", set()),
        (
            "POST",
            "/leads/complex",
            [{"_embedded": {"contacts": [{"name": "C"}], "companies": [{"name": "D"}]}}],
            "leads_complex_response.amocrm.json",
            set(),
        ),
        (
            "POST",
            f"/leads/pipelines/{SALES}/statuses",
            [{"name": "Talk", "sort": 60, "descriptions": [{"level": "newbie", "description": "x"}]}],
            "statuses_post_response.amocrm.json",
            set(),
        ),
        ("PATCH", f"/leads/pipelines/{SALES}", {"name": "Sales"}, "pipeline_patch_response.kommo.json", {"_links"}),
        (
            "POST",
            "/leads/custom_fields",
            [{"name": "m", "type": "multiselect", "enums": [{"value": "1", "sort": 1}]}],
            "custom_fields_post_response.amocrm.json",
            FIELD | {"request_id"},
        ),
        ("POST", "/leads/tags", [{"name": "new"}], "tags_post_response.amocrm.json", set()),
    ],
)
def test_write__is_answered_in_the_recorded_shape(
    full: Bench, method: str, url: str, body: Any, file: str, extra: set[str]
) -> None:
    answer = full.kommo.request(method, url, json=body)
    assert answer.status_code in (200, 201), answer.text
    assert list(_differences(answer.json(), _recorded(file), extra)) == []


@pytest.mark.parametrize("name", ["webhook_in_leads_status.kommo", "webhook_in_contacts_add.kommo"])
def test_form__is_the_published_body_byte_for_byte(name: str) -> None:
    form = (SAMPLES / "kommo" / f"{name}.derived-form.txt").read_bytes().strip()
    assert form_body(_recorded(f"{name}.json")) == form
