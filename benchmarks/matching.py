"""How many payments `match` gives to their deal, and how many to a wrong one: `python -m benchmarks.matching`.

Exits with 1 when an automatic tier made a false link.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from benchmarks.matching_data import DEFAULT_ORDERS, generate
from benchmarks.matching_scene import Answer, Label, Labelled
from dealsync.core.match import Matches, match
from dealsync.core.models import Tier
from dealsync.core.sales import counted
from tests.builders import NOW, policy

AUTOMATIC = (Tier.EXPLICIT, Tier.LEDGER, Tier.FIELD, Tier.CLAIM, Tier.CHECKOUT, Tier.CONTACT)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one labelled order."""

    label: Label
    got: int | Answer | None  # in the words of the label; None: neither placed nor asked about
    tier: Tier | None = None  # of a link

    @property
    def right(self) -> bool:
        """Whether the machine did what the truth asks for."""
        return self.got == self.label.truth

    @property
    def false_link(self) -> bool:
        """Whether the order was linked to a deal that it does not belong to, or that a person had to choose."""
        return self.tier is not None and not self.right


def score(labelled: Labelled, matches: Matches) -> tuple[Outcome, ...]:
    """Compare a matching with the truth, one outcome an order. A link kept from an earlier run is of tier `ledger`.

    An order that a person is asked about counts as such, also where an earlier run linked it.
    """
    got: dict[str, tuple[int | Answer, Tier | None]] = {o.id: (Answer.SELF_SERVE, None) for o in matches.self_serve}
    kept = zip(matches.links["order_id"], matches.links["lead_id"], strict=True)
    got |= {order_id: (int(lead_id), Tier.LEDGER) for order_id, lead_id in kept}
    got |= {link.order_id: (link.lead_id, link.tier) for link in matches.found}
    got |= {review.order_id: (Answer.PERSON, None) for review in matches.reviews}
    return tuple(Outcome(label, *got.get(order_id, (None, None))) for order_id, label in labelled.labels.items())


def table(outcomes: Iterable[Outcome]) -> Iterator[str]:
    """Yield the lines of the report: by tier, by situation, and the false links last.

    `named` counts the orders for which this tier has the strongest evidence there is, `recall` how many of them it
    gave to their deal.
    """
    rows = tuple(outcomes)
    yield f"{'tier':<36} {'links':>7} {'wrong':>7} {'named':>10} {'recall':>7}"
    for tier in AUTOMATIC:
        links = [o for o in rows if o.tier is tier]
        named = [o for o in rows if o.label.tier is tier]
        recall = sum(o.right and o.tier is tier for o in named) / len(named) if named else 1.0
        wrong = sum(o.false_link for o in links)
        yield f"{tier.value:<36} {len(links):>7,} {wrong:>7,} {len(named):>10,} {recall:>7.0%}"
    yield ""
    yield f"{'situation':<36} {'truth':>10} {'orders':>7} {'recall':>7} {'linked':>7} {'review':>7} {'self-serve':>10}"
    for situation in dict.fromkeys(o.label.situation for o in rows):
        yield _situation_line(situation, [o for o in rows if o.label.situation == situation])
    yield ""
    yield f"{len(rows):,} orders, false links at automatic tiers: {sum(o.false_link for o in rows)} (goal 0)"


def _situation_line(situation: str, rows: list[Outcome]) -> str:
    truth = rows[0].label.truth
    linked = sum(o.tier is not None for o in rows)
    review, alone = (sum(o.got == answer for o in rows) for answer in (Answer.PERSON, Answer.SELF_SERVE))
    return (
        f"{situation:<36} {truth if isinstance(truth, Answer) else 'a deal':>10} {len(rows):>7,} "
        f"{sum(o.right for o in rows) / len(rows):>7.0%} {linked:>7,} {review:>7,} {alone:>10,}"
    )


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(prog="benchmarks.matching", description="Measure matching on labelled orders.")
    parser.add_argument("--orders", type=int, default=DEFAULT_ORDERS, help="at least so many; every scene is played")
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    labelled = generate(wanted.orders, wanted.seed)
    outcomes = score(labelled, match(counted(labelled.world.tables()), policy(), NOW))
    print("\n".join(table(outcomes)))
    sys.exit(any(o.false_link for o in outcomes))


if __name__ == "__main__":
    main()
