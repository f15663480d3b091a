"""What `query` finds, and what lists do not show yet.

Source: Kommo reference, 2.4 (fuzzy), 5.1 (search lag), 7 (lists by updated_at miss very recent changes).
"""

from typing import Any

from dealsync.simulator.table import Record


class Recency:
    """Texts by id, with the text before the last write, so that a lag can be played."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}
        self._writes: dict[int, tuple[float, str]] = {}  # id -> moment, text before; latest write last
        self._found: dict[str, set[int]] = {}  # by needle, in the present texts: a walk over pages looks once

    def note(self, record_id: int, text: str, moment: float | None) -> None:
        """Take in a new text; `moment` None means it was there all along."""
        before = self._texts.get(record_id, "")
        self._texts[record_id] = text
        self._found.clear()
        self._writes.pop(record_id, None)
        if moment is not None:
            self._writes[record_id] = (moment, before)

    def forget(self, record_id: int) -> None:
        """Drop a record that is gone."""
        self._texts.pop(record_id, None)
        self._found.clear()
        self._writes.pop(record_id, None)

    def state(self) -> list[list[Any]]:
        """Return the writes as [id, moment, text before], oldest first; the texts are those of the records."""
        return [[record_id, moment, before] for record_id, (moment, before) in self._writes.items()]

    def load(self, texts: dict[int, str], state: list[list[Any]]) -> None:
        """Replace everything by the present texts and what `state` returned."""
        self._texts = texts
        self._found.clear()
        self._writes = {record_id: (moment, before) for record_id, moment, before in state}

    def recent(self, since: float) -> dict[int, str]:
        """Return ids written after `since`, each with its text before."""
        found = {}
        for record_id in reversed(self._writes):
            moment, before = self._writes[record_id]
            if moment <= since:
                break
            found[record_id] = before
        return found

    def find(self, query: str, since: float) -> set[int]:
        """Return ids whose text, as it was at `since`, holds the query; near misses come along."""
        old = self.recent(since)
        found: set[int] = set()
        for needle in _needles(query):
            found.update(self._with(needle) - old.keys())
            found.update(i for i, text in old.items() if needle in text)
        return found

    def _with(self, needle: str) -> set[int]:
        found = self._found.get(needle)
        if found is None:
            found = self._found[needle] = {i for i, text in self._texts.items() if needle in text}
        return found


def search_text(record: Record) -> str:
    """Return the filled texts of a deal or contact, in lower case."""
    parts = [str(record.get("name") or "")]
    for custom in record.get("custom_fields_values") or ():
        parts += [str(value.get("value", "")) for value in custom.get("values") or ()]
    return "\n".join(parts).casefold()


def _needles(query: str) -> list[str]:
    """Return the texts any of which is a hit.

    The same mailbox at another domain is found too: the search is not exact (I#38).
    """
    text = query.strip().casefold()
    mailbox, at, _ = text.partition("@")
    return [needle for needle in ([text, mailbox + "@"] if at else [text]) if needle]
