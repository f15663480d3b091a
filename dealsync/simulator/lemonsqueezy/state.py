"""The store: everything Lemon Squeezy knows, what happens in it, and what it tells others."""

import random
from collections import Counter

from dealsync.simulator.clock import Clock
from dealsync.simulator.deliveries import Deliveries
from dealsync.simulator.faults import Faults
from dealsync.simulator.lemonsqueezy.books import PAYING, RENEWAL_PENDING_S, Books, NotPossible, Placed
from dealsync.simulator.lemonsqueezy.events import Events
from dealsync.simulator.lemonsqueezy.life import Life
from dealsync.simulator.schedule import Schedule
from dealsync.simulator.table import Record

__all__ = ["PAYING", "RENEWAL_PENDING_S", "LemonSqueezyStore", "NotPossible", "Placed"]


class LemonSqueezyStore(Books):
    """The books, with `life` for all that should be told to webhooks and goes on by itself."""

    def __init__(
        self, clock: Clock, faults: Faults, rng: random.Random, schedule: Schedule, deliveries: Deliveries
    ) -> None:
        super().__init__(clock, faults, rng)
        self.events = Events(self, schedule, deliveries)
        self.life = Life(self, self.events, schedule)

    def state(self) -> Record:
        """Return everything as JSON. The schedule, the deliveries and the random state are the world's."""
        return {
            **{kind: list(table) for kind, table in self.tables.items()},
            "custom_data": {str(key): value for key, value in self.custom_data.items()},
            "user": self.user,
            "test_mode_key": self.test_mode_key,
            "last_ids": dict(self._last_ids),
            "order_number": self._order_number,
        }

    def load(self, state: Record) -> None:
        """Replace everything by what `state` returned."""
        for kind, table in self.tables.items():
            table.load((self.key(record), record) for record in state[kind])
        self.custom_data = {int(key): value for key, value in state["custom_data"].items()}
        self.user, self.test_mode_key = state["user"], state["test_mode_key"]
        self._last_ids = Counter(state["last_ids"])
        self._order_number = state["order_number"]
