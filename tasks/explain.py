"""Why a deal is as it is, for those who ask from the Prefect UI."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE

from dealsync import explain
from dealsync.explain import Explanation
from dealsync.settings import Environment


@task(name="read history", cache_policy=NO_CACHE)
async def read_history(environment: Environment, about: str) -> Explanation:
    """All that is on record. Reads the database only."""
    return explain.explain(environment, about)


@task(name="publish explanation", cache_policy=NO_CACHE)
async def publish_explanation(explanation: Explanation) -> None:
    """The timeline in Markdown, with links into Kommo and Lemon Squeezy."""
    await acreate_markdown_artifact(markdown=explanation.as_markdown(), key="explain", description=explanation.about)
