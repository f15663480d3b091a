"""`prefect deploy`, for workers instead of `dealsync serve`. After it, nothing that is served runs on this server."""

import os
import subprocess
import sys

import httpx
import yaml

from dealsync.local_prefect import ROOT, LocalPrefect

DECLARED = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))


def test_prefect_deploy__twice_leaves_each_deployment_once(prefect: LocalPrefect) -> None:
    environment = {**os.environ, **prefect.environment()}

    def command(*arguments: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
            cwd=ROOT, env=environment, check=True, capture_output=True, timeout=120,
        )  # fmt: skip

    command("work-pool", "create", "dealsync", "--type", "process")
    command("deploy", "--all")
    command("deploy", "--all")
    command("block", "register", "--file", "tasks/accounts.py")
    assert httpx.get(f"{prefect.ui_url}/api/block_types/slug/dealsync-accounts", timeout=30).is_success
    rows = httpx.post(f"{prefect.ui_url}/api/deployments/filter", json={}, timeout=30).json()
    assert sorted(row["name"] for row in rows) == sorted(entry["name"] for entry in DECLARED["deployments"])
    hourly = next(row for row in rows if row["name"] == "reconcile")
    assert hourly["parameters"]["apply"] is True
    assert hourly["parameter_openapi_schema"]["properties"]["max_changes"]["description"]
