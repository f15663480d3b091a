"""Tags of a deal or contact in a write: the set that replaces, and the single ones.

Source: Kommo reference, 2.7 row "tags" and 5.5.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from dealsync.simulator.kommo.items import Item, is_a
from dealsync.simulator.kommo.state import KommoAccount
from dealsync.simulator.table import Record

Change: TypeAlias = Callable[[list[Record]], list[Record]]


def tag_change(account: KommoAccount, kind: str, item: Item) -> Change:
    """Return what the item does to a list of tags; problems are noted on the item.

    `_embedded.tags` replaces the whole set (null empties it); then tags_to_add and tags_to_delete.
    """
    embedded = item.raw.get("_embedded")
    replaced = None
    if isinstance(embedded, dict) and "tags" in embedded:
        replaced = _named(account, kind, item, embedded["tags"], "_embedded.tags")
    added = _named(account, kind, item, item.raw.get("tags_to_add"), "tags_to_add")
    deleted = _named(account, kind, item, item.raw.get("tags_to_delete"), "tags_to_delete")

    def change(tags: list[Record]) -> list[Record]:
        result = {tag["id"]: tag for tag in tags}
        if replaced is not None:
            result = {tag["id"]: tag for tag in (_tag(account, kind, one) for one in replaced)}
        for one in added:
            tag = _tag(account, kind, one)
            result[tag["id"]] = tag
        gone = {one.get("id") for one in deleted} | {one.get("name") for one in deleted}
        return [tag for tag in result.values() if tag["id"] not in gone and tag["name"] not in gone]

    return change


def _named(account: KommoAccount, kind: str, item: Item, given: Any, path: str) -> list[Record]:
    if given is None:
        return []
    if not isinstance(given, list):
        item.refuse("InvalidType", path)
        return []
    for index, one in enumerate(given):
        if not isinstance(one, dict) or not (is_a(one.get("id"), int) or is_a(one.get("name"), str)):
            item.refuse("InvalidType", f"{path}.{index}")
        elif "id" in one and one["id"] not in account.tags[kind]:
            item.refuse("NotSupportedChoice", f"{path}.{index}.id")
    return given


def _tag(account: KommoAccount, kind: str, one: Record) -> Record:
    return account.tags[kind][one["id"]] if "id" in one else account.tag_named(kind, one["name"])
