"""A figure that a benchmark found, beside what it may be and what a peer needs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """All values are in `unit`. The goal is the most allowed, or the least where the unit ends in "/s"."""

    what: str
    value: float
    unit: str
    bound: float | None = None
    goal: float | None = None
    peer: str = ""
    peer_value: float | None = None
    note: str = ""
