"""Merging two deals, as a person can in the interface. Source: Kommo reference, 2.3 and 5.7 (entity_merged)."""

from dealsync.simulator.kommo import announce
from dealsync.simulator.kommo.state import KommoAccount
from dealsync.simulator.table import Record


def merge(account: KommoAccount, survivor: Record, gone: Record, user_id: int) -> None:
    """Let one deal take in another, which is 204 from then on and in no recycle bin.

    The survivor keeps its own id, name, price and stage; it gains tags, contacts, empty fields' values, notes
    and tasks of the other one.
    """
    before = {**survivor, "_embedded": {**survivor["_embedded"]}}
    _take_in(survivor, gone)
    for contact in survivor["_embedded"].get("contacts", ()):
        account.unlink("leads", gone, "contacts", contact["id"])
    account.remove("leads", gone["id"])
    _move_notes_and_tasks(account, gone["id"], survivor["id"])
    survivor.update(updated_at=account.clock.seconds(), updated_by=user_id)
    account.file("leads", survivor, fresh=True)
    account.note_next_task("leads", survivor["id"])
    # The values of this event are published nowhere; the id of what went is the least a reader needs.
    after = [{"entity": {"type": "lead", "id": gone["id"]}}]
    account.record("entity_merged", "leads", survivor["id"], user_id, after)
    announce.lead_went(account, gone)
    announce.lead_changed(account, before, survivor)


def _take_in(survivor: Record, gone: Record) -> None:
    own, other = survivor["_embedded"], gone["_embedded"]
    own["tags"] = list({tag["id"]: tag for tag in [*own["tags"], *other["tags"]]}.values())
    has_main = any(link.get("is_main") for link in own.get("contacts", ()))
    known = {link["id"] for link in own.get("contacts", ())}
    gained = [link for link in other.get("contacts", ()) if link["id"] not in known]
    own["contacts"] = [
        *own.get("contacts", ()),
        *({**link, "is_main": link.get("is_main", False) and not has_main} for link in gained),
    ]
    own["companies"] = own.get("companies") or other.get("companies", [])
    held = {entry["field_id"]: entry for entry in gone.get("custom_fields_values") or ()}
    held |= {entry["field_id"]: entry for entry in survivor.get("custom_fields_values") or ()}
    survivor["custom_fields_values"] = list(held.values()) or None


def _move_notes_and_tasks(account: KommoAccount, from_id: int, to_id: int) -> None:
    for note in account.notes["leads"].having("entity_id", from_id):
        account.notes["leads"].put(note["id"], {**note, "entity_id": to_id})
    for task in account.tasks.having("entity", ("leads", from_id)):
        account.tasks.put(task["id"], {**task, "entity_id": to_id})
