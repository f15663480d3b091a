"""A person decides a review in the Prefect UI: its form is made from the parameters of this flow."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field, StringConstraints

from dealsync.core.plan import Decision
from dealsync.errors import ConfigError
from dealsync.reviewing import decision_words, order_id_of
from tasks.review import decide, publish_reviews
from tasks.settings import begin


class Choice(StrEnum):
    """What can be decided about a payment."""

    DEAL = "it is the payment of the deal below"
    NEW = "make a deal of its own"
    DISMISS = "leave it alone"


ReviewId = Annotated[str, Field(min_length=1)]
LeadId = Annotated[int | None, Field(ge=1)]
Author = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


@flow(name="resolve-review", flow_run_name="{review}: {decision}")
async def resolve_review(review: ReviewId, decision: Choice, decided_by: Author, lead_id: LeadId = None) -> State[str]:
    """Decide which deal a payment belongs to. It is never asked again; the next run of `reconcile` acts on it.

    Args:
        review: Id of the review, as in the report: order:17.
        decision: What to do with the payment.
        decided_by: Who decides; kept with the decision.
        lead_id: The deal, by the number in its address in Kommo. Only with "the payment of the deal below".
    """
    order_id, environment = order_id_of(review), (await begin()).environment
    item = await decide(environment, order_id, _wanted(decision, lead_id), decided_by)
    await publish_reviews(environment, item)
    return Completed(message=f"order:{order_id}: {decision_words(item)}; the next run acts on it")


def _wanted(decision: Choice, lead_id: int | None) -> int | Decision:
    if (decision is Choice.DEAL) != (lead_id is not None):
        raise ConfigError('A deal is named with "it is the payment of the deal below", and with nothing else')
    return lead_id or {Choice.NEW: Decision.NEW, Choice.DISMISS: Decision.DISMISSED}[decision]
