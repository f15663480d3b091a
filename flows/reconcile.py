"""Poll both sides -> diff -> plan -> apply -> report. `dealsync/reconcile.py` tells the same story without Prefect."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Annotated

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from dealsync.approving import Question, Reply, ask, settle, weighed
from dealsync.core.approval import Answer
from dealsync.core.plan import Plan
from dealsync.errors import RunInProgress
from dealsync.poll import Reach, side_by_side
from dealsync.reconcile import NAMES_AGE, job_of, made_up_for
from dealsync.report import Report
from dealsync.run import LONG_PATIENCE, PAUSED, Run, open_run
from dealsync.settings import Settings
from tasks.apply import apply_plan
from tasks.approval import ask_person, can_ask
from tasks.boards import publish_boards
from tasks.naming import name_at_end
from tasks.plan import compare
from tasks.poll import read_kommo, read_lemon_squeezy
from tasks.progress import showing_progress
from tasks.record import record_intent, settle_doubts
from tasks.report import publish_plan, publish_report
from tasks.schedule import was_due_at
from tasks.settings import begin

MaxChanges = Annotated[int | None, Field(ge=0)]


@flow(name="reconcile", on_completion=[name_at_end], on_failure=[name_at_end], on_crashed=[name_at_end])
async def reconcile(
    apply: bool = False, deep: bool = False, since: date | None = None, max_changes: MaxChanges = None
) -> State[str]:
    """Bring Kommo deals in line with Lemon Squeezy orders. Plans only, unless `apply` is true.

    Args:
        apply: Write to Kommo. Off: plan only, nothing is sent.
        deep: Read every page again, not only what is new.
        since: Read orders made on or after this day (UTC).
        max_changes: A plan that touches more deals waits for a person's approval. Empty: `limits.max_changes`.
    """
    settings = await begin()
    apply = apply and not settings.paused
    reach = Reach(deep, datetime.combine(since, time(), UTC) if since else None)
    job = job_of(apply=apply, reach=reach)
    if apply and (due_at := was_due_at()) and (other := made_up_for(job, due_at, settings.environment)):
        return Completed(name="Skipped", message=f"Run {other} began after this one was due, and did its work")
    question, outcomes = None, None
    try:
        async with (
            open_run(job, settings=settings, progress=get_run_logger().debug, account_age=NAMES_AGE) as run,
            showing_progress(run, applies=apply),
        ):
            plan = await _look_and_compare(run, reach)
            await publish_plan(run, plan)
            if apply:
                verdict = weighed(run, plan, max_changes, can_ask=can_ask())
                plan, question = plan.only(verdict.free), ask(run, verdict)
                outcomes = await apply_plan(run, await record_intent(run, plan))
            report = await publish_report(run, plan, outcomes)
        if question is not None:
            reply = await ask_person(settings, question, report)
            if reply.answer is Answer.UNANSWERED:
                return Completed(name="Unanswered", message=f"{question.headline()}: {reply.headline()}")
            report = await _carry_out(job, settings, question, reply)
    except RunInProgress as busy:
        return Completed(name="Skipped", message=str(busy))
    await publish_boards(settings, report, charts=deep)
    report.raise_if_failed()
    return Completed(message=f"{PAUSED} {report.headline()}" if settings.paused else report.headline())


async def _look_and_compare(run: Run, reach: Reach) -> Plan:
    await settle_doubts(run)
    await side_by_side(read_lemon_squeezy(run, reach), read_kommo(run, reach))
    return await compare(run)


async def _carry_out(job: str, settings: Settings, question: Question, reply: Reply) -> Report:
    """Hours may have passed: what was approved is sent as far as a new comparison still asks for it."""
    progress = get_run_logger().debug
    async with open_run(
        job, settings=settings, progress=progress, patience=LONG_PATIENCE, account_age=NAMES_AGE
    ) as run:
        plan, actions = settle(run, question, reply, await _look_and_compare(run, Reach()))
        return await publish_report(run, plan, await apply_plan(run, actions))
