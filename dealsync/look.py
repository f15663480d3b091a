"""Events -> mirror: reading, as they are now, the objects that webhooks say to look at. Reading changes nothing.

A webhook says "look here", never "it is so": nothing of its body gets into the mirror.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dealsync.abreast import abreast
from dealsync.core.evidence import lead_id_in
from dealsync.core.focus import Focus
from dealsync.core.inbox import Failure, InboxItem, Sight, Target, is_echo, reason_to_pass, spoken_of
from dealsync.core.sightings import How
from dealsync.fetch import Hint, Readings, Wanted, fetch
from dealsync.poll import read_deals
from dealsync.run import Run

KNOWN = "is known already: our own write, or read since"


@dataclass(frozen=True, slots=True)
class Looked:
    """What each event of a batch was about; every event is in one of the three, by its id."""

    focus_of: Mapping[str, Focus]
    passed: Mapping[str, str]  # nothing to look at, and why
    failed: Mapping[str, Failure]
    told_lead_ids: frozenset[int] = frozenset()  # deals that events speak of, whether these were passed or not

    @property
    def focus(self) -> Focus:
        """Everything that was looked at."""
        parts = self.focus_of.values()
        orders, leads = [part.order_ids for part in parts], [part.lead_ids for part in parts]
        return Focus(frozenset().union(*orders), frozenset().union(*leads))


async def look(run: Run, items: Sequence[InboxItem]) -> Looked:
    """Bring the mirror up to date with what events speak of. Raises as `fetch`."""
    run.progress(f"Looking at what {len(items)} events speak of")
    passed = _passed(run, items)
    left = [item for item in items if item.event.event_id not in passed]
    lead_ids = {lead_id for item in left if (lead_id := _lead_id(item)) is not None}
    readings = Readings()
    reads = [_read_sales(run, left, readings)] + ([read_deals(run, lead_ids, How.WEBHOOK)] if lead_ids else [])
    await abreast(reads)
    focus_of: dict[str, Focus] = {}
    failed: dict[str, Failure] = {}
    for item, chain in _chains(run, left):
        failure = next((readings.failures[link] for link in chain if link in readings.failures), None)
        if failure is not None:
            failed[item.event.event_id] = failure
            continue
        orders = frozenset(object_id for sight, object_id in chain if sight is Sight.ORDER)
        lead_id = _lead_id(item)
        focus_of[item.event.event_id] = Focus(orders, frozenset() if lead_id is None else frozenset({lead_id}))
    told = frozenset(lead_id for item in items if (lead_id := _lead_id(item)) is not None)
    return Looked(focus_of, passed, failed, told)


def _passed(run: Run, items: Sequence[InboxItem]) -> dict[str, str]:
    """Why events need no look, by id."""
    policy = run.directory.policy
    lead_ids = {lead_id for item in items if (lead_id := _lead_id(item)) is not None}
    times, places = run.store.mirror.updated_at(lead_ids), run.store.mirror.placed(lead_ids)
    passed: dict[str, str] = {}
    for item in items:
        event, lead_id = item.event, _lead_id(item)
        why = reason_to_pass(event, test_mode=policy.test_mode, store_ids=policy.store_ids)
        if not why and lead_id in places and is_echo(event, times[lead_id], places[lead_id][0]):
            why = KNOWN
        if why:
            passed[event.event_id] = why
    return passed


def _lead_id(item: InboxItem) -> int | None:
    target = spoken_of(item.event)
    return lead_id_in(target.id) if target and target.sight is Sight.DEAL else None


async def _read_sales(run: Run, items: Sequence[InboxItem], readings: Readings) -> None:
    """Read what events speak of; then what that belongs to, as far as it was never seen."""
    wanted: Wanted = {}
    above: list[Target] = []
    for item in items:
        event, target = item.event, spoken_of(item.event)
        if target is None or target.sight is Sight.DEAL:
            continue
        is_its_own = target.id == event.object_id
        hint = Hint(event.store_id, event.object_created_at) if is_its_own else Hint()
        wanted.setdefault(target.sight, {})[target.id] = hint
        # Where the body tells what its object belongs to, both are read at once; what was read decides in the end.
        if target.sight is Sight.INVOICE and event.subscription_id:
            above.append(Target(Sight.SUBSCRIPTION, event.subscription_id))
        elif target.sight is Sight.SUBSCRIPTION and event.order_id:
            above.append(Target(Sight.ORDER, event.order_id))
    _add_unseen(run, wanted, above)
    while wanted:
        await fetch(run, wanted, readings)
        links = [
            (Sight.SUBSCRIPTION, run.store.mirror.parents("invoices", wanted.get(Sight.INVOICE, {}))),
            (Sight.ORDER, run.store.mirror.parents("subscriptions", wanted.get(Sight.SUBSCRIPTION, {}))),
        ]
        belongs = (Target(sight, parent) for sight, parents in links for parent in parents.values())
        wanted = {}
        _add_unseen(run, wanted, (target for target in belongs if (target.sight, target.id) not in readings))


def _add_unseen(run: Run, wanted: Wanted, targets: Iterable[Target]) -> None:
    """Add those of these objects that were never read."""
    by_sight: dict[Sight, set[str]] = {}
    for target in targets:
        by_sight.setdefault(target.sight, set()).add(target.id)
    mirror = run.store.mirror
    for sight, ids in by_sight.items():
        seen = mirror.seen_orders(ids) if sight is Sight.ORDER else mirror.parents("subscriptions", ids).keys()
        for object_id in ids - seen:
            wanted.setdefault(sight, {}).setdefault(object_id, Hint())


def _chains(run: Run, items: Sequence[InboxItem]) -> Iterable[tuple[InboxItem, list[tuple[Sight, str]]]]:
    """Yield each event with the object that it speaks of, what that belongs to, and so on up to the order."""
    targets = [target for item in items if (target := spoken_of(item.event))]
    invoices = run.store.mirror.parents("invoices", {t.id for t in targets if t.sight is Sight.INVOICE})
    named = {t.id for t in targets if t.sight is Sight.SUBSCRIPTION} | set(invoices.values())
    subscriptions = run.store.mirror.parents("subscriptions", named)
    for item in items:
        target = spoken_of(item.event)
        chain = [(target.sight, target.id)] if target else []
        for sight, parents, above in (
            (Sight.INVOICE, invoices, Sight.SUBSCRIPTION),
            (Sight.SUBSCRIPTION, subscriptions, Sight.ORDER),
        ):
            if chain and chain[-1][0] is sight and chain[-1][1] in parents:
                chain.append((above, parents[chain[-1][1]]))
        yield item, chain
