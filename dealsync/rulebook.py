"""The state table as people read it, made from the rules: `python -m dealsync.rulebook` prints README's."""

from __future__ import annotations

import sys

from dealsync.core.facts import Standing
from dealsync.core.rules import STATE_TABLE

BEGIN, END = "<!-- rules -->", "<!-- end of rules -->"


def table() -> str:
    """Return the declared table as Markdown, a row each."""
    lines = ["| LS says | deal is | dealsync does | settings |", "|---|---|---|---|"]
    for row in STATE_TABLE:
        standings = [standing.value for standing in Standing if standing in row.standings]
        deal = "any" if len(standings) == len(Standing) else ", ".join(standings)
        settings = ", ".join(f"`{name}`" for name in row.policy)
        lines.append(f"| {', '.join(row.facts)} | {deal} | {row.does} | {settings} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(f"{table()}\n")
