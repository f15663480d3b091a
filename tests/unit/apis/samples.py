"""Recorded public payloads, and the planting of things that must not show."""

import json
from pathlib import Path
from typing import Any

SAMPLES = Path(__file__).parents[2] / "samples"


def kommo(name: str) -> Any:
    return json.loads((SAMPLES / "kommo" / f"{name}.json").read_text(encoding="utf-8"))


def kommo_rows(name: str, plural: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = kommo(name)["_embedded"][plural]
    return rows


def exchange(name: str) -> Any:
    """A request to Lemon Squeezy and its answer."""
    return json.loads((SAMPLES / "lemon-squeezy" / "api" / f"{name}.json").read_text(encoding="utf-8"))


def lemon_squeezy(name: str) -> Any:
    """The `data` of an answer of the API."""
    return exchange(name)["response"]["body"]["data"]


def webhook(name: str) -> dict[str, Any]:
    """The `data` of a webhook body."""
    body = json.loads((SAMPLES / "lemon-squeezy" / "webhooks" / f"{name}.json").read_text(encoding="utf-8"))
    data: dict[str, Any] = body["data"]
    return data
