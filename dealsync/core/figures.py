"""The figures of a month: what came, what went back, what is not explained, how quick and how true the deals were.

Everything is about events inside the month, or about how things stood at its end. So the figures of a month that is
over stay what they are, whatever happens later; only facts about it that are read late change them.
Amounts of different currencies are never added up.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from dealsync.core.history import History
from dealsync.core.models import Money
from dealsync.core.month import Month
from dealsync.core.movements import Event, Movement, movements
from dealsync.core.texts import plan_name

DUE = timedelta(days=30)
"""How far ahead renewals are told."""
SETTLED = timedelta(days=1)
"""How long after its first run dealsync has placed what was paid before."""
STUCK = "stuck"
NEVER_PAID = "won_never_paid"
BY_WEBHOOK, BY_POLL = "by webhook", "by poll"
ENDED, PAYS_LATE, RUNNING = "expired", ("past_due", "unpaid"), ("active", "on_trial", "past_due")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was out of step from one time to another; None: it still is."""

    kind: str
    source: str
    lead_id: int | None
    since: datetime  # it was so
    first_seen_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Win:
    """dealsync won a deal."""

    source: str
    order_id: str
    lead_id: int
    at: datetime
    way: str  # BY_WEBHOOK, BY_POLL


@dataclass(frozen=True, slots=True)
class Facts:
    """What the database holds, of all time: by key, each with its past."""

    orders: Mapping[str, History]
    invoices: Mapping[str, History]
    subscriptions: Mapping[str, History]
    deals: Mapping[int, History]  # `responsible_user_id`
    links: Mapping[str, History]  # by order: `lead_id`, `tier`, `linked_at`
    reviews: Mapping[str, History]  # by order: `first_seen_at`, `closed_at`
    users: Mapping[int, History]  # `name`; None where it was not known
    findings: Sequence[Finding] = ()
    wins: Sequence[Win] = ()
    drifts: Sequence[tuple[datetime, Mapping[str, int]]] = ()  # what each whole run found
    began_at: datetime | None = None  # the first run: who paid before could not be served sooner


@dataclass(frozen=True, slots=True)
class Placed:
    """An event with its deal, as that stood at the month's end."""

    event: Event
    lead_id: int | None
    owner_id: int | None
    tier: str


@dataclass(slots=True)
class Totals:
    """What came and went in one currency."""

    currency: str
    sales: int = 0
    renewals: int = 0
    paid_minor: int = 0
    refunds: int = 0  # in full
    part_refunds: int = 0
    refunded_minor: int = 0
    frauds: int = 0
    fraud_minor: int = 0

    @property
    def kept_minor(self) -> int:
        """What came less what went back."""
        return self.paid_minor - self.refunded_minor - self.fraud_minor

    def add(self, event: Event) -> None:
        """Count an event."""
        if event.movement.is_payment:
            self.sales += event.movement is Movement.SALE
            self.renewals += event.movement is Movement.RENEWAL
            self.paid_minor += event.amount.minor
        elif event.movement is Movement.FRAUD:
            self.frauds += 1
            self.fraud_minor += event.amount.minor
        else:
            self.refunds += event.movement is Movement.REFUND
            self.part_refunds += event.movement is Movement.PART_REFUND
            self.refunded_minor += event.amount.minor


@dataclass(frozen=True, slots=True)
class Row:
    """Totals of one product or owner."""

    name: str
    totals: Totals
    user_id: int | None = None


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A payment without a deal at the month's end."""

    order_id: str
    number: int | None
    at: datetime
    amount: Money
    product: str
    waits: bool  # for a person, in the review queue


@dataclass(frozen=True, slots=True)
class Standing:
    """A deal that was out of step at the month's end."""

    lead_id: int
    owner: str
    since: datetime
    days: int


@dataclass(frozen=True, slots=True)
class Renewal:
    """A subscription that is to renew, and what it paid last."""

    subscription_id: str
    at: datetime
    product: str
    lead_id: int | None
    owner: str
    last_paid: Money | None


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds from payments to won deals."""

    deals: int
    p50_s: int
    p95_s: int


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """How subscriptions stood at the month's end, and what changed in the month."""

    by_status: Mapping[str, int]
    active: int
    dunning: int
    started: int
    cancelled: int
    churned: int


@dataclass(frozen=True, slots=True)
class Figures:
    """A month."""

    month: str
    zone: str
    start: datetime
    end: datetime
    until: datetime
    is_over: bool
    is_watched: bool  # dealsync was at work before its end, so that it knows what was out of step then
    totals: tuple[Totals, ...]
    by_product: tuple[Row, ...]
    by_owner: tuple[Row, ...]
    won: int
    speed: Mapping[str, Speed]  # by way
    unplaced: tuple[Unplaced, ...]
    reviews_waiting: int
    never_paid: tuple[Standing, ...]
    stuck: tuple[Standing, ...]
    renewals_due: tuple[Renewal, ...]
    subscriptions: Subscriptions
    drift: Mapping[str, int]  # at the month's end
    drift_runs: tuple[tuple[datetime, Mapping[str, int]], ...]  # where it changed
    payments_by_day: Mapping[date, int]
    refunds_by_day: Mapping[date, int]
    seconds: Mapping[str, tuple[int, ...]]  # by way, sorted
    events: tuple[Placed, ...] = field(default=())

    @property
    def has_payments(self) -> bool:
        """Whether money came."""
        return any(totals.sales or totals.renewals for totals in self.totals)

    def as_json(self) -> dict[str, Any]:
        """Return the figures as plain values. Of events there is a digest: they are the rows of the CSV."""
        values = {name: value for name, value in asdict(self).items() if name not in ("events", "seconds")}
        values["totals"] = [_with_kept(totals) for totals in self.totals]
        for name, rows in (("by_product", self.by_product), ("by_owner", self.by_owner)):
            values[name] = [{**asdict(row), "totals": _with_kept(row.totals)} for row in rows]
        plain: dict[str, Any] = _plain({**values, "events_sha256": digest([asdict(one) for one in self.events])})
        return plain

    @property
    def sha256(self) -> str:
        """The digest of these values: equal figures, equal digests."""
        return digest(self.as_json())


def digest(value: Any) -> str:
    """Return the sha256 of canonical JSON: sorted keys, no blanks."""
    text = json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def figures(facts: Facts, month: Month) -> Figures:
    """Return the figures of a month from all that is known."""
    everything = movements(facts.orders, facts.invoices, facts.subscriptions)
    at = _placed_at(facts, month)
    events = [_placed(event, facts, at) for event in everything if month.holds(event.at)]
    wins = [win for win in facts.wins if month.holds(win.at)]
    # Lemon Squeezy tells times in whole seconds: what was paid in the first run's own second may have been seen.
    began_at = facts.began_at.replace(microsecond=0) if facts.began_at else None
    seconds = _seconds(wins, [one for one in everything if began_at and one.at >= began_at])
    standing = [one for one in facts.findings if _stands(one.first_seen_at, one.ended_at, month.until)]
    return Figures(
        month=month.name,
        zone=month.zone,
        start=month.start,
        end=month.end,
        until=month.until,
        is_over=month.is_over,
        is_watched=facts.began_at is not None and facts.began_at < month.until,
        totals=tuple(totals for _, totals in _summed(events, lambda _: "")),
        by_product=tuple(Row(*one) for one in _summed(events, lambda placed: placed.event.product)),
        by_owner=_by_owner(events, facts, at),
        won=len({win.lead_id for win in wins}),
        speed={way: _speed(found) for way, found in seconds.items() if found},
        unplaced=tuple(_unplaced(events, facts, at)),
        reviews_waiting=sum(_waits(review, at) for review in facts.reviews.values()),
        never_paid=_standing(NEVER_PAID, standing, facts, month),
        stuck=_standing(STUCK, standing, facts, month),
        renewals_due=tuple(_renewals(everything, facts, month, at)),
        subscriptions=_subscriptions(facts.subscriptions, month),
        drift=_counts(one.kind for one in standing),
        drift_runs=tuple(_changes([run for run in facts.drifts if month.holds(run[0])])),
        payments_by_day=_per_day(events, month, payments=True),
        refunds_by_day=_per_day(events, month, payments=False),
        seconds=seconds,
        events=tuple(events),
    )


def due(figures: Figures) -> list[Money]:
    """Return what the subscriptions that are to renew paid last, by currency."""
    sums: Counter[str] = Counter()
    for renewal in figures.renewals_due:
        if renewal.last_paid is not None:
            sums[renewal.last_paid.currency] += renewal.last_paid.minor
    return [Money(minor, currency) for currency, minor in sorted(sums.items())]


def _placed_at(facts: Facts, month: Month) -> datetime:
    """As of when deals and owners are told: the month's end, but not before dealsync's first run had placed things."""
    if facts.began_at is None:
        return month.until
    return max(month.until, min(month.now, facts.began_at + SETTLED))


def _placed(event: Event, facts: Facts, at: datetime) -> Placed:
    lead_id, tier = _link(event.order_id, facts, at)
    return Placed(event, lead_id, _owner(lead_id, facts, at), tier)


def _link(order_id: str, facts: Facts, at: datetime) -> tuple[int | None, str]:
    """Which deal an order belonged to at a time."""
    found = facts.links.get(order_id)
    values = found.before(at) if found else None
    if values is None or values["linked_at"] >= at:
        return None, ""
    return values["lead_id"], values["tier"]


def _owner(lead_id: int | None, facts: Facts, at: datetime) -> int | None:
    found = facts.deals.get(lead_id) if lead_id is not None else None
    user_id: int | None = found.before(at)["responsible_user_id"] if found else None
    return user_id


def _name(user_id: int | None, facts: Facts, at: datetime) -> str:
    if user_id is None:
        return "no owner"
    found = facts.users.get(user_id)
    return (found.before(at)["name"] if found else None) or f"user {user_id}"


def _owner_name(lead_id: int | None, facts: Facts, at: datetime) -> str:
    return "no deal yet" if lead_id is None else _name(_owner(lead_id, facts, at), facts, at)


def _summed(events: Sequence[Placed], group: Callable[[Placed], str]) -> list[tuple[str, Totals]]:
    """Totals by group and currency: the currency of most events first, in it the largest group."""
    often = Counter(placed.event.amount.currency for placed in events)
    sums: dict[tuple[str, str], Totals] = {}
    for placed in events:
        key = (group(placed), placed.event.amount.currency)
        sums.setdefault(key, Totals(key[1])).add(placed.event)
    ordered = sorted(sums.items(), key=lambda one: (-often[one[0][1]], one[0][1], -one[1].paid_minor, one[0][0]))
    return [(name, totals) for (name, _), totals in ordered]


def _by_owner(events: Sequence[Placed], facts: Facts, at: datetime) -> tuple[Row, ...]:
    """By owner of the deals; what has no deal is told as such."""
    nobody = {"": "no deal yet"}
    summed = _summed(events, lambda one: "" if one.lead_id is None else str(one.owner_id or 0))
    return tuple(
        Row(nobody.get(key) or _name(int(key) or None, facts, at), totals, (int(key) or None) if key else None)
        for key, totals in summed
    )


def _seconds(wins: Iterable[Win], events: Iterable[Event]) -> dict[str, tuple[int, ...]]:
    """How long each win took since the payment that it is about."""
    paid: dict[str, datetime] = {}
    for event in events:
        if event.movement.is_payment:
            paid.setdefault(event.source, event.at)
            paid.setdefault(f"order:{event.order_id}", event.at)
    found: dict[str, list[int]] = {BY_WEBHOOK: [], BY_POLL: []}
    for win in wins:
        at = paid.get(win.source) or paid.get(f"order:{win.order_id}")
        if at is not None:
            found[win.way].append(max(0, int((win.at - at).total_seconds())))
    return {way: tuple(sorted(seconds)) for way, seconds in found.items()}


def _speed(seconds: Sequence[int]) -> Speed:
    return Speed(len(seconds), percentile(seconds, 50), percentile(seconds, 95))


def percentile(ordered: Sequence[int], percent: int) -> int:
    """Return the smallest value that so many percent of sorted values do not exceed."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def _unplaced(events: Iterable[Placed], facts: Facts, at: datetime) -> Iterable[Unplaced]:
    for placed in events:
        event = placed.event
        if event.movement.is_payment and placed.lead_id is None:
            review = facts.reviews.get(event.order_id)
            waits = review is not None and _waits(review, at)
            yield Unplaced(event.order_id, event.number, event.at, event.amount, event.product, waits)


def _waits(review: History, at: datetime) -> bool:
    values = review.before(at)
    return _stands(values["first_seen_at"], values["closed_at"], at)


def _stands(since: datetime, until: datetime | None, at: datetime) -> bool:
    return since < at and (until is None or until >= at)


def _standing(kind: str, findings: Iterable[Finding], facts: Facts, month: Month) -> tuple[Standing, ...]:
    """The deals of a class, those that wait longest first."""
    found = sorted((f.since, f.lead_id) for f in findings if f.kind == kind and f.lead_id is not None)
    return tuple(
        Standing(lead_id, _owner_name(lead_id, facts, month.until), since, (month.until - since).days)
        for since, lead_id in found
    )


def _renewals(events: Iterable[Event], facts: Facts, month: Month, placed_at: datetime) -> Iterable[Renewal]:
    """What renews within DUE after the month's end, by what was known then, the next first."""
    last: dict[str, Money] = {}
    for event in events:
        if event.movement.is_payment and event.at < month.until:
            last[event.subscription_id or f"order:{event.order_id}"] = event.amount
    due = []
    for subscription_id, found in facts.subscriptions.items():
        values = found.before(month.until)
        at = values["renews_at"]
        if values["subscription_status"] not in RUNNING or values["is_cancelled"] or at is None:
            continue
        if values["created_at"] < month.until <= at < month.until + DUE:
            lead_id, _ = _link(values["order_id"], facts, placed_at)
            owner = _owner_name(lead_id, facts, placed_at)
            paid = last.get(subscription_id) or last.get(f"order:{values['order_id']}")
            product = plan_name(values["product_name"], values["variant_name"])
            due.append(Renewal(subscription_id, at, product, lead_id, owner, paid))
    return sorted(due, key=lambda one: (one.at, one.subscription_id))


def _subscriptions(subscriptions: Mapping[str, History], month: Month) -> Subscriptions:
    known = [one for one in subscriptions.values() if one.first["created_at"] < month.until]
    before = [one.before(month.start) if one.first["created_at"] < month.start else None for one in known]
    after = [one.before(month.until) for one in known]
    pairs = list(zip(before, after, strict=True))
    by_status = _counts(values["subscription_status"] for values in after)
    return Subscriptions(
        by_status=by_status,
        active=by_status.get("active", 0),
        dunning=sum(by_status.get(status, 0) for status in PAYS_LATE),
        started=before.count(None),
        cancelled=sum(_is_ending(new) and not (old and _is_ending(old)) for old, new in pairs),
        churned=sum(_is_over(new) and not (old and _is_over(old)) for old, new in pairs),
    )


def _is_over(values: Mapping[str, Any]) -> bool:
    return bool(values["subscription_status"] == ENDED)


def _is_ending(values: Mapping[str, Any]) -> bool:
    return bool(values["is_cancelled"]) or values["subscription_status"] in ("cancelled", ENDED)


def _changes(runs: Sequence[tuple[datetime, Mapping[str, int]]]) -> Iterable[tuple[datetime, Mapping[str, int]]]:
    """Leave out runs that found what the one before and the one after found."""
    for place, (at, counts) in enumerate(runs):
        if place in (0, len(runs) - 1) or counts != runs[place - 1][1]:
            yield at, counts


def _per_day(events: Iterable[Placed], month: Month, *, payments: bool) -> dict[date, int]:
    counts = dict.fromkeys(month.days(), 0)
    for placed in events:
        if placed.event.movement.is_payment is payments:
            counts[month.day_of(placed.event.at)] += 1
    return counts


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _with_kept(totals: Totals) -> dict[str, Any]:
    return {**asdict(totals), "kept_minor": totals.kept_minor}


def _plain(value: Any) -> Any:
    """As JSON has it: times and days as text."""
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value.isoformat() if isinstance(value, date) else value
