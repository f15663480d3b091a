"""Reads and writes of one Kommo account. Lists end where `_links.next` ends; an empty list is a 204.

Source: Kommo reference, "Envelope and paging", "Leads", "Notes and tasks", "Errors".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from dealsync.apis.border import Refused
from dealsync.apis.kommo import normalise
from dealsync.apis.kommo.normalise import Account, Company, CustomField, Hook, Move, Pipeline, Status, User, Written
from dealsync.apis.kommo.refusals import read_error
from dealsync.apis.pace import Pace
from dealsync.apis.transport import Auth, Heard, Transport
from dealsync.core.assumptions import KOMMO_IDS_PER_FILTER
from dealsync.core.batches import batches
from dealsync.core.models import Contact, Deal
from dealsync.errors import AnswerLost, FiltersIgnored, Rejected, UnexpectedAnswer

PAGE = 250
EVENTS_PAGE = 100
"""Events come in smaller pages. Source: Kommo reference, "Envelope and paging"."""
EVENT_ENTITIES = 10
"""Objects that one question about events may name. Source: Kommo reference, "Sources, events"."""
API = "/api/v4"
HOOKS = f"{API}/webhooks"
ENOUGH_ROWS, SANE_SHARE = 10, 0.5
"""A filter counts as ignored when more than this share of at least so many rows should not have come."""
Row = TypeVar("Row")
Items = Sequence[Mapping[str, Any]]


class Kommo:
    """Typed access to one account. Objects that cannot be read are left out and named in `refused`."""

    def __init__(self, *, origin: str, auth: Auth, pace: Pace, retry_wait_s: float = 1.0) -> None:
        self.refused = Refused()
        self.price_digits = 0  # decimal digits of deals' prices; an account that has them sets it
        self._transport = Transport(
            api="kommo",
            origin=origin,
            auth=auth,
            pace=pace,
            read_error=read_error,
            retry_wait_s=retry_wait_s,
        )

    @property
    def requests(self) -> Mapping[str, int]:
        """Requests sent so far, by API, method and path."""
        return self._transport.requests

    def guard_writes(self, guard: Callable[[], None]) -> None:
        """Call `guard` right before each write leaves; what it raises keeps the write here."""
        self._transport.before_write = guard

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    # --- the account -----------------------------------------------------------------------------------------

    async def account(self) -> Account:
        """Return the account of the token: the cheapest proof that a token works. Raises Unauthorized."""
        return normalise.account(await self._transport.get(f"{API}/account", {"with": "datetime_settings"}))

    @property
    def heard(self) -> Heard | None:
        """What the API's clock said last."""
        return self._transport.heard

    async def honours_filters(self, now: datetime) -> bool:
        """Whether lists come filtered: asked for deals that were updated tomorrow, of which there are none.

        An account without deals always seems to.
        """
        params = {"limit": 1, **_window(now + timedelta(days=1))}
        return not _embedded(await self._transport.get(f"{API}/leads", params), "leads")

    async def pipelines(self) -> list[Pipeline]:
        """Return every pipeline with its statuses, main one first."""
        answer = await self._transport.get(f"{API}/leads/pipelines")
        found = self.refused.keep(normalise.pipeline, _embedded(answer, "pipelines"))
        return sorted(found, key=lambda pipeline: not pipeline.is_main)

    async def create_statuses(self, pipeline_id: int, items: Items) -> list[Status]:
        """Make stages of a pipeline, of a `name` and a `sort` each, and return them. Only an admin's token may."""
        path = f"/leads/pipelines/{pipeline_id}/statuses"
        return await self._write("POST", path, "statuses", items, normalise.status)

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

    async def deal_field_group(self, name: str) -> str:
        """Return the id of the group of deals' custom fields of that name, made if there is none. Only an admin may."""
        path = "/leads/custom_fields/groups"
        answer = await self._transport.get(f"{API}{path}")
        found = list(self.refused.keep(normalise.field_group, _embedded(answer, "custom_field_groups")))
        if name not in {group.name for group in found}:
            body = [{"name": name, "sort": len(found) + 1}]
            found += await self._write("POST", path, "custom_field_groups", body, normalise.field_group)
        return next(group.group_id for group in found if group.name == name)

    # --- deals and contacts ----------------------------------------------------------------------------------

    def deals(self, field_keys: Mapping[int, str], *, since: datetime | None = None) -> AsyncIterator[list[Deal]]:
        """Yield pages of deals of all pipelines by ascending id, with contacts; those updated since, if given.

        Very recent changes may be missing. Raises FiltersIgnored when the list is not the one that was asked for.
        """
        params = {"with": "contacts", "order[id]": "asc", **_window(since)}
        fits = None if since is None else lambda deal: deal.updated_at >= _whole(since)
        return self._pages(
            "/leads", "leads", params, lambda row: normalise.deal(row, field_keys, self.price_digits), fits=fits
        )

    async def deleted_deal_ids(self, *, since: datetime | None = None) -> list[int]:
        """Return the ids of deals in the recycle bin; those updated since, if given, and perhaps older ones."""
        params = {"with": "only_deleted", "order[id]": "asc", **_window(since)}
        pages = self._pages("/leads", "leads", params, normalise.deletion)
        return [lead_id async for page in pages for lead_id, is_deleted in page if is_deleted]

    async def deals_by_id(self, lead_ids: Iterable[int], field_keys: Mapping[int, str]) -> dict[int, Deal]:
        """Return the deals that exist among `lead_ids`; one by one where the account ignores filters."""
        wanted, found = set(lead_ids), dict[int, Deal]()

        def build(row: object) -> Deal:
            return normalise.deal(row, field_keys, self.price_digits)

        def fits(deal: Deal) -> bool:
            return deal.lead_id in wanted

        try:
            for ids in batches(sorted(wanted), KOMMO_IDS_PER_FILTER):
                params = {"with": "contacts", "filter[id][]": list(ids)}
                async for page in self._pages("/leads", "leads", params, build, fits=fits):
                    found |= {deal.lead_id: deal for deal in page if fits(deal)}
        except FiltersIgnored:
            for lead_id in sorted(wanted - found.keys()):
                if deal := await self._deal(lead_id, field_keys):
                    found[lead_id] = deal
        return found

    async def _deal(self, lead_id: int, field_keys: Mapping[int, str]) -> Deal | None:
        answer = await self._transport.get(f"{API}/leads/{lead_id}", {"with": "contacts"})
        rows = [] if answer is None else [answer]
        return next(self.refused.keep(lambda row: normalise.deal(row, field_keys, self.price_digits), rows), None)

    async def newest_deals(self, field_keys: Mapping[int, str], *, since: datetime) -> list[Deal]:
        """Return the deals created at or after `since`, newest first, read without any filter."""
        params = {"with": "contacts", "order[id]": "desc"}
        found: list[Deal] = []
        async for page in self._pages(
            "/leads", "leads", params, lambda row: normalise.deal(row, field_keys, self.price_digits)
        ):
            found += [deal for deal in page if deal.created_at >= since]
            if page and page[-1].created_at < since:
                break
        return found

    def contacts(self, *, since: datetime | None = None) -> AsyncIterator[list[Contact]]:
        """Yield pages of contacts by ascending id; those updated since, if given. Raises as `deals`."""
        fits = None if since is None else lambda contact: contact.updated_at >= _whole(since)
        params = {"order[id]": "asc", **_window(since)}
        return self._pages("/contacts", "contacts", params, normalise.contact, fits=fits)

    async def contacts_by_id(self, contact_ids: Iterable[int]) -> dict[int, Contact]:
        """Return the contacts that exist among `contact_ids`; one by one where the account ignores filters."""
        wanted, found = set(contact_ids), dict[int, Contact]()

        def fits(contact: Contact) -> bool:
            return contact.contact_id in wanted

        try:
            for ids in batches(sorted(wanted), KOMMO_IDS_PER_FILTER):
                params = {"filter[id][]": list(ids)}
                async for page in self._pages("/contacts", "contacts", params, normalise.contact, fits=fits):
                    found |= {contact.contact_id: contact for contact in page if fits(contact)}
        except FiltersIgnored:
            for contact_id in sorted(wanted - found.keys()):
                answer = await self._transport.get(f"{API}/contacts/{contact_id}")
                rows = [] if answer is None else [answer]
                found |= {contact.contact_id: contact for contact in self.refused.keep(normalise.contact, rows)}
        return found

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

    async def companies(self, text: str) -> list[Company]:
        """Return the companies that a search finds; it is fuzzy, and lags behind what was just made.

        Source: Kommo reference, "Contacts and companies".
        """
        pages = self._pages("/companies", "companies", {"query": text}, normalise.company)
        return [company async for page in pages for company in page]

    async def has_company(self, company_id: int) -> bool:
        """Whether a company is there."""
        pages = self._pages("/companies", "companies", {"filter[id][]": [company_id]}, normalise.company)
        return company_id in {company.company_id async for page in pages for company in page}

    async def newest_companies(self, *, since: datetime) -> list[Company]:
        """Return all companies created at or after `since`, newest ids first, and older ones as `newest_contacts`."""
        found: list[Company] = []
        async for page in self._pages("/companies", "companies", {"order[id]": "desc"}, normalise.company):
            found += [company for company in page if company.updated_at >= since]
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

    async def open_tasks(self, task_ids: Iterable[int]) -> set[int]:
        """Return those of the tasks that are there and not ticked off."""
        wanted, found = sorted(set(task_ids)), set[int]()
        for ids in batches(wanted, KOMMO_IDS_PER_FILTER):
            async for page in self._pages("/tasks", "tasks", {"filter[id][]": list(ids)}, normalise.task_state):
                found |= {task_id for task_id, is_completed in page if task_id in ids and not is_completed}
        return found

    async def notes_by_id(self, note_ids: Iterable[int]) -> dict[int, Written]:
        """Return those of these notes of deals that are there."""
        wanted, found = sorted(set(note_ids)), dict[int, Written]()
        for ids in batches(wanted, KOMMO_IDS_PER_FILTER):
            async for page in self._pages("/leads/notes", "notes", {"filter[id][]": list(ids)}, normalise.note):
                found |= {note.id: note for note in page if note.id in ids}
        return found

    async def tasks_by_id(self, task_ids: Iterable[int]) -> dict[int, tuple[Written, bool]]:
        """Return those of these tasks that are there, each with whether it is ticked off."""
        wanted, found = sorted(set(task_ids)), dict[int, tuple[Written, bool]]()
        for ids in batches(wanted, KOMMO_IDS_PER_FILTER):
            async for page in self._pages("/tasks", "tasks", {"filter[id][]": list(ids)}, normalise.task_as_it_is):
                found |= {task.id: (task, is_done) for task, is_done in page if task.id in ids}
        return found

    async def newest_tasks(self, *, since: datetime) -> list[Written]:
        """Return every task created or changed at or after `since`, and perhaps older ones."""
        params = {"order[id]": "desc", **_window(since)}
        return [t async for page in self._pages("/tasks", "tasks", params, normalise.task) for t in page]

    async def merges(self, *, since: datetime | None = None) -> dict[int, int]:
        """Return which deals were merged into which other one, by the id of the one that is gone.

        Source: Kommo reference, 2.3 and "Sources, events"; see `assumptions.KOMMO_MERGE_NAMES_BOTH_DEALS`.
        """
        params: dict[str, Any] = {"filter[entity]": "lead", "filter[type]": "entity_merged"}
        if since is not None:
            params["filter[created_at][from]"] = int(since.timestamp())
        pages = self._pages("/events", "events", params, normalise.merge, limit=EVENTS_PAGE)
        return {gone: survivor async for page in pages for survivor, ids in page for gone in ids if gone != survivor}

    async def moves(self, lead_ids: Iterable[int], *, since: datetime | None = None) -> list[Move]:
        """Return when deals came into a status, and by whom, oldest first; those at or after `since`, if given.

        Source: Kommo reference, "Sources, events". How long events are kept is not known.
        """
        params: dict[str, Any] = {"filter[entity]": "lead", "filter[type]": "lead_status_changed"}
        if since is not None:
            params["filter[created_at][from]"] = int(since.timestamp())
        found: list[Move] = []
        for ids in batches(sorted(set(lead_ids)), EVENT_ENTITIES):
            wanted = {**params, "filter[entity_id][]": list(ids)}
            async for page in self._pages("/events", "events", wanted, normalise.move, limit=EVENTS_PAGE):
                found += [move for move in page if move.lead_id in ids]
        return sorted(found, key=lambda move: (move.moved_at, move.lead_id))

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

    async def create_companies(self, items: Items) -> dict[str, int]:
        """POST companies; return company ids by request_id."""
        return dict(await self._write("POST", "/companies", "companies", items, normalise.created))

    async def create_notes(self, items: Items) -> dict[str, int]:
        """POST notes on deals; return note ids by request_id."""
        return dict(await self._write("POST", "/leads/notes", "notes", items, normalise.created))

    async def update_notes(self, items: Items) -> dict[int, datetime]:
        """PATCH notes of deals; return the time of each change by note id. Raises as `update_deals`."""
        return dict(await self._write("PATCH", "/leads/notes", "notes", items, normalise.changed))

    async def create_tasks(self, items: Items) -> dict[str, int]:
        """POST tasks; return task ids by request_id."""
        return dict(await self._write("POST", "/tasks", "tasks", items, normalise.created))

    async def update_tasks(self, items: Items) -> dict[int, datetime]:
        """PATCH tasks; return the time of each change by task id. Raises as `update_deals`."""
        return dict(await self._write("PATCH", "/tasks", "tasks", items, normalise.changed))

    async def complete_task(self, task_id: int, result: str) -> datetime:
        """PATCH one task as done, with its result; return when. Raises as `update_deals`."""
        item = {"is_completed": True, "result": {"text": result}}
        answer = await self._transport.write("PATCH", f"{API}/tasks/{task_id}", item)
        return self._changed_one(answer, "tasks", task_id)

    async def update_deal(self, item: Mapping[str, Any]) -> datetime:
        """PATCH one deal, named by its `id`; return when it changed. Raises as `update_deals`."""
        lead_id = int(item["id"])
        body = {key: value for key, value in item.items() if key != "id"}
        answer = await self._transport.write("PATCH", f"{API}/leads/{lead_id}", body)
        return self._changed_one(answer, "leads", lead_id)

    # --- webhooks: an admin's token only, and a plan that has them -----------------------------------------------

    async def hooks(self) -> list[Hook]:
        """Return the account's webhooks."""
        return list(self.refused.keep(normalise.hook, _embedded(await self._transport.get(HOOKS), "webhooks")))

    async def register_hook(self, destination: str, events: Sequence[str]) -> Hook:
        """Register a webhook, or change the one with this destination. Raises as `update_deals`.

        The destination must resolve already. Whether its other events stay is not known, so name all of them.
        """
        answer = await self._transport.write("POST", HOOKS, {"destination": destination, "settings": list(events)})
        try:
            return normalise.hook(answer)
        except UnexpectedAnswer as error:
            raise AnswerLost(f"kommo POST {HOOKS}: {error}; it may have happened all the same") from error

    async def remove_hook(self, destination: str) -> bool:
        """Remove a webhook; False when there was none."""
        try:
            await self._transport.write("DELETE", HOOKS, {"destination": destination})
        except Rejected as error:
            if error.status == 404:
                return False
            raise
        return True

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

    def _changed_one(self, answer: Any, plural: str, item_id: int) -> datetime:
        """When one object changed: the answer is the object itself, or a list with it (reference, "PATCH /leads")."""
        try:
            rows = [answer] if isinstance(answer, dict) and "id" in answer else _embedded(answer, plural)
            times = dict(normalise.changed(row) for row in rows)
            return times[item_id]
        except (UnexpectedAnswer, KeyError) as error:
            raise AnswerLost(
                f"kommo PATCH {API}/{plural}/{item_id}: the answer does not mention it; it may have happened"
            ) from error

    async def _pages(
        self,
        path: str,
        plural: str,
        params: Mapping[str, Any],
        build: Callable[[object], Row],
        *,
        limit: int | None = None,
        fits: Callable[[Row], bool] | None = None,
    ) -> AsyncIterator[list[Row]]:
        """Yield pages to the last; `fits` tells whether a row is one that the filter lets through."""
        number, more, read, strange = 1, True, 0, 0
        while more:
            answer = await self._transport.get(f"{API}{path}", {**params, "limit": limit or PAGE, "page": number})
            if answer is None:
                return
            page = list(self.refused.keep(build, _embedded(answer, plural)))
            read, strange = read + len(page), strange + (sum(not fits(row) for row in page) if fits else 0)
            if read >= ENOUGH_ROWS and strange > read * SANE_SHARE:
                raise FiltersIgnored(
                    f"Kommo ignores filters in this account: {strange} of {read} {plural} are not what was asked for"
                )
            yield page
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


def _whole(since: datetime) -> datetime:
    """A time as a filter carries it: in whole seconds."""
    return since.replace(microsecond=0)


def _window(since: datetime | None) -> dict[str, int]:
    return {} if since is None else {"filter[updated_at][from]": int(since.timestamp())}
