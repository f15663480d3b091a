"""Deals that wait for payment -> one live checkout each, and its link where the client will see it.

A checkout is known by its mark, a digest of what was asked for: the same wish finds the same checkout again, however
often the deal comes and goes; another price, e-mail or variant is another wish. What is told of a checkout is planned
once it is there, so a plan opens checkouts, and the plan after it passes their links on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from dealsync.core.alarms import lowered, raised
from dealsync.core.asking import Obstacle, asked
from dealsync.core.cases import Ground
from dealsync.core.evidence import IssuedCheckout
from dealsync.core.models import WON_STATUS_ID, normal_email
from dealsync.core.plan import Action, CheckoutWish, Kind, Refusal, in_order
from dealsync.core.policy import WhenExpired
from dealsync.core.telling import letters_that_came_back, tell, wish_of
from dealsync.core.waiting import Awaiting, Verdict, Waiting

MARK_LENGTH = 12


@dataclass(frozen=True, slots=True)
class CheckoutPlan:
    """What is to be done about checkouts."""

    actions: tuple[Action, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    unsure: frozenset[int] = frozenset()  # deals about which it matters since when they are in their status


def plan_checkouts(
    waiting: Iterable[Awaiting],
    ground: Ground,
    currencies: Mapping[str, str],
    gone: Collection[int] = (),
    payments_seen_at: datetime | None = None,
) -> CheckoutPlan:
    """Return the plan for these deals; of those that are closed, flags are taken back.

    `currencies`: of the stores, by id; needed only where the deal's price is charged. `gone`: deals that were deleted.
    `payments_seen_at`: payments before that are known, so that nobody is reminded of what he has paid.
    """
    sheets = [Waiting(one, ground, payments_seen_at) for one in waiting]
    for one in sheets:
        _decide(one, currencies)
    alarms = [alarm for one in sheets for alarm in one.alarms]
    actions = [action for one in sheets for action in one.actions]
    actions += [action for alarm in alarms for action in raised(alarm, ground)]
    # A deal that is moved out of the stage and open still keeps its flags: it may be back in a minute.
    looked_at: dict[str, dict[str, Any]] = {one.source: {} for one in sheets if not one.is_away}
    actions += lowered(alarms, ground, looked_at, gone)
    return CheckoutPlan(
        actions=tuple(in_order(actions)),
        verdicts=tuple(one.verdict for one in sheets),
        refusals=tuple(refusal for one in sheets for refusal in one.refusals),
        unsure=frozenset(one.deal.lead_id for one in sheets if one.is_unsure),
    )


def mark_of(wish: CheckoutWish, rounds: int, *, test_mode: bool) -> str:
    """Return the digest of what is asked for. `rounds`: payments that came for the deal and were given back."""
    price = wish.custom_price
    asked_for = {
        "store": wish.store_id,
        "variant": wish.variant_id,
        "email": normal_email(wish.email),
        "price": [price.minor, price.currency] if price else None,
        "quantity": wish.quantity,
        "discount": wish.discount_code,
        "rounds": rounds,
        "test": test_mode,
    }
    return hashlib.sha256(json.dumps(asked_for, sort_keys=True).encode()).hexdigest()[:MARK_LENGTH]


def _decide(one: Waiting, currencies: Mapping[str, str]) -> None:
    """Find out what is owed."""
    if one.deal.is_deleted:
        one.conclude("elsewhere", "it was deleted")
    elif one.is_away:
        letters_that_came_back(one)
    elif not one.is_in_stage:
        return  # closed
    elif any(payment.is_kept for payment in one.known.payments):
        _paid(one)
    elif one.known.is_subscribed:
        one.conclude("paid", "its subscription runs already")
    elif isinstance(wish := asked(one.deal, one.known.contact, one.policy, currencies), Obstacle):
        one.flag(wish.name, wish.words, **wish.values)
    else:
        _serve(one, wish)


def _paid(one: Waiting) -> None:
    """A deal that was won and is back in the stage; one that is about to be won needs no words."""
    if one.deal.written.get("status_id") == str(WON_STATUS_ID):
        number = max(payment.number for payment in one.known.payments if payment.is_kept)
        one.alarm("paid-already", "it is paid already", number=number)
    one.conclude("paid", "it is paid already")


def _serve(one: Waiting, wish: CheckoutWish) -> None:
    """See to it that there is one live checkout, and that its link is told."""
    policy, now = one.policy.checkout, one.ground.now
    mark = mark_of(wish, len(one.known.payments), test_mode=one.policy.test_mode)
    opened = [c for c in one.mine if wish_of(c.mark) == mark]  # each after the one before had expired
    live = next((c for c in opened if c.expires_at is None or c.expires_at > now), None)
    if live is not None:
        one.conclude("live", url=live.url)
        tell(one, live, wish)
    elif opened and policy.when_expired is not WhenExpired.REISSUE:
        _expired(one, opened[-1], policy.when_expired)
    else:
        again = f"-{len(opened) + 1}" if opened else ""
        expires_at = None if policy.expires is None else now + policy.expires
        _open(one, replace(wish, mark=f"{mark}{again}", expires_at=expires_at))


def _open(one: Waiting, wish: CheckoutWish) -> None:
    effect = f"checkout:{wish.mark}"
    if (words := one.known.refused.get(one.key(effect))) is not None:
        one.flag("checkout-refused", "Lemon Squeezy refused to open a checkout", words=words)
    elif one.key(effect) in one.ground.states:
        # A person gave it up, or took a hand in the database or in the store.
        one.conclude("flagged", "its checkout was given up, or opened and is nowhere to be found")
    else:
        one.conclude("to-open")
    one.act(effect, Kind.CHECKOUT, "the deal waits for payment and has no checkout for it", wish)


def _expired(one: Waiting, last: IssuedCheckout, when: WhenExpired) -> None:
    words = "its checkout has expired"
    if when is WhenExpired.TASK:
        one.flag("checkout-expired", words, mark=last.mark, expires=last.expires_at, lead_id=one.deal.lead_id)
    else:
        one.conclude("flagged", words)
