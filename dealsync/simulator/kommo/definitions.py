"""Definitions of custom fields and of their groups. Source: Kommo reference, 5.4."""

from typing import Any

from dealsync.simulator.kommo.fields import FIELD_TYPES
from dealsync.simulator.kommo.items import Commit, Item
from dealsync.simulator.kommo.state import KommoAccount
from dealsync.simulator.table import Record

TYPES: dict[str, type] = {
    "name": str,
    "code": str,
    "sort": int,
    "is_api_only": bool,
    "is_visible": bool,
    "is_required": bool,
    "group_id": str,
    "enums": list,
    "required_statuses": list,
    "hidden_statuses": list,
    "chained_lists": list,
    "nested": list,
    "remind": str,
    "currency": str,
    "tracking_callback": str,
    "triggers": list,
    "settings": dict,
}
NULLABLE = ("code", "group_id", "enums", "required_statuses", "remind", "currency", "settings", "tracking_callback")
CHANGEABLE = (
    *("name", "code", "sort", "is_api_only", "group_id", "required_statuses", "hidden_statuses"),
    *("chained_lists", "remind", "currency", "tracking_callback", "triggers", "settings"),
)


class FieldWriter:
    """Checks and does single writes of the definitions of one entity type or list."""

    def __init__(self, account: KommoAccount, kind: str) -> None:
        """`kind` is an entity type or "catalogs/{id}"."""
        self._account = account
        self._kind = kind
        self._fields = account.custom_fields.setdefault(kind, {})

    def prepare_new(self, raw: Record, request_id: str) -> Commit:
        """Check a new field. Raises Refused."""
        item = Item(raw)
        item.only((*TYPES, "type", "request_id"))
        item.need("name", "type")
        item.types({**TYPES, "type": str}, nullable=NULLABLE)
        if item.sound("type") is not None and raw["type"] not in FIELD_TYPES:
            item.refuse("NotSupportedChoice", "type")
        code = item.sound("code")
        if code is not None and self._account.field(self._kind, code=code) is not None:
            item.refuse("NotSupportedChoice", "code")
        self._check_options(item, {})
        item.finish()

        def commit() -> Record:
            field = new_field(self._account, self._kind, raw)
            self._fields[field["id"]] = field
            return {**field, "request_id": request_id}

        return commit

    def prepare_change(self, raw: Record, request_id: str) -> Commit:
        """Check a change of the field named by `id`; its type stays. Raises Refused."""
        item = Item(raw)
        field = self._fields.get(raw["id"]) if isinstance(raw.get("id"), int) else None
        if field is None:
            item.refuse("NotSupportedChoice" if "id" in raw else "FieldMissing", "id")
            item.finish()
        item.only((*TYPES, "id", "request_id"))
        item.types(TYPES, nullable=NULLABLE)
        held: Record = field or {}
        self._check_options(item, {option["id"]: option for option in held.get("enums") or ()})
        item.finish()

        def commit() -> Record:
            held.update({name: raw[name] for name in CHANGEABLE if name in raw})
            if "enums" in raw:
                held["enums"] = self._options(raw["enums"])
            return {**held, "request_id": request_id}

        return commit

    def delete(self, field_id: int) -> None:
        """Take a definition away, and its values off every record."""
        del self._fields[field_id]
        table = self._account.entities.get(self._kind)
        for record in table if table is not None else ():
            values = record.get("custom_fields_values") or []
            left = [entry for entry in values if entry["field_id"] != field_id]
            if len(left) < len(values):
                record["custom_fields_values"] = left or None
                self._account.file(self._kind, record, fresh=True)

    def _check_options(self, item: Item, known: dict[int, Record]) -> None:
        options: Any = item.sound("enums")
        for index, option in enumerate(options or ()):
            if not isinstance(option, dict) or not isinstance(option.get("value"), str):
                item.refuse("InvalidType", f"enums.{index}.value")
            elif "id" in option and option["id"] not in known:
                item.refuse("NotSupportedChoice", f"enums.{index}.id")

    def _options(self, given: list[Record] | None) -> list[Record] | None:
        """Return options with ids: those sent without one are made anew (5.4)."""
        return [_option(self._account, option) for option in given or ()] or None


class GroupWriter:
    """Checks and does single writes of the field groups of one entity type; their ids are texts."""

    def __init__(self, account: KommoAccount, kind: str) -> None:
        self._account = account
        self._kind = kind

    def prepare_new(self, raw: Record, request_id: str) -> Commit:
        """Check a new group. Raises Refused."""
        item = Item(raw)
        item.only(("name", "sort", "request_id"))
        item.need("name")
        item.types({"name": str, "sort": int})
        item.finish()

        def commit() -> Record:
            group = {
                "id": f"{self._kind}_{self._account.next_id('field_groups')}",
                "name": raw["name"],
                "is_predefined": False,
                "type": "custom",
                "entity_type": self._kind,
                "sort": raw.get("sort", 2),
            }
            self._account.field_groups[self._kind][str(group["id"])] = group
            return {**group, "request_id": request_id}

        return commit

    def change(self, group: Record, raw: Record) -> None:
        """Change a group. Raises Refused."""
        item = Item(raw)
        item.only(("name", "sort", "request_id", "fields"))
        item.types({"name": str, "sort": int, "fields": list})
        item.finish()
        group.update({name: raw[name] for name in ("name", "sort") if name in raw})


def new_field(account: KommoAccount, kind: str, raw: Record) -> Record:
    """Return a full definition under a new id; enum options get ids of their own."""
    return {
        "id": account.next_id("custom_fields"),
        "name": raw["name"],
        "type": raw["type"],
        "account_id": account.account_id,
        "code": raw.get("code"),
        "sort": raw.get("sort", 500 + len(account.custom_fields.get(kind, ()))),
        "is_api_only": raw.get("is_api_only", False),
        "is_predefined": False,
        "is_deletable": True,
        "enums": [_option(account, option) for option in raw.get("enums") or ()] or None,
        "group_id": raw.get("group_id"),
        "required_statuses": raw.get("required_statuses"),
        "hidden_statuses": raw.get("hidden_statuses", []),
        "settings": raw.get("settings"),
        "remind": raw.get("remind"),
        "currency": raw.get("currency"),
        "triggers": raw.get("triggers", []),
        "entity_type": kind.partition("/")[0],
    }


def _option(account: KommoAccount, given: Record) -> Record:
    return {**given, "id": given["id"] if "id" in given else account.next_id("enums")}
