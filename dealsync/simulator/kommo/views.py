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
    companies = _linked_all(stored.get("companies", ()), f"{root}/companies")
    embedded: Record = {"tags": stored.get("tags", []), "companies": companies}
    if "contacts" in with_:
        embedded["contacts"] = [_linked(link, root) for link in stored.get("contacts", ())]
    if "loss_reason" in with_:
        reason = account.loss_reasons.get(lead.get("loss_reason_id") or 0)
        own = f"{root}/leads/loss_reasons"
        embedded["loss_reason"] = linked_rows([reason], own) if reason else stored.get("loss_reason", [])
    if "catalog_elements" in with_:
        embedded["catalog_elements"] = stored.get("catalog_elements", [])
    shown["_links"] = lead.get("_links", self_link(f"{root}/leads/{lead['id']}"))
    shown["_embedded"] = embedded
    return shown


def person_view(account: KommoAccount, kind: str, record: Record, root: str, with_: Collection[str]) -> Record:
    """Return a contact or company as read."""
    stored = record.get("_embedded", {})
    shown = {key: value for key, value in record.items() if key not in ("_embedded", "_links")}
    embedded: Record = {"tags": stored.get("tags", [])}
    if kind == "contacts":
        embedded["companies"] = _linked_all(stored.get("companies", ()), f"{root}/companies")
    for other in ("leads", "contacts"):
        if other in with_ and other != kind:
            held = [link["id"] for link in stored.get(other, ())]
            ids = dict.fromkeys([*held, *account.linked_from(kind, record["id"], other)])
            embedded[other] = _linked_all(({"id": i} for i in ids), f"{root}/{other}")
    if "catalog_elements" in with_:
        embedded["catalog_elements"] = stored.get("catalog_elements", [])
    if "customers" in with_:
        embedded["customers"] = stored.get("customers", [])
    shown["_links"] = record.get("_links", self_link(f"{root}/{kind}/{record['id']}"))
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


def status_view(status: Record, root: str, *, descriptions: bool = False) -> Record:
    """Return a status with its link; its descriptions only where asked for."""
    own = f"{root}/leads/pipelines/{status['pipeline_id']}/statuses/{status['id']}"
    shown = {key: value for key, value in status.items() if key != "descriptions"}
    shown["_links"] = status.get("_links", self_link(own))
    return shown | ({"descriptions": status.get("descriptions", [])} if descriptions else {})


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


def _linked_all(links: Iterable[Record], address: str) -> list[Record]:
    """Return links to companies and the like: id and address."""
    return [{"id": one["id"], "_links": one.get("_links", self_link(f"{address}/{one['id']}"))} for one in links]


def _linked(link: Record, root: str) -> Record:
    own = self_link(f"{root}/contacts/{link['id']}")
    return {"id": link["id"], "is_main": link.get("is_main", False), "_links": link.get("_links", own)}
