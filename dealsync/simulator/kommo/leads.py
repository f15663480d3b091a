"""Writing deals: what POST and PATCH accept and do.

Source: Kommo reference, 2.5-2.8, 3.2 and 3.3.
"""

from collections.abc import Mapping
from typing import Any

from dealsync.simulator.assumptions import (
    FIELD_TYPE_NUMBERS,
    FLOAT_PRICE_IS_REFUSED,
    FOREIGN_STATUS_CODE,
    LOSS_REASON_LOOKS_AT_STATUS_AFTER,
    PIPELINE_ALONE_MEANS_FIRST_STATUS,
    REOPENING_CLEARS_CLOSED_AT,
    UNKNOWN_KEY_CODE,
    UNSORTED_IS_NEVER_WRITABLE,
)
from dealsync.simulator.faults import Faults
from dealsync.simulator.kommo import announce
from dealsync.simulator.kommo.fields import field_values, merged
from dealsync.simulator.kommo.items import Commit, Item, RuleBroken, is_a
from dealsync.simulator.kommo.state import CLOSED, LOST, UNSORTED_TYPE, KommoAccount
from dealsync.simulator.kommo.tags import Change, tag_change
from dealsync.simulator.table import Record

SCALARS: Mapping[str, type] = {
    "name": str,
    "status_id": int,
    "pipeline_id": int,
    "created_by": int,
    "updated_by": int,
    "created_at": int,
    "updated_at": int,
    "closed_at": int,
    "responsible_user_id": int,
    "loss_reason_id": int,
    "visitor_uid": str,
}
KEYS = (*SCALARS, "price", "custom_fields_values", "tags_to_add", "tags_to_delete", "_embedded", "request_id", "id")
EMBEDDED = {"tags", "contacts", "companies", "source", "metadata"}
MAX_COMPANIES = 1
PLAIN = ("name", "created_by", "created_at", "responsible_user_id", "loss_reason_id")
LOSS_REASON_RULE = "Loss reason can be specified only for lost lead"


class LeadWriter:
    """Checks and does single writes of deals; a batch is several of them."""

    def __init__(self, account: KommoAccount, faults: Faults) -> None:
        self._account = account
        self._faults = faults

    def prepare_new(self, raw: Record, request_id: str) -> Commit:
        """Check a new deal. Raises Refused or RuleBroken."""
        item = Item(raw)
        draft = self._blank()
        changes, tags, fields = self._checked(item, draft)
        links = {target: self._links(item, target) for target in ("contacts", "companies")}
        self._check_embedded(item)
        item.finish()
        self._check_loss_reason(raw, {**draft, **changes}, request_id)

        def commit() -> Record:
            lead = {**draft, "id": self._account.next_id("leads"), "_embedded": {"tags": [], **links}}
            self._apply(lead, changes, tags, fields)
            if not lead["name"]:
                lead["name"] = f"Lead #{lead['id']}"
            self._store_exact_price(lead, raw)
            self._account.file("leads", lead, fresh=True)
            self._account.record("lead_added", "leads", lead["id"], lead["created_by"])
            announce.lead_came(self._account, lead, "add")
            return {"id": lead["id"], "request_id": request_id}

        return commit

    def prepare_change(self, raw: Record, request_id: str) -> Commit:
        """Check a change of the deal named by `id`. Raises Refused or RuleBroken."""
        del request_id  # leads answers show no request_id (2.7)
        item = Item(raw)
        lead = item.target(self._account.leads)
        changes, tags, fields = self._checked(item, lead)
        item.finish()
        self._check_loss_reason(raw, {**lead, **changes}, str(lead["id"]))

        def commit() -> Record:
            self.change(lead, changes, user_id=raw.get("updated_by"), tags=tags, fields=fields, raw=raw)
            return {"id": lead["id"], "updated_at": lead["updated_at"]}

        return commit

    def change(
        self,
        lead: Record,
        changes: Record,
        *,
        user_id: int | None = None,
        tags: Change | None = None,
        fields: dict[int, Record | None] | None = None,
        raw: Record | None = None,
    ) -> None:
        """Apply checked changes to a stored deal and write its history; None as user is the token's."""
        before = {**lead, "tags": list(lead["_embedded"]["tags"])}
        self._apply(lead, changes, tags, fields)
        self._store_exact_price(lead, raw or {})
        tags_moved = before["tags"] != lead["_embedded"]["tags"]
        moved = tags_moved or any(before.get(key) != lead[key] for key in lead if key != "_embedded")
        if moved or self._faults.noop_moves_updated_at:
            lead["updated_at"] = (raw or {}).get("updated_at", self._account.clock.seconds())
            lead["updated_by"] = self._account.current_user_id if user_id is None else user_id
            self._account.file("leads", lead, fresh=True)
            self._write_history(before, lead)
            announce.lead_changed(self._account, before, lead)

    def settle_status(self, item: Item, lead: Record) -> Record:
        """Return the pipeline_id and status_id an item leads to; problems are noted on the item."""
        pipeline_id, status_id = item.sound("pipeline_id"), item.sound("status_id")
        if pipeline_id is not None and pipeline_id not in self._account.pipelines:
            item.refuse("NotSupportedChoice", "pipeline_id")
            return {}
        if status_id is None:
            return self._pipeline_alone(pipeline_id, lead)
        if pipeline_id is None:
            pipeline_id = self._account.pipeline_of_status(status_id) or lead["pipeline_id"]
        status = self._account.status(pipeline_id, status_id)
        unsorted = status is not None and status.get("type") == UNSORTED_TYPE
        if status is None or (unsorted and UNSORTED_IS_NEVER_WRITABLE):
            item.refuse(FOREIGN_STATUS_CODE, "status_id")
            return {}
        return {"pipeline_id": pipeline_id, "status_id": status_id}

    # --- checking ---------------------------------------------------------------------------------
    def _blank(self) -> Record:
        account, now = self._account, self._account.clock.seconds()
        pipeline_id = account.main_pipeline["id"]
        return {
            "id": 0,
            "name": "",
            "price": 0,
            "responsible_user_id": account.current_user_id,
            "group_id": 0,
            "status_id": account.first_status(pipeline_id),
            "pipeline_id": pipeline_id,
            "loss_reason_id": None,
            "created_by": account.current_user_id,
            "updated_by": account.current_user_id,
            "created_at": now,
            "updated_at": now,
            "closed_at": None,
            "closest_task_at": None,
            "is_deleted": False,
            "custom_fields_values": None,
            "score": None,
            "account_id": account.account_id,
            "labor_cost": None,
            "is_price_computed": False,
        }

    def _checked(self, item: Item, lead: Record) -> tuple[Record, Change, dict[int, Record | None]]:
        item.only(KEYS, lead)
        item.types(SCALARS, nullable=("closed_at", "loss_reason_id"))
        self._check_price(item)
        self._check_choices(item)
        changes = {name: item.raw[name] for name in PLAIN if name in item and name in SCALARS}
        changes |= self.settle_status(item, lead)
        if "closed_at" in item:
            changes["closed_at"] = item.raw["closed_at"]
        if is_a(item.raw.get("price"), int) or is_a(item.raw.get("price"), float):
            changes["price"] = int(item.raw["price"])
        return changes, tag_change(self._account, "leads", item), field_values(self._account, "leads", item)

    def _check_price(self, item: Item) -> None:
        if "price" not in item or is_a(item.raw["price"], int):
            return
        decimals_pass = self._faults.minor_units or not FLOAT_PRICE_IS_REFUSED
        if not (decimals_pass and is_a(item.raw["price"], float)):
            item.refuse("InvalidType", "price")

    def _check_choices(self, item: Item) -> None:
        user_id = item.sound("responsible_user_id")
        if user_id is not None and not self._account.can_be_responsible(user_id):
            item.refuse("NotSupportedChoice", "responsible_user_id")
        for name in ("created_by", "updated_by"):
            author = item.sound(name)
            if author and author not in self._account.users:  # 0 is the robot
                item.refuse("NotSupportedChoice", name)
        reason_id = item.sound("loss_reason_id")
        if reason_id is not None and reason_id not in self._account.loss_reasons:
            item.refuse("NotSupportedChoice", "loss_reason_id")

    def _check_loss_reason(self, raw: Record, lead: Record, entity_id: str) -> None:
        if not LOSS_REASON_LOOKS_AT_STATUS_AFTER:
            lead = self._account.leads.get(lead["id"]) or lead
        if "loss_reason_id" in raw and lead["status_id"] != LOST:
            raise RuleBroken(entity_id, LOSS_REASON_RULE)

    def _links(self, item: Item, target: str) -> list[Record]:
        """Return the contacts or companies a new deal comes with; only a new one can bring them (2.7)."""
        embedded = item.raw.get("_embedded")
        given: Any = (embedded.get(target) if isinstance(embedded, dict) else None) or []
        if not isinstance(given, list):
            item.refuse("InvalidType", f"_embedded.{target}")
            return []
        if target == "companies" and len(given) > MAX_COMPANIES:
            item.refuse("FieldNotExpected", f"_embedded.companies.{MAX_COMPANIES}")
        links: list[Record] = []
        for index, one in enumerate(given):
            if not isinstance(one, dict) or one.get("id") not in self._account.entities[target]:
                item.refuse("NotSupportedChoice", f"_embedded.{target}.{index}.id")
            elif target == "companies":
                links.append({"id": one["id"]})
            else:
                links.append({"id": one["id"], "is_main": bool(one.get("is_main", index == 0))})
        return links

    def _check_embedded(self, item: Item) -> None:
        embedded = item.raw.get("_embedded")
        if not isinstance(embedded, dict):
            if embedded is not None:
                item.refuse("InvalidType", "_embedded")
            return
        for name in embedded.keys() - EMBEDDED:
            item.refuse(UNKNOWN_KEY_CODE, f"_embedded.{name}")

    def _pipeline_alone(self, pipeline_id: int | None, lead: Record) -> Record:
        if pipeline_id is None or pipeline_id == lead["pipeline_id"]:
            return {}
        status_id = lead["status_id"]
        if PIPELINE_ALONE_MEANS_FIRST_STATUS or self._account.status(pipeline_id, status_id) is None:
            status_id = self._account.first_status(pipeline_id)
        return {"pipeline_id": pipeline_id, "status_id": status_id}

    # --- doing ------------------------------------------------------------------------------------
    def _apply(
        self,
        lead: Record,
        changes: Record,
        tags: Change | None,
        fields: dict[int, Record | None] | None,
    ) -> None:
        before = lead["status_id"] if lead["id"] in self._account.leads else None
        lead.update(changes)
        entered = lead["status_id"] != before
        if entered and lead["status_id"] in CLOSED and "closed_at" not in changes:
            lead["closed_at"] = self._account.clock.seconds()
        if before in CLOSED and lead["status_id"] not in CLOSED:
            lead["loss_reason_id"] = None
            if REOPENING_CLEARS_CLOSED_AT:
                lead["closed_at"] = None
        if tags is not None:
            lead["_embedded"]["tags"] = tags(lead["_embedded"]["tags"])
        if fields:
            lead["custom_fields_values"] = merged(lead.get("custom_fields_values"), fields)

    def _store_exact_price(self, lead: Record, raw: Record) -> None:
        if "price" not in raw:
            return
        if self._faults.minor_units:
            self._account.exact_prices[lead["id"]] = float(raw["price"])
        else:
            self._account.exact_prices.pop(lead["id"], None)

    def _write_history(self, before: Record, lead: Record) -> None:
        record, lead_id, user_id = self._account.record, lead["id"], lead["updated_by"]
        if (before["pipeline_id"], before["status_id"]) != (lead["pipeline_id"], lead["status_id"]):
            record("lead_status_changed", "leads", lead_id, user_id, [_status(lead)], [_status(before)])
        if before["price"] != lead["price"]:
            after, old = ([{"sale_field_value": {"sale": one["price"]}}] for one in (lead, before))
            record("sale_field_changed", "leads", lead_id, user_id, after, old)
        write_common_history(self._account, "leads", before, lead, user_id)
        write_tag_history(self._account, "leads", lead_id, user_id, before["tags"], lead["_embedded"]["tags"])


def write_common_history(account: KommoAccount, kind: str, before: Record, after: Record, user_id: int) -> None:
    """Write the events of a new name, responsible user and custom field values (5.7)."""
    if before["name"] != after["name"]:
        new, old = ([{"name_field_value": {"name": one["name"]}}] for one in (after, before))
        account.record("name_field_changed", kind, after["id"], user_id, new, old)
    if before["responsible_user_id"] != after["responsible_user_id"]:
        new, old = ([{"responsible_user": {"id": one["responsible_user_id"]}}] for one in (after, before))
        account.record("entity_responsible_changed", kind, after["id"], user_id, new, old)
    old_fields, new_fields = _values_by_field(before), _values_by_field(after)
    for field_id in {**old_fields, **new_fields}:
        old, new = old_fields.get(field_id, []), new_fields.get(field_id, [])
        if old != new:
            account.record(f"custom_field_{field_id}_value_changed", kind, after["id"], user_id, new, old)


def _values_by_field(record: Record) -> dict[int, list[Record]]:
    return {
        entry["field_id"]: [
            {
                "custom_field_value": {
                    "field_id": entry["field_id"],
                    "field_type": FIELD_TYPE_NUMBERS.get(entry["field_type"], 0),
                    "enum_id": value.get("enum_id"),
                    "text": str(value.get("value", "")),
                }
            }
            for value in entry["values"]
        ]
        for entry in record.get("custom_fields_values") or ()
    }


def write_tag_history(
    account: KommoAccount, kind: str, entity_id: int, user_id: int, before: list[Record], after: list[Record]
) -> None:
    """Write the events of tags that came and went."""
    old, new = {tag["name"] for tag in before}, {tag["name"] for tag in after}
    if new - old:
        added = [{"tag": {"name": name}} for name in sorted(new - old)]
        account.record("entity_tag_added", kind, entity_id, user_id, added)
    if old - new:
        gone = [{"tag": {"name": name}} for name in sorted(old - new)]
        account.record("entity_tag_deleted", kind, entity_id, user_id, (), gone)


def _status(lead: Record) -> Record:
    return {"lead_status": {"id": lead["status_id"], "pipeline_id": lead["pipeline_id"]}}
