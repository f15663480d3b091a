"""What a benchmark measured, and the one table that all of them share."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

WIDTH = 100
BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
"""Where the table stands in a Markdown file."""

HEADS = ("figure", "measured", "bound", "ratio", "goal", "met?", "peer", "ratio to peer")


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing measured. `value`, `bound`, `goal` and `peer_value` are in `unit`.

    The bound is what no program could do better under the same limits. The goal is the most allowed, or the least
    allowed where more is better: a unit that ends in "/s", and "x" (how many times better than a peer).
    """

    what: str
    value: float
    unit: str
    bound: float | None = None
    goal: float | None = None
    peer: str = ""
    peer_value: float | None = None
    note: str = ""

    @property
    def more_is_better(self) -> bool:
        """Whether the goal is the least allowed."""
        return self.unit.endswith("/s") or self.unit == "x"

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.more_is_better else self.value <= self.goal

    @property
    def ratio(self) -> float | None:
        """The figure over its bound."""
        return self.value / self.bound if self.bound else None

    @property
    def ratio_to_peer(self) -> float | None:
        """The figure over the peer's: 0.1 is a tenth of its time, requests or memory."""
        return self.value / self.peer_value if self.peer_value else None

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table, one text a head."""
        peer = f"{self.peer}: {shown(self.peer_value)}" if self.peer_value is not None else self.peer
        return (
            self.what + (f" ({self.note})" if self.note else ""),
            shown(self.value, self.unit),
            shown(self.bound),
            _ratio(self.ratio),
            "" if self.goal is None else f"{'≥' if self.more_is_better else '≤'} {shown(self.goal)}",
            {True: "yes", False: "MISSED", None: ""}[self.met],
            peer,
            _ratio(self.ratio_to_peer),
        )


def shown(value: float | None, unit: str = "") -> str:
    """Return a value with its unit, with as many digits as one can rely on."""
    if value is None:
        return ""
    digits = 0 if value == int(value) or abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}" + (unit if not unit or unit in ("x", "%", "/s") else f" {unit}")


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.3g}" if ratio < 1000 else f"{ratio:,.0f}"


def machine() -> str:
    """Return the class of this machine: nothing that tells which one it is."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores ({_cpu()}), {memory_gb:.0f} GB, "
        f"Python {platform.python_version()}, {platform.system()} {platform.release().partition('-')[0]}"
    )


def _cpu() -> str:
    """The model's name as the processor tells it, else the architecture."""
    told = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*:\s*(.+)$", told.read_text(), re.MULTILINE) if told.exists() else []
    return re.sub(r"\((?:R|TM)\)|\bCPU\b|@.*", "", names[0]).strip() if names else platform.machine()


def heading(command: str) -> str:
    """Return when, on what and how the figures were made."""
    return f"{datetime.now(UTC):%Y-%m-%d} (UTC), {machine()}, `{command}`"


def print_table(figures: Iterable[Figure], head: str, console: Console | None = None) -> None:
    """Print the table, a missed goal in red."""
    table = Table(padding=(0, 1, 0, 0), box=None, header_style="bold", expand=False)
    for number, name in enumerate(HEADS):
        table.add_column(name, justify="left" if number in (0, 5, 6) else "right", overflow="fold")
    for figure in figures:
        table.add_row(*figure.cells(), style="bold red" if figure.met is False else None)
    console = console or Console(width=WIDTH)
    console.print(head.replace("`", ""), markup=False, highlight=False, soft_wrap=True)
    console.print(table)


def markdown(figures: Iterable[Figure], head: str) -> str:
    """Return the table as Markdown, a missed goal in bold."""
    rows: list[Sequence[str]] = [HEADS, ["---"] * len(HEADS)]
    for figure in figures:
        cells = [cell.replace("|", "\\|") for cell in figure.cells()]
        rows.append(["**MISSED**" if cell == "MISSED" else cell for cell in cells])
    return "\n".join([f"{head}:", "", *(f"| {' | '.join(row)} |" for row in rows)])


def put_between_markers(text: str, table: str) -> str:
    """Return the text with the table in the place of what stood between the markers. Raises ValueError without them."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{BEGIN} and {END} are missing")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def document(figures: Iterable[Figure], head: str) -> str:
    """Return the figures as JSON, with what follows from them."""
    rows: list[dict[str, Any]] = [
        asdict(f) | {"met": f.met, "ratio": f.ratio, "ratio_to_peer": f.ratio_to_peer} for f in figures
    ]
    return json.dumps({"heading": head, "figures": rows}, indent=2)


def report(figures: Iterable[Figure]) -> None:
    """Print figures as a table of their own: for a module that is run alone."""
    print_table(tuple(figures), heading("python " + " ".join(["-m", _module(), *sys.argv[1:]])))


def _module() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec else Path(sys.argv[0]).name
