"""Who gets a self-serve deal: in turn, by zone, or always the same person. Fair, and the same in every run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from math import gcd
from typing import Literal

from dealsync.core.models import Order

Strategy = Literal["round_robin", "zone", "fixed"]
Absences = tuple[tuple[date, date], ...]
"""First and last days away, both included."""


@dataclass(frozen=True, slots=True)
class RotaUser:
    """An active user who takes deals: `weight` turns a round, none on days of absence."""

    user_id: int
    weight: int = 1
    absences: Absences = ()


@dataclass(frozen=True, slots=True)
class Owners:
    """How self-serve deals are given out."""

    strategy: Strategy = "round_robin"
    users: tuple[RotaUser, ...] = ()  # in their order; of zone, who takes what belongs to no zone
    default: int | None = None  # tasks without a deal, and deals when nobody of the rota is there
    zone_by: str = "country"  # country, currency, or a key of the custom data
    zones: Mapping[str, tuple[RotaUser, ...]] = field(default_factory=dict)  # by case-folded value
    default_absences: Absences = ()  # days on which the default user gets no deals either


def rota_of(order: Order, custom: Mapping[str, str], country: str | None, owners: Owners) -> str:
    """Return the name of the rota that this order's owner comes from: "" for the common one, else its zone."""
    if owners.strategy != "zone":
        return ""
    told = {**custom, "country": country or "", "currency": order.total.currency}
    zone = told.get(owners.zone_by, "").strip().casefold()
    return zone if zone in owners.zones else ""


def owner_at(owners: Owners, rota: str, position: int, today: date) -> int | None:
    """Return whose turn it is when `position` deals of this rota were given out before; None when nobody is there.

    A zone without anybody present falls back to the common users, and those to the default user.
    """
    zone = owners.zones.get(rota, ()) if owners.strategy == "zone" else ()
    there = _present(zone, today) or _present(owners.users, today)
    if not there:
        return owners.default if _is_free(owners.default_absences, today) else None
    if owners.strategy == "fixed":
        return there[0].user_id
    turns = _cycle(tuple(user.weight for user in there))
    return there[turns[position % len(turns)]].user_id


def _present(users: Iterable[RotaUser], today: date) -> tuple[RotaUser, ...]:
    return tuple(user for user in users if _is_free(user.absences, today))


def _is_free(absences: Absences, today: date) -> bool:
    return not any(first <= today <= last for first, last in absences)


@lru_cache(maxsize=256)
def _cycle(weights: tuple[int, ...]) -> tuple[int, ...]:
    """One round of places in which each has as many turns as its weight, spread out: (5, 1, 1) is 0 0 1 0 2 0 0.

    Smooth weighted round robin: every turn each place earns its weight, and the richest pays for the round.
    """
    shares = [weight // gcd(*weights) for weight in weights]
    purses = [0] * len(shares)
    turns = []
    for _ in range(sum(shares)):
        purses = [purse + share for purse, share in zip(purses, shares, strict=True)]
        richest = max(range(len(shares)), key=purses.__getitem__)
        purses[richest] -= sum(shares)
        turns.append(richest)
    return tuple(turns)
