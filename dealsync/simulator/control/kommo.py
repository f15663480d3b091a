"""What people do in the Kommo account by hand. Never rate limited.

Whatever changes here is told to the account's webhooks, as a change through the API is.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dealsync.simulator import sellers
from dealsync.simulator.control.parts import Handler, InputError, number, only, route, text
from dealsync.simulator.kommo import announce
from dealsync.simulator.kommo.contacts import PersonWriter
from dealsync.simulator.kommo.items import Commit, Item, Refused, RuleBroken
from dealsync.simulator.kommo.leads import LeadWriter
from dealsync.simulator.kommo.merging import merge
from dealsync.simulator.kommo.notes_tasks import NoteWriter, TaskWriter
from dealsync.simulator.kommo.state import CLOSED, SINGULAR
from dealsync.simulator.table import Record
from dealsync.simulator.world import World

DAY_S = 24 * 3600
EDITABLE = "name price responsible_user_id custom_fields_values tags_to_add tags_to_delete"
INDEX = {
    "POST /control/leads": "a deal made by hand: price, name?, status_id?, pipeline_id?,"
    " contact? {name, email}, age_days?",
    "POST /control/leads/{id}/move": "a person's edit: status_id, pipeline_id?, user_id?",
    "POST /control/leads/{id}/merge": "take in another deal: lead_id (gone afterwards), user_id?",
    **{
        line: what
        for kind, singular in SINGULAR.items()
        for line, what in (
            (f"POST /control/{kind}/{{id}}/edit", f"a person's edit: {EDITABLE}, user_id?"),
            (f"POST /control/{kind}/{{id}}/notes", "a note typed by a person: text, user_id?"),
            (f"POST /control/{kind}/{{id}}/restore", f"a {singular} out of the recycle bin: user_id?"),
            (f"DELETE /control/{kind}/{{id}}", f"a {singular} into the recycle bin: user_id?"),
        )
    },
    "POST /control/contacts": "a contact made by hand: name, email?, phone?, user_id?",
    "POST /control/companies": "a company made by hand: name, email?, phone?, user_id?",
    "POST /control/tasks/{id}/complete": "a person completes a task: result?, user_id?",
    "DELETE /control/tasks/{id}": "a task goes",
}


class KommoControl:
    """Request -> change of the account -> response."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._account = world.kommo

    def routes(self) -> list[Route]:
        """Return the routes under /control."""
        found = [
            self._route("/leads", "POST", self.add_lead),
            self._route("/leads/{id:int}/move", "POST", self.move_lead),
            self._route("/leads/{id:int}/merge", "POST", self.merge_leads),
            self._route("/contacts", "POST", self.add_person),
            self._route("/companies", "POST", self.add_person),
            self._route("/tasks/{id:int}/complete", "POST", self.complete_task),
            self._route("/tasks/{id:int}", "DELETE", self.delete_task),
        ]
        for kind in SINGULAR:
            found += [
                self._route(f"/{kind}/{{id:int}}/edit", "POST", self.edit),
                self._route(f"/{kind}/{{id:int}}/notes", "POST", self.add_note),
                self._route(f"/{kind}/{{id:int}}/restore", "POST", self.restore),
                self._route(f"/{kind}/{{id:int}}", "DELETE", self.delete),
            ]
        return found

    def _route(self, path: str, method: str, handler: Handler) -> Route:
        async def telling(request: Request, body: Record) -> Response:
            with self._account.acting_for(self._user(body)):
                answer = await handler(request, body)
            self._account.hooks.flush()
            return answer

        return route(f"/control{path}", method, telling)

    # --- deals ------------------------------------------------------------------------------------
    async def add_lead(self, request: Request, body: Record) -> Response:
        """Add a deal as a seller would; 201 with its id and what is stored."""
        only(body, "name price status_id pipeline_id contact age_days")
        account = self._account
        price = int(number(body, "price", None, whole=True))
        stage = self._stage(body, {"pipeline_id": account.main_pipeline["id"], "status_id": None})
        created = self._world.clock.now() - number(body, "age_days", 0) * DAY_S
        contact_id = None
        if body.get("contact") is not None:
            contact_id = self._contact(body["contact"], created)
        lead = sellers.add_deal(
            account,
            sellers.HandMade(
                name=text(body, "name", "Deal"),
                price=price,
                pipeline_id=stage["pipeline_id"],
                status_id=stage["status_id"],
                contact_id=contact_id,
                owner_id=account.current_user_id,
                created=created,
                moved=created,
            ),
            fresh=True,
        )
        announce.lead_came(account, lead, "add")
        return JSONResponse(lead, 201)

    async def move_lead(self, request: Request, body: Record) -> Response:
        """Move a deal as a person does; the answer is what is stored."""
        only(body, "status_id pipeline_id user_id")
        lead = self._record(request)
        if "status_id" not in body:
            raise InputError("status_id is missing")
        changes = self._stage(body, lead)
        if lead["status_id"] not in CLOSED and changes["status_id"] in CLOSED:
            changes["closed_at"] = self._world.clock.seconds()
        LeadWriter(self._account, self._world.faults).change(lead, changes)
        return JSONResponse(lead)

    async def merge_leads(self, request: Request, body: Record) -> Response:
        """Merge two deals: the one in the address stays."""
        only(body, "lead_id user_id")
        survivor = self._record(request)
        gone = self._account.leads.get(int(number(body, "lead_id", None, whole=True)))
        if gone is None or gone is survivor:
            raise InputError(f"there is no other deal {body['lead_id']}", 404)
        merge(self._account, survivor, gone, self._account.current_user_id)
        return JSONResponse(survivor)

    # --- contacts and companies -------------------------------------------------------------------
    async def add_person(self, request: Request, body: Record) -> Response:
        """Add a contact or company; 201 with what is stored."""
        only(body, "name email phone user_id")
        kind, account = _kind(request), self._account
        texts = {code: text(body, name) for code, name in (("EMAIL", "email"), ("PHONE", "phone")) if name in body}
        now, owner_id = self._world.clock.now(), account.current_user_id
        record = sellers.add_person(account, kind, text(body, "name"), texts, owner_id, now)
        account.record(f"{SINGULAR[kind]}_added", kind, record["id"], owner_id)
        announce.person_came(account, kind, record, "add")
        return JSONResponse(record, 201)

    # --- any of the three -------------------------------------------------------------------------
    async def edit(self, request: Request, body: Record) -> Response:
        """Change fields as a person does; the answer is what is stored."""
        only(body, f"{EDITABLE} user_id")
        kind, record = _kind(request), self._record(request)
        raw = {key: value for key, value in body.items() if key != "user_id"} | {"id": record["id"]}
        writer: LeadWriter | PersonWriter = LeadWriter(self._account, self._world.faults)
        if kind != "leads":
            writer = PersonWriter(self._account, self._world.faults, kind)
        _checked(lambda: writer.prepare_change(raw, "0"))()
        return JSONResponse(record)

    async def add_note(self, request: Request, body: Record) -> Response:
        """Type a note; 201 with its id."""
        only(body, "text user_id")
        record = self._record(request)
        writer = NoteWriter(self._account, _kind(request), record["id"])
        commit = writer.prepare_new({"note_type": "common", "params": {"text": text(body, "text")}}, "0")
        return JSONResponse({"id": commit()["id"]}, 201)

    async def delete(self, request: Request, body: Record) -> Response:
        """Move a record to the recycle bin."""
        only(body, "user_id")
        kind, record = _kind(request), self._record(request)
        self._account.delete(kind, record["id"], self._account.current_user_id)
        announce.went(self._account, kind, record)
        return JSONResponse({"deleted": record["id"]})

    async def restore(self, request: Request, body: Record) -> Response:
        """Take a record out of the recycle bin; the answer is what is stored."""
        only(body, "user_id")
        kind, record_id = _kind(request), request.path_params["id"]
        record = self._account.restore(kind, record_id, self._account.current_user_id)
        if record is None:
            raise InputError(f"there is no {_noun(kind)} {record_id} in the recycle bin", 404)
        announce.came(self._account, kind, record, "restore")
        return JSONResponse(record)

    # --- tasks ------------------------------------------------------------------------------------
    async def complete_task(self, request: Request, body: Record) -> Response:
        """Complete a task, with a result if one is given; the answer is the task."""
        only(body, "result user_id")
        task = self._task(request)
        changes: Record = {"is_completed": True}
        if body.get("result") is not None:
            changes["result"] = {"text": text(body, "result")}
        TaskWriter(self._account).change(task, changes)
        return JSONResponse(task)

    async def delete_task(self, request: Request, body: Record) -> Response:
        """Take a task away."""
        only(body, "user_id")
        task = self._task(request)
        self._account.tasks.remove(task["id"])
        self._account.note_next_task(task["entity_type"], task["entity_id"])
        announce.task_told(self._account, task, "delete")
        return JSONResponse({"deleted": task["id"]})

    # --- parts ------------------------------------------------------------------------------------
    def _user(self, body: Record) -> int | None:
        """Return the person who acts; None is the token's user."""
        user_id = body.get("user_id")
        if user_id is not None and user_id not in self._account.users:
            raise InputError(f"there is no user {user_id}")
        return user_id

    def _record(self, request: Request) -> Record:
        kind, record_id = _kind(request), request.path_params["id"]
        record = self._account.entities[kind].get(record_id)
        if record is None:
            raise InputError(f"there is no {_noun(kind)} {record_id}", 404)
        return record

    def _task(self, request: Request) -> Record:
        task = self._account.tasks.get(request.path_params["id"])
        if task is None:
            raise InputError(f"there is no task {request.path_params['id']}", 404)
        return task

    def _stage(self, body: Record, lead: Record) -> Record:
        """Return pipeline_id and status_id a body leads to, as the API would settle it."""
        item = Item({key: body[key] for key in ("pipeline_id", "status_id") if body.get(key) is not None})
        item.types({"pipeline_id": int, "status_id": int})
        try:
            item.finish()
            settled = LeadWriter(self._account, self._world.faults).settle_status(item, lead)
            item.finish()
        except Refused as refused:
            names = ", ".join(problem.path for problem in refused.problems)
            raise InputError(f"no such {names} in this account or pipeline") from None
        stage = {**{key: lead[key] for key in ("pipeline_id", "status_id")}, **settled}
        if stage["status_id"] is None:
            stage["status_id"] = self._account.first_status(stage["pipeline_id"])
        return stage

    def _contact(self, given: Any, created: float) -> int:
        """Return the contact with this e-mail, added when it is new."""
        if not isinstance(given, dict):
            raise InputError("contact must be an object with name and email")
        email = text(given, "email")
        account = self._account
        for contact in account.contacts:
            for custom in contact.get("custom_fields_values") or ():
                if custom.get("field_code") == "EMAIL" and any(v["value"] == email for v in custom["values"]):
                    return int(contact["id"])
        name = text(given, "name", email.strip().partition("@")[0])
        contact = sellers.add_contact(account, name, email, account.current_user_id, created)
        announce.person_came(account, "contacts", contact, "add")
        return int(contact["id"])


def _checked(prepare: Any) -> Commit:
    """Return the checked write. Raises InputError with the paths the API would name."""
    try:
        commit: Commit = prepare()
    except Refused as refused:
        names = ", ".join(problem.path for problem in refused.problems)
        raise InputError(f"not possible: {names}") from None
    except RuleBroken as broken:
        raise InputError(broken.text) from None
    return commit


def _kind(request: Request) -> str:
    path: str = request.scope["path"]
    return path.removeprefix("/control/").partition("/")[0]


def _noun(kind: str) -> str:
    return "deal" if kind == "leads" else SINGULAR[kind]
