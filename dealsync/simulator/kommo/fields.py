"""Custom fields: what can be written into each type, and what is read back.

Source: Kommo reference, 2.9 (values) and 5.4 (definitions).
"""

from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from dealsync.simulator.assumptions import EMPTY_VALUES_CLEAR, TEXT_TAKES_STRINGS_ONLY
from dealsync.simulator.kommo.items import Item, is_a
from dealsync.simulator.kommo.state import KommoAccount
from dealsync.simulator.table import Record

TEXTS = ("text", "textarea", "streetaddress", "tracking_data", "url")
NUMBERS = ("numeric", "price", "monetary")
DATES = ("date", "date_time", "birthday")
CHOICES = ("select", "radiobutton", "category", "multiselect")
OBJECTS = ("smart_address", "legal_entity", "items", "linked_entity", "payer", "supplier", "file", "chained_list")
FIELD_TYPES = (*TEXTS, *NUMBERS, *DATES, *CHOICES, *OBJECTS, "checkbox", "multitext")
ADDRESS_LINES = ("address_line_1", "address_line_2", "city", "state", "zip", "country")
MAX_CHAINED = 5
KINDS = {
    "PHONE": ("WORK", "WORKDD", "MOB", "FAX", "HOME", "OTHER"),
    "EMAIL": ("WORK", "PRIV", "OTHER"),
}


class _ValueRefusedError(ValueError):
    """A value that a field does not take: error code, and the key inside the value."""

    def __init__(self, code: str, key: str = "value") -> None:
        super().__init__(code)
        self.code = code
        self.key = key


def field_values(account: KommoAccount, kind: str, item: Item) -> dict[int, Record | None]:
    """Return what an item's custom_fields_values ask for: field id -> entry as read back, None to clear.

    Problems are noted on the item, with paths as in `custom_fields_values.6.values.0.value`.
    """
    given = item.raw.get("custom_fields_values")
    if given is None:
        return {}
    if not isinstance(given, list):
        item.refuse("InvalidType", "custom_fields_values")
        return {}
    wanted: dict[int, Record | None] = {}
    for index, entry in enumerate(given):
        path = f"custom_fields_values.{index}"
        field = _field(account, kind, item, entry, path)
        if field is not None:
            wanted[field["id"]] = _entry(item, field, entry.get("values"), f"{path}.values")
    return wanted


def merged(stored: list[Record] | None, wanted: dict[int, Record | None]) -> list[Record] | None:
    """Return stored entries with the wanted ones put in; null when nothing is filled (2.2)."""
    entries = {entry["field_id"]: entry for entry in stored or ()}
    for field_id, entry in wanted.items():
        if entry is None:
            entries.pop(field_id, None)
        else:
            entries[field_id] = entry
    return list(entries.values()) or None


def _field(account: KommoAccount, kind: str, item: Item, entry: Any, path: str) -> Record | None:
    if not isinstance(entry, dict):
        item.refuse("InvalidType", path)
        return None
    if "field_id" not in entry and "field_code" not in entry:
        item.refuse("FieldMissing", f"{path}.field_id")
        return None
    named = "field_id" if "field_id" in entry else "field_code"
    field = account.field(kind, field_id=entry.get("field_id"), code=entry.get("field_code"))
    if field is None:
        item.refuse("NotSupportedChoice", f"{path}.{named}")
    return field


def _entry(item: Item, field: Record, values: Any, path: str) -> Record | None:
    if values is None or (values == [] and EMPTY_VALUES_CLEAR):
        return None
    if not isinstance(values, list):
        item.refuse("InvalidType", path)
        return None
    if field["type"] == "chained_list" and len(values) > MAX_CHAINED:
        item.refuse("FieldNotExpected", f"{path}.{MAX_CHAINED}")
    read = []
    for index, value in enumerate(values):
        try:
            read.append(_read_back(field, value))
        except _ValueRefusedError as bad:
            item.refuse(bad.code, f"{path}.{index}.{bad.key}")
    return {
        "field_id": field["id"],
        "field_name": field["name"],
        "field_code": field.get("code"),
        "field_type": field["type"],
        "values": read,
        "is_computed": False,
    }


def _read_back(field: Record, given: Any) -> Record:
    """Return a written value as it is read back. Raises _ValueRefusedError."""
    if not isinstance(given, dict):
        raise _ValueRefusedError("InvalidType")
    kind = field["type"]
    if kind == "smart_address":
        return _address_line(given)
    if kind == "chained_list":
        return _chained(given)
    if kind in OBJECTS:
        if not isinstance(given.get("value"), dict):
            raise _ValueRefusedError("InvalidType" if "value" in given else "FieldMissing")
        return {"value": given["value"]}
    if kind in CHOICES:
        return _chosen(field, given)
    if "value" not in given:
        raise _ValueRefusedError("FieldMissing")
    if kind == "multitext":
        return _multitext(field, given)
    extra = sorted(given.keys() - {"value"})
    if extra:
        raise _ValueRefusedError("FieldNotExpected", extra[0])
    return {"value": _scalar(kind, given["value"])}


def _address_line(given: Record) -> Record:
    """Return a part of an address, named by enum_id (1 to 6) or enum_code."""
    number, code = given.get("enum_id"), given.get("enum_code")
    if number is None and code is None:
        raise _ValueRefusedError("FieldMissing", "enum_id")
    if number is None:
        number = ADDRESS_LINES.index(code) + 1 if code in ADDRESS_LINES else 0
    if not is_a(number, int) or not 1 <= number <= len(ADDRESS_LINES):
        raise _ValueRefusedError("NotSupportedChoice", "enum_id" if code is None else "enum_code")
    if not isinstance(given.get("value"), str):
        raise _ValueRefusedError("InvalidType" if "value" in given else "FieldMissing")
    return {"value": given["value"], "enum_id": number, "enum_code": ADDRESS_LINES[number - 1]}


def _chained(given: Record) -> Record:
    for name in ("catalog_id", "catalog_element_id"):
        if not is_a(given.get(name), int):
            raise _ValueRefusedError("InvalidType" if name in given else "FieldMissing", name)
    return {name: given[name] for name in ("catalog_id", "catalog_element_id")}


def _scalar(kind: str, value: Any) -> str | bool | int:
    if kind == "checkbox":
        if not isinstance(value, bool):
            raise _ValueRefusedError("InvalidType")
        return value
    if kind in NUMBERS:
        return _number(value)
    if kind in DATES:
        return _moment(value)
    if not isinstance(value, str) and (TEXT_TAKES_STRINGS_ONLY or not is_a(value, int)):
        raise _ValueRefusedError("InvalidType")
    return str(value)


def _number(value: Any) -> str:
    """Return a number as text: that is how Kommo reads numeric fields back."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _ValueRefusedError("InvalidType")
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise _ValueRefusedError("InvalidType") from None
    if not number.is_finite():
        raise _ValueRefusedError("InvalidType")
    return str(value)


def _moment(value: Any) -> int:
    """Return seconds from seconds or an RFC-3339 text."""
    if is_a(value, int):
        return int(value)
    try:
        return int(datetime.fromisoformat(value).timestamp())
    except (TypeError, ValueError):
        raise _ValueRefusedError("InvalidType") from None


def _chosen(field: Record, given: Record) -> Record:
    if "enum_code" in given and given["enum_code"] is None:
        raise _ValueRefusedError("FieldNotExpected", "enum_code")  # copied from a read (Krukov/amocrm_api 68)
    for key, own in (("enum_id", "id"), ("enum_code", "code"), ("value", "value")):
        if key not in given:
            continue
        for option in field.get("enums") or ():
            if option.get(own) == given[key]:
                return {"value": option["value"], "enum_id": option["id"], "enum_code": option.get("code")}
        raise _ValueRefusedError("NotSupportedChoice", key)
    raise _ValueRefusedError("FieldMissing")


def _multitext(field: Record, given: Record) -> Record:
    if not isinstance(given["value"], str):
        raise _ValueRefusedError("InvalidType")
    options = field.get("enums") or []
    default = options[0] if options else {"id": 0, "value": "WORK"}
    for key, own in (("enum_id", "id"), ("enum_code", "value")):
        if key in given:
            option = next((o for o in options if o[own] == given[key]), None)
            if option is None:
                raise _ValueRefusedError("NotSupportedChoice", key)
            break
    else:
        option = default
    return {"value": given["value"], "enum_id": option["id"], "enum_code": option["value"]}
