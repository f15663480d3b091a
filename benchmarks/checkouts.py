"""How long 300 deals at the invoice stage wait for their links: `python -m benchmarks.checkouts` (about two minutes).

The simulated accounts (150 ms latency, limits on) and `dealsync checkouts` are programs of their own on this machine.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator

from benchmarks.figures import Figure, report
from benchmarks.stage import stage
from tests.accounts import INVOICE_SENT

DEALS = 300
PER_MINUTE = 280
"""What dealsync allows itself of Lemon Squeezy's 300."""
KOMMO_PER_SECOND = 7


def figures(quick: bool) -> Iterator[Figure]:
    """Yield what it took, beside what the limit alone forces; nothing when time is short."""
    if quick:
        return
    with stage() as made:
        for number in range(DEALS):
            contact = {"name": f"Buyer {number}", "email": f"buyer{number}@example.com"}
            made.control("leads", price=490, status_id=INVOICE_SENT, contact=contact)
        made.control("requests/reset")
        began = time.monotonic()
        done = json.loads(made.dealsync("checkouts", "--json"))
        took_s = time.monotonic() - began
        seen = made.look("requests")
    links = {deal["url"] for deal in done["deals"]}
    if len(links) != DEALS:
        raise RuntimeError(f"{DEALS} deals got {len(links)} different links")
    requests = done["run"]["requests"]
    to_lemon_squeezy = sum(count for name, count in requests.items() if name.startswith("lemon_squeezy"))
    what, bound_s = f"checkout links for {DEALS} deals", (to_lemon_squeezy - 1) * 60 / PER_MINUTE
    yield Figure(what, took_s, "s", bound=bound_s, note=f"{to_lemon_squeezy} requests to Lemon Squeezy")
    busiest, refused = seen["kommo_max_per_second"], sum(seen["refused_429"].values())
    yield Figure(f"{what}: most Kommo requests in any 1 s", busiest, "requests", goal=KOMMO_PER_SECOND)
    yield Figure(f"{what}: refused (429)", refused, "requests", goal=0)


if __name__ == "__main__":
    report(figures("--quick" in sys.argv))
