"""What the account's people decided: the configuration with every name resolved to an id."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything the planner needs to know that is no fact about an order or a deal."""

    store_id: str
    test_mode: bool
    pipeline_ids: frozenset[int]  # watched
    home_pipeline_id: int  # where self-serve deals are created
    invoice_status_id: int
    attention_status_id: int
    account_currency: str
    owners: tuple[int, ...] = ()  # active users of the rota, in its order
    locale: str = "en_US"
    window: timedelta = timedelta(days=30)
    max_auto_amount: int = 100_000  # minor units
    settle: timedelta = timedelta(minutes=5)
    amount_tolerance: int = 0  # minor units
    reopen_lost: bool = False
    stuck_after: timedelta = timedelta(hours=24)
    notify_since: datetime | None = None
    task_due: timedelta = timedelta(days=1)

    def notifies(self, fact_at: datetime) -> bool:
        """Whether a fact of that time is young enough for notes and tasks."""
        return self.notify_since is None or fact_at >= self.notify_since
