"""How long 300 deals at the invoice stage wait for their links: `python -m benchmarks.checkouts` (about two minutes).

The simulated accounts (150 ms latency, limits on) and `dealsync checkouts` are programs of their own on this machine.
"""

from __future__ import annotations

import json
import time

from benchmarks.stage import stage
from tests.accounts import INVOICE_SENT

DEALS = 300
PER_MINUTE = 280
"""What dealsync allows itself of Lemon Squeezy's 300."""


def main() -> None:
    """Print what it took, beside what the limit alone forces."""
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
    requests = done["run"]["requests"]
    to_lemon_squeezy = sum(count for name, count in requests.items() if name.startswith("lemon_squeezy"))
    bound_s = (to_lemon_squeezy - 1) * 60 / PER_MINUTE
    print(f"{DEALS} deals, {len(links)} different links in {took_s:.0f} s; the limit alone forces {bound_s:.0f} s")
    print(f"{to_lemon_squeezy} requests to Lemon Squeezy, {sum(requests.values()) - to_lemon_squeezy} to Kommo")
    refused, busiest = sum(seen["refused_429"].values()), seen["kommo_max_per_second"]
    print(f"refused for their rate: {refused}; Kommo's busiest second: {busiest}")


if __name__ == "__main__":
    main()
