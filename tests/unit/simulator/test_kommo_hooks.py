"""Kommo's webhooks: who is told, in which shape, and what follows a failure. Shapes come from the recorded samples."""

import json
from typing import Any
from urllib.parse import parse_qsl

import pytest

from dealsync.simulator.deliveries import Delivery
from dealsync.simulator.kommo.hooks import form_body
from dealsync.simulator.premises import INVOICE_SENT, NEW, PARTNER_NEW, PARTNERS, QUALIFIED, SALES
from tests.unit.simulator.bench import SAMPLES, Bench

URL = "https://receiver.example/hook"


def hooked(bench: Bench, *settings: str, url: str = URL) -> Any:
    answer = bench.kommo.post("/webhooks", json={"destination": url, "settings": list(settings)})
    assert answer.status_code == 201
    return answer.json()


def sent(bench: Bench) -> list[Delivery]:
    return bench.world.deliveries.all("kommo")


def body(delivery: Delivery) -> dict[str, str]:
    return dict(parse_qsl(delivery.body.decode(), keep_blank_values=True))


def recorded(name: str) -> Any:
    return json.loads((SAMPLES / "kommo" / name).read_text(encoding="utf-8"))


def flat(node: Any) -> dict[str, str]:
    """Return a published body as its form has it."""
    return dict(parse_qsl(form_body(node).decode(), keep_blank_values=True))


def shape(keys: Any) -> set[str]:
    """Return keys without the account's, the custom fields' and the numbers of linked deals."""
    return {key for key in keys if not key.startswith("account") and not any(w in key for w in ("custom_", "linked_"))}


# --- registration ---------------------------------------------------------------------------------
def test_webhook__is_registered_listed_updated_and_removed(fresh: Bench) -> None:
    made = hooked(fresh, "add_lead")
    assert made.keys() == recorded("webhook_post_response.kommo.json").keys()
    assert hooked(fresh, "status_lead")["id"] == made["id"]
    hooked(fresh, "add_task", url=URL + "/2")
    listed = fresh.kommo.get("/webhooks", params={"filter[destination]": URL}).json()
    assert (listed["_total_items"], listed["_embedded"]["webhooks"][0]["settings"]) == (1, ["status_lead"])
    assert listed.keys() == recorded("webhooks_list.amocrm.json").keys()
    assert fresh.kommo.request("DELETE", "/webhooks", json={"destination": URL}).status_code == 204
    assert fresh.kommo.request("DELETE", "/webhooks", json={"destination": URL}).status_code == 404


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"destination": URL}, "settings"),
        ({"destination": URL, "settings": ["odd"]}, "settings.0"),
        ({"destination": "https://müller.example", "settings": ["add_lead"]}, "destination.destination"),
        ({"destination": "https://not-yet.invalid/hook", "settings": ["add_lead"]}, "destination.destination"),
    ],
)
def test_webhook__is_refused_with_a_path(fresh: Bench, given: Any, path: str) -> None:
    answer = fresh.kommo.post("/webhooks", json=given)
    assert answer.status_code == 400
    assert [e["path"] for e in answer.json()["validation-errors"][0]["errors"]] == [path]


def test_webhook__of_somebody_who_is_no_admin_is_403_in_json(fresh: Bench) -> None:
    fresh.control.post("/users/501", json={"is_admin": False})
    for path in ("/webhooks", "/users", "/users/501", "/roles"):
        answer = fresh.kommo.get(path)
        assert (answer.status_code, answer.json()["status"]) == (403, 403)
    assert fresh.kommo.get("/leads").status_code == 200


# --- bodies ---------------------------------------------------------------------------------------
def test_body__of_a_move_has_the_published_keys_as_a_form(fresh: Bench) -> None:
    hooked(fresh, "status_lead")
    old = fresh.kommo.get("/leads/10001").json()
    fresh.kommo.patch("/leads/10001", json={"pipeline_id": PARTNERS, "status_id": PARTNER_NEW})
    (delivery,) = sent(fresh)
    told = body(delivery)
    assert delivery.headers["content-type"] == "application/x-www-form-urlencoded"
    assert b"leads%5Bstatus%5D%5B0%5D%5Bid%5D=10001" in delivery.body
    published = flat(recorded("webhook_in_leads_status.kommo.json"))
    assert shape(told) == shape(published)
    first = "leads[status][0]"
    assert (told[f"{first}[status_id]"], told[f"{first}[old_status_id]"]) == (str(PARTNER_NEW), str(old["status_id"]))
    assert told[f"{first}[modified_user_id]"] == "501"
    assert (told["account[id]"], told["account[subdomain]"]) == ("31000001", "simulated")


def test_body__shows_custom_fields_in_their_three_forms(fresh: Bench) -> None:
    definitions = [
        {"name": "Plain", "type": "text"},
        {"name": "Day", "type": "date"},
        {"name": "Kind", "type": "radiobutton", "enums": [{"value": "A", "sort": 1}]},
        {"name": "Flag", "type": "checkbox"},
    ]
    made = fresh.kommo.post("/leads/custom_fields", json=definitions).json()["_embedded"]["custom_fields"]
    hooked(fresh, "update_lead")
    given = ("x", 1729717200, "A", True)
    entries = [{"field_id": f["id"], "values": [{"value": v}]} for f, v in zip(made, given, strict=True)]
    fresh.kommo.patch("/leads/10001", json={"custom_fields_values": entries})
    told = body(sent(fresh)[0])
    fields = "leads[update][0][custom_fields]"
    assert told[f"{fields}[0][values][0][value]"] == "x"
    assert told[f"{fields}[1][values][0]"] == "1729717200"
    assert told[f"{fields}[2][values][value]"] == "A"
    assert told[f"{fields}[2][values][enum]"] == str(made[2]["enums"][0]["id"])
    assert told[f"{fields}[3][values][0][value]"] == "1"


def test_body__holds_the_entities_of_one_batch(fresh: Bench) -> None:
    hooked(fresh, "update_lead")
    fresh.kommo.patch("/leads", json=[{"id": i, "name": "n"} for i in (10001, 10002, 10003)])
    (delivery,) = sent(fresh)
    assert [body(delivery)[f"leads[update][{n}][id]"] for n in range(3)] == ["10001", "10002", "10003"]


def test_body__of_contacts_and_companies_comes_under_contacts(fresh: Bench) -> None:
    hooked(fresh, "add_contact", "add_company", "update_contact", "delete_contact")
    contact = fresh.kommo.post("/contacts", json=[{"name": "Ann"}]).json()["_embedded"]["contacts"][0]["id"]
    fresh.kommo.post("/companies", json=[{"name": "Acorn"}])
    fresh.kommo.patch(f"/contacts/{contact}", json={"responsible_user_id": 502})
    fresh.control.delete(f"/contacts/{contact}")
    one, two, three, four = map(body, sent(fresh))
    published = shape(flat(recorded("webhook_in_contacts_add.kommo.json")))
    assert shape(one) == published
    assert (one["contacts[add][0][type]"], two["contacts[add][0][type]"]) == ("contact", "company")
    assert three["contacts[update][0][old_responsible_user_id]"] == "501"
    assert shape(three) == shape(flat(recorded("webhook_in_contacts_responsible.kommo.json")))
    assert shape(four) == shape(flat(recorded("webhook_in_contacts_delete.kommo.json")))


def test_body__of_tasks_and_notes_has_the_published_keys(fresh: Bench) -> None:
    hooked(fresh, "add_task", "update_task", "delete_task", "note_lead")
    item = {"text": "call", "complete_till": 1800000000, "entity_id": 10001, "entity_type": "leads"}
    task = fresh.kommo.post("/tasks", json=[item]).json()["_embedded"]["tasks"][0]["id"]
    fresh.control.post(f"/tasks/{task}/complete", json={"result": "done", "user_id": 503})
    fresh.control.delete(f"/tasks/{task}")
    fresh.kommo.post("/leads/notes", json=[{"entity_id": 10001, "note_type": "common", "params": {"text": "hi"}}])
    names = ("task_add", "task_update_completed", "task_delete", "note_lead_text")
    for delivery, name in zip(sent(fresh), names, strict=True):
        assert shape(body(delivery)) == shape(flat(recorded(f"webhook_in_{name}.kommo.json"))), name
    assert body(sent(fresh)[0])["task[add][0][complete_till]"] == "2027-01-15 08:00:00"
    assert body(sent(fresh)[3])["leads[note][0][note][note_type]"] == "4"
    assert fresh.kommo.get(f"/tasks/{task}").status_code == 204


def test_body__of_a_deleted_deal_has_three_ids(fresh: Bench) -> None:
    hooked(fresh, "delete_lead", "restore_lead")
    fresh.control.delete("/leads/10001")
    fresh.control.post("/leads/10001/restore")
    gone, back = map(body, sent(fresh))
    names = ("id", "status_id", "pipeline_id")
    assert shape(gone) == {f"leads[delete][0][{name}]" for name in names}
    assert back["leads[restore][0][id]"] == "10001"


# --- who is told ----------------------------------------------------------------------------------
def test_hooks__hear_only_of_what_they_asked_for_and_of_real_changes(fresh: Bench) -> None:
    hooked(fresh, "responsible_lead")
    fresh.kommo.patch("/leads/10001", json={"name": "other"})
    fresh.kommo.patch("/leads/10001", json={"responsible_user_id": 503})
    fresh.kommo.patch("/leads/10001", json={"responsible_user_id": 503})
    (delivery,) = sent(fresh)
    assert body(delivery)["leads[responsible][0][responsible_user_id]"] == "503"
    assert "leads[responsible][0][old_responsible_user_id]" in body(delivery)


def test_hooks__tell_who_edited_by_hand(fresh: Bench) -> None:
    hooked(fresh, "status_lead", "add_lead")
    made = fresh.control.post("/leads", json={"price": 5, "status_id": NEW}).json()
    fresh.control.post(f"/leads/{made['id']}/move", json={"status_id": INVOICE_SENT, "user_id": 503})
    added, moved = map(body, sent(fresh))
    assert added["leads[add][0][created_user_id]"] == "501"
    assert moved["leads[status][0][modified_user_id]"] == "503"


def test_hooks__of_the_digital_pipeline_fire_on_their_stage_with_five_keys(fresh: Bench) -> None:
    fresh.control.post("/kommo/triggers", json={"url": URL, "status_id": INVOICE_SENT})
    lead = fresh.control.post("/leads", json={"price": 5, "status_id": NEW}).json()
    fresh.kommo.patch(f"/leads/{lead['id']}", json={"status_id": QUALIFIED})
    assert sent(fresh) == []
    fresh.kommo.patch(f"/leads/{lead['id']}", json={"status_id": INVOICE_SENT})
    told = body(sent(fresh)[0])
    captured = recorded("webhook_in_digital_pipeline_status_capture_a.form.json")
    assert told.keys() - {"account[_links][self]"} == captured.keys()
    assert told["leads[status][0][old_pipeline_id]"] == str(SALES)


# --- failures -------------------------------------------------------------------------------------
def waits(bench: Bench, delivery: Delivery, status: int | None) -> float | None:
    """Fail the next attempt of a delivery; return the simulated seconds until it is tried again."""
    bench.world.run_due()
    bench.world.deliveries.take_due()
    bench.world.deliveries.attempted(delivery, status, None if status else "timeout")
    planned = [entry["at"] for entry in bench.world.schedule.entries() if entry["kind"] == "delivery"]
    if not planned:
        return None
    waited: float = planned[0] - bench.world.clock.now()
    bench.world.advance(waited)
    return round(waited)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([500, 502, 503, 499, 500], [300, 900, 900, 3600, None]),
        ([404, 404, 404], [300, 900, None]),
        ([302, None, 404], [300, 900, None]),
    ],
)
def test_failure__is_retried_by_the_table(fresh: Bench, statuses: Any, expected: Any) -> None:
    hooked(fresh, "update_lead")
    fresh.kommo.patch("/leads/10001", json={"name": "other"})
    (delivery,) = sent(fresh)
    assert [waits(fresh, delivery, status) for status in statuses] == expected
    assert delivery.state == "lost"


def test_failure__of_a_digital_pipeline_hook_is_retried_four_times_within_an_hour(fresh: Bench) -> None:
    lead = fresh.control.post("/leads", json={"price": 5, "status_id": NEW}).json()
    fresh.control.post("/kommo/triggers", json={"url": URL, "status_id": INVOICE_SENT})
    fresh.kommo.patch(f"/leads/{lead['id']}", json={"status_id": INVOICE_SENT})
    (delivery,) = sent(fresh)
    found = [waits(fresh, delivery, 500) for _ in range(5)]
    assert found[-1] is None
    assert 0 < sum(wait or 0 for wait in found) <= 3600


def test_failure__over_a_hundred_in_two_hours_switches_the_hook_off(fresh: Bench) -> None:
    hooked(fresh, "update_lead")
    for number in range(101):
        assert not fresh.kommo.get("/webhooks").json()["_embedded"]["webhooks"][0]["disabled"]
        fresh.kommo.patch("/leads/10001", json={"name": f"n{number}"})
        fresh.world.run_due()
        for delivery in fresh.world.deliveries.take_due():
            fresh.world.deliveries.attempted(delivery, 500)
    assert fresh.kommo.get("/webhooks").json()["_embedded"]["webhooks"][0]["disabled"]
    before = len(sent(fresh))
    fresh.kommo.patch("/leads/10001", json={"name": "unheard"})
    assert len(sent(fresh)) == before
    hooked(fresh, "update_lead")
    fresh.kommo.patch("/leads/10001", json={"name": "heard"})
    assert len(sent(fresh)) == before + 1
