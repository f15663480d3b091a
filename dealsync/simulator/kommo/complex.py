"""POST /leads/complex: deal, contact and company in one call, or an incoming lead. Source: Kommo reference, 2.6."""

from collections.abc import Callable

from dealsync.simulator.faults import Faults
from dealsync.simulator.kommo.contacts import PersonWriter
from dealsync.simulator.kommo.items import Commit, Item
from dealsync.simulator.kommo.leads import LeadWriter
from dealsync.simulator.kommo.links import link
from dealsync.simulator.kommo.state import UNSORTED_TYPE, KommoAccount
from dealsync.simulator.table import Record

MAX_FIELD_VALUES = 40
MAX_DUPLICATES = 3  # more hits than this merge nothing
CATEGORIES = ("sip", "forms")
COMPANIONS = ("contacts", "companies")


class ComplexWriter:
    """Checks and does single items of a complex call."""

    def __init__(self, account: KommoAccount, faults: Faults) -> None:
        self._account = account
        self._faults = faults
        self._leads = LeadWriter(account, faults)

    def prepare(self, raw: Record, request_id: str) -> Commit:
        """Check a deal with at most one contact and one company. Raises Refused or RuleBroken."""
        item = Item(raw)
        embedded = raw.get("_embedded") or {}
        if not isinstance(embedded, dict):
            item.refuse("InvalidType", "_embedded")
            embedded = {}
        given = {target: self._given(item, embedded, target) for target in COMPANIONS}
        metadata = self._metadata(item, embedded)
        self._count_fields(item, raw, "")
        item.finish()
        new = {target: self._new(one, target, request_id) for target, one in given.items() if one and "id" not in one}
        kept = {name: part for name, part in embedded.items() if name not in new and name != "metadata"}
        new_lead = self._leads.prepare_new({**raw, "_embedded": kept}, request_id)
        duplicate = self._duplicate(given["contacts"])

        def commit() -> Record:
            if duplicate is not None:
                return _row(duplicate, _companions(duplicate), request_id, merged=True)
            ids = {target: (one or {}).get("id") for target, one in given.items()}
            ids |= {target: make()["id"] for target, make in new.items()}
            lead = self._account.leads.get(new_lead()["id"]) or {}
            self._tie(lead, ids, new)
            if metadata is not None:
                self._make_incoming(lead, metadata)
            return _row(lead, {target: {"id": i} for target, i in ids.items()}, request_id, merged=False)

        return commit

    # --- checking ---------------------------------------------------------------------------------
    def _given(self, item: Item, embedded: Record, target: str) -> Record | None:
        listed = embedded.get(target) or []
        if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
            item.refuse("InvalidType", f"_embedded.{target}")
            return None
        if len(listed) > 1:
            item.refuse("FieldNotExpected", f"_embedded.{target}.1")
        for one in listed:
            self._count_fields(item, one, f"_embedded.{target}.0.")
        return listed[0] if listed else None

    def _metadata(self, item: Item, embedded: Record) -> Record | None:
        metadata = embedded.get("metadata")
        if metadata is None:
            return None
        if not isinstance(metadata, dict) or metadata.get("category") not in CATEGORIES:
            item.refuse("NotSupportedChoice", "_embedded.metadata.category")
            return None
        return metadata

    def _count_fields(self, item: Item, raw: Record, prefix: str) -> None:
        values = raw.get("custom_fields_values")
        if isinstance(values, list) and len(values) > MAX_FIELD_VALUES:
            item.refuse("FieldNotExpected", f"{prefix}custom_fields_values.{MAX_FIELD_VALUES}")

    def _new(self, one: Record, target: str, request_id: str) -> Callable[[], Record]:
        writer = PersonWriter(self._account, self._faults, target)
        return writer.prepare_new(one, request_id, f"_embedded.{target}.0.")

    # --- doing ------------------------------------------------------------------------------------
    def _tie(self, lead: Record, ids: Record, new: Record) -> None:
        """Link what is new to the deal, and the new contact and company to each other."""
        for target in new:
            link(self._account, "leads", lead, target, ids[target], is_main=True)
        contact = self._account.contacts.get(ids.get("contacts") or 0)
        if contact is not None and ids.get("companies") is not None and new:
            link(self._account, "contacts", contact, "companies", ids["companies"])

    def _duplicate(self, contact: Record | None) -> Record | None:
        """Return the deal a new one falls into, where the account controls duplicates.

        Only deals count whose main contact has the same mail or phone; more than three are too many.
        """
        if not self._account.duplicate_control or contact is None:
            return None
        hits = [
            lead
            for person in self._same_people(contact)
            for lead in map(self._account.leads.get, self._account.leads_of(person))
            if lead is not None and {"id": person, "is_main": True} in lead["_embedded"]["contacts"]
        ]
        return hits[0] if 0 < len(hits) <= MAX_DUPLICATES else None

    def _same_people(self, contact: Record) -> list[int]:
        wanted = {
            str(value.get("value", "")).casefold()
            for entry in contact.get("custom_fields_values") or ()
            for value in entry.get("values") or ()
        }
        return [
            one["id"]
            for one in self._account.contacts
            for entry in one.get("custom_fields_values") or ()
            if entry.get("field_code") in ("EMAIL", "PHONE")
            and any(str(value["value"]).casefold() in wanted for value in entry["values"])
        ]

    def _make_incoming(self, lead: Record, metadata: Record) -> None:
        """Put the deal into the incoming stage of its pipeline and remember what came with it."""
        stages = self._account.statuses(lead["pipeline_id"])
        incoming = next((s["id"] for s in stages if s.get("type") == UNSORTED_TYPE), None)
        if incoming is None:
            return
        lead["status_id"] = incoming
        self._account.file("leads", lead, fresh=True)
        self._account.add_unsorted(lead, metadata)


def together(rows: list[Record]) -> list[Record]:
    """Return the rows of an answer, inputs that fell into one deal as one row with several request_ids."""
    found: dict[int, Record] = {}
    for row in rows:
        if row["id"] in found:
            found[row["id"]]["request_id"] += row["request_id"]
        else:
            found[row["id"]] = row
    return list(found.values())


def _companions(lead: Record) -> dict[str, Record]:
    return {target: lead["_embedded"][target][0] for target in COMPANIONS if lead["_embedded"].get(target)}


def _row(lead: Record, given: Record, request_id: str, *, merged: bool) -> Record:
    return {
        "id": lead["id"],
        "contact_id": (given.get("contacts") or {}).get("id"),
        "company_id": (given.get("companies") or {}).get("id"),
        "request_id": [request_id],
        "merged": merged,
    }
