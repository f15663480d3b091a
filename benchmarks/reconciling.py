"""Requests and time of whole runs of `reconcile`, beside what the limits allow: `python -m benchmarks.reconciling`.

Everything is real time: the simulator answers after 150 ms and keeps both limits. A run is a process from its start to
its end. Its bound is what the limits force: the pages of all that can have changed and full batches of what was
written, at the rates that dealsync allows itself; both sides are read at once, and writes follow. As Lemon Squeezy
counts a minute as a whole, the first twenty requests of a run leave together: a short run may stay under its bound.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import httpx
from sqlalchemy import func, select, update

from benchmarks.figures import Figure, heading, print_table
from benchmarks.stage import Measured, Stage, stage
from dealsync.core.plan import Kind
from dealsync.ledger.database import open_database
from dealsync.ledger.runs import utc_now
from dealsync.ledger.tables import AccountRow, ContactRow, DealRow, InvoiceRow, OrderRow, SubscriptionRow
from dealsync.poll import REFUND_WINDOW

ALLOWED, PUBLISHED = (280 / 60, 6.0), (300 / 60, 7.0)
"""Requests a second to Lemon Squeezy and to Kommo: what dealsync allows itself unless told otherwise, which leaves room
for other programs on the same accounts; and what both APIs publish."""
LS_PAGE, KOMMO_PAGE, BATCH = 100, 250, 250
SLICES, QUIET = 24, 12
REQUESTS_GOAL, TIME_GOAL = 1.05, 1.15
MEMORY_GOAL_MB = 700.0
QUICK, WHOLE = (1_000,), (1_000, 10_000, 100_000)
RUN = (sys.executable, "-m", "dealsync", "reconcile", "--apply", "--json", "--max-changes", "1000000")
OF_DEALS = {Kind.CLOSE, Kind.ATTENTION, Kind.PRICE, Kind.FIELDS, Kind.TAG, Kind.UNTAG, Kind.RESTORE}
"""All changes of one deal are one item of one request."""
NEVER = timedelta(days=36_500)


@dataclass(frozen=True, slots=True)
class Forced:
    """Requests that the limits force: pages of either side, and batches of what was written."""

    lemon_squeezy: int
    kommo: int
    writes: int = 0

    @property
    def requests(self) -> int:
        """All of them."""
        return self.lemon_squeezy + self.kommo + self.writes

    def seconds(self, rates: tuple[float, float] = ALLOWED) -> float:
        """How long they take at these rates."""
        to_ls, to_kommo = rates
        return max(self.lemon_squeezy / to_ls, self.kommo / to_kommo) + self.writes / to_kommo


def figures(quick: bool) -> Iterator[Figure]:
    """Yield what runs over accounts of growing size take."""
    for orders in QUICK if quick else WHOLE:
        with stage(orders=orders) as played:
            yield from _runs(played, f"{orders:,} orders")


def _runs(played: Stage, about: str) -> Iterator[Figure]:
    first = played.measured(*RUN)
    written = _written(first)
    yield from _whole(f"full reconcile, {about}", first, _forced(played, written, window=NEVER))
    played.dealsync(*RUN[3:])  # what was too young at first, and came due in the meantime
    _an_hour_passes(played)
    quiet = played.measured(*RUN)
    older = (max(0, pages - 1) for pages in _ls_pages(played, window=NEVER))
    goal = QUIET + sum(math.ceil(pages / SLICES) for pages in older)
    yield Figure(f"quiet hour, {about}", sum(quiet.requests.values()), "requests", goal=goal)
    yield Figure(f"quiet hour, {about}", quiet.seconds, "s")
    deep = played.measured(*RUN, "--deep")
    yield from _whole(f"deep reconcile, {about}", deep, _forced(played, _written(deep), window=REFUND_WINDOW))


def _an_hour_passes(played: Stage) -> None:
    """What was written and read a moment ago is out of the windows of the next run."""
    engine = open_database(played.environment["DEALSYNC_DATABASE_URL"])
    with engine.begin() as db:
        db.execute(update(AccountRow).values(read_at=utc_now() - timedelta(hours=1)))
    engine.dispose()
    state = played.look("state")
    for changed in (*state["kommo"]["leads"], *state["kommo"]["contacts"]):
        changed["updated_at"] -= 3600
    httpx.put(f"{played.url}/control/state", json=state, timeout=600).raise_for_status()


def _whole(what: str, run: Measured, forced: Forced) -> Iterator[Figure]:
    requests = sum(run.requests.values())
    yield Figure(what, requests, "requests", bound=forced.requests, goal=math.ceil(REQUESTS_GOAL * forced.requests))
    bound, ratio = forced.seconds(), run.seconds / forced.seconds(PUBLISHED)
    note = f"{ratio:.2f} times that of the published rates"
    yield Figure(what, run.seconds, "s", bound=bound, goal=TIME_GOAL * bound, note=note)
    yield Figure(what, run.peak_mb, "MB", goal=MEMORY_GOAL_MB, note=f"{run.cpu_s:.1f} s of CPU")
    yield Figure(what, run.most_in_a_second, "Kommo requests in any 1 s", goal=PUBLISHED[1])
    yield Figure(what, run.refused, "refused (429)", goal=0)


def _written(run: Measured) -> Counter[str]:
    """Items that were written, by kind of request."""
    actions = json.loads(run.printed)["actions"]
    changed = {action["lead_id"] for action in actions if action["kind"] in OF_DEALS and action["lead_id"]}
    others = Counter(action["kind"] for action in actions if action["kind"] not in OF_DEALS)
    return others + Counter({"deals": len(changed)})


def _forced(played: Stage, written: Counter[str], *, window: timedelta) -> Forced:
    """What the limits force of a run that wrote so much. Objects older than `window` cannot be refunded any more."""
    deals = _rows(played, DealRow) - written[Kind.CREATE_DEAL]
    contacts = _rows(played, ContactRow) - written[Kind.CREATE_CONTACT]
    return Forced(
        sum(_ls_pages(played, window=window)),
        math.ceil(deals / KOMMO_PAGE) + math.ceil(contacts / KOMMO_PAGE),
        sum(math.ceil(items / BATCH) for items in written.values()),
    )


def _ls_pages(played: Stage, *, window: timedelta) -> list[int]:
    """Pages of orders, invoices and subscriptions, without the orders and invoices that are older than the window."""
    since = utc_now() - window
    rows = (
        _rows(played, OrderRow, OrderRow.created_at >= since),
        _rows(played, InvoiceRow, InvoiceRow.created_at >= since),
        _rows(played, SubscriptionRow),
    )
    return [math.ceil(count / LS_PAGE) for count in rows]


def _rows(
    played: Stage, model: type[OrderRow | InvoiceRow | SubscriptionRow | DealRow | ContactRow], *where: object
) -> int:
    engine = open_database(played.environment["DEALSYNC_DATABASE_URL"])
    with engine.connect() as db:
        count = db.execute(select(func.count()).select_from(model).where(*where)).scalar_one()  # type: ignore[arg-type]
    engine.dispose()
    return count


def main() -> None:
    """Print the figures of the sizes that are given, or of all."""
    sizes = [int(size) for size in sys.argv[1:]] or WHOLE
    for orders in sizes:
        with stage(orders=orders) as played:
            print_table(_runs(played, f"{orders:,} orders"), heading("python -m benchmarks.reconciling"))


if __name__ == "__main__":
    main()
