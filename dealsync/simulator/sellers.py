"""What sellers do in Kommo by hand: deals and contacts that are there without the API."""

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from dealsync.simulator.kommo.contacts import new_person
from dealsync.simulator.kommo.state import CLOSED, LOST, KommoAccount
from dealsync.simulator.table import Record


class HandMade(NamedTuple):
    """A deal as a seller left it. Times are Unix seconds."""

    name: str
    price: int
    pipeline_id: int
    status_id: int
    contact_id: int | None
    owner_id: int
    created: float
    moved: float  # when it came into its status; closed deals were closed then


def add_contact(account: KommoAccount, name: str, email: str, owner_id: int, at: float) -> Record:
    """File a contact with one work e-mail, as typed by a person."""
    return add_person(account, "contacts", name, {"EMAIL": email}, owner_id, at)


def add_person(
    account: KommoAccount, kind: str, name: str, texts: Mapping[str, str], owner_id: int, at: float
) -> Record:
    """File a contact or company with a first mail and phone (`texts` by field code), as typed by a person."""
    record = new_person(account, kind, owner_id, int(at))
    record["name"] = name
    if kind == "contacts":
        record["first_name"], _, record["last_name"] = name.partition(" ")
    fields = [(account.field(kind, code=code), text) for code, text in texts.items()]
    record["custom_fields_values"] = [_entry(field, text) for field, text in fields if field is not None] or None
    account.file(kind, record, fresh=False)
    return record


def add_deal(account: KommoAccount, made: HandMade, *, fresh: bool = False) -> Record:
    """File a deal with its history; `fresh` ones are subject to the list and search lags."""
    lost = made.status_id == LOST
    lead: Record = {
        "id": account.next_id("leads"),
        "name": made.name,
        "price": made.price,
        "responsible_user_id": made.owner_id,
        "group_id": 0,
        "status_id": made.status_id,
        "pipeline_id": made.pipeline_id,
        "loss_reason_id": next(iter(account.loss_reasons), None) if lost else None,
        "created_by": made.owner_id,
        "updated_by": made.owner_id,
        "created_at": int(made.created),
        "updated_at": int(made.moved),
        "closed_at": int(made.moved) if made.status_id in CLOSED else None,
        "closest_task_at": None,
        "is_deleted": False,
        "custom_fields_values": None,
        "score": None,
        "account_id": account.account_id,
        "labor_cost": None,
        "is_price_computed": False,
        "_embedded": {"tags": [], "companies": [], "contacts": []},
    }
    if made.contact_id is not None:
        lead["_embedded"]["contacts"] = [{"id": made.contact_id, "is_main": True}]
    account.file("leads", lead, fresh=fresh)
    _write_history(account, lead)
    return lead


def _write_history(account: KommoAccount, lead: Record) -> None:
    owner_id, first = lead["created_by"], account.first_status(lead["pipeline_id"])
    account.record("lead_added", "leads", lead["id"], owner_id, at=lead["created_at"])
    if lead["status_id"] != first:
        after, before = (_status(lead["pipeline_id"], status_id) for status_id in (lead["status_id"], first))
        account.record("lead_status_changed", "leads", lead["id"], owner_id, after, before, at=lead["updated_at"])


@cache  # history never changes, so thousands of events share one value
def _status(pipeline_id: int, status_id: int) -> tuple[Record]:
    return ({"lead_status": {"id": status_id, "pipeline_id": pipeline_id}},)


def _entry(field: Record, text: str) -> Record:
    kind = field["enums"][0]
    return {
        "field_id": field["id"],
        "field_name": field["name"],
        "field_code": field["code"],
        "field_type": field["type"],
        "values": [{"value": text, "enum_id": kind["id"], "enum_code": kind["value"]}],
        "is_computed": False,
    }
