"""Kommo objects -> values. PHP may send null, [] or {} for "nothing"; times are Unix seconds.

Source: Kommo reference, "Leads", "Custom field values", "Other resources".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field

from dealsync.apis.border import Int64, Text, Wire, named, parse, storable
from dealsync.core.assumptions import KOMMO_MERGE_NAMES_BOTH_DEALS
from dealsync.core.mapping import NUMERIC_KEYS, TIME_KEYS, canonical_number, plain_time
from dealsync.core.models import Contact, Deal, normal_email

LONGEST_NUMBER = 40
"""Characters of an amount. What a person types beyond is no amount, and is left as it is."""
_NUMBER = re.compile(r"\s*[+-]?[0-9]*\.?[0-9]*(?:[eE][+-]?[0-9]{1,2})?\s*")
_SECONDS = re.compile(r"[0-9]{1,11}")


@dataclass(frozen=True, slots=True)
class Move:
    """A deal came into a status, at a time and by somebody (0: a robot)."""

    lead_id: int
    status_id: int
    moved_at: datetime
    user_id: int


@dataclass(frozen=True, slots=True)
class Account:
    """The account that a token belongs to."""

    account_id: Int64
    name: str
    subdomain: str
    currency: str
    time_zone: str = "UTC"  # IANA name


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
    sort: int = 0


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
    is_api_only: bool = False  # nobody can fill it by hand


@dataclass(frozen=True, slots=True)
class FieldGroup:
    """A tab of deals' cards."""

    group_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Company:
    """A company; it was not created after its last update."""

    company_id: Int64
    name: str
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Written:
    """A note or task as read back, to find ours again."""

    id: Int64
    lead_id: Int64
    text: str


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook of the account. Kommo switches one off that fails for long."""

    destination: str
    events: tuple[str, ...]
    is_disabled: bool


def _listed(value: object) -> object:
    return value if isinstance(value, list) else []


def _mapped(value: object) -> object:
    return value if isinstance(value, dict) else {}


def _seconds(value: object) -> datetime:
    """Unix seconds to aware UTC. A text with a date is refused: Kommo's have no zone, or one that differs by kind."""
    if isinstance(value, int | str) and not isinstance(value, bool) and _SECONDS.fullmatch(str(value)):
        return datetime.fromtimestamp(int(value), UTC)
    raise ValueError("Input should be Unix seconds")


def _as_text(value: object) -> str:
    """The value of any field as text: those of other people also hold numbers, flags and objects."""
    return storable(str(value))


Time = Annotated[datetime, BeforeValidator(_seconds)]


class _Value(Wire):
    value: Annotated[str, BeforeValidator(_as_text)] = ""


class _FieldValues(Wire):
    field_id: Int64
    field_code: Text = ""
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
    price_with_minor_units: Decimal | None = None
    pipeline_id: Int64
    status_id: Int64
    responsible_user_id: Int64 | None = None
    created_at: Time
    updated_at: Time
    closed_at: Time | None = None
    is_deleted: bool | None = None
    custom_fields_values: Annotated[list[_FieldValues], BeforeValidator(_listed)] = Field(default_factory=list)
    embedded: Annotated[_Embedded, BeforeValidator(_mapped)] = Field(default_factory=_Embedded, alias="_embedded")


class _Contact(Wire):
    id: Int64
    name: Text = ""
    responsible_user_id: Int64 | None = None
    updated_at: Time
    is_deleted: bool | None = None
    custom_fields_values: Annotated[list[_FieldValues], BeforeValidator(_listed)] = Field(default_factory=list)


class _Company(Wire):
    id: Int64
    name: Text = ""
    updated_at: Time


class _DatetimeSettings(Wire):
    timezone: Text = "UTC"


class _AccountParts(Wire):
    datetime_settings: Annotated[_DatetimeSettings, BeforeValidator(_mapped)] = Field(default_factory=_DatetimeSettings)


class _Account(Wire):
    id: Int64
    name: Text = ""
    subdomain: Text = ""
    currency: Text = "USD"
    embedded: Annotated[_AccountParts, BeforeValidator(_mapped)] = Field(
        default_factory=_AccountParts, alias="_embedded"
    )


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
    type: Text
    is_api_only: bool | None = None


class _Params(Wire):
    text: Text = ""


class _Note(Wire):
    id: Int64
    entity_id: Int64
    params: Annotated[_Params, BeforeValidator(_mapped)] = Field(default_factory=_Params)


class _LeadStatus(Wire):
    id: Int64


class _MergedEntity(Wire):
    id: Int64
    type: Text = "lead"


class _After(Wire):
    lead_status: _LeadStatus | None = None
    entity: _MergedEntity | None = None


class _Event(Wire):
    type: Text = ""
    entity_id: Int64
    created_at: Time
    created_by: Int64 = 0
    value_before: Annotated[list[_After], BeforeValidator(_listed)] = Field(default_factory=list)
    value_after: Annotated[list[_After], BeforeValidator(_listed)] = Field(default_factory=list)


class _Task(Wire):
    id: Int64
    entity_id: Int64 | None = None
    text: Text = ""
    is_completed: bool = False


class _Deletion(Wire):
    id: Int64
    is_deleted: bool = False


class _Created(Wire):
    id: Int64
    request_id: Text


class _Changed(Wire):
    id: Int64
    updated_at: Time


def deal(lead: object, field_keys: Mapping[int, str], price_digits: int = 0) -> Deal:
    """Return a lead as a Deal. `field_keys` names the LS fields by field id; other fields are not ours.

    `price_digits`: how many decimal digits the account's prices have.
    """
    wire = parse(_Lead, lead, named("deal", lead))
    contacts = sorted(wire.embedded.contacts, key=lambda c: not c.is_main)
    return Deal(
        lead_id=wire.id,
        name=wire.name,
        pipeline_id=wire.pipeline_id,
        status_id=wire.status_id,
        price=_price(wire, price_digits),
        responsible_user_id=wire.responsible_user_id or None,
        created_at=wire.created_at,
        updated_at=wire.updated_at,
        closed_at=wire.closed_at,
        contact_ids=tuple(c.id for c in contacts),
        tags=tuple(t.name for t in wire.embedded.tags),
        fields=_ls_fields(wire, field_keys),
        is_deleted=bool(wire.is_deleted),
    )


def _price(wire: _Lead, digits: int) -> int:
    """The price in the account's units; its plain `price` lacks the decimals (reference, 2.8)."""
    if digits and wire.price_with_minor_units is not None:
        return int(wire.price_with_minor_units.scaleb(digits).to_integral_value())
    return (wire.price or 0) * int(10**digits)


def _ls_fields(wire: _Lead, field_keys: Mapping[int, str]) -> dict[str, str]:
    fields = {}
    for field in wire.custom_fields_values:
        key = field_keys.get(field.field_id)
        text = field.values[0].value if field.values else ""
        if key is not None and text:
            fields[key] = _amount(text) if key in NUMERIC_KEYS else _moment(text) if key in TIME_KEYS else text
    return fields


def _amount(text: str) -> str:
    """An amount in the one form it is compared in; "1e999999" would be a text of a million digits."""
    is_amount = len(text) <= LONGEST_NUMBER and _NUMBER.fullmatch(text)
    return canonical_number(text) if is_amount else text


def _moment(text: str) -> str:
    """Unix seconds in the form in which times are compared; a text that holds none stays as it is."""
    return plain_time(datetime.fromtimestamp(int(text), UTC)) if _SECONDS.fullmatch(text) else text


def contact(data: object) -> Contact:
    """Return a contact with its e-mails, normalised, in the order of the card."""
    wire = parse(_Contact, data, named("contact", data))
    typed = [
        value.value.strip()
        for field in wire.custom_fields_values
        if field.field_code == "EMAIL"
        for value in field.values
    ]
    emails = {normal_email(email): email for email in reversed(typed) if email}
    in_order = tuple(dict.fromkeys(normal_email(email) for email in typed if email))
    return Contact(
        contact_id=wire.id,
        name=wire.name,
        emails=in_order,
        responsible_user_id=wire.responsible_user_id or None,
        updated_at=wire.updated_at,
        is_deleted=bool(wire.is_deleted),
        typed=() if all(emails[key] == key for key in in_order) else tuple(emails[key] for key in in_order),
    )


def company(data: object) -> Company:
    """Return a company."""
    wire = parse(_Company, data, named("company", data))
    return Company(wire.id, wire.name, wire.updated_at)


def deletion(data: object) -> tuple[int, bool]:
    """Return the id of a deal, and whether it is in the recycle bin."""
    wire = parse(_Deletion, data, named("deal", data))
    return wire.id, wire.is_deleted


def created(data: object) -> tuple[str, int]:
    """Return the request_id of a creation and the id that it made."""
    wire = parse(_Created, data, named("row", data))
    return wire.request_id, wire.id


def changed(data: object) -> tuple[int, datetime]:
    """Return the id of what was changed and the time of the change."""
    wire = parse(_Changed, data, named("row", data))
    return wire.id, wire.updated_at


def move(event: object) -> Move:
    """Return what a `lead_status_changed` event tells; the status is 0 if that is not told."""
    wire = parse(_Event, event, named("event", event))
    statuses = [after.lead_status.id for after in wire.value_after if after.lead_status]
    return Move(wire.entity_id, statuses[0] if statuses else 0, wire.created_at, wire.created_by)


def task_state(data: object) -> tuple[int, bool]:
    """Return a task's id, and whether it is ticked off."""
    wire = parse(_Task, data, named("task", data))
    return wire.id, wire.is_completed


def task_as_it_is(data: object) -> tuple[Written, bool]:
    """Return a task, and whether it is ticked off."""
    return task(data), task_state(data)[1]


def merge(event: object) -> tuple[int, tuple[int, ...]]:
    """Return the surviving deal of an `entity_merged` event and the deals that it took in; none for other events."""
    wire = parse(_Event, event, named("event", event))
    if wire.type != "entity_merged" or not KOMMO_MERGE_NAMES_BOTH_DEALS:
        return wire.entity_id, ()
    named_deals = (part.entity for part in (*wire.value_before, *wire.value_after))
    return wire.entity_id, tuple(deal.id for deal in named_deals if deal is not None and deal.type == "lead")


class _Hook(Wire):
    destination: Text
    settings: Annotated[list[Text], BeforeValidator(_listed)] = Field(default_factory=list)
    disabled: bool = False


def hook(data: object) -> Hook:
    """Return a webhook. Its destination holds a secret, so it is not shown in the error. Raises UnexpectedAnswer."""
    wire = parse(_Hook, data, named("webhook", data))
    return Hook(wire.destination, tuple(wire.settings), wire.disabled)


def account(data: object) -> Account:
    """Return the account. Raises UnexpectedAnswer."""
    wire = parse(_Account, data, "the Kommo account")
    return Account(wire.id, wire.name, wire.subdomain, wire.currency, wire.embedded.datetime_settings.timezone)


def user(data: object) -> User:
    """Return a user; one whose rights are not shown counts as active."""
    wire = parse(_User, data, named("user", data))
    return User(wire.id, wire.name, wire.rights.is_active is not False)


def pipeline(data: object) -> Pipeline:
    """Return a pipeline with its statuses in the order of the funnel. Status type 1 is "incoming"."""
    wire = parse(_Pipeline, data, named("pipeline", data))
    statuses = sorted(wire.embedded.statuses, key=lambda s: s.sort)
    return Pipeline(wire.id, wire.name, wire.is_main, tuple(map(_stage, statuses)))


def status(data: object) -> Status:
    """Return a stage of a pipeline."""
    return _stage(parse(_Status, data, named("status", data)))


def _stage(wire: _Status) -> Status:
    return Status(wire.id, wire.name, wire.type == 0, wire.sort)


class _FieldGroup(Wire):
    id: Text
    name: Text = ""


def field_group(data: object) -> FieldGroup:
    """Return a group of custom fields."""
    wire = parse(_FieldGroup, data, named("field group", data))
    return FieldGroup(wire.id, wire.name)


def custom_field(data: object) -> CustomField:
    """Return a custom field."""
    wire = parse(_CustomField, data, named("custom field", data))
    return CustomField(wire.id, wire.name, wire.type, bool(wire.is_api_only))


def note(data: object) -> Written:
    """Return a note's id, deal and text; kinds without text have an empty one."""
    wire = parse(_Note, data, named("note", data))
    return Written(wire.id, wire.entity_id, wire.params.text)


def task(data: object) -> Written:
    """Return a task's id, deal (0 if it hangs on nothing) and text."""
    wire = parse(_Task, data, named("task", data))
    return Written(wire.id, wire.entity_id or 0, wire.text)
