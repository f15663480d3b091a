"""A seeded past: sixty days of orders and deals, with known drift planted between them.

Of all paid live orders exactly round(15%) have a deal that is still open (class "open"). Ties and weak matches
have open deals on top of that. Everything planted is written down in `world.truth`.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from dealsync.simulator import premises, sellers
from dealsync.simulator.kommo.state import LOST, WON
from dealsync.simulator.lemonsqueezy.objects import Purchase, months_later
from dealsync.simulator.lemonsqueezy.state import RENEWAL_PENDING_S, Placed
from dealsync.simulator.people import buyer
from dealsync.simulator.premises import INVOICE_SENT, NEW, PARTNERS, QUALIFIED, SALES
from dealsync.simulator.sellers import HandMade
from dealsync.simulator.table import Record
from dealsync.simulator.world import World

DAY_S = 24 * 3600
SPREAD_DAYS = 60
YOUNGEST_S = 3600
LARGE = 10_000  # orders; such a world lives as long as its process
OPEN_SHARE = 0.15
ODD_FROM = 40  # orders; smaller worlds hold no oddities
OPEN_STATUSES = (NEW, QUALIFIED, INVOICE_SENT)
# Class -> share of all orders, at least one of each. "open" and "won" fill the rest.
ODDITIES = {
    "self_serve": 0.03,  # neither contact nor deal
    "self_serve_known": 0.02,  # contact, no deal
    "refunded": 0.02,  # in full; the deal is still won
    "partly_refunded": 0.015,  # the deal is won
    "tie": 0.008,  # two open deals of the order's price
    "weak": 0.008,  # one open deal of another price
    "pending": 0.01,
    "failed": 0.01,
    "test_mode": 0.02,
}
UNPAID = ("refunded", "partly_refunded", "pending", "failed", "test_mode")  # not among the paid live orders
REPEAT_SHARE = 0.06  # of the won orders: the same buyer again
DEALS_WITHOUT_ORDER = 0.3  # of the number of orders
ODD_EMAIL_SHARE = 0.15  # contacts whose e-mail differs by case or blanks


def seeded(*, seed: int = 1, orders: int = 120, now: datetime | None = None, running: bool = True) -> World:
    """Return a world with `orders` past orders. The same seed and `now` (aware) give the same world.

    Its clock stands at `now` when this returns; a clock that is not `running` stays there until it is advanced.
    """
    with _without_gc(keep=orders >= LARGE):
        world = World(seed, now, running=False)
        start = int(world.clock.now())
        premises.furnish(world, start - 200 * DAY_S)
        Story(world, start).tell(orders)
        world.clock.set(world.clock.now(), running=running)
    return world


@contextmanager
def _without_gc(*, keep: bool) -> Iterator[None]:
    """Pause garbage collection: nothing is thrown away while a world grows, and looking costs half the time.

    To `keep` means that it is never looked through again: that takes seconds for a large world, at any moment.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
        if keep:
            gc.freeze()
    finally:
        if was_on:
            gc.enable()


class Story:
    """Tells what happened, order by order, oldest first."""

    def __init__(self, world: World, now: int) -> None:
        self._world = world
        self._rng = world.rng
        self._now = now
        self._buyers = 0
        self._past_buyers: list[tuple[str, str, Record]] = []  # of won orders: name, order e-mail, contact
        self._variants = world.lemon_squeezy.variants()

    def tell(self, orders: int) -> None:
        """Plant `orders` orders with their deals, then deals without an order."""
        classes = _classes(orders)
        self._rng.shuffle(classes)
        span = SPREAD_DAYS * DAY_S - 2 * YOUNGEST_S
        moments = sorted(self._now - YOUNGEST_S - 60 - self._rng.randrange(span) for _ in classes)
        plants: dict[str, Callable[[float], tuple[Placed, int | None]]] = {
            "open": self._open,
            "won": self._won,
            "self_serve": self._self_serve,
            "self_serve_known": self._self_serve_known,
            "refunded": self._refunded,
            "partly_refunded": self._partly_refunded,
            "tie": self._tie,
            "weak": self._weak,
            "other_currency": self._other_currency,
            "pending": lambda at: self._unpaid(at, "pending"),
            "failed": lambda at: self._unpaid(at, "failed"),
            "test_mode": self._test_mode,
        }
        for kind, at in zip(classes, moments, strict=True):
            placed, lead_id = plants[kind](at)
            self._world.truth[placed.order["id"]] = {"class": kind, "lead_id": lead_id}
        for _ in range(round(orders * DEALS_WITHOUT_ORDER)):
            self._deal_without_order()
        self._renew_all()

    # --- one order of each class ------------------------------------------------------------------
    def _open(self, at: float) -> tuple[Placed, int | None]:
        name, email = self._buyer()
        placed = self._buy(at, name, email)
        contact = self._contact(name, email, at)
        return placed, self._open_deal(placed, contact, at)["id"]

    def _won(self, at: float) -> tuple[Placed, int | None]:
        again = self._past_buyers and self._rng.random() < REPEAT_SHARE
        if again:
            name, email, contact = self._rng.choice(self._past_buyers)
        else:
            name, email = self._buyer()
            contact = self._contact(name, email, at)
        placed = self._buy(at, name, email)
        self._past_buyers.append((name, email, contact))
        return placed, self._won_deal(placed, contact, at)["id"]

    def _self_serve(self, at: float) -> tuple[Placed, int | None]:
        return self._buy(at, *self._buyer()), None

    def _self_serve_known(self, at: float) -> tuple[Placed, int | None]:
        name, email = self._buyer()
        self._contact(name, email, at)
        return self._buy(at, name, email), None

    def _refunded(self, at: float) -> tuple[Placed, int | None]:
        placed, lead_id = self._won_once(at)
        self._world.lemon_squeezy.refund(int(placed.order["id"]))
        self._backdate_refund(placed, at)
        return placed, lead_id

    def _partly_refunded(self, at: float) -> tuple[Placed, int | None]:
        placed, lead_id = self._won_once(at)
        total: int = placed.order["attributes"]["total"]
        self._world.lemon_squeezy.refund(int(placed.order["id"]), total // 4)
        self._backdate_refund(placed, at)
        return placed, lead_id

    def _tie(self, at: float) -> tuple[Placed, int | None]:
        name, email = self._buyer()
        placed = self._buy(at, name, email, one_time=True)
        contact = self._contact(name, email, at)
        for _ in range(2):
            self._open_deal(placed, contact, at)
        return placed, None

    def _weak(self, at: float) -> tuple[Placed, int | None]:
        name, email = self._buyer()
        placed = self._buy(at, name, email, one_time=True)
        contact = self._contact(name, email, at)
        return placed, self._open_deal(placed, contact, at, more=120)["id"]

    def _other_currency(self, at: float) -> tuple[Placed, int | None]:
        name, email = self._buyer()
        placed = self._buy(at, name, email, one_time=True, currency="EUR")
        return placed, self._won_deal(placed, self._contact(name, email, at), at)["id"]

    def _unpaid(self, at: float, status: str) -> tuple[Placed, int | None]:
        name, email = self._buyer()
        placed = self._buy(at, name, email, one_time=True, status=status)
        return placed, self._open_deal(placed, self._contact(name, email, at), at)["id"]

    def _test_mode(self, at: float) -> tuple[Placed, int | None]:
        name, email = self._buyer()
        placed = self._buy(at, name, email, one_time=True, test_mode=True)
        return placed, self._open_deal(placed, self._contact(name, email, at), at)["id"]

    # --- parts ------------------------------------------------------------------------------------
    def _won_once(self, at: float) -> tuple[Placed, int]:
        name, email = self._buyer()
        placed = self._buy(at, name, email, one_time=True)
        return placed, self._won_deal(placed, self._contact(name, email, at), at)["id"]

    def _buyer(self) -> tuple[str, str]:
        self._buyers += 1
        return buyer(self._buyers, self._rng)

    def _owner(self) -> int:
        return self._rng.choice((501, 502, 503))

    def _contact(self, name: str, email: str, at: float) -> Record:
        """Add the buyer's contact, made some weeks before the order, its e-mail sometimes typed oddly."""
        typed = email
        if self._rng.random() < ODD_EMAIL_SHARE:
            typed = self._rng.choice((email.upper(), email.title(), f" {email}", f"{email} "))
        made = at - self._rng.randrange(21, 40) * DAY_S
        return sellers.add_contact(self._world.kommo, name, typed, self._owner(), made)

    def _buy(
        self,
        at: float,
        name: str,
        email: str,
        *,
        one_time: bool = False,
        currency: str = "USD",
        status: str = "paid",
        test_mode: bool = False,
    ) -> Placed:
        fitting = [v for v in self._variants if not (one_time and v["attributes"]["is_subscription"])]
        variant = self._rng.choice(fitting)
        price: int = variant["attributes"]["price"]
        seats = self._rng.choice((1, 1, 1, 2, 3)) if price < 10_000 else 1
        purchase: Purchase = self._world.lemon_squeezy.purchase(
            name=name,
            email=email,
            variant=variant,
            total_minor=price * seats,
            currency=currency,
            quantity=seats,
            status=status,
            created=at,
            test_mode=test_mode,
        )
        return self._world.lemon_squeezy.place(purchase)

    def _open_deal(self, placed: Placed, contact: Record, at: float, more: int = 0) -> Record:
        """Add a deal made 1-20 days before the order, in an open status; `more` whole units off its price."""
        created = at - self._rng.randrange(DAY_S, 20 * DAY_S)
        return sellers.add_deal(
            self._world.kommo,
            HandMade(
                name=f"{contact['name']} - {placed.order['attributes']['first_order_item']['product_name']}",
                price=_whole(placed) + more,
                pipeline_id=SALES,
                status_id=self._rng.choice(OPEN_STATUSES),
                contact_id=contact["id"],
                owner_id=contact["responsible_user_id"],
                created=created,
                moved=created + self._rng.randrange(600, int(at - created)),
            ),
        )

    def _won_deal(self, placed: Placed, contact: Record, at: float) -> Record:
        """Add a deal that a seller closed minutes to hours after the order."""
        latest = max(600, min(8 * 3600, int(self._now - at)))
        return sellers.add_deal(
            self._world.kommo,
            HandMade(
                name=f"{contact['name']} - {placed.order['attributes']['first_order_item']['product_name']}",
                price=_whole(placed),
                pipeline_id=SALES,
                status_id=WON,
                contact_id=contact["id"],
                owner_id=contact["responsible_user_id"],
                created=at - self._rng.randrange(DAY_S, 20 * DAY_S),
                moved=at + self._rng.randrange(300, latest),
            ),
        )

    def _deal_without_order(self) -> None:
        name, email = self._buyer()
        pipeline_id = self._rng.choice((SALES, SALES, PARTNERS))
        statuses = [s["id"] for s in self._world.kommo.statuses(pipeline_id)]
        open_ones = [i for i in statuses if i not in (premises.UNSORTED, premises.ATTENTION, WON, LOST)]
        created = self._now - self._rng.randrange(2 * DAY_S, SPREAD_DAYS * DAY_S)
        contact = sellers.add_contact(self._world.kommo, name, email, self._owner(), created - DAY_S)
        sellers.add_deal(
            self._world.kommo,
            HandMade(
                name=f"{name} - enquiry",
                price=self._rng.randrange(0, 40) * 50,
                pipeline_id=pipeline_id,
                status_id=self._rng.choice([*open_ones, *open_ones, LOST]),
                contact_id=contact["id"],
                owner_id=contact["responsible_user_id"],
                created=created,
                moved=created + self._rng.randrange(600, 2 * DAY_S - 600),
            ),
        )

    def _backdate_refund(self, placed: Placed, at: float) -> None:
        """Let the refund have happened between the order and now, not now."""
        when = at + self._rng.randrange(1800, max(1801, int(self._now - at)))
        self._world.lemon_squeezy.date_refund(int(placed.order["id"]), when)

    def _renew_all(self) -> None:
        """Add a renewal for every full month each subscription has lived, if it was paid by now."""
        store = self._world.lemon_squeezy
        due = []
        for subscription in store.tables["subscriptions"]:
            order = store.find("orders", subscription["attributes"]["order_id"])
            if order is None:
                continue
            created = store.created(order)
            for month in range(1, SPREAD_DAYS // 28 + 1):
                moment = months_later(created, month)
                if moment + RENEWAL_PENDING_S < self._now:
                    due.append((moment, int(subscription["id"])))
        for moment, subscription_id in sorted(due):
            store.renew(subscription_id, moment)


def _classes(orders: int) -> list[str]:
    """Return a class for each order, in a fixed order, with exactly the planted numbers."""
    planted: list[str] = []
    if orders >= ODD_FROM:
        for kind, share in ODDITIES.items():
            planted += [kind] * max(1, round(orders * share))
        planted.append("other_currency")
    paid = orders - sum(kind in UNPAID for kind in planted)
    planted += ["open"] * round(OPEN_SHARE * paid)
    return planted + ["won"] * (orders - len(planted))


def _whole(placed: Placed) -> int:
    """Return the order's total in whole units of the account's currency (US dollars), floored."""
    total_usd: int = placed.order["attributes"]["total_usd"]
    return total_usd // 100
