"""What stays in the Prefect UI under one key: published when it says something new: its versions are changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from typing import Any

from prefect import get_client, get_run_logger, task
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey

from dealsync import boards
from dealsync.boards import Board
from dealsync.ledger.reviews import ReviewState
from dealsync.ledger.runs import utc_now
from dealsync.ledger.trends import Trends
from dealsync.report import Report
from dealsync.settings import Settings, Store, build_store
from tasks.naming import AWAY


@task(name="publish boards", cache_policy=NO_CACHE)
async def publish_boards(settings: Settings, report: Report, *, charts: bool) -> None:
    """Summary, drift, reviews, latency; charts where they are asked for. The work is done: no artifact fails a run."""
    with closing(build_store(settings.environment)) as store:
        found = list(_boards(settings, store, report))
        found += await asyncio.to_thread(_pictures, settings, store) if charts else []
    try:
        shown = await _shown([board.key for board in found])
        for board in found:
            if _is_news(board, shown.get(board.key)):
                await _publish(board)
    except AWAY as error:
        get_run_logger().warning(
            "Prefect does not take the artifacts (%s); the next run makes them", type(error).__name__
        )


def _boards(settings: Settings, store: Store, report: Report) -> Iterator[Board]:
    now = utc_now()
    yield boards.summary(report)
    yield boards.drift(report)
    yield boards.reviews(store.reviews.listed(ReviewState.OPEN), settings.environment.kommo_url)
    yield boards.latency(Trends(store.limits.database).won(now - boards.LONGEST_WINDOW), now)


def _pictures(settings: Settings, store: Store) -> list[Board]:
    from dealsync.pictures import pictures  # Matplotlib takes a second to load, and most runs draw nothing

    return list(pictures(Trends(store.limits.database), settings, utc_now()))


async def _shown(keys: Collection[str]) -> Mapping[str, Any]:
    """Return what each key shows now."""
    wanted = ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=list(keys)))
    async with get_client() as client:
        found = await client.read_latest_artifacts(artifact_filter=wanted)
    return {artifact.key: artifact.data for artifact in found}


def _is_news(board: Board, shown: Any) -> bool:
    """Whether it differs from what is shown; something that is empty and was never shown is no news."""
    if shown is None:
        return not board.is_empty
    return bool(shown != (board.content if isinstance(board.content, str) else json.dumps(board.content)))


async def _publish(board: Board) -> None:
    if isinstance(board.content, str):
        await acreate_markdown_artifact(markdown=board.content, key=board.key, description=board.headline)
    else:
        await acreate_table_artifact(table=board.content, key=board.key, description=board.headline)
