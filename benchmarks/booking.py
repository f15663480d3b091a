"""1,500 payments to book on as many open deals, beside two other ways to do it: `python -m benchmarks.booking`.

The article's way is a PATCH and a note for each payment, one call after the other. The public client reads what a run
of ours reads of Kommo, and writes the same deals and notes in its own batches. Both are told which deal each payment
belongs to; ours has to find out, and reads the payments besides. All play on the same accounts, one after the other.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import tomlkit

from benchmarks.figures import Figure, heading, print_table
from benchmarks.peer import interpreter
from benchmarks.stage import Measured, Stage, stage

PAYMENTS, FEW = 1_500, 60
"""Of a payment with two calls, one after the other, few tell how long many take."""
GOAL = 50.0
PRICE = 490
INVOICE_SENT, WON = 70_003, 142
RUN = (sys.executable, "-m", "dealsync", "reconcile", "--apply", "--json", "--max-changes", "1000000")
CLIENT = Path(__file__).parent / "peers" / "kommo_client.py"


def figures(quick: bool) -> Iterator[Figure]:
    """Yield how long ours takes, and how many times faster that is; nothing when time is short."""
    return iter(()) if quick else _figures(few=False)


def _figures(*, few: bool) -> Iterator[Figure]:
    """With `few` the article's way books some of the payments, and is told of all by them."""
    with stage() as played:
        _decide_at_once(played)
        played.measured(*RUN)  # everything from now on is new
        lead_ids = _payments(played)
        ours = played.measured(*RUN)
        _ensure_won(played, lead_ids)
        booked = lead_ids[:FEW] if few else lead_ids
        article_s = _timed(lambda: _book_as_the_article(played, booked)) * len(lead_ids) / len(booked)
        client = _book_with_client(played, lead_ids)
    note = f"the article's from {FEW} payments" if few else ""
    what = f"{len(lead_ids):,} payments booked"
    yield Figure(what, ours.seconds, "s", peer="article: 2 calls each", peer_value=article_s, note=note)
    yield Figure(f"{what}, times faster than the article's way", article_s / ours.seconds, "x", goal=GOAL, note=note)
    if client is not None:
        to_kommo = sum(count for name, count in ours.requests.items() if name.startswith("kommo"))
        yield Figure(what, ours.seconds, "s", peer="aioamocrm, Kommo's part", peer_value=client.seconds)
        yield Figure(
            f"{what}, requests to Kommo",
            to_kommo,
            "requests",
            peer="aioamocrm",
            peer_value=sum(client.requests.values()),
        )


def _decide_at_once(played: Stage) -> None:
    """For these payments no webhook will come that the poll had to wait for."""
    path = Path(played.environment["DEALSYNC_CONFIG"])
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    document["matching"] = {"settle_minutes": 0}
    path.write_text(tomlkit.dumps(document), encoding="utf-8")


def _payments(played: Stage) -> list[int]:
    """Deals that wait for their payments, and the payments; return the deals' ids."""

    def one(number: int) -> int:
        email = f"buyer{number}@example.com"
        deal = played.control("leads", price=PRICE, contact={"name": f"Buyer {number}", "email": email})
        played.control("orders", email=email, total=PRICE * 100)
        return int(deal["id"])

    with ThreadPoolExecutor(8) as hands:
        return list(hands.map(one, range(PAYMENTS)))


def _ensure_won(played: Stage, lead_ids: list[int]) -> None:
    """Raise RuntimeError unless every deal is won: what is not done right is not done fast."""
    leads = played.look("state")["kommo"]["leads"]
    won = {lead["id"] for lead in leads if lead["status_id"] == WON}
    if missing := set(lead_ids) - won:
        raise RuntimeError(f"{len(missing)} of {len(lead_ids)} deals were not won")


def _book_as_the_article(played: Stage, lead_ids: list[int]) -> None:
    headers = {"Authorization": f"Bearer {played.environment['KOMMO_TOKEN']}"}
    with httpx.Client(base_url=played.environment["KOMMO_API_URL"], headers=headers, timeout=30) as kommo:
        for lead_id in lead_ids:
            kommo.patch(f"/api/v4/leads/{lead_id}", json={"status_id": WON, "price": PRICE}).raise_for_status()
            note = [{"note_type": "common", "params": {"text": f"Paid: {PRICE}"}}]
            kommo.post(f"/api/v4/leads/{lead_id}/notes", json=note).raise_for_status()


def _timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _book_with_client(played: Stage, lead_ids: list[int]) -> Measured | None:
    """None, with a word, where the peers are not installed."""
    python = interpreter()
    if python is None:
        return None
    path = played.folder / "payments.json"
    path.write_text(json.dumps([{"lead_id": i, "price": PRICE, "text": f"Paid: {PRICE}"} for i in lead_ids]))
    return played.measured(str(python), str(CLIENT), str(path))


def main() -> None:
    """Print the figures; with `--few` in two minutes rather than ten."""
    few = "--few" in sys.argv
    print_table(_figures(few=few), heading(f"python -m benchmarks.booking{' --few' * few}"))


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    main()
