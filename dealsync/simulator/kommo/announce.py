"""What a change tells the webhooks: stored records in the shapes of incoming hooks.

Source: Kommo reference, 6.1, and the webhook_in_* samples.
"""

import json
from datetime import UTC, datetime
from typing import Any

from dealsync.simulator.assumptions import (
    NOTE_HOOK_OFFSET_S,
    NOTE_TYPE_NUMBERS,
    RESPONSIBLE_IS_AN_UPDATE_TOO,
    STATUS_MOVE_IS_AN_UPDATE_TOO,
    TASK_UPDATE_SETTINGS,
    UNSORTED_SETTING,
    WEBHOOK_PRICE_IS_MAJOR_UNITS,
)
from dealsync.simulator.kommo.state import SINGULAR, KommoAccount
from dealsync.simulator.table import Record

ELEMENT_TYPES = {"contacts": 1, "leads": 2, "companies": 3}
BARE_DATES = ("date", "date_time")
DONE, OPEN = 1, 0


# --- deals ----------------------------------------------------------------------------------------
def lead_came(account: KommoAccount, lead: Record, action: str) -> None:
    """Tell of a deal that was added or restored."""
    if account.hooks.wanted(f"{action}_lead"):
        account.hooks.note((f"{action}_lead",), "leads", action, lead_row(account, lead))


def came(account: KommoAccount, kind: str, record: Record, action: str) -> None:
    """Tell of a record of any kind that was added or restored."""
    if kind == "leads":
        lead_came(account, record, action)
    else:
        person_came(account, kind, record, action)


def went(account: KommoAccount, kind: str, record: Record) -> None:
    """Tell of a record of any kind that was deleted."""
    if kind == "leads":
        lead_went(account, record)
    else:
        person_went(account, kind, record)


def lead_went(account: KommoAccount, lead: Record) -> None:
    """Tell of a deleted deal: three ids, nothing else."""
    row = {name: lead[name] for name in ("id", "status_id", "pipeline_id")}
    account.hooks.note(("delete_lead",), "leads", "delete", row)


def lead_changed(account: KommoAccount, before: Record, lead: Record) -> None:
    """Tell of a changed deal: its move, its new responsible user, its update, and digital-pipeline triggers."""
    moved = (before["pipeline_id"], before["status_id"]) != (lead["pipeline_id"], lead["status_id"])
    given = before["responsible_user_id"] != lead["responsible_user_id"]
    old = {"old_status_id": before["status_id"]} if moved else {}
    if moved and account.hooks.wanted("status_lead"):
        account.hooks.note(("status_lead",), "leads", "status", lead_row(account, lead, **old))
    if given and account.hooks.wanted("responsible_lead"):
        owner = {"old_responsible_user_id": before["responsible_user_id"]}
        account.hooks.note(("responsible_lead",), "leads", "responsible", lead_row(account, lead, **owner))
    silent = (moved and not STATUS_MOVE_IS_AN_UPDATE_TOO) or (given and not RESPONSIBLE_IS_AN_UPDATE_TOO)
    if not silent and account.hooks.wanted("update_lead"):
        account.hooks.note(("update_lead",), "leads", "update", lead_row(account, lead, **old))
    if moved:
        _fire_triggers(account, before, lead)


def lead_row(account: KommoAccount, lead: Record, **more: int) -> Record:
    """Return a deal as `leads[...][n]` shows it; `more` are the old_… keys."""
    row: Record = {
        "id": lead["id"],
        "name": lead["name"],
        "status_id": lead["status_id"],
        **more,
        "price": lead["price"],
        "responsible_user_id": lead["responsible_user_id"],
        "last_modified": lead["updated_at"],
        "modified_user_id": lead["updated_by"],
        "created_user_id": lead["created_by"],
        "date_create": lead["created_at"],
        "pipeline_id": lead["pipeline_id"],
        "account_id": account.account_id,
    }
    if account.faults.minor_units:
        exact = account.exact_prices.get(lead["id"], float(lead["price"]))
        row["price_with_minor_units"] = exact if WEBHOOK_PRICE_IS_MAJOR_UNITS else round(exact * 100)
    return row | _custom_fields(lead) | _times(lead)


def _fire_triggers(account: KommoAccount, before: Record, lead: Record) -> None:
    for trigger in account.hooks.triggers_of(lead["pipeline_id"], lead["status_id"]):
        row = {
            "id": lead["id"],
            "status_id": lead["status_id"],
            "pipeline_id": lead["pipeline_id"],
            "old_status_id": before["status_id"],
            "old_pipeline_id": before["pipeline_id"],
        }
        account.hooks.fire(trigger, row)


# --- contacts and companies: both under `contacts` ------------------------------------------------
def person_came(account: KommoAccount, kind: str, record: Record, action: str) -> None:
    """Tell of a contact or company that was added or restored."""
    setting = f"{action}_{SINGULAR[kind]}"
    if account.hooks.wanted(setting):
        account.hooks.note((setting,), "contacts", action, person_row(account, kind, record))


def person_went(account: KommoAccount, kind: str, record: Record) -> None:
    """Tell of a deleted contact or company."""
    row = {"id": record["id"], "type": SINGULAR[kind]}
    account.hooks.note((f"delete_{SINGULAR[kind]}",), "contacts", "delete", row)


def person_changed(account: KommoAccount, kind: str, before: Record, record: Record) -> None:
    """Tell of a change; a new responsible user arrives as an update too (6.1)."""
    settings: tuple[str, ...] = (f"update_{SINGULAR[kind]}",)
    more = {}
    if before["responsible_user_id"] != record["responsible_user_id"]:
        settings = (*settings, f"responsible_{SINGULAR[kind]}")
        more = {"old_responsible_user_id": before["responsible_user_id"]}
    if account.hooks.wanted(*settings):
        account.hooks.note(settings, "contacts", "update", person_row(account, kind, record, **more))


def person_row(account: KommoAccount, kind: str, record: Record, **more: int) -> Record:
    """Return a contact or company as `contacts[...][n]` shows it."""
    row: Record = {
        "id": record["id"],
        "name": record["name"],
        "responsible_user_id": record["responsible_user_id"],
        "date_create": record["created_at"],
        "last_modified": record["updated_at"],
        "created_user_id": record["created_by"],
        "modified_user_id": record["updated_by"],
    }
    for link in record["_embedded"].get("companies", ())[:1]:
        company = account.companies.get(link["id"]) or {"name": ""}
        row |= {"company_name": company["name"], "linked_company_id": link["id"]}
    row |= {"account_id": account.account_id} | _custom_fields(record)
    leads = account.linked_from(kind, record["id"], "leads")
    if leads:
        row["linked_leads_id"] = {i: {"ID": i} for i in leads}
    return row | more | _times(record) | {"type": SINGULAR[kind]}


# --- tasks and notes ------------------------------------------------------------------------------
def task_told(account: KommoAccount, task: Record, action: str, before: Record | None = None) -> None:
    """Tell of a task that was added, updated or deleted."""
    settings = TASK_UPDATE_SETTINGS if action == "update" else (f"{action}_task",)
    if not account.hooks.wanted(*settings):
        return
    row = {"id": task["id"]} if action == "delete" else task_row(account, task, before)
    account.hooks.note(settings, "task", action, row)


def task_row(account: KommoAccount, task: Record, before: Record | None = None) -> Record:
    """Return a task as `task[...][n]` shows it; its text dates are UTC."""
    row: Record = {
        "id": task["id"],
        "element_id": task["entity_id"],
        "element_type": ELEMENT_TYPES.get(task["entity_type"], 0),
        "task_type": task["task_type_id"],
        "date_create": _date(task["created_at"]),
        "text": task["text"],
        "status": DONE if task["is_completed"] else OPEN,
        "account_id": account.account_id,
        "created_user_id": task["created_by"],
        "last_modified": _date(task["updated_at"]),
        "responsible_user_id": task["responsible_user_id"],
        "complete_till": _date(task["complete_till"]),
    }
    if before is not None:
        if task["is_completed"] and not before["is_completed"]:
            row["action_close"] = 1
        row["old_text"] = before["text"]
        if before["responsible_user_id"] != task["responsible_user_id"]:
            row["old_responsible_user_id"] = before["responsible_user_id"]
    return row | _times(task) | {"complete_before": task["complete_till"]}


def note_told(account: KommoAccount, kind: str, note: Record) -> None:
    """Tell of a new note; those of companies come under `contacts` too."""
    setting = f"note_{SINGULAR[kind]}"
    if not account.hooks.wanted(setting):
        return
    row: Record = {"note": note_row(account, kind, note)}
    if kind != "leads":
        row["type"] = SINGULAR[kind]
    account.hooks.note((setting,), "leads" if kind == "leads" else "contacts", "note", row)


def note_row(account: KommoAccount, kind: str, note: Record) -> Record:
    """Return a note as a hook shows it; its text dates are UTC+3."""
    author = account.users.get(note["created_by"], {"name": ""})
    source = {"event_source": {"id": note["created_by"], "author_name": author["name"], "type": 1}}
    return {
        "text": note["params"].get("text", ""),
        "attachement": note["params"].get("file_name", ""),  # misspelled in the published bodies
        "date_create": _date(note["created_at"] + NOTE_HOOK_OFFSET_S),
        "note_type": NOTE_TYPE_NUMBERS.get(note["note_type"], 0),
        "element_type": ELEMENT_TYPES[kind],
        "element_id": note["entity_id"],
        "catalog_id": 0,
        "group_id": note["group_id"],
        "timestamp_x": _date(note["updated_at"] + NOTE_HOOK_OFFSET_S),
        "account_id": account.account_id,
        "metadata": json.dumps(source, separators=(",", ":"), ensure_ascii=False),
        "created_by": note["created_by"],
        "modified_by": note["updated_by"],
        "main_user_id": note["responsible_user_id"],
        "id": note["id"],
        **_times(note),
    }


def unsorted_told(account: KommoAccount, waiting: Record, action: str, leads: list[int], user_id: int) -> None:
    """Tell of an incoming lead that was accepted or declined; no documented setting asks for it."""
    row = {
        "action": action,
        "uid": waiting["uid"],
        f"{action}_result": {"leads": leads},
        "category": waiting["category"],
        "created_at": waiting["created_at"],
        "modified_user_id": user_id,
    }
    account.hooks.note((UNSORTED_SETTING,), "unsorted", "delete", row)


# --- parts ----------------------------------------------------------------------------------------
def _times(record: Record) -> Record:
    return {"created_at": record["created_at"], "updated_at": record["updated_at"]}


def _date(moment: float) -> str:
    return datetime.fromtimestamp(int(moment), UTC).strftime("%Y-%m-%d %H:%M:%S")


def _custom_fields(record: Record) -> Record:
    rows = [_custom_field(entry) for entry in record.get("custom_fields_values") or ()]
    return {"custom_fields": rows} if rows else {}


def _custom_field(entry: Record) -> Record:
    """Return one field in the form its type has: a list of objects, a list of bare texts, or one object."""
    values: Any = [_value(value) for value in entry["values"]]
    if entry["field_type"] == "birthday":
        values = [{"value": datetime.fromtimestamp(int(one["value"]), UTC).strftime("%d.%m.%Y")} for one in values]
    if entry["field_type"] in BARE_DATES:
        values = [value["value"] for value in values]
    elif entry["field_type"] == "radiobutton":
        values = values[0] if values else {}
    row = {"id": entry["field_id"], "name": entry["field_name"], "values": values}
    return row | ({"code": entry["field_code"]} if entry.get("field_code") else {})


def _value(value: Record) -> Record:
    shown = {"value": value.get("value", "")}
    return shown | ({"enum": value["enum_id"]} if "enum_id" in value else {})
