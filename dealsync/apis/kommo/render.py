"""Changes -> request bodies, minimal ones: Kommo refuses what was read and is sent back.

Source: Kommo reference, "PATCH /leads", "Custom field values", "Notes and tasks".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from dealsync.core.mapping import FIELDS, TIME_KEYS
from dealsync.core.plan import (
    ChangeNote,
    ChangeTask,
    CompleteTask,
    DealChange,
    NewCompany,
    NewContact,
    NewDeal,
    Note,
    ReopenTask,
    Task,
    merged,
)

Body = dict[str, Any]


def deal_change(
    lead_id: int, changes: Iterable[DealChange], field_ids: Mapping[str, int], *, price_digits: int = 0
) -> Body:
    """Return one PATCH item for all changes of a deal. What a change leaves open is left out, never null."""
    body: Body = {"id": lead_id, "request_id": str(lead_id)}
    change = merged(changes)
    if change.pipeline_id is not None:
        body["pipeline_id"] = change.pipeline_id
    if change.status_id is not None:
        body["status_id"] = change.status_id
    if change.price is not None:
        body["price"] = _price(change.price, price_digits)
    if change.fields:
        body["custom_fields_values"] = _field_values(change.fields, field_ids)
    if change.tags_to_add:
        body["tags_to_add"] = [{"name": tag} for tag in change.tags_to_add]
    if change.tags_to_delete:
        body["tags_to_delete"] = [{"name": tag} for tag in change.tags_to_delete]
    return body


def new_deal(
    deal: NewDeal,
    changes: Iterable[DealChange],
    contact_id: int | None,
    field_ids: Mapping[str, int],
    request_id: str,
    *,
    company_id: int | None = None,
    price_digits: int = 0,
) -> Body:
    """Return one POST item of a deal with its main contact, and with the tags of changes that travel with it."""
    tags = dict.fromkeys((*deal.tags, *(tag for change in changes for tag in change.tags_to_add)))
    body: Body = {
        "name": deal.name,
        "pipeline_id": deal.pipeline_id,
        "status_id": deal.status_id,
        "_embedded": {},
        "request_id": request_id,
    }
    others = [{"field_id": field_id, "values": [{"value": text}]} for field_id, text in sorted(deal.custom.items())]
    if values := [*_field_values(deal.fields, field_ids), *others]:
        body["custom_fields_values"] = values
    if tags:
        body["_embedded"]["tags"] = [{"name": tag} for tag in tags]
    if deal.price is not None:
        body["price"] = _price(deal.price, price_digits)
    if deal.responsible_user_id is not None:
        body["responsible_user_id"] = deal.responsible_user_id
    if contact_id is not None:
        body["_embedded"]["contacts"] = [{"id": contact_id, "is_main": True}]
    if company_id is not None:
        body["_embedded"]["companies"] = [{"id": company_id}]
    return body


def new_company(company: NewCompany, request_id: str) -> Body:
    """Return one POST item of a company."""
    body: Body = {"name": company.name, "request_id": request_id}
    if company.responsible_user_id is not None:
        body["responsible_user_id"] = company.responsible_user_id
    return body


def new_contact(contact: NewContact, request_id: str) -> Body:
    """Return one POST item of a contact with its e-mail."""
    email = {"field_code": "EMAIL", "values": [{"value": contact.email, "enum_code": "WORK"}]}
    body: Body = {"name": contact.name, "custom_fields_values": [email], "request_id": request_id}
    if contact.responsible_user_id is not None:
        body["responsible_user_id"] = contact.responsible_user_id
    return body


def note(lead_id: int, note: Note, request_id: str) -> Body:
    """Return one POST item for /leads/notes."""
    return {"entity_id": lead_id, "note_type": "common", "params": {"text": note.text}, "request_id": request_id}


def task(lead_id: int | None, task: Task, request_id: str) -> Body:
    """Return one POST item for /tasks, on a deal or on nothing. What there is none of is left out, never null."""
    body: Body = {} if lead_id is None else {"entity_id": lead_id, "entity_type": "leads"}
    body |= {
        "task_type_id": task.task_type_id,
        "text": task.text,
        "complete_till": int(task.due_at.timestamp()),
        "request_id": request_id,
    }
    if task.responsible_user_id is not None:
        body["responsible_user_id"] = task.responsible_user_id
    return body


def changed_note(note_id: int, lead_id: int, change: ChangeNote) -> Body:
    """Return one PATCH item for /leads/notes."""
    return {"id": note_id, "entity_id": lead_id, "note_type": "common", "params": {"text": change.text}}


def changed_task(task_id: int, change: ChangeTask | CompleteTask | ReopenTask) -> Body:
    """Return one PATCH item that ticks a task off with its result, opens it again, or gives it a new text."""
    if isinstance(change, ReopenTask):
        return {"id": task_id, "is_completed": False, "request_id": str(task_id)}
    if isinstance(change, CompleteTask):
        return {"id": task_id, "is_completed": True, "result": {"text": change.result}, "request_id": str(task_id)}
    due = int(change.due_at.timestamp())
    return {"id": task_id, "text": change.text, "complete_till": due, "request_id": str(task_id)}


def ls_fields(group_id: str | None = None) -> list[Body]:
    """Return the POST items that make every LS field of deals, in the order of `mapping.FIELDS`, in one group."""
    group = {} if group_id is None else {"group_id": group_id}
    return [{"name": field.name, "type": field.field_type, **group} for field in FIELDS]


def _field_values(fields: Mapping[str, str], field_ids: Mapping[str, int]) -> list[Body]:
    return [
        {"field_id": field_ids[key], "values": [{"value": _value(key, fields[key])}] if fields[key] else None}
        for key in sorted(fields)
    ]


def _value(key: str, text: str) -> str | int:
    """Times go as Unix seconds (reference, "Custom field values")."""
    return int(datetime.fromisoformat(text).timestamp()) if key in TIME_KEYS else text


def _price(units: int, digits: int) -> int | float:
    """Whole units as an integer; an account with minor units takes them as decimals (reference, 2.8)."""
    return float(Decimal(units).scaleb(-digits)) if digits else units
