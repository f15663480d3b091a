"""Which tests are given to one worker, one after the other: those that share a server, or measure real time.

All others go to whoever is free. The groups come first, for they take longest. (`xdist_group` marks do nothing with
pytest 9.2 and pytest-xdist 3.8: the one asks for ids that the other cannot change any more.)
"""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

GROUPS = {
    "tests/flows/test_deployments.py": "prefect",
    "tests/flows/test_hot_path.py": "prefect",
    "tests/flows/test_work_pool.py": "prefect",  # the last: after it, nothing that is served runs on that server
    "tests/flows/test_approval.py": "prefect-ui",
    "tests/flows/test_shown.py": "prefect-ui",
    "tests/flows/test_ui.py": "prefect-ui",
    "tests/chaos/test_chaos.py": "chaos",
    "tests/flows/test_budget.py": "budget",  # they share large accounts
}


class Together(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Keeps groups together."""

    def _split_scope(self, nodeid: str) -> str:
        return GROUPS.get(nodeid.partition("::")[0], nodeid)
