"""Serve every deployment of `prefect.yaml` in one process: no work pool, no worker.

Run it from the checkout: `python deployments/serve.py`. Needs PREFECT_API_URL and dealsync's own settings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from prefect import serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment

ROOT = Path(__file__).resolve().parent.parent


def declared() -> list[dict[str, Any]]:
    """Return the deployments of `prefect.yaml` as they stand there."""
    return list(yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"])


def main() -> None:
    """Register every deployment and run what is due, until stopped."""
    serve(*(_runner(entry) for entry in declared()))


def _runner(entry: dict[str, Any]) -> RunnerDeployment:
    return RunnerDeployment.from_entrypoint(
        str(ROOT / entry["entrypoint"]),
        name=entry["name"],
        description=entry["description"],
        tags=entry["tags"],
        schedules=[CronSchedule(cron=s["cron"], timezone=s["timezone"]) for s in entry.get("schedules", ())],
        parameters=entry.get("parameters", {}),
        concurrency_limit=ConcurrencyLimitConfig(**limit) if (limit := entry.get("concurrency_limit")) else None,
    )


if __name__ == "__main__":
    main()
