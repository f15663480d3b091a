"""What the account's people decided: the configuration with every name resolved to an id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from dealsync.core.owners import Owners
from dealsync.core.products import ProductRule


@dataclass(frozen=True, slots=True)
class Funnel:
    """A watched pipeline and the statuses in it that mean something to dealsync."""

    pipeline_id: int
    invoice_status_id: int
    attention_status_id: int


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything the planner needs to know that is no fact about an order or a deal."""

    store_ids: frozenset[str]
    test_mode: bool
    funnels: tuple[Funnel, ...]  # at least one; self-serve deals are created in the first
    account_currency: str
    owners: Owners = field(default_factory=Owners)
    products: tuple[ProductRule, ...] = ()
    custom_fields: Mapping[str, int] = field(default_factory=dict)  # key of the custom data -> field id of deals
    numeric_fields: frozenset[int] = frozenset()  # those of them that hold numbers only
    company_key: str = "company"  # of the custom data; empty: deals get no company
    self_serve_tag: str = "ls:self-serve"
    locale: str = "en_US"
    window: timedelta = timedelta(days=30)
    max_auto_amount: int = 100_000  # minor units
    settle: timedelta = timedelta(minutes=5)
    asks_about_unpaid_checkouts: bool = True  # else a payment of nobody always gets a deal of its own
    amount_tolerance: int = 0  # minor units
    reopen_lost: bool = False
    stuck_after: timedelta = timedelta(hours=24)
    notify_since: datetime | None = None
    task_due: timedelta = timedelta(days=1)

    @property
    def home(self) -> Funnel:
        """Where self-serve deals are created, and deals of unwatched pipelines go for attention."""
        return self.funnels[0]

    @property
    def pipeline_ids(self) -> frozenset[int]:
        """The watched pipelines."""
        return frozenset(funnel.pipeline_id for funnel in self.funnels)

    @property
    def invoice_statuses(self) -> frozenset[tuple[int, int]]:
        """Pipeline and status of deals that wait for payment."""
        return frozenset((funnel.pipeline_id, funnel.invoice_status_id) for funnel in self.funnels)

    def funnel(self, pipeline_id: int) -> Funnel:
        """Return the funnel of a watched pipeline, the home one for any other."""
        return next((f for f in self.funnels if f.pipeline_id == pipeline_id), self.home)

    def notifies(self, fact_at: datetime) -> bool:
        """Whether a fact of that time is young enough for notes and tasks."""
        return self.notify_since is None or fact_at >= self.notify_since
