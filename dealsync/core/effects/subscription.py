"""Effects of subscriptions and of their invoices."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from dealsync.core.cases import Alarm, Case, Outcome, act, alarm, note, seen, task
from dealsync.core.facts import Fact
from dealsync.core.mapping import fields_digest, plain_amount, plain_time
from dealsync.core.models import WON_STATUS_ID, Invoice, Subscription
from dealsync.core.plan import Action, Kind, NewDeal

A_YEAR = timedelta(days=300)
"""A period as long as this is that of an annual plan."""


def started_note(case: Case) -> list[Outcome]:
    """One note on a subscription that began without money; with money, the payment's note tells of it."""
    if case.order is None or case.order.total.minor > 0:
        return []
    template = "trial" if case.fact is Fact.TRIAL else "subscribed"
    return note(case, "note:started", template, str(case.fact), _subscription(case).created_at)


def dunning(case: Case) -> list[Outcome]:
    """One task and a tag while a renewal cannot be charged; when all attempts failed it becomes urgent."""
    return alarm(case, "dunning", str(case.fact), urgent=case.fact is Fact.UNPAID)


def cancelled(case: Case) -> list[Outcome]:
    """One task and a tag while a cancelled subscription runs out."""
    return alarm(case, "cancelled", str(case.fact), mark=_end(case))


def churned(case: Case) -> list[Outcome]:
    """The end: a tag; and the one task about the cancellation, which stays or, if there was none, comes now."""
    told = alarm(case, "cancelled", str(case.fact), mark=_end(case))
    open_stem = next((stem for stem, name in case.ground.alarms_of(case.source) if name == "cancelled"), None)
    if open_stem is not None:
        told = [replace(out, stem=open_stem) for out in told if isinstance(out, Alarm)]
    return [*alarm(case, "churned", str(case.fact), mark=_end(case)), *told]


def paused(case: Case) -> list[Outcome]:
    """A note and a tag while payments are not collected."""
    return alarm(case, "paused", str(case.fact))


def changed_note(case: Case) -> list[Outcome]:
    """A note on a changed plan or number of seats: old and new. The first sight is remembered, and no change."""
    subscription, before = _subscription(case), case.deal.written
    now = {"plan": case.values["plan"], "seats": str(subscription.quantity or "")}
    memory = {f"subscription:{subscription.id}:{name}": value for name, value in now.items() if value}
    old = {name: before.get(f"subscription:{subscription.id}:{name}", "") for name in now}
    remembered = seen(case, memory)
    if not old["plan"] or all(old[name] == value or not value for name, value in now.items()):
        return remembered
    words = case.policy.texts
    steps = {name: f"{old[name]} -> {value} ({subscription.updated_at})" for name, value in now.items()}
    was, became = words.plain("plan_and_seats", old), words.plain("plan_and_seats", {**old, **_filled(now)})
    told = note(
        case, f"note:changed:{fields_digest(steps)}", "plan_changed", "plan or seats changed", old=was, new=became
    )
    return [*remembered, *told]


def reminder(case: Case) -> list[Outcome]:
    """A task some days before an annual plan renews, if the account wants it."""
    subscription, ahead = _subscription(case), case.policy.reminder
    if ahead is None or subscription.renews_at is None or not _is_annual(case):
        return []
    if not case.now < subscription.renews_at <= case.now + ahead:
        return []
    effect, reason = f"renews:{plain_time(subscription.renews_at)}", "an annual plan renews soon"
    return task(case, effect, "task_renews", reason, fact_at=case.now)


def renewal_note(case: Case) -> list[Outcome]:
    """One note a renewal, or charge for a changed plan."""
    template = "renewal" if _invoice(case).billing_reason == "renewal" else "plan_charge"
    return note(case, "renewal", template, str(case.fact), _invoice(case).created_at)


def renewal_deal(case: Case) -> list[Outcome]:
    """A won deal of its own for each renewal, if the account wants it."""
    invoice, deal, policy = _invoice(case), case.deal, case.policy
    if not policy.renewal_deals or invoice.billing_reason != "renewal" or not policy.notifies(invoice.created_at):
        return []
    is_ours = invoice.total.currency == policy.account_currency
    made = NewDeal(
        name=f"{deal.name} ({invoice.created_at:%Y-%m-%d})",
        pipeline_id=deal.pipeline_id,
        status_id=WON_STATUS_ID,
        price=invoice.total.units(policy.price_digits) if is_ours else None,
        responsible_user_id=policy.owner_of(deal),
        fields={
            "invoice_id": invoice.id,
            "amount_paid": plain_amount(invoice.total),
            "currency": invoice.total.currency,
        },
        tags=("ls:renewal",),
        contact_id=deal.contact_ids[0] if deal.contact_ids else None,
    )
    actions = act(case, "deal", Kind.CREATE_DEAL, "a renewal gets a deal of its own", made)
    return [replace(action, lead_id=None) for action in actions if isinstance(action, Action)]


def renewal_refund(case: Case) -> list[Outcome]:
    """One task and one note for each further refunded amount of a renewal."""
    minor = _invoice(case).refunded.minor
    name = "invoice_refunded" if case.fact is Fact.RENEWAL_REFUNDED else "invoice_partly_refunded"
    return [
        *task(case, f"refund:{minor}", f"task_{name}", str(case.fact)),
        *note(case, f"note:refund:{minor}", name, str(case.fact)),
    ]


def _is_annual(case: Case) -> bool:
    """Whether its present period is that of an annual plan; no list shows the interval, so the times must tell."""
    began, ends = case.last_paid_at or _subscription(case).created_at, _subscription(case).renews_at
    return ends is not None and ends - began >= A_YEAR


def _end(case: Case) -> str:
    ends_at = _subscription(case).ends_at
    return plain_time(ends_at) if ends_at else ""


def _filled(values: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _subscription(case: Case) -> Subscription:
    if case.subscription is None:
        raise ValueError(f"{case.source} has no subscription")
    return case.subscription


def _invoice(case: Case) -> Invoice:
    if case.invoice is None:
        raise ValueError(f"{case.source} has no invoice")
    return case.invoice
