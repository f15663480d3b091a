"""Reads and writes of one Kommo account. Lists end where `_links.next` ends; an empty list is a 204.

Source: Kommo reference, "Envelope and paging", "Leads", "Notes and tasks", "Errors".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import httpx

from dealsync.apis.border import Refused, storable, words
from dealsync.apis.kommo import normalise
from dealsync.apis.kommo.normalise import Account, CustomField, Pipeline, User, Written
from dealsync.apis.transport import Transport
from dealsync.core.assumptions import KOMMO_IDS_PER_FILTER
from dealsync.core.models import Contact, Deal
from dealsync.errors import AnswerLost, UnexpectedAnswer

PAGE = 250
EVENTS_PAGE = 100
"""Events come in smaller pages. Source: Kommo reference, "Envelope and paging"."""
API = "/api/v4"
ITEM_WORDS = 300
"""Characters that are kept of what the API says about one item."""
Row = TypeVar("Row")
Items = Sequence[Mapping[str, Any]]


class Kommo:
    """Typed access to one account. Objects that cannot be read are left out and named in `refused`."""

    def __init__(self, *, origin: str, token: str, requests_per_second: float, retry_wait_s: float = 1.0) -> None:
        self.refused = Refused()
        self._transport = Transport(
            api="kommo",
            origin=origin,
            token=token,
            requests_per_second=requests_per_second,
            read_error=_read_error,
            retry_wait_s=retry_wait_s,
        )

    @property
    def requests(self) -> Mapping[str, int]:
        """Requests sent so far, by API, method and path."""
        return self._transport.requests

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    # --- the account -----------------------------------------------------------------------------------------

    async def account(self) -> Account:
        """Return the account of the token: the cheapest proof that a token works. Raises Unauthorized."""
        return normalise.account(await self._transport.get(f"{API}/account"))

    async def pipelines(self) -> list[Pipeline]:
        """Return every pipeline with its statuses, main one first."""
        answer = await self._transport.get(f"{API}/leads/pipelines")
        found = self.refused.keep(normalise.pipeline, _embedded(answer, "pipelines"))
        return sorted(found, key=lambda pipeline: not pipeline.is_main)

    async def users(self) -> list[User]:
        """Return every user. Only an admin's token may; raises Unauthorized for others."""
        return [u async for page in self._pages("/users", "users", {}, normalise.user) for u in page]

    async def deal_custom_fields(self) -> list[CustomField]:
        """Return the custom fields of deals."""
        pages = self._pages("/leads/custom_fields", "custom_fields", {}, normalise.custom_field)
        return [f async for page in pages for f in page]

    async def create_deal_custom_fields(self, items: Items) -> list[CustomField]:
        """Make custom fields of deals (`render.ls_fields`) and return them. Only an admin's token may."""
        return await self._write("POST", "/leads/custom_fields", "custom_fields", items, normalise.custom_field)

    # --- deals and contacts ----------------------------------------------------------------------------------

    def deals(self, field_keys: Mapping[int, str], *, since: datetime | None = None) -> AsyncIterator[list[Deal]]:
        """Yield pages of deals of all pipelines by ascending id, with contacts; those updated since, if given.

        A filter can be ignored in silence, so older ones may come too. Very recent changes may be missing.
        """
        params = {"with": "contacts", "order[id]": "asc", **_window(since)}
        return self._pages("/leads", "leads", params, lambda row: normalise.deal(row, field_keys))

    async def deleted_deal_ids(self, *, since: datetime | None = None) -> list[int]:
        """Return the ids of deals in the recycle bin; those updated since, if given, and perhaps older ones."""
        params = {"with": "only_deleted", "order[id]": "asc", **_window(since)}
        pages = self._pages("/leads", "leads", params, normalise.deletion)
        return [lead_id async for page in pages for lead_id, is_deleted in page if is_deleted]

    async def deals_by_id(self, lead_ids: Iterable[int], field_keys: Mapping[int, str]) -> dict[int, Deal]:
        """Return the deals that exist among `lead_ids`."""
        found: dict[int, Deal] = {}
        for ids in _batches(sorted(set(lead_ids)), KOMMO_IDS_PER_FILTER):
            params = {"with": "contacts", "filter[id][]": list(ids)}
            async for page in self._pages("/leads", "leads", params, lambda row: normalise.deal(row, field_keys)):
                found |= {deal.lead_id: deal for deal in page if deal.lead_id in ids}
        return found

    async def newest_deals(self, field_keys: Mapping[int, str], *, since: datetime) -> list[Deal]:
        """Return the deals created at or after `since`, newest first, read without any filter."""
        params = {"with": "contacts", "order[id]": "desc"}
        found: list[Deal] = []
        async for page in self._pages("/leads", "leads", params, lambda row: normalise.deal(row, field_keys)):
            found += [deal for deal in page if deal.created_at >= since]
            if page and page[-1].created_at < since:
                break
        return found

    def contacts(self, *, since: datetime | None = None) -> AsyncIterator[list[Contact]]:
        """Yield pages of contacts by ascending id; those updated since, if given, and perhaps older ones."""
        return self._pages("/contacts", "contacts", {"order[id]": "asc", **_window(since)}, normalise.contact)

    async def newest_contacts(self, *, since: datetime) -> list[Contact]:
        """Return all contacts created at or after `since`, newest ids first, read without any filter.

        A contact does not tell when it was created, only that it was not after its last update: so older ones that
        were updated since may be among them, but not all of those.
        """
        found: list[Contact] = []
        async for page in self._pages("/contacts", "contacts", {"order[id]": "desc"}, normalise.contact):
            found += [contact for contact in page if contact.updated_at >= since]
            if page and page[-1].updated_at < since:
                break
        return found

    # --- what we wrote ---------------------------------------------------------------------------------------

    async def notes_of(self, lead_id: int) -> list[Written]:
        """Return every note of a deal."""
        pages = self._pages(f"/leads/{lead_id}/notes", "notes", {"order[id]": "desc"}, normalise.note)
        return [n async for page in pages for n in page]

    async def tasks_of(self, lead_id: int) -> list[Written]:
        """Return every task of a deal."""
        params = {"filter[entity_type]": "leads", "filter[entity_id][]": [lead_id]}
        pages = self._pages("/tasks", "tasks", params, normalise.task)
        return [t async for page in pages for t in page if t.lead_id == lead_id]

    async def status_changes(self, lead_id: int, *, since: datetime) -> list[int]:
        """Return the statuses that a deal was moved to at or after `since`, whoever moved it.

        Source: Kommo reference, "Sources, events".
        """
        params = {
            "filter[entity]": "lead",
            "filter[entity_id][]": [lead_id],
            "filter[type]": "lead_status_changed",
            "filter[created_at][from]": int(since.timestamp()),
        }
        pages = self._pages("/events", "events", params, normalise.moved_to, limit=EVENTS_PAGE)
        return [status_id async for page in pages for moved, status_id in page if moved == lead_id]

    # --- writes: at most 250 items each, never repeated blind -----------------------------------------------------

    async def update_deals(self, items: Items) -> dict[int, datetime]:
        """PATCH deals; return the time of each change by lead id. Raises Rejected, AnswerLost, Unreachable.

        What Rejected names, and what the answer leaves out, is keyed by lead id.
        """
        return dict(await self._write("PATCH", "/leads", "leads", items, normalise.changed))

    async def create_deals(self, items: Items) -> dict[str, int]:
        """POST deals; return lead ids by request_id. Raises as `update_deals`."""
        return dict(await self._write("POST", "/leads", "leads", items, normalise.created))

    async def create_contacts(self, items: Items) -> dict[str, int]:
        """POST contacts; return contact ids by request_id."""
        return dict(await self._write("POST", "/contacts", "contacts", items, normalise.created))

    async def create_notes(self, items: Items) -> dict[str, int]:
        """POST notes on deals; return note ids by request_id."""
        return dict(await self._write("POST", "/leads/notes", "notes", items, normalise.created))

    async def create_tasks(self, items: Items) -> dict[str, int]:
        """POST tasks; return task ids by request_id."""
        return dict(await self._write("POST", "/tasks", "tasks", items, normalise.created))

    # --- one request ------------------------------------------------------------------------------------------

    async def _write(
        self, method: str, path: str, plural: str, items: Items, build: Callable[[object], Row]
    ) -> list[Row]:
        """Send items once and return what `build` makes of the rows of the answer, none for a 204.

        An answer with a row that cannot be read is lost as a whole: the write was carried out, and must be looked up.
        """
        answer = await self._transport.write(method, f"{API}{path}", items)
        try:
            return [build(row) for row in _embedded(answer, plural)]
        except UnexpectedAnswer as error:
            raise AnswerLost(f"kommo {method} {API}{path}: {error}; it may have happened all the same") from error

    async def _pages(
        self,
        path: str,
        plural: str,
        params: Mapping[str, Any],
        build: Callable[[object], Row],
        *,
        limit: int | None = None,
    ) -> AsyncIterator[list[Row]]:
        number, more = 1, True
        while more:
            answer = await self._transport.get(f"{API}{path}", {**params, "limit": limit or PAGE, "page": number})
            if answer is None:
                return
            yield list(self.refused.keep(build, _embedded(answer, plural)))
            links = answer.get("_links")
            more = isinstance(links, dict) and bool(links.get("next"))
            number += 1


def _embedded(answer: Any, plural: str) -> list[object]:
    """The rows of a HAL list; a 204 (None) has none."""
    if answer is None:
        return []
    try:
        rows = answer["_embedded"][plural]
    except (KeyError, TypeError):
        rows = None
    if not isinstance(rows, list):
        raise UnexpectedAnswer(f"kommo: an answer without a list in _embedded.{plural}")
    return rows


def _window(since: datetime | None) -> dict[str, int]:
    return {} if since is None else {"filter[updated_at][from]": int(since.timestamp())}


def _batches(ids: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))


def _read_error(response: httpx.Response) -> tuple[str, dict[str, str]]:
    """Words of error shapes A (per item), B (per entity) and C. Source: Kommo reference, "Errors"."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return words(), {}
    items = _refused_items(body.get("validation-errors"))
    by_entity = body.get("errors")
    if isinstance(by_entity, dict):
        items |= {storable(key): words(text, limit=ITEM_WORDS) for key, text in by_entity.items()}
    return words(body.get("detail"), body.get("title")), items


def _refused_items(entries: object) -> dict[str, str]:
    """Shape A: what is wrong with each item, by its request_id; entries in another shape name no item."""
    found = {}
    for entry in _objects_in(entries):
        request_id = entry.get("request_id")
        if isinstance(request_id, int | str):
            faults = [
                f"{e.get('path')}: {e.get('code')} {e.get('detail') or ''}" for e in _objects_in(entry.get("errors"))
            ]
            found[storable(str(request_id))] = words("; ".join(f.strip() for f in faults), limit=ITEM_WORDS)
    return found


def _objects_in(value: object) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
