"""What goes wrong in a seed's trial, and when: drawn before it begins, so that it can be printed and played again."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dealsync.ledger import sqlite
from tests.chaos.child import READ_LAG, SCALE, Death
from tests.chaos.history import Act

PROGRAMS = (
    ("drain",),
    ("drain",),
    ("reconcile", "--apply"),
    ("reconcile", "--apply"),
    ("reconcile", "--apply", "--deep"),
    ("checkouts",),
)
RECEIVER = ("receive",)
WINDOWS = (1, 1, 2)
WINDOW_S = 0.9
LONGER_THAN_PATIENCE_S = sqlite.BUSY_S * SCALE + 0.3
LAST_POINT, LAST_WRITING_POINT = 260, 90
"""A program has some fifty to three hundred points of I/O; more than a third of them once it has begun to write."""
MOST_LAG_S = 0.8 * READ_LAG.total_seconds()

KOMMO_READS = ("/api/v4/leads", "/api/v4/contacts", "/api/v4/account", "/api/v4/events", "/api/v4/tasks", "/api/v4/")
KOMMO_WRITES = ("/api/v4/leads", "/api/v4/leads/notes", "/api/v4/tasks", "/api/v4/contacts", "/api/v4/")
LS_READS = ("/v1/orders", "/v1/subscriptions", "/v1/subscription-invoices", "/v1/checkouts", "/v1/")
REFUSALS: tuple[dict[str, Any], ...] = (
    {"status": 429},
    {"status": 429, "retry_after": "1"},
    {"status": 429, "retry_after": "Mon, 02 Jan 2006 15:04:05 GMT"},
    {"status": 429, "html": True},
    {"status": 500},
    {"status": 502, "html": True},
    {"status": 503},
    {"status": 503, "retry_after": "1"},
    {"status": 504, "html": True},
)
LOSSES = ("drop", "apply_then_drop", "apply_then_504", "apply_then_cut", "apply_then_halve")
BAN: dict[str, Any] = {"status": 403, "html": True}


@dataclass(frozen=True)
class Launch:
    """A program that starts at a moment of its window, and perhaps how it dies."""

    at_s: float
    arguments: tuple[str, ...]
    death: Death | None = None
    killed_after_s: float | None = None

    def __str__(self) -> str:
        death = ""
        if self.death:
            death = f", dies at point {self.death.point}{' of its writing' if self.death.of_writing else ''}"
        death += f", killed after {self.killed_after_s:.2f} s" if self.killed_after_s is not None else ""
        return f"{self.at_s:.2f} s: {' '.join(self.arguments)}{death}"


@dataclass(frozen=True)
class Trouble:
    """Something that happens to the database for a while."""

    at_s: float
    kind: str
    lasts_s: float

    def __str__(self) -> str:
        return f"{self.at_s:.2f} s: database {self.kind} for {self.lasts_s:.2f} s"


@dataclass(frozen=True)
class Window:
    """A stretch of time with the same faults."""

    switches: dict[str, Any]
    injections: tuple[dict[str, Any], ...]
    launches: tuple[Launch, ...]
    acts: tuple[tuple[float, Act], ...]
    troubles: tuple[Trouble, ...] = ()
    patience_s: float = 1.5  # how long its programs may go on afterwards; then they are killed, too

    def __str__(self) -> str:
        lines = ["switches: " + (", ".join(f"{name}={value}" for name, value in self.switches.items()) or "none")]
        lines += [f"fault: {_in_words(one)}" for one in self.injections]
        timed = [(launch.at_s, str(launch)) for launch in self.launches]
        timed += [(trouble.at_s, str(trouble)) for trouble in self.troubles]
        timed += [(at_s, f"{at_s:.2f} s: {act}") for at_s, act in self.acts]
        return "\n".join([*lines, *(line for _, line in sorted(timed))])

    @property
    def ends_at_s(self) -> float:
        """When everything has begun that is to happen."""
        return WINDOW_S

    def met(self, left: Sequence[dict[str, Any]]) -> Counter[str]:
        """Count what went wrong, by kind, when these one-shot faults are left over: requests, else windows."""
        found = Counter[str]()
        for injection in self.injections:
            found[_kind(injection)] += injection["times"]
        for injection in left:
            found[_kind(injection)] -= injection["times"]
        found.update(SWITCH_KINDS.get(name, name) for name in self.switches)
        found.update(f"database {trouble.kind}" for trouble in self.troubles)
        return +found


SWITCH_KINDS = {
    "latency_ms": "latency",
    "latency_jitter_ms": "latency jitter",
    "search_lag_s": "search lag",
    "list_lag_s": "stale lists",
    "webhook_duplicates": "webhooks twice",
    "webhook_loss": "webhooks lost",
    "webhook_delay_s": "webhooks late",
    "webhook_shuffle": "webhooks out of order",
    "shuffle_batch_answers": "batch answers out of order",
    "filters_enabled": "filters ignored",
    "write_then_drop": "every write's answer lost",
    "batch_mode": "good items of a refused batch written",
    "noop_moves_updated_at": "updated_at moves by itself",
}


def _kind(injection: dict[str, Any]) -> str:
    if injection.get("how", "answer") != "answer":
        return str(injection["how"]).replace("_", " ")
    if injection["status"] == BAN["status"]:
        return "ban"
    body = "HTML" if injection.get("html") else "JSON"
    return f"{injection['status']} {body}{' with a hint' if injection.get('retry_after') else ''}"


def _in_words(injection: dict[str, Any]) -> str:
    return f"{_kind(injection)} for {injection['times']} x {injection['api']} {injection['method']} {injection['path']}"


@dataclass(frozen=True)
class EpochPlan:
    """What goes wrong in an epoch, and whether the sweep at its end begins with what waits in the inbox."""

    windows: tuple[Window, ...]
    drains_first: bool


@dataclass(frozen=True)
class Schedule:
    """All that goes wrong in a trial."""

    seed: int
    epochs: tuple[EpochPlan, ...]

    def __str__(self) -> str:
        lines = []
        for epoch, plan in enumerate(self.epochs, 1):
            for number, window in enumerate(plan.windows, 1):
                lines.append(f"epoch {epoch}, window {number}")
                lines.append("  " + str(window).replace("\n", "\n  "))
            lines.append(f"epoch {epoch}, sweep{' that drains first' if plan.drains_first else ''}")
        return "\n".join(lines)


def draw_schedule(seed: int, epochs: Sequence[Sequence[Act]], troubles: Sequence[str]) -> Schedule:
    """Return the schedule of a seed for what happens in these epochs; `troubles` are those the database can have."""
    fate = _Fate(random.Random(f"schedule {seed}"), troubles)  # noqa: S311
    return Schedule(seed, tuple(fate.epoch([act for act in acts if not act.told_first]) for acts in epochs))


class _Fate:
    def __init__(self, dice: random.Random, troubles: Sequence[str]) -> None:
        self._dice = dice
        self._troubles = troubles

    def epoch(self, acts: Sequence[Act]) -> EpochPlan:
        """Return what goes wrong while these acts happen."""
        return EpochPlan(tuple(self._windows(acts)), self._often(0.5))

    def _windows(self, acts: Sequence[Act]) -> Iterator[Window]:
        """Yield the windows of an epoch, the acts spread over them in their order."""
        count = self._dice.choice(WINDOWS)
        parts: list[list[Act]] = [[] for _ in range(count)]
        for number, act in enumerate(acts):
            parts[number * count // len(acts)].append(act)
        for part in parts:
            moments = sorted(self._dice.uniform(0, WINDOW_S) for _ in part)
            yield Window(
                self._switches(),
                tuple(self._injections()),
                tuple(self._launches()),
                tuple(zip(moments, part, strict=True)),
                tuple(self._database()),
            )

    def _often(self, share: float) -> bool:
        return self._dice.random() < share

    def _switches(self) -> dict[str, Any]:
        dice = self._dice
        drawn: dict[str, tuple[float, Any]] = {
            "latency_ms": (0.5, dice.randint(1, 25)),
            "latency_jitter_ms": (0.5, dice.randint(1, 60)),
            "search_lag_s": (0.5, round(dice.uniform(0.05, MOST_LAG_S), 2)),
            "list_lag_s": (0.5, round(dice.uniform(0.05, MOST_LAG_S), 2)),
            "webhook_duplicates": (0.4, round(dice.uniform(0.1, 1), 2)),
            "webhook_loss": (0.4, round(dice.uniform(0.1, 1), 2)),
            "webhook_delay_s": (0.3, round(dice.uniform(1, 60), 2)),
            "webhook_shuffle": (0.3, True),
            "shuffle_batch_answers": (0.4, True),
            "filters_enabled": (0.1, False),
            "write_then_drop": (0.08, dice.choice(("drop", "504"))),
            "batch_mode": (0.2, "apply_valid"),
            "noop_moves_updated_at": (0.2, True),
        }
        return {name: value for name, (share, value) in drawn.items() if self._often(share)}

    def _injections(self) -> Iterator[dict[str, Any]]:
        for _ in range(self._dice.choice((0, 1, 2, 3, 5, 8))):
            yield self._injection()
        if self._often(0.04):
            yield {"api": "kommo", "method": "*", "path": "/api/v4/", "times": 1, **BAN}

    def _injection(self) -> dict[str, Any]:
        dice = self._dice
        method = dice.choice(("GET", "POST", "POST", "PATCH", "PATCH"))
        api = "kommo" if method == "PATCH" or self._often(0.7) else "lemonsqueezy"
        if api == "lemonsqueezy":
            path = "/v1/checkouts" if method == "POST" else dice.choice(LS_READS)
        else:
            path = dice.choice(KOMMO_READS if method == "GET" else KOMMO_WRITES)
        how = dice.choice(REFUSALS) if self._often(0.45) else {"how": dice.choice(LOSSES)}
        return {"api": api, "method": method, "path": path, "times": dice.choice((1, 1, 1, 2, 4)), **how}

    def _launches(self) -> Iterator[Launch]:
        dice = self._dice
        for _ in range(dice.choice((2, 2, 3))):
            launch = Launch(round(dice.uniform(0, WINDOW_S), 3), dice.choice(PROGRAMS))
            yield Launch(launch.at_s, launch.arguments, **self._death())
        if self._often(0.35):
            yield Launch(0.0, RECEIVER, killed_after_s=round(dice.uniform(0, WINDOW_S), 3))
        elif self._often(0.35):
            yield Launch(0.0, RECEIVER, death=Death(dice.randint(1, 40)))

    def _death(self) -> dict[str, Any]:
        if self._often(0.25):
            return {"death": Death(self._dice.randint(1, LAST_POINT))}
        if self._often(0.4):
            return {"death": Death(self._dice.randint(1, LAST_WRITING_POINT), of_writing=True)}
        if self._often(0.3):
            return {"killed_after_s": round(self._dice.uniform(0.02, 1.0), 3)}
        return {}

    def _database(self) -> Iterator[Trouble]:
        if self._troubles and self._often(0.35):
            kind = self._dice.choice(list(self._troubles))
            lasts_s = self._dice.choice((0.1, 0.1, 0.4, 0.4, 0.4, 1.2, 1.2, LONGER_THAN_PATIENCE_S))
            yield Trouble(round(self._dice.uniform(0.1, WINDOW_S), 3), kind, lasts_s)
