"""`dealsync undo`: what a run did, read back from the ledger and from Kommo, and the plan of the way back."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dealsync.apply import apply_actions
from dealsync.core.plan import ChangeNote, Note, Plan
from dealsync.core.undo import Done, Scene, about_same, noted_key, taking_back
from dealsync.doubts import settle_doubts
from dealsync.plan_files import keep_plan
from dealsync.planning import record_intent
from dealsync.poll import read_deals
from dealsync.report import Report, make_report
from dealsync.run import Progress, Run, open_run

UNDO = "undo"


async def undo(run_id: str, *, apply: bool, out: Path | None = None, progress: Progress = print) -> Report:
    """Take a run back, or plan it, perhaps into a file. Raises UnknownRun and as `open_run`."""
    async with open_run(UNDO if apply else "plan", progress=progress) as run:
        await settle_doubts(run)
        plan = await plan_undo(run, run_id)
        if out is not None:
            keep_plan(run, plan, out, undoes=run_id)
        if not apply:
            return make_report(run, plan)
        outcomes = await apply_actions(run, record_intent(run, plan))
        return make_report(run, plan, outcomes)


async def plan_undo(run: Run, run_id: str) -> Plan:
    """Return what takes a run back as things stand now. Changes nothing. Raises UnknownRun, Unreachable."""
    past = run.store.carried_out
    past.run(run_id)
    done = past.of_run(run_id)
    run.progress(f"Looking at {len(done)} things that run {run_id} did")
    return taking_back(run_id, done, await _scene(run, run_id, done), run.directory.policy.texts)


async def _scene(run: Run, run_id: str, done: list[Done]) -> Scene:
    keys, lead_ids = about_same(done), {one.action.lead_id for one in done if one.action.lead_id is not None}
    if not done:
        return Scene()
    about = [one for one in run.store.carried_out.about(lead_ids, keys) if one.run_id != run_id]
    ids = run.store.journal.result_ids(keys)
    notes = {ids[key] for key in _of_notes(done) if key in ids}
    if lead_ids:
        await read_deals(run, lead_ids)
    read_notes = await run.kommo.notes_by_id(notes)
    tasks = await run.kommo.tasks_by_id(set(ids.values()) - notes)
    return Scene(
        deals=run.store.mirror.stands(lead_ids),
        notes={note_id: note.text for note_id, note in read_notes.items()},
        open_tasks={task_id: task.text for task_id, (task, is_done) in tasks.items() if not is_done},
        later=[one for one in about if one.at > done[0].at],
        earlier=[one for one in about if one.at <= done[0].at],
        ids=ids,
    )


def _of_notes(done: Iterable[Done]) -> set[str]:
    changes = ((one.action.change, one.action.key) for one in done)
    return {noted_key(change, key) for change, key in changes if isinstance(change, Note | ChangeNote)}
