"""A plan as a file: everything that it would send, what it rests on, and a digest that shows whether it was changed.

It holds what would be written into Kommo, names and e-mail addresses included: only its owner may read it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from dealsync.core.plan import Action, Plan
from dealsync.errors import ConfigError, PlanTampered
from dealsync.files import write_private
from dealsync.ledger.runs import utc_now
from dealsync.run import Run

FORMAT = 1
DIGEST = "sha256"


@dataclass(frozen=True, slots=True)
class PlanFile:
    """A plan that may be carried out later. `deals` are the versions that it saw: when each was changed last."""

    run_id: str
    made_at: datetime
    kommo_account: int
    test_mode: bool
    deals: Mapping[int, datetime]
    actions: tuple[Action, ...]
    undoes: str | None = None  # the run that it takes back
    format: int = FORMAT


_FILE = TypeAdapter(PlanFile)


def plan_file(run: Run, plan: Plan, *, undoes: str | None = None) -> PlanFile:
    """Return a plan of this run with the versions of all that it rests on, by the mirror."""
    lead_ids = {a.lead_id for a in plan.actions if a.lead_id is not None}
    return PlanFile(
        run_id=run.run_id,
        made_at=utc_now(),
        kommo_account=run.account_id,
        test_mode=run.directory.policy.test_mode,
        deals=run.store.mirror.updated_at(lead_ids),
        actions=plan.actions,
        undoes=undoes,
    )


def keep_plan(run: Run, plan: Plan, path: Path, *, undoes: str | None = None) -> None:
    """Write a plan of this run, and let its report say so. Raises ConfigError when it cannot be written."""
    digest = write_plan(path, plan_file(run, plan, undoes=undoes))
    run.remarks.append(f"The plan is in {path} (sha256 {digest[:12]}…). To carry it out: dealsync apply {path}")


def write_plan(path: Path, file: PlanFile) -> str:
    """Write a plan; return its digest. Raises ConfigError when it cannot be written."""
    content = _FILE.dump_python(file, mode="json")
    digest = _digest(content)
    text = json.dumps({**content, DIGEST: digest}, indent=2, ensure_ascii=False)
    try:
        write_private(path, text + "\n")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    return digest


def read_plan(path: Path) -> PlanFile:
    """Return the plan in a file. Raises ConfigError if there is none, PlanTampered unless it is whole and unchanged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}. Make a plan: dealsync plan --out {path}"
        ) from error
    except ValueError as error:
        raise _tampered(path, "it is not whole") from error
    if not isinstance(content, dict) or DIGEST not in content:
        raise _tampered(path, f"it has no {DIGEST}")
    if content.pop(DIGEST) != _digest(content):
        raise _tampered(path, "its content is not what its digest was made of")
    try:
        file = _FILE.validate_python(content)
    except ValidationError as error:
        raise _tampered(path, "it was written by another version") from error
    if file.format != FORMAT:
        raise _tampered(path, f"it has format {file.format}, and this version writes {FORMAT}")
    return file


def _tampered(path: Path, why: str) -> PlanTampered:
    return PlanTampered(f"{path} is not a plan as dealsync wrote it: {why}. Nothing was sent; make a new one")


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
