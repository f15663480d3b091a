"""Writing contacts and companies. Source: Kommo reference, 5.1; contacts_* and companies_* samples for the answers."""

from collections.abc import Mapping
from typing import Any

from dealsync.simulator.assumptions import UNKNOWN_KEY_CODE
from dealsync.simulator.faults import Faults
from dealsync.simulator.kommo import announce
from dealsync.simulator.kommo.fields import field_values, merged
from dealsync.simulator.kommo.items import Commit, Item
from dealsync.simulator.kommo.leads import write_common_history, write_tag_history
from dealsync.simulator.kommo.state import SINGULAR, KommoAccount
from dealsync.simulator.kommo.tags import Change, tag_change
from dealsync.simulator.table import Record

COMPANY_SCALARS: Mapping[str, type] = {
    "name": str,
    "responsible_user_id": int,
    "created_by": int,
    "updated_by": int,
    "created_at": int,
    "updated_at": int,
}
SCALARS = {
    "contacts": {**COMPANY_SCALARS, "first_name": str, "last_name": str},
    "companies": COMPANY_SCALARS,
}
OTHER_KEYS = ("custom_fields_values", "tags_to_add", "tags_to_delete", "_embedded", "request_id", "id", "is_main")
EMBEDDED = {"contacts": {"tags", "companies"}, "companies": {"tags"}}
PLAIN = ("name", "first_name", "last_name", "responsible_user_id", "created_by", "created_at")


class PersonWriter:
    """Checks and does single writes of contacts or of companies; a batch is several of them."""

    def __init__(self, account: KommoAccount, faults: Faults, kind: str = "contacts") -> None:
        """`kind` is "contacts" or "companies"."""
        self._account = account
        self._faults = faults
        self._kind = kind

    def prepare_new(self, raw: Record, request_id: str, prefix: str = "") -> Commit:
        """Check a new contact or company; `prefix` leads to it inside a larger item. Raises Refused."""
        item = Item(raw, prefix)
        changes, tags, fields = self._checked(item)
        companies = self._companies(item)
        item.finish()

        def commit() -> Record:
            record = self._blank(companies)
            self._apply(record, changes, tags, fields)
            if "updated_by" in raw:
                record["updated_by"] = raw["updated_by"]
            self._account.file(self._kind, record, fresh=True)
            self._account.record(f"{SINGULAR[self._kind]}_added", self._kind, record["id"], record["created_by"])
            announce.person_came(self._account, self._kind, record, "add")
            return {"id": record["id"], **self._flags(), "request_id": request_id}

        return commit

    def prepare_change(self, raw: Record, request_id: str) -> Commit:
        """Check a change of the record named by `id`. Raises Refused."""
        del request_id  # the answer shows none
        item = Item(raw)
        record = item.target(self._account.entities[self._kind])
        changes, tags, fields = self._checked(item, record)
        item.finish()

        def commit() -> Record:
            self.change(record, changes, user_id=raw.get("updated_by"), tags=tags, fields=fields, raw=raw)
            return {"id": record["id"], "name": record["name"], "updated_at": record["updated_at"], **self._flags()}

        return commit

    def change(
        self,
        record: Record,
        changes: Record,
        *,
        user_id: int | None = None,
        tags: Change | None = None,
        fields: dict[int, Record | None] | None = None,
        raw: Record | None = None,
    ) -> None:
        """Apply checked changes to a stored record and write its history; None as user is the token's."""
        before = {**record, "_embedded": {**record["_embedded"]}}
        self._apply(record, changes, tags, fields)
        if before == record and not self._faults.noop_moves_updated_at:
            return
        record["updated_at"] = (raw or {}).get("updated_at", self._account.clock.seconds())
        record["updated_by"] = self._account.current_user_id if user_id is None else user_id
        self._account.file(self._kind, record, fresh=True)
        write_common_history(self._account, self._kind, before, record, record["updated_by"])
        old, new = before["_embedded"]["tags"], record["_embedded"]["tags"]
        write_tag_history(self._account, self._kind, record["id"], record["updated_by"], old, new)
        announce.person_changed(self._account, self._kind, before, record)

    def _checked(self, item: Item, stored: Record | None = None) -> tuple[Record, Change, dict[int, Record | None]]:
        scalars = SCALARS[self._kind]
        item.only((*scalars, *OTHER_KEYS), stored)
        item.types(scalars)
        user_id = item.sound("responsible_user_id")
        if user_id is not None and not self._account.can_be_responsible(user_id):
            item.refuse("NotSupportedChoice", "responsible_user_id")
        changes = {name: item.raw[name] for name in PLAIN if name in item}
        fields = field_values(self._account, self._kind, item)
        return changes, tag_change(self._account, self._kind, item), fields

    def _companies(self, item: Item) -> list[Record]:
        """Return the companies a new contact comes with."""
        embedded = item.raw.get("_embedded")
        if not isinstance(embedded, dict):
            return []
        for name in embedded.keys() - EMBEDDED[self._kind]:
            item.refuse(UNKNOWN_KEY_CODE, f"_embedded.{name}")
        given: Any = embedded.get("companies") or []
        for index, one in enumerate(given):
            if not isinstance(one, dict) or one.get("id") not in self._account.companies:
                item.refuse("NotSupportedChoice", f"_embedded.companies.{index}.id")
        return [{"id": one["id"]} for one in given if isinstance(one, dict) and "id" in one]

    def _flags(self) -> Record:
        """Return what answers about contacts add on Kommo (5.1)."""
        return {"is_deleted": False, "is_unsorted": False} if self._kind == "contacts" else {}

    def _blank(self, companies: list[Record]) -> Record:
        return new_person(self._account, self._kind, self._account.current_user_id, self._account.clock.seconds()) | {
            "_embedded": {"tags": [], **({"companies": companies} if self._kind == "contacts" else {})}
        }

    def _apply(
        self,
        record: Record,
        changes: Record,
        tags: Change | None,
        fields: dict[int, Record | None] | None,
    ) -> None:
        record.update(changes)
        if "name" not in changes and ("first_name" in changes or "last_name" in changes):
            parts = (record.get("first_name"), record.get("last_name"))
            record["name"] = " ".join(part for part in parts if part)
        if tags is not None:
            record["_embedded"]["tags"] = tags(record["_embedded"]["tags"])
        if fields:
            record["custom_fields_values"] = merged(record.get("custom_fields_values"), fields)


def new_person(account: KommoAccount, kind: str, user_id: int, at: int) -> Record:
    """Return an empty contact or company under a new id, made by a user at a moment (Unix seconds)."""
    names = {"name": "", "first_name": "", "last_name": ""} if kind == "contacts" else {"name": ""}
    return {
        "id": account.next_id(kind),
        **names,
        "responsible_user_id": user_id,
        "group_id": 0,
        "created_by": user_id,
        "updated_by": user_id,
        "created_at": at,
        "updated_at": at,
        "closest_task_at": None,
        "is_deleted": False,
        **({"is_unsorted": False} if kind == "contacts" else {}),
        "custom_fields_values": None,
        "account_id": account.account_id,
        "_embedded": {"tags": [], **({"companies": []} if kind == "contacts" else {})},
    }
