"""Effects on the deal itself: status, price, LS fields. A part that a person changed is left alone."""

from __future__ import annotations

from functools import lru_cache

from dealsync.core.cases import Case, Outcome, act, refuse, seen
from dealsync.core.conflicts import (
    closed_lost_stays,
    never_backwards,
    not_our_field,
    null_never_overwrites,
    person_moved_it,
)
from dealsync.core.mapping import fields_digest
from dealsync.core.models import WON_STATUS_ID
from dealsync.core.plan import DealChange, Kind
from dealsync.core.products import rule_for

WON = {"status_id": str(WON_STATUS_ID)}


def close(case: Case) -> list[Outcome]:
    """Won, in the deal's own pipeline; but not out of the attention status that dealsync moved it to."""
    _, waiting = _attention_of(case)
    if case.deal.status_id == waiting and case.deal.written.get("status_id") == str(waiting):
        return []
    return _move(case, case.deal.pipeline_id, WON_STATUS_ID, "won", Kind.CLOSE, f"{case.fact} and the deal is open")


def won_already(case: Case) -> list[Outcome]:
    """The deal is won: remember it, so that a later move is known to be a person's."""
    return seen(case, WON)


def close_if_reopened(case: Case) -> list[Outcome]:
    """A deal that is marked lost is won only by policy."""
    if (why := closed_lost_stays(case.deal, reopens=case.policy.reopen_lost)) is not None:
        return refuse(case, "closed_lost_stays", f"{case.fact}, and {why}", "status_id")
    return close(case)


def close_trial(case: Case) -> list[Outcome]:
    """A trial wins its deal only by policy."""
    return close(case) if case.policy.trial_wins and case.deal.is_open else []


def attention(case: Case) -> list[Outcome]:
    """To the attention status: the one move backwards that is allowed."""
    pipeline_id, status_id = _attention_of(case)
    if case.deal.status_id == status_id:
        return []
    if case.invoice is not None and not case.policy.notifies(case.fact_at):
        return []  # a renewal that was given back long ago: the deal went on since
    return _move(case, pipeline_id, status_id, "attention", Kind.ATTENTION, str(case.fact))


def price(case: Case) -> list[Outcome]:
    """The price becomes what was paid, floored to what prices can hold; another currency leaves it alone."""
    if case.order is None or case.order.total.currency != case.policy.account_currency:
        return []
    paid, asked = case.policy.price_of(case.order), case.deal.price
    wanted = paid.units(case.policy.price_digits)
    if asked == wanted:
        return seen(case, _asked(asked))
    if (why := person_moved_it(case.deal, "price", str(asked))) is not None:
        return refuse(case, "person_moved_it", why, "price")
    reason = f"{paid.major} {paid.currency} was paid, the deal asked {asked}"
    return act(case, "price", Kind.PRICE, reason, DealChange(price=wanted))


@lru_cache(maxsize=4096)
def _asked(price: int) -> dict[str, str]:
    """A price that was seen, once for all deals that have it."""
    return {"price": str(price)}


def fill(case: Case) -> list[Outcome]:
    """The LS fields of the sale, as far as they differ from what the deal holds."""
    if not case.is_first:
        return []
    stored, outcomes, differing, right = case.deal.fields, list[Outcome](), dict[str, str](), dict[str, str]()
    for key, value in case.wanted.items():
        held = stored.get(key, "")
        if held == value:
            right |= {key: value} if value else {}
        elif (why := null_never_overwrites(held, value)) is not None:
            outcomes += refuse(case, "null_never_overwrites", f"the LS field {key}: {why}", key)
        elif (why := person_moved_it(case.deal, key, held)) is not None:
            outcomes += refuse(case, "person_moved_it", why, key)
        elif (why := not_our_field(key)) is not None:
            outcomes += refuse(case, "not_our_field", why, key)
        else:
            differing[key] = value
    outcomes += seen(case, right)
    if not differing:
        return outcomes
    # The same step may be due again later: a subscription is past due, active, and past due once more.
    steps = {key: f"{stored.get(key, '')} -> {value} ({case.changed_at})" for key, value in differing.items()}
    reason = f"LS fields differ: {', '.join(sorted(differing))}"
    change = DealChange(fields=differing)
    return [*outcomes, *act(case, f"fields:{fields_digest(steps)}", Kind.FIELDS, reason, change)]


def _move(case: Case, pipeline_id: int, status_id: int, effect: str, kind: Kind, reason: str) -> list[Outcome]:
    deal = case.deal
    why = person_moved_it(deal, "status_id", str(deal.status_id))
    if why is not None and not (status_id == WON_STATUS_ID and _was_waiting_for_it(case)):
        return refuse(case, "person_moved_it", why, "status_id")
    if (why := never_backwards(deal, case.fact, status_id)) is not None:
        return refuse(case, "never_backwards", why, "status_id")
    return act(case, effect, kind, reason, DealChange(pipeline_id=pipeline_id, status_id=status_id))


def _was_waiting_for_it(case: Case) -> bool:
    """Whether a person had put the deal into the invoice stage before this payment came: this is what it waited for."""
    deal = case.deal
    is_waiting = (deal.pipeline_id, deal.status_id) in case.policy.invoice_statuses
    return is_waiting and deal.entered_at is not None and deal.entered_at <= case.paid_at


def _attention_of(case: Case) -> tuple[int, int]:
    """Pipeline and status for deals that a person must look at: the product's, the pipeline's own, the home one's."""
    if case.order is not None:
        special = rule_for(case.order, case.policy.products)
        if special.attention_status_id is not None and special.pipeline_id == case.deal.pipeline_id:
            return special.pipeline_id, special.attention_status_id
    funnel = case.policy.funnel(case.deal.pipeline_id)
    return funnel.pipeline_id, funnel.attention_status_id
