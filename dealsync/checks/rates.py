"""What stands in the way of the next request, for both APIs alike."""

from __future__ import annotations

from dealsync.checks.context import Context
from dealsync.checks.verdicts import failed, ok, warning
from dealsync.core.checkup import Verdict
from dealsync.core.turns import LONGEST_WAIT_S


def rate(context: Context, api: str, origin: str) -> Verdict:
    """Return whether an API has banned this address, or asked for patience."""
    state = context.shared.limits.standing(api, origin)
    if state.blocked:
        return failed(f"it has blocked this address: {state.blocked}")
    if state.held_s > LONGEST_WAIT_S:
        return failed(f"it asks to wait {state.held_s:.0f} s more")
    if state.held_s:
        return warning(f"it asks to wait {state.held_s:.0f} s more")
    return (
        warning(f"half the rate for {state.slow_s:.0f} s more, after a 429") if state.slow_s else ok("the usual rate")
    )
