"""One run: what its stages share. Made by `open_run`, which also sees to it that only one run writes at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from dealsync.account import Directory, find_account
from dealsync.alerting import watch
from dealsync.apis.kommo.client import Kommo
from dealsync.apis.lemonsqueezy.client import LemonSqueezy
from dealsync.core.sightings import How
from dealsync.ledger.database import told_as_ours
from dealsync.ledger.mirror import Mirror
from dealsync.ledger.runs import KOMMO_ACCOUNT, LEASE, RETRY_S, utc_now
from dealsync.settings import Settings, Store, build_kommo, build_lemon_squeezy, build_store, load_settings
from dealsync.steps import Steps

Progress = Callable[[str], None]
PATIENCE = LEASE + timedelta(seconds=15)
"""How long a run waits for the lock: long enough to outlive a killed one."""
LONG_PATIENCE = timedelta(minutes=15)
"""How long a run waits for it that carries out what a person has approved."""
PAUSED = "Everything is paused by the Prefect variable dealsync_paused: nothing was sent."
URGENT_RETRY_S = 0.1
"""How often a run that is urgent tries to take the lock."""


class Run:
    """Settings, store and clients of one run, the resolved names, and the hour at which it began."""

    def __init__(
        self,
        run_id: str,
        settings: Settings,
        store: Store,
        lemon_squeezy: LemonSqueezy,
        kommo: Kommo,
        directory: Directory,
        started_at: datetime,
        progress: Progress,
    ) -> None:
        self.run_id = run_id
        self.settings = settings
        self.store = store
        self.lemon_squeezy = lemon_squeezy
        self.kommo = kommo
        self.directory = directory
        self.started_at = started_at
        self.progress = progress
        self.remarks: list[str] = []  # what a person should know, a sentence each
        self.deals_read: set[int] = set()  # in this run, without a filter or by id: these readings do not lag
        self.contacts_read: set[int] = set()  # likewise
        self.merges_sought: set[int] = set()  # deals that are gone, looked for among the merges of this run
        self.customers_read: set[str] = set()
        self.companies_sought: set[str] = set()
        self.first_seen: dict[str, datetime] = {}  # drifts and refusals of the plan, by key
        self.entries_read: set[int] = set()  # deals whose coming into their status was looked up
        self.held = 0  # changes that wait for a person's approval
        self.lists_read = False  # of deals and contacts, as far as they had changed
        self.key_is_right = False  # of the mode that is configured: it was asked
        self.steps = Steps()  # how far its long parts are, for whoever watches

    def anew(self) -> Run:
        """Return this run as it begins once more, now: what it had read so far may be old."""
        return Run(
            self.run_id,
            self.settings,
            self.store,
            self.lemon_squeezy,
            self.kommo,
            self.directory,
            utc_now(),
            self.progress,
        )

    def reach(self, name: str, words: str, done: int, total: int | None = None, *, writes: bool = False) -> None:
        """Tell how far a long part of this run is: pages or batches."""
        self.steps.reach(name, words, done, total, writes=writes)
        self.progress(words)

    def mirror(self, how: How) -> Mirror:
        """Return the mirror for what this run sees: whatever is new there is written down with its id."""
        return self.store.mirror.seen_by(self.run_id, how)

    @property
    def account_id(self) -> int:
        """The Kommo account's id, to which the database is bound."""
        return int(self.store.runs.bound(KOMMO_ACCOUNT) or 0)

    @property
    def max_changes(self) -> int:
        """How many deals a plan may touch, unless the caller says otherwise."""
        return self.settings.config.limits.max_changes

    @property
    def requests(self) -> dict[str, int]:
        """Requests sent so far, by API, method and path."""
        return dict(sorted((Counter(self.lemon_squeezy.requests) + Counter(self.kommo.requests)).items()))

    @property
    def unreadable(self) -> list[str]:
        """Objects that were left out because they could not be read, each with its reason."""
        return [*self.lemon_squeezy.refused.reasons, *self.kommo.refused.reasons]


@asynccontextmanager
async def open_run(
    job: str,
    *,
    settings: Settings | None = None,
    progress: Progress = lambda _: None,
    urgent: bool = False,
    account_age: timedelta = timedelta(0),
    patience: timedelta = PATIENCE,
) -> AsyncIterator[Run]:
    """Take the run lock and resolve names; close everything at the end. Urgent requests go before those of others.

    Names are looked up in the account as it is, or as any run read it within `account_age`. Raises ConfigError,
    DatabaseError, RunInProgress, Unauthorized, Unreachable; nothing is written before it yields.
    """
    settings = settings or load_settings()
    store = build_store(settings.environment)
    lemon_squeezy, kommo = _clients(settings, store, urgent=urgent)
    beats = Counter[str]()

    def tell(text: str) -> None:
        beats["told"] += 1
        progress(text)

    def pulse() -> tuple[int, ...]:
        """What changes as long as the run gets on."""
        return beats["told"], sum(lemon_squeezy.requests.values()), sum(kommo.requests.values())

    try:
        with told_as_ours():
            progress("Taking the run lock")
            retry_s = URGENT_RETRY_S if urgent else RETRY_S
            async with store.runs.exclusive(job, patience=patience, retry_s=retry_s, pulse=pulse) as run_id:
                started_at = utc_now()
                for client in (lemon_squeezy, kommo):
                    client.guard_writes(lambda: store.runs.ensure_held(run_id))
                progress("Reading the Kommo account")
                view, directory = await find_account(settings, kommo, store.accounts, max_age=account_age)
                store.runs.bind(KOMMO_ACCOUNT, str(view.account.account_id))
                kommo.price_digits = directory.policy.price_digits
                run = Run(run_id, settings, store, lemon_squeezy, kommo, directory, started_at, tell)
                run.remarks += [PAUSED] if settings.paused else []
                yield run
    finally:
        await watch(settings, store)
        await lemon_squeezy.close()
        await kommo.close()
        store.close()


def _clients(settings: Settings, store: Store, *, urgent: bool) -> tuple[LemonSqueezy, Kommo]:
    environment = settings.environment
    return build_lemon_squeezy(environment, store, urgent=urgent), build_kommo(environment, store, urgent=urgent)
