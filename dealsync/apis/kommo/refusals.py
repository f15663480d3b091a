"""What Kommo says when it refuses: error shapes A (per item), B (per entity) and C. Source: reference, "Errors"."""

from __future__ import annotations

from typing import Any

import httpx

from dealsync.apis.border import storable, words

ITEM_WORDS = 300
"""Characters that are kept of what the API says about one item."""


def read_error(response: httpx.Response) -> tuple[str, dict[str, str]]:
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
