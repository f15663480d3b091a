"""Kommo objects -> values. PHP may send null, [] or {} for "nothing"; times are Unix seconds.

Source: Kommo reference, "Leads", "Custom field values", "Other resources".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from dealsync.apis.border import Int64, Text, Wire, parse
from dealsync.core.mapping import NUMERIC_KEYS, canonical_number
from dealsync.core.models import Contact, Deal, normal_email
from dealsync.errors import UnexpectedAnswer


@dataclass(frozen=True, slots=True)
class Account:
    """The account that a token belongs to."""

    account_id: Int64
    name: str
    subdomain: str
    currency: str


@dataclass(frozen=True, slots=True)
class User:
    """A person of the account; only active ones can own deals."""

    user_id: int
    name: str
    is_active: bool


@dataclass(frozen=True, slots=True)
class Status:
    """A stage of a pipeline."""

    status_id: Int64
    name: str
    accepts_deals: bool  # false for incoming leads, which the API cannot move a deal to


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A sales funnel with its stages, in their order."""

    pipeline_id: Int64
    name: str
    is_main: bool
    statuses: tuple[Status, ...]


@dataclass(frozen=True, slots=True)
class CustomField:
    """A custom field of deals."""

    field_id: Int64
    name: str
    field_type: str


@dataclass(frozen=True, slots=True)
class Written:
    """A note or task as read back, to find ours again."""

    id: Int64
    lead_id: Int64
    text: str


def _listed(value: object) -> object:
    return value if isinstance(value, list) else []


def _mapped(value: object) -> object:
    return value if isinstance(value, dict) else {}


def _seconds(value: object) -> object:
    """Unix seconds to aware UTC; anything else is left for pydantic to refuse."""
    if isinstance(value, int | str) and not isinstance(value, bool) and str(value).isdigit() and int(value) < 10**11:
        return datetime.fromtimestamp(int(value), UTC)
    return value


Time = Annotated[datetime, BeforeValidator(_seconds)]


class _Value(Wire):
    value: Any = None


class _FieldValues(Wire):
    field_id: Int64
    field_code: str | None = None
    values: Annotated[list[_Value], BeforeValidator(_listed)] = Field(default_factory=list)


class _Linked(Wire):
    id: Int64
    is_main: bool = False


class _Tag(Wire):
    name: Text = ""


class _Embedded(Wire):
    contacts: Annotated[list[_Linked], BeforeValidator(_listed)] = Field(default_factory=list)
    tags: Annotated[list[_Tag], BeforeValidator(_listed)] = Field(default_factory=list)


class _Lead(Wire):
    id: Int64
    name: Text = ""
    price: Int64 | None = None
    pipeline_id: Int64
    status_id: Int64
    responsible_user_id: int | None = None
    created_at: Time
    updated_at: Time
    closed_at: Time | None = None
    is_deleted: bool | None = None
    custom_fields_values: Annotated[list[_FieldValues], BeforeValidator(_listed)] = Field(default_factory=list)
    embedded: Annotated[_Embedded, BeforeValidator(_mapped)] = Field(default_factory=_Embedded, alias="_embedded")


class _Contact(Wire):
    id: Int64
    name: Text = ""
    responsible_user_id: int | None = None
    updated_at: Time
    is_deleted: bool | None = None
    custom_fields_values: Annotated[list[_FieldValues], BeforeValidator(_listed)] = Field(default_factory=list)


class _Account(Wire):
    id: Int64
    name: Text = ""
    subdomain: Text = ""
    currency: str = "USD"


class _Rights(Wire):
    is_active: bool | None = None


class _User(Wire):
    id: Int64
    name: Text = ""
    rights: Annotated[_Rights, BeforeValidator(_mapped)] = Field(default_factory=_Rights)


class _Status(Wire):
    id: Int64
    name: Text = ""
    type: int = 0
    sort: int = 0


class _Statuses(Wire):
    statuses: Annotated[list[_Status], BeforeValidator(_listed)] = Field(default_factory=list)


class _Pipeline(Wire):
    id: Int64
    name: Text = ""
    is_main: bool = False
    embedded: Annotated[_Statuses, BeforeValidator(_mapped)] = Field(default_factory=_Statuses, alias="_embedded")


class _CustomField(Wire):
    id: Int64
    name: Text = ""
    type: str


class _Params(Wire):
    text: Text = ""


class _Note(Wire):
    id: Int64
    entity_id: Int64
    params: Annotated[_Params, BeforeValidator(_mapped)] = Field(default_factory=_Params)


class _Event(Wire):
    entity_id: Int64
    value_after: Annotated[list[dict[str, Any]], BeforeValidator(_listed)] = Field(default_factory=list)


class _Task(Wire):
    id: Int64
    entity_id: int | None = None
    text: Text = ""


def deal(lead: Mapping[str, Any], field_keys: Mapping[int, str]) -> Deal:
    """Return a lead as a Deal. `field_keys` names the LS fields by field id; other fields are not ours."""
    wire = parse(_Lead, lead, f"deal {lead.get('id', 'without an id')}")
    contacts = sorted(wire.embedded.contacts, key=lambda c: not c.is_main)
    return Deal(
        lead_id=wire.id,
        name=wire.name,
        pipeline_id=wire.pipeline_id,
        status_id=wire.status_id,
        price=wire.price or 0,
        responsible_user_id=wire.responsible_user_id or None,
        created_at=wire.created_at,
        updated_at=wire.updated_at,
        closed_at=wire.closed_at,
        contact_ids=tuple(c.id for c in contacts),
        tags=tuple(t.name for t in wire.embedded.tags),
        fields=_ls_fields(wire, field_keys),
        is_deleted=bool(wire.is_deleted),
    )


def _ls_fields(wire: _Lead, field_keys: Mapping[int, str]) -> dict[str, str]:
    fields = {}
    for field in wire.custom_fields_values:
        key = field_keys.get(field.field_id)
        if key is None or not field.values or field.values[0].value in (None, ""):
            continue
        text = str(field.values[0].value)
        fields[key] = canonical_number(text) if key in NUMERIC_KEYS else text
    return fields


def contact(data: Mapping[str, Any]) -> Contact:
    """Return a contact with its e-mails, normalised, in the order of the card."""
    wire = parse(_Contact, data, f"contact {data.get('id', 'without an id')}")
    emails = [
        normal_email(str(value.value))
        for field in wire.custom_fields_values
        if field.field_code == "EMAIL"
        for value in field.values
        if value.value
    ]
    return Contact(
        contact_id=wire.id,
        name=wire.name,
        emails=tuple(dict.fromkeys(e for e in emails if e)),
        responsible_user_id=wire.responsible_user_id or None,
        updated_at=wire.updated_at,
        is_deleted=bool(wire.is_deleted),
    )


def seconds(value: object) -> datetime:
    """Return Unix seconds as aware UTC time. Raises UnexpectedAnswer."""
    time = _seconds(value)
    if not isinstance(time, datetime):
        raise UnexpectedAnswer("kommo: an answer without a time")
    return time


def moved_to(event: Mapping[str, Any]) -> tuple[int, int]:
    """Return the deal of a `lead_status_changed` event and the status it was moved to."""
    wire = parse(_Event, event, f"event {event.get('id')}")
    statuses = [value["lead_status"]["id"] for value in wire.value_after if "lead_status" in value]
    return wire.entity_id, int(statuses[0]) if statuses else 0


def account(data: object) -> Account:
    """Return the account. Raises UnexpectedAnswer."""
    wire = parse(_Account, data, "the Kommo account")
    return Account(wire.id, wire.name, wire.subdomain, wire.currency)


def user(data: Mapping[str, Any]) -> User:
    """Return a user; one whose rights are not shown counts as active."""
    wire = parse(_User, data, f"user {data.get('id')}")
    return User(wire.id, wire.name, wire.rights.is_active is not False)


def pipeline(data: Mapping[str, Any]) -> Pipeline:
    """Return a pipeline with its statuses in the order of the funnel. Status type 1 is "incoming"."""
    wire = parse(_Pipeline, data, f"pipeline {data.get('id')}")
    statuses = sorted(wire.embedded.statuses, key=lambda s: s.sort)
    return Pipeline(wire.id, wire.name, wire.is_main, tuple(Status(s.id, s.name, s.type == 0) for s in statuses))


def custom_field(data: Mapping[str, Any]) -> CustomField:
    """Return a custom field's id, name and type."""
    wire = parse(_CustomField, data, f"custom field {data.get('id')}")
    return CustomField(wire.id, wire.name, wire.type)


def note(data: Mapping[str, Any]) -> Written:
    """Return a note's id, deal and text; kinds without text have an empty one."""
    wire = parse(_Note, data, f"note {data.get('id')}")
    return Written(wire.id, wire.entity_id, wire.params.text)


def task(data: Mapping[str, Any]) -> Written:
    """Return a task's id, deal (0 if it hangs on nothing) and text."""
    wire = parse(_Task, data, f"task {data.get('id')}")
    return Written(wire.id, wire.entity_id or 0, wire.text)
