"""A person asks in the Prefect UI why a deal is as it is; the answer is an artifact."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import StringConstraints

from dealsync.settings import load_environment
from tasks.explain import publish_explanation, read_history

About = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


@flow(name="explain")
async def explain(about: About) -> State[str]:
    """Tell why a deal is as it is: every webhook, link, rule, request, answer and edit on record, in its order.

    Asks neither Kommo nor Lemon Squeezy. The answer is the artifact `explain` of the run.

    Args:
        about: lead:31 (the number in the deal's address in Kommo), order:17, subscription:9, invoice:44, or the buyer's
            e-mail address, which stays with the run as its parameter.
    """
    explanation = await read_history(load_environment(), about)
    await publish_explanation(explanation)
    return Completed(message=f"{explanation.about}: {len(explanation.moments)} moments; see the artifact")
