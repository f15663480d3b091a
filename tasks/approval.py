"""A person is asked, in the Prefect UI: the run is paused, its form says what waits and why."""

from __future__ import annotations

import asyncio
import time
from enum import Enum, StrEnum
from typing import Annotated, Any

from prefect import get_run_logger, task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.flow_runs import apause_flow_run
from prefect.input import RunInput
from pydantic import Field, StringConstraints, ValidationError, create_model

from dealsync.approving import Question, Reply, note_answer
from dealsync.core.approval import Answer
from dealsync.core.plan import Kind
from dealsync.report import Report
from dealsync.settings import Settings
from tasks.naming import name_meanwhile

LOOK_EVERY_S = 3
"""How often a paused run looks whether it was answered."""
SPARE_S = 3600
"""How much longer Prefect lets a run be paused than people have to answer."""


class Decision(StrEnum):
    """What can be answered."""

    ALL = "approve all of it"
    SOME = "approve only the kinds below"
    REJECT = "reject: none of it is done"


ANSWERS = {Decision.ALL: Answer.ALL, Decision.SOME: Answer.SOME, Decision.REJECT: Answer.REJECTED}
Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1),
    Field(title="Your name", description="Kept with the answer."),
]
Why = Annotated[str, StringConstraints(strip_whitespace=True), Field(title="Reason", description="May be left empty.")]


def can_ask() -> bool:
    """Whether this run is one of a deployment: only such a run can be answered in the UI."""
    context = FlowRunContext.get()
    return bool(context and context.flow_run and context.flow_run.deployment_id)


async def ask_person(settings: Settings, question: Question, report: Report) -> Reply:
    """Pause until somebody answers, or until the time is over; the answer is in the journal before this returns."""
    await publish_question(question, report)
    await name_meanwhile(f"{len(question.held)} changes wait for approval")
    reply = await _wait(question)
    note_answer(settings.environment, question, reply)
    get_run_logger().info("%s: %s", question.headline(), reply.headline())
    return reply


@task(name="publish question", cache_policy=NO_CACHE)
async def publish_question(question: Question, report: Report) -> None:
    """What waits, as a table with links into Kommo and Lemon Squeezy."""
    await acreate_markdown_artifact(
        markdown=question.as_markdown(report), key="approval", description=question.headline()
    )


async def _wait(question: Question) -> Reply:
    ends_at = time.monotonic() + question.seconds
    form = form_of(question).with_initial_data(description=question.as_text())
    while (left := ends_at - time.monotonic()) > 0:
        try:
            # Prefect's own time is longer: it marks a run as failed that was paused beyond it.
            async with asyncio.timeout(left):
                given: Any = await apause_flow_run(
                    wait_for_input=form, timeout=int(left) + SPARE_S, poll_interval=LOOK_EVERY_S
                )
        except TimeoutError:
            break
        except ValidationError as error:
            get_run_logger().warning("the answer cannot be used (%d faults in it); asking again", error.error_count())
            continue
        decision = Decision(given.decision)
        kinds = tuple(Kind(kind) for kind in given.kinds) if decision is Decision.SOME else ()
        return Reply(ANSWERS[decision], kinds, given.name, given.reason)
    return Reply(Answer.UNANSWERED)


def form_of(question: Question) -> type[RunInput]:
    """Return the form that asks: its list of kinds has those that wait, and no other."""
    kinds: Any = Enum("Waiting", [(kind, kind) for kind in question.kinds], type=str)  # type: ignore[misc]
    listed: Any = list[kinds]
    help_text = "Only with “approve only the kinds below”."
    return create_model(
        "Approval",
        __base__=RunInput,
        decision=(Decision, Field(title="Decision")),
        kinds=(listed, Field(default_factory=list, title="Kinds", description=help_text)),
        name=(Name, ...),
        reason=(Why, ""),
    )
