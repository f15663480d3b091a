"""From an id that somebody wrote down to the deal that is there: ids lie, deals are deleted, deals are merged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from dealsync.core.evidence import lead_id_in
from dealsync.core.plan import Questions

LONGEST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Named:
    """What an id led to: a deal that is there, or none; `words` say how, or why not."""

    lead_id: int | None
    words: str


@dataclass(slots=True)
class Leads:
    """The deals that evidence names. What could not be found is remembered, to be asked for."""

    live: frozenset[int]
    deleted: frozenset[int]
    merges: Mapping[int, int]  # gone -> survivor
    not_merged: frozenset[int]  # gone, and looked for among the merges in vain
    unknown: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)

    def find(self, text: str) -> Named:
        """Return the deal that a text names: itself, or the one that took it in."""
        lead_id = lead_id_in(text)
        if lead_id is None:
            return Named(None, f"{shown(text)} is no deal's id")
        survivor = self._survivor(lead_id)
        if survivor in self.live:
            merged = "" if survivor == lead_id else f", which was merged into deal {survivor}"
            return Named(survivor, f"deal {lead_id}{merged}")
        if survivor in self.deleted:
            self.gone.add(survivor)
            return Named(None, f"deal {survivor} was deleted in Kommo")
        self.unknown.add(survivor)
        return Named(None, f"Kommo has no deal {survivor}")

    def questions(self) -> Questions:
        """Return what was looked for in vain."""
        # A deal that was never seen may be gone too: merged into another one before we came.
        gone = frozenset(self.gone | self.unknown) - self.not_merged
        return Questions(frozenset(self.unknown), gone)

    def _survivor(self, lead_id: int) -> int:
        passed = {lead_id}
        while lead_id not in self.live and self.merges.get(lead_id, lead_id) not in passed:
            lead_id = self.merges[lead_id]
            passed.add(lead_id)
        return lead_id


def leads_named(texts: Iterable[str], deals: pd.DataFrame, merges: pd.DataFrame) -> Leads:
    """Return the directory of the deals that texts may name; `deals` holds deleted ones, too."""
    known = merges.dropna(subset="lead_id")
    took_in = {int(g): int(s) for g, s in zip(known["gone_id"], known["lead_id"], strict=True)}
    ids = {lead_id for lead_id in map(lead_id_in, texts) if lead_id is not None}
    ids.update(took_in.values())
    rows = deals[deals["lead_id"].isin(ids)]
    return Leads(
        live=frozenset(rows[~rows["is_deleted"]]["lead_id"].astype(int)),
        deleted=frozenset(rows[rows["is_deleted"]]["lead_id"].astype(int)),
        merges=took_in,
        not_merged=frozenset(merges[merges["lead_id"].isna() & merges["is_settled"]]["gone_id"].astype(int)),
    )


def shown(text: str) -> str:
    """Return a text as a report may show it: in full if it is a number and no more; others may be personal."""
    if not text.strip():
        return "an empty text"
    if len(text) <= LONGEST_SHOWN and text.isascii() and text.isdecimal():
        return repr(text)
    return f"a text of {len(text)} characters"
