"""Other people's packages, to compare with: in an environment of their own (`.venv-peers`), never in the project's.

A script in `benchmarks/peers/` uses its package and the standard library alone; it prints one JSON object at its end.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.processes import Ran, run

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv-peers" / "bin" / "python"
MISSING = "peers are left out: `make peers` installs them into .venv-peers"


def interpreter() -> Path | None:
    """Return the Python that has the peers' packages. If it is not there, say how to get it, and return None."""
    if PYTHON.exists():
        return PYTHON
    print(MISSING, file=sys.stderr)
    return None


def compare(script: str, *arguments: str) -> tuple[dict[str, Any], Ran] | None:
    """Run a script of `benchmarks/peers/`; return what its last line tells, and what it cost. None without peers."""
    python = interpreter()
    if python is None:
        return None
    ran = run(str(python), str(ROOT / "benchmarks" / "peers" / script), *arguments)
    return json.loads(ran.output.splitlines()[-1]), ran
