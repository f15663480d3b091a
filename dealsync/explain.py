"""Why a deal is as it is, from the database alone: nothing is asked of either API."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from dealsync.addresses import deal_url, order_url
from dealsync.core.evidence import lead_id_in
from dealsync.core.inbox import LS_ID
from dealsync.core.timeline import Happening, Moment, make_timeline
from dealsync.errors import ConfigError, UnknownObject
from dealsync.ledger.database import told_as_ours
from dealsync.ledger.history import History, Subjects
from dealsync.report import DRIFT_WORDS, MARKDOWN_ROWS, cell
from dealsync.settings import Environment, build_store

HOW_TO_ASK = "give order:17, lead:31, subscription:9, invoice:44 or an e-mail address"


@dataclass(frozen=True, slots=True)
class Explanation:
    """The timeline of what somebody asked about, and the objects that it is of."""

    about: str  # an e-mail address is not repeated in full
    subjects: Subjects
    moments: tuple[Moment, ...]
    kommo_url: str

    def links(self) -> dict[str, str]:
        """Return where people find deals and orders, by name."""
        deals = {f"lead:{i}": deal_url(self.kommo_url, i) for i in sorted(self.subjects.lead_ids)}
        orders = {f"order:{i}": order_url(i) for i in sorted(self.subjects.order_ids, key=lambda i: (len(i), i))}
        return deals | orders

    def by_day(self) -> Iterator[tuple[str, list[Moment]]]:
        """Yield each day, in UTC, with its moments."""
        for day, moments in groupby(self.moments, key=lambda moment: f"{moment.at:%Y-%m-%d}"):
            yield day, list(moments)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values; the names are part of the interface."""
        return {
            "about": self.about,
            "objects": list(self.subjects.names),
            "links": self.links(),
            "moments": [_moment_as_json(moment) for moment in self.moments],
        }

    def as_markdown(self) -> str:
        """Return it for the Prefect UI, the newest last, with links into Kommo and Lemon Squeezy."""
        left_out = len(self.moments) - MARKDOWN_ROWS
        links = self.links()
        lines = [f"# {self.about}", "", *(f"- [{name}]({url})" for name, url in links.items())]
        if left_out > 0:
            lines += ["", f"The first {left_out} moments are left out; see them all with: dealsync explain --json"]
        shown = replace(self, moments=self.moments[-MARKDOWN_ROWS:])
        for day, moments in shown.by_day():
            lines += ["", f"## {day}", "", "| UTC | about | what | run |", "|---|---|---|---|"]
            for moment in moments:
                about = f"[{moment.about}]({links[moment.about]})" if moment.about in links else moment.about
                run = f"{moment.run_id} ({moment.job})" if moment.job else moment.run_id
                cells = (about, cell(moment.words + _evidence(moment)), run)
                lines.append(f"| {moment.at:%H:%M:%S} | {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"


def explain(environment: Environment, asked: str) -> Explanation:
    """Return everything on record about an object. Raises ConfigError, UnknownObject, DatabaseError."""
    about, find = _question(asked)
    with told_as_ours(), closing(build_store(environment)) as store:
        subjects = find(store.history)
        records = store.history.read(subjects)
        if not records:
            raise UnknownObject(
                f"Nothing is on record about {about}. Is it right? A run reads what is new: dealsync plan"
            )
    return Explanation(about, subjects, make_timeline(replace(records, drifts=DRIFT_WORDS)), environment.kommo_url)


def shown_email(email: str) -> str:
    """Return an address so that whoever knows it recognises it, and nobody else learns it."""
    name, _, host = email.strip().rpartition("@")
    domain, dot, top = host.rpartition(".")
    return f"{name[:1]}…@{domain[:1]}…{dot}{top}"


def shown(asked: str) -> str:
    """Return what somebody asked about, fit to be shown."""
    return shown_email(asked) if "@" in asked else asked.strip()


def _evidence(moment: Moment) -> str:
    evidence = moment.details.get("evidence", "")
    return f" (evidence: {evidence})" if moment.what is Happening.PLANNED and evidence else ""


def _question(asked: str) -> tuple[str, Callable[[History], Subjects]]:
    text = asked.strip()
    if re.fullmatch(r"[^@\s]+@[^@\s]+", text):
        return shown_email(text), lambda history: history.of_person(text)
    kind, _, object_id = text.partition(":")
    if kind == "lead" and (lead_id := lead_id_in(object_id)) is not None:
        return f"lead:{lead_id}", lambda history: history.of_deal(lead_id)
    of_ls: dict[str, Callable[[History, str], Subjects]] = {
        "order": History.of_order,
        "subscription": History.of_subscription,
        "invoice": History.of_invoice,
    }
    if kind in of_ls and LS_ID.fullmatch(object_id):
        return text, lambda history: of_ls[kind](history, object_id)
    raise ConfigError(f"{shown(asked)!r} is nothing that can be explained; {HOW_TO_ASK}")


def _moment_as_json(moment: Moment) -> dict[str, Any]:
    return {
        "at": moment.at.isoformat(),
        "what": moment.what.value,
        "about": moment.about,
        "lead_id": moment.lead_id,
        "by": moment.by.value,
        "who": moment.who or None,
        "run": moment.run_id or None,
        "job": moment.job or None,
        "key": moment.key or None,
        "words": moment.words,
        "details": dict(moment.details),
    }
