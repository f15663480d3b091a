"""What is compared: deals with notes and tasks, contacts, companies and checkouts, in lines without ids and times.

Deals are known by the name that the history gave them, or by their order; a text by its idempotency key, of which its
reference is made, so that two texts that only look alike are told apart.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dealsync.core.evidence import CHECKOUT_KEY, LEAD_ID_KEY
from dealsync.core.texts import reference

Lines = Mapping[str, tuple[str, ...]]
"""By what they are about: a deal, all contacts, ..."""

REFERENCE = re.compile(r"ref [0-9a-f]{6}$")
URL = re.compile(r"https?://\S+")
DATE = re.compile(r"\b[A-Z][a-z]{2} \d{1,2}, \d{4}|\d{4}-\d\d-\d\d(?:[T ][\d:.]+(?:Z|[+-]\d\d:?\d\d)?)?")
TIMED_DIGEST = re.compile(r"(:note:changed:)[0-9a-f]+")
"""Of what changed and when."""
TIMED_FIELDS = ("LS renews at", "LS ends at")
ORDER_FIELD, INVOICE_FIELD = "LS order id", "LS invoice id"


def canonical(state: Mapping[str, Any], keys: Iterable[str]) -> Lines:
    """Return the state of both simulated accounts in lines. `keys`: all idempotency keys of the ledger."""
    view = _View(state, keys)
    deals = {f"deal {view.names[lead['id']]}": tuple(sorted(view.deal(lead))) for lead in view.kommo["leads"]}
    return {
        **deals,
        "contacts": tuple(sorted(view.contacts())),
        "companies": tuple(sorted(company["name"] for company in view.kommo["companies"])),
        "checkouts": tuple(sorted(view.checkouts())),
        "tasks without a deal": tuple(sorted(view.tasks_of(None))),
    }


class _View:
    def __init__(self, state: Mapping[str, Any], keys: Iterable[str]) -> None:
        self.kommo, self.lemon_squeezy = state["kommo"], state["lemon_squeezy"]
        self._fields = {field["id"]: field["name"] for field in self.kommo["custom_fields"]["leads"]}
        self.names = self._unique(self._name(lead) for lead in self.kommo["leads"])
        self._keys = {reference(key): self._plain(key) for key in keys}

    # --- deals ------------------------------------------------------------------------------------
    def _name(self, lead: Mapping[str, Any]) -> tuple[int, str]:
        fields = self.fields(lead)
        made = str(lead["name"])
        if made.startswith("Deal "):
            return lead["id"], made.removeprefix("Deal ")
        return lead["id"], f"of order {fields.get(ORDER_FIELD)} {fields.get(INVOICE_FIELD, '')}".rstrip()

    @staticmethod
    def _unique(names: Iterable[tuple[int, str]]) -> dict[int, str]:
        found: dict[int, str] = {}
        counts = Counter[str]()
        for lead_id, name in names:
            counts[name] += 1
            found[lead_id] = name if counts[name] == 1 else f"{name} ({counts[name]})"
        return found

    def fields(self, lead: Mapping[str, Any]) -> dict[str, Any]:
        """Return the custom fields of a deal by name."""
        values = lead["custom_fields_values"] or ()
        return {self._fields[one["field_id"]]: one["values"][0]["value"] for one in values}

    def deal(self, lead: Mapping[str, Any]) -> Iterator[str]:
        """Yield the lines of a deal."""
        yield f"status {lead['status_id']} of pipeline {lead['pipeline_id']}"
        yield f"name {lead['name']}"
        yield f"price {lead['price']}"
        yield f"owner {lead['responsible_user_id']}"
        yield "tags " + ", ".join(sorted(tag["name"] for tag in lead["_embedded"]["tags"]))
        emails = {contact["id"]: _email(contact) for contact in self.kommo["contacts"]}
        yield "contacts " + ", ".join(sorted(emails.get(c["id"], "?") for c in lead["_embedded"]["contacts"]))
        companies = {company["id"]: company["name"] for company in self.kommo["companies"]}
        yield "companies " + ", ".join(sorted(companies.get(c["id"], "?") for c in lead["_embedded"]["companies"]))
        for name, value in self.fields(lead).items():
            yield f"field {name}: {'a time' if name in TIMED_FIELDS else self._plain(str(value))}"
        for note in self.kommo["notes"]["leads"]:
            if note["entity_id"] == lead["id"]:
                yield f"note {self._text(note['params']['text'])}"
        yield from self.tasks_of(lead["id"])
        yield "moves " + " -> ".join(self._moves(lead["id"]))

    def _moves(self, lead_id: int) -> Iterator[str]:
        for event in self.kommo["events"]:
            if event["entity_id"] == lead_id and event["type"] == "lead_status_changed":
                yield str(event["value_after"][0]["lead_status"]["id"])

    def tasks_of(self, lead_id: int | None) -> Iterator[str]:
        """Yield the lines of a deal's tasks."""
        for task in self.kommo["tasks"]:
            if task["entity_id"] == lead_id or (lead_id is None and not task["entity_id"]):
                done = f"done ({(task.get('result') or {}).get('text', '')})" if task["is_completed"] else "open"
                yield f"task {done} of {task['responsible_user_id']}: {self._text(task['text'])}"

    # --- the rest ---------------------------------------------------------------------------------
    def contacts(self) -> Iterator[str]:
        """Yield a line for every contact."""
        for contact in self.kommo["contacts"]:
            yield f"{_email(contact)} {contact['name']}"

    def checkouts(self) -> Iterator[str]:
        """Yield a line for every checkout."""
        for lead_id, mark, attributes in checkouts_of(self.lemon_squeezy):
            asked = f"variant {attributes['variant_id']} for {attributes['custom_price']}"
            yield f"{self._deal_of(lead_id)} {mark}: {asked}, {attributes['checkout_data']['email']}"

    # --- texts ------------------------------------------------------------------------------------
    def _text(self, text: str) -> str:
        """Return a text with the key of its reference instead of the reference."""
        found = REFERENCE.search(text.rstrip())
        if found is None:
            return self._plain(text)
        return f"{self._plain(text[: found.start()])}[{self._keys.get(found.group(), 'not of the ledger')}]"

    def _plain(self, text: str) -> str:
        text = TIMED_DIGEST.sub(r"\1<digest>", DATE.sub("<date>", URL.sub("<link>", text)))
        return re.sub(r"lead:(\d+)", lambda found: f"lead:{self._deal_of(found.group(1))}", text)

    def _deal_of(self, lead_id: str) -> str:
        return self.names.get(int(lead_id), "gone") if lead_id.isdecimal() else lead_id


def checkouts_of(store: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield deal, mark and attributes of every checkout that dealsync opened."""
    for checkout in store["checkouts"]:
        custom = checkout["attributes"]["checkout_data"]["custom"]
        yield str(custom.get(LEAD_ID_KEY)), str(custom.get(CHECKOUT_KEY)), checkout["attributes"]


def _email(contact: Mapping[str, Any]) -> str:
    values = contact["custom_fields_values"] or ()
    return next((str(one["values"][0]["value"]) for one in values if one.get("field_code") == "EMAIL"), "no e-mail")


@dataclass(frozen=True)
class Difference:
    """One line that is in one state and not in the other."""

    about: str
    line: str
    is_too_much: bool

    def __str__(self) -> str:
        return f"{self.about}: {'too much' if self.is_too_much else 'missing '}: {self.line}"


def differences(found: Lines, expected: Lines) -> list[Difference]:
    """Return what `found` has and lacks, deal by deal; none for equal states."""
    told = []
    for about in sorted({*found, *expected}):
        ours, theirs = Counter(found.get(about, ())), Counter(expected.get(about, ()))
        told += [Difference(about, line, is_too_much=False) for line in (theirs - ours).elements()]
        told += [Difference(about, line, is_too_much=True) for line in (ours - theirs).elements()]
    return told


def doubled(state: Mapping[str, Any]) -> list[str]:
    """Return every effect that happened twice, whatever the fault-free run did; none is the promise."""
    kommo = state["kommo"]
    view = _View(state, ())
    texts = [note["params"]["text"] for note in kommo["notes"]["leads"]] + [task["text"] for task in kommo["tasks"]]
    references = [found.group() for text in texts if (found := REFERENCE.search(text.rstrip()))]
    # A deal of a renewal carries its order, too, and is told by its invoice.
    orders = [
        f"order {fields[ORDER_FIELD]} invoice {fields.get(INVOICE_FIELD, 'none')}"
        for lead in kommo["leads"]
        if (fields := view.fields(lead)).get(ORDER_FIELD)
    ]
    counts = {
        "text": Counter(references),
        "deal": Counter(orders),
        "contact": Counter(_email(contact).strip().casefold() for contact in kommo["contacts"]),
        "company": Counter(company["name"].strip().casefold() for company in kommo["companies"]),
        "checkout": Counter(f"{lead_id} {mark}" for lead_id, mark, _ in checkouts_of(state["lemon_squeezy"])),
    }
    return [
        f"{kind} {what} is there {times} times"
        for kind, found in counts.items()
        for what, times in sorted(found.items())
        if times > 1
    ]
