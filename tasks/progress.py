"""A bar in the UI while long work runs; short work has none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact

from dealsync.run import Run
from tasks.naming import AWAY

KEY = "progress"
INTERVAL_S = 1.0


@asynccontextmanager
async def showing_progress(run: Run, *, applies: bool) -> AsyncIterator[None]:
    """Keep the bar while the work inside is under way: looked at once a second, so what is quicker leaves none."""
    bar = _Bar(run, applies=applies)
    watching = asyncio.create_task(bar.keep())
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
    await bar.end()


class _Bar:
    def __init__(self, run: Run, *, applies: bool) -> None:
        self._run = run
        self._applies = applies
        self._artifact: UUID | None = None
        self._shown = (0.0, "")

    async def keep(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            if self._artifact is not None or self._run.steps.are_long:
                percent = max(self._shown[0], self._run.steps.percent(applies=self._applies))
                await self._show(percent, self._run.steps.words() or "Comparing")

    async def end(self) -> None:
        if self._artifact is not None:
            await self._show(100.0, "Done")

    async def _show(self, percent: float, words: str) -> None:
        """Show how far it is. A server that is away for a moment holds up no work."""
        if (percent, words) == self._shown:
            return
        with suppress(*AWAY):
            if self._artifact is None:
                made = await acreate_progress_artifact(progress=percent, key=KEY, description=words)
                self._artifact = UUID(str(made))
            else:
                await aupdate_progress_artifact(artifact_id=self._artifact, progress=percent, description=words)
            self._shown = percent, words
