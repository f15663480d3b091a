"""Stored records as an answer shows them: links, and only the embedded parts that were asked for.

Recorded objects keep the links and keys they came with. Source: Kommo reference, 2.2, 2.3, 5.1, 5.3.
"""

from collections.abc import Collection, Iterable

from dealsync.simulator.kommo.state import KommoAccount
from dealsync.simulator.kommo.wire import self_link
from dealsync.simulator.table import Record


def lead_view(
    account: KommoAccount, lead: Record, root: str, with_: Collection[str], *, minor_units: bool = False
) -> Record:
    """Return a deal as read."""
    stored = lead.get("_embedded", {})
    shown = {key: value for key, value in lead.items() if key not in ("_embedded", "_links")}
    if minor_units:
        shown["price_with_minor_units"] = account.exact_prices.get(lead["id"], float(lead["price"]))
    for name, empty in (("source_id", None), ("is_price_modified_by_robot", False)):
        if name in with_:
            shown.setdefault(name, empty)
    embedded: Record = {"tags": stored.get("tags", []), "companies": stored.get("companies", [])}
    if "contacts" in with_:
        embedded["contacts"] = [_linked(link, root) for link in stored.get("contacts", ())]
    if "loss_reason" in with_:
        reason = account.loss_reasons.get(lead.get("loss_reason_id") or 0)
        embedded["loss_reason"] = [reason] if reason else stored.get("loss_reason", [])
    if "catalog_elements" in with_:
        embedded["catalog_elements"] = stored.get("catalog_elements", [])
    shown["_links"] = lead.get("_links", self_link(f"{root}/leads/{lead['id']}"))
    shown["_embedded"] = embedded
    return shown


def contact_view(account: KommoAccount, contact: Record, root: str, with_: Collection[str]) -> Record:
    """Return a contact as read."""
    stored = contact.get("_embedded", {})
    shown = {key: value for key, value in contact.items() if key not in ("_embedded", "_links")}
    embedded: Record = {"tags": stored.get("tags", []), "companies": stored.get("companies", [])}
    if "leads" in with_:
        ids = dict.fromkeys([link["id"] for link in stored.get("leads", ())] + account.leads_of(contact["id"]))
        embedded["leads"] = [{"id": i, "_links": self_link(f"{root}/leads/{i}")} for i in ids]
    if "catalog_elements" in with_:
        embedded["catalog_elements"] = stored.get("catalog_elements", [])
    shown["_links"] = contact.get("_links", self_link(f"{root}/contacts/{contact['id']}"))
    shown["_embedded"] = embedded
    return shown


def pipeline_view(pipeline: Record, root: str) -> Record:
    """Return a pipeline with its statuses, each with its link."""
    own = f"{root}/leads/pipelines/{pipeline['id']}"
    statuses = [status_view(status, root) for status in pipeline["_embedded"]["statuses"]]
    return {
        **pipeline,
        "_links": pipeline.get("_links", self_link(own)),
        "_embedded": {"statuses": statuses},
    }


def status_view(status: Record, root: str) -> Record:
    """Return a status with its link."""
    own = f"{root}/leads/pipelines/{status['pipeline_id']}/statuses/{status['id']}"
    return {**status, "_links": status.get("_links", self_link(own))}


def user_view(user: Record, root: str, with_: Collection[str]) -> Record:
    """Return a user; roles and groups only where asked for."""
    shown = {key: value for key, value in user.items() if key != "_embedded"}
    shown["_links"] = user.get("_links", self_link(f"{root}/users/{user['id']}"))
    stored = user.get("_embedded", {})
    parts = {f"{name}s": stored.get(f"{name}s", []) for name in ("role", "group") if name in with_}
    if parts:
        shown["_embedded"] = parts
    return shown


def note_view(note: Record, kind: str, root: str) -> Record:
    """Return a note with its link."""
    return {**note, "_links": note.get("_links", self_link(note_address(note, kind, root)))}


def note_address(note: Record, kind: str, root: str) -> str:
    """Return a note's own address."""
    return f"{root}/{kind}/{note['entity_id']}/notes/{note['id']}"


def linked_rows(rows: Iterable[Record], address: str) -> list[Record]:
    """Return the rows of a write's answer, each with its own link as the last key."""
    return [{**row, "_links": self_link(f"{address}/{row['id']}")} for row in rows]


def _linked(link: Record, root: str) -> Record:
    own = self_link(f"{root}/contacts/{link['id']}")
    return {"id": link["id"], "is_main": link.get("is_main", False), "_links": link.get("_links", own)}
