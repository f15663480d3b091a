"""What to do after `init`, for what this person has now."""

from __future__ import annotations

from dataclasses import dataclass

from dealsync.settings import Environment


@dataclass(frozen=True, slots=True)
class Situation:
    """How far this account is."""

    environment: Environment
    has_applied: bool  # a run has written to Kommo before
    receiver: str
    is_finished: bool  # nothing that init should make is missing
    sells: bool  # there is a product for checkouts


def next_steps(now: Situation) -> list[str]:
    """Return the steps, the next one first."""
    steps = []
    if not now.is_finished:
        steps.append("mend what is told above, and run `dealsync init` again")
    if not now.has_applied:
        steps.append("`dealsync plan` shows what would be done, and why; it sends nothing")
        steps.append("`dealsync reconcile --apply` does it")
    if not now.environment.prefect_api_url:
        steps.append("`prefect server start` in a terminal of its own, and PREFECT_API_URL=http://127.0.0.1:4200/api")
    steps.append("`dealsync serve` takes in webhooks and runs everything on time")
    if not now.receiver:
        steps.append(
            "`dealsync init --receiver-url https://deals.example.com`, once both accounts can reach the receiver there"
        )
    if not now.sells:
        steps.append("for checkout links: set LEMON_SQUEEZY_VARIANT_ID to what they sell")
    if now.environment.is_test_mode:
        steps.append("when all is well: a live-mode key and DEALSYNC_MODE=live in .env, and `dealsync init` again")
    return steps
