"""Links between deals, contacts, companies and catalog elements: kept on one side, shown on both.

Source: Kommo reference, 5.2.
"""

from collections.abc import Iterator

from dealsync.simulator.assumptions import LINKED_FOREIGN_ID_CODE
from dealsync.simulator.kommo.items import Item, is_a
from dealsync.simulator.kommo.state import LINKS, SINGULAR, KommoAccount
from dealsync.simulator.table import Record

ELEMENTS = "catalog_elements"
TARGETS = (*SINGULAR, ELEMENTS)


def links_of(account: KommoAccount, kind: str, record: Record) -> Iterator[Record]:
    """Yield the links of an entity as read: to_entity_id, to_entity_type, metadata."""
    for one in record["_embedded"].get(ELEMENTS, ()):
        yield _row(one["id"], ELEMENTS, one["metadata"])
    for target in SINGULAR:
        if target in LINKS[kind]:
            for one in record["_embedded"].get(target, ()):
                yield _row(one["id"], target, _metadata(kind, target, main=one.get("is_main", False)))
        elif kind in LINKS[target]:
            for other_id in account.linked_from(kind, record["id"], target):
                other = account.entities[target].get(other_id) or {}
                yield _row(other_id, target, _metadata(kind, target, main=_is_main(other, kind, record["id"])))


def check(account: KommoAccount, kind: str, item: Item) -> None:
    """Note what is wrong with one object of a link or unlink call."""
    item.need("to_entity_id", "to_entity_type")
    item.types({"to_entity_id": int, "to_entity_type": str, "metadata": dict}, nullable=("metadata",))
    target = item.sound("to_entity_type")
    if target is not None and (target not in TARGETS or not _can_link(kind, target)):
        item.refuse("NotSupportedChoice", "to_entity_type")
        return
    target_id = item.sound("to_entity_id")
    if target is None or target_id is None:
        return
    if target == ELEMENTS:
        _check_element(account, item, target_id)
    elif target_id not in account.entities[target]:
        item.refuse(LINKED_FOREIGN_ID_CODE, "to_entity_id")


def is_linked(account: KommoAccount, kind: str, record: Record, target: str, target_id: int) -> bool:
    """Tell whether two entities are linked already; elements can be linked anew, with another quantity."""
    if target == ELEMENTS:
        return False
    if target in LINKS[kind]:
        return any(one["id"] == target_id for one in record["_embedded"].get(target, ()))
    return record["id"] in account.linked_from(target, target_id, kind) or target_id in account.linked_from(
        kind, record["id"], target
    )


def link(
    account: KommoAccount,
    kind: str,
    record: Record,
    target: str,
    target_id: int,
    *,
    is_main: bool | None = None,
    metadata: Record | None = None,
) -> Record:
    """Link two entities and return the link as read; `is_main` None makes the first contact the main one."""
    if target == ELEMENTS:
        return _link_element(account, kind, record, target_id, metadata or {})
    if target not in LINKS[kind]:  # it is the other one that keeps the link
        other = account.entities[target].get(target_id) or {}
        link(account, target, other, kind, record["id"], is_main=is_main)
        return _row(target_id, target, _metadata(kind, target, main=_is_main(other, kind, record["id"])))
    before = record["_embedded"].get(target, [])
    others = [one for one in before if one["id"] != target_id]
    if target == "companies" and kind == "leads":
        others = []  # a deal has one company
    main = (not others if is_main is None else is_main) if target == "contacts" else False
    if main:
        others = [{**one, "is_main": False} for one in others]
    entry = {"id": target_id, "is_main": main} if target == "contacts" else {"id": target_id}
    record["_embedded"][target] = [*others, entry]
    account.file(kind, record, fresh=True)
    _tell(account, "entity_linked", kind, record["id"], target, target_id)
    return _row(target_id, target, _metadata(kind, target, main=main))


def unlink(account: KommoAccount, kind: str, record: Record, target: str, target_id: int) -> bool:
    """Take a link away; False when there was none."""
    if target == ELEMENTS:
        linked = record["_embedded"].get(ELEMENTS, [])
        record["_embedded"][ELEMENTS] = [one for one in linked if one["id"] != target_id]
        return len(record["_embedded"][ELEMENTS]) < len(linked)
    if target not in LINKS[kind]:
        other = account.entities[target].get(target_id)
        return other is not None and unlink(account, target, other, kind, record["id"])
    if not account.unlink(kind, record, target, target_id):
        return False
    account.file(kind, record, fresh=True)
    _tell(account, "entity_unlinked", kind, record["id"], target, target_id)
    return True


# --- parts ----------------------------------------------------------------------------------------
def _can_link(kind: str, target: str) -> bool:
    return target == ELEMENTS or target in LINKS[kind] or kind in LINKS[target]


def _check_element(account: KommoAccount, item: Item, element_id: int) -> None:
    metadata = item.raw.get("metadata")
    catalog_id = metadata.get("catalog_id") if isinstance(metadata, dict) else None
    element = account.elements.get(element_id)
    if not is_a(catalog_id, int):
        item.refuse("FieldMissing", "metadata.catalog_id")
    elif element is None or element["catalog_id"] != catalog_id:
        item.refuse(LINKED_FOREIGN_ID_CODE, "to_entity_id")


def _link_element(account: KommoAccount, kind: str, record: Record, element_id: int, metadata: Record) -> Record:
    kept = {"quantity": metadata.get("quantity", 1), "catalog_id": metadata.get("catalog_id")}
    if "price_id" in metadata:
        kept["price_id"] = metadata["price_id"]
    others = [one for one in record["_embedded"].get(ELEMENTS, ()) if one["id"] != element_id]
    record["_embedded"][ELEMENTS] = [*others, {"id": element_id, "metadata": kept}]
    account.file(kind, record, fresh=True)
    return _row(element_id, ELEMENTS, kept)


def _tell(account: KommoAccount, event: str, kind: str, record_id: int, target: str, target_id: int) -> None:
    """Write the event on both sides."""
    for (own, own_id), (other, other_id) in (
        ((kind, record_id), (target, target_id)),
        ((target, target_id), (kind, record_id)),
    ):
        after = [{"link": {"entity": {"type": SINGULAR[other], "id": other_id}}}]
        sides = (after, []) if event == "entity_linked" else ([], after)
        account.record(event, own, own_id, account.current_user_id, *sides)


def _is_main(record: Record, target: str, target_id: int) -> bool:
    links = record.get("_embedded", {}).get(target, ())
    return any(one["id"] == target_id and one.get("is_main", False) for one in links)


def _metadata(kind: str, target: str, *, main: bool) -> Record | None:
    """Return what a link tells about itself: deals and contacts the main one, others nothing."""
    return {"main_contact": main} if {kind, target} == {"leads", "contacts"} else None


def _row(target_id: int, target: str, metadata: Record | None) -> Record:
    return {"to_entity_id": target_id, "to_entity_type": target, "metadata": metadata}
