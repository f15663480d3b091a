"""Writing contacts. Source: Kommo reference, 5.1, and contacts_*_response samples for the answers."""

from collections.abc import Mapping

from dealsync.simulator.faults import Faults
from dealsync.simulator.kommo.fields import field_values, merged
from dealsync.simulator.kommo.items import Commit, Item
from dealsync.simulator.kommo.leads import write_tag_history
from dealsync.simulator.kommo.state import KommoAccount
from dealsync.simulator.kommo.tags import Change, tag_change
from dealsync.simulator.table import Record

SCALARS: Mapping[str, type] = {
    "name": str,
    "first_name": str,
    "last_name": str,
    "responsible_user_id": int,
    "created_by": int,
    "updated_by": int,
    "created_at": int,
    "updated_at": int,
}
KEYS = (*SCALARS, "custom_fields_values", "tags_to_add", "tags_to_delete", "_embedded", "request_id", "id")
PLAIN = ("name", "first_name", "last_name", "responsible_user_id", "created_by", "created_at")


class ContactWriter:
    """Checks and does single writes of contacts; a batch is several of them."""

    def __init__(self, account: KommoAccount, faults: Faults) -> None:
        self._account = account
        self._faults = faults

    def prepare_new(self, raw: Record, request_id: str, prefix: str = "") -> Commit:
        """Check a new contact; `prefix` leads to it inside a larger item. Raises Refused."""
        item = Item(raw, prefix)
        changes, tags, fields = self._checked(item)
        item.finish()

        def commit() -> Record:
            contact = self._blank()
            self._apply(contact, changes, tags, fields)
            self._account.file("contacts", contact, fresh=True)
            self._account.record("contact_added", "contacts", contact["id"], contact["created_by"])
            return {
                "id": contact["id"],
                "is_deleted": False,
                "is_unsorted": False,
                "request_id": request_id,
            }

        return commit

    def prepare_change(self, raw: Record, request_id: str) -> Commit:
        """Check a change of the contact named by `id`. Raises Refused."""
        del request_id  # the answer shows none
        item = Item(raw)
        contact = item.target(self._account.contacts)
        changes, tags, fields = self._checked(item)
        item.finish()

        def commit() -> Record:
            self._change(contact, changes, tags, fields, raw)
            return {
                "id": contact["id"],
                "name": contact["name"],
                "updated_at": contact["updated_at"],
                "is_deleted": False,
                "is_unsorted": False,
            }

        return commit

    def _checked(self, item: Item) -> tuple[Record, Change, dict[int, Record | None]]:
        item.only(KEYS)
        item.types(SCALARS)
        user_id = item.sound("responsible_user_id")
        if user_id is not None and user_id not in self._account.users:
            item.refuse("NotSupportedChoice", "responsible_user_id")
        changes = {name: item.raw[name] for name in PLAIN if name in item}
        fields = field_values(self._account, "contacts", item)
        return changes, tag_change(self._account, "contacts", item), fields

    def _blank(self) -> Record:
        account, now = self._account, self._account.clock.seconds()
        return {
            "id": account.next_id("contacts"),
            "name": "",
            "first_name": "",
            "last_name": "",
            "responsible_user_id": account.current_user_id,
            "group_id": 0,
            "created_by": account.current_user_id,
            "updated_by": account.current_user_id,
            "created_at": now,
            "updated_at": now,
            "closest_task_at": None,
            "is_deleted": False,
            "is_unsorted": False,
            "custom_fields_values": None,
            "account_id": account.account_id,
            "_embedded": {"tags": [], "companies": []},
        }

    def _change(
        self,
        contact: Record,
        changes: Record,
        tags: Change,
        fields: dict[int, Record | None],
        raw: Record,
    ) -> None:
        before = {**contact, "_embedded": {**contact["_embedded"]}}
        self._apply(contact, changes, tags, fields)
        if before == contact and not self._faults.noop_moves_updated_at:
            return
        user_id = raw.get("updated_by", self._account.current_user_id)
        contact["updated_at"] = raw.get("updated_at", self._account.clock.seconds())
        contact["updated_by"] = user_id
        self._account.file("contacts", contact, fresh=True)
        old, new = before["_embedded"]["tags"], contact["_embedded"]["tags"]
        write_tag_history(self._account, "contacts", contact["id"], user_id, old, new)

    def _apply(self, contact: Record, changes: Record, tags: Change, fields: dict[int, Record | None]) -> None:
        contact.update(changes)
        if "name" not in changes and ("first_name" in changes or "last_name" in changes):
            parts = (contact.get("first_name"), contact.get("last_name"))
            contact["name"] = " ".join(part for part in parts if part)
        contact["_embedded"]["tags"] = tags(contact["_embedded"]["tags"])
        if fields:
            contact["custom_fields_values"] = merged(contact.get("custom_fields_values"), fields)
