"""The vendor's own JavaScript SDK, unchanged but for the origin, against the simulator.

It is no dependency of ours: the test runs where node finds the package, e.g. through NODE_PATH.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dealsync.simulator.server import Simulator

NODE = shutil.which("node") or ""
PACKAGE = "@lemonsqueezy/lemonsqueezy.js"
SCRIPT = Path(__file__).with_name("lemonsqueezy.cjs")


def test_official_sdk__gets_what_it_expects_from_every_call() -> None:
    if not NODE:
        pytest.skip("node is not installed")
    here = SCRIPT.parent
    if subprocess.run([NODE, "-p", f"require.resolve('{PACKAGE}')"], cwd=here, capture_output=True).returncode:
        pytest.skip(f"node does not find {PACKAGE}; install it somewhere and set NODE_PATH")
    with Simulator.running(orders=20) as simulator:
        environment = {**os.environ, **simulator.environment(), "CONTROL_URL": f"{simulator.url}/control"}
        done = subprocess.run([NODE, SCRIPT], env=environment, cwd=here, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    result = json.loads(done.stdout)
    assert result["problems"] == []
    assert result["calls"] > 50
