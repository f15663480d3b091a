"""Effects of orders: notes, tasks and flags about one payment."""

from __future__ import annotations

from dealsync.core.cases import Case, Outcome, alarm, flag, note, refuse, task
from dealsync.core.facts import Fact
from dealsync.core.models import Order, minor_digits


def payment_note(case: Case) -> list[Outcome]:
    """One note a payment: amount, product, order number."""
    return note(case, "note:paid", "paid", "the payment is not noted on the deal yet", case.paid_at)


def failed_note(case: Case) -> list[Outcome]:
    """One note on a payment that failed."""
    return note(case, "note:failed", "payment_failed", "the payment failed", case.paid_at)


def refund_task_and_note(case: Case) -> list[Outcome]:
    """One task and one note for each further refunded amount."""
    minor = _order(case).refunded.minor
    if not minor:
        return []
    name = "refunded" if case.fact in (Fact.REFUNDED, Fact.REFUNDED_BESIDE) else "partly_refunded"
    return [
        *task(case, f"refund:{minor}", f"task_{name}", str(case.fact)),
        *note(case, f"note:refund:{minor}", name, str(case.fact)),
    ]


def fraud_task(case: Case) -> list[Outcome]:
    """An urgent task, due at once."""
    return task(case, "fraud", "task_fraudulent", "the order is marked fraudulent", urgent=True)


def flag_lost(case: Case) -> list[Outcome]:
    """Paid but marked lost: a person decides, unless the policy reopens such deals, or that was decided already."""
    if case.deal.lead_id in case.ground.taken_back:
        return refuse(case, "taken_back", "a person took back what dealsync had done to this deal", "status_id")
    return [] if case.policy.reopen_lost else alarm(case, "flag:paid-lost", "paid but marked lost")


def flag_amount(case: Case) -> list[Outcome]:
    """Paid another amount than asked, beyond the tolerance. A deal without a price asked for nothing."""
    paid, asked, digits = case.policy.price_of(_order(case)), case.deal.price, case.policy.price_digits
    wanted = paid.units(digits)
    if paid.currency != case.policy.account_currency or asked in (0, wanted) or "price" in case.deal.written:
        return []
    price = case.policy.asked_of(case.deal)
    if abs(price.minor - paid.minor) <= case.policy.amount_tolerance:
        return []
    return flag(case, "amount", "task_amount_differs", "the amount paid is not the deal's price", asked=price)


def flag_older_link(case: Case) -> list[Outcome]:
    """Paid through a checkout link that another one had replaced: what was asked for had changed since."""
    if not case.through_older_link:
        return []
    return flag(case, "older-link", "task_old_link", "paid through an older checkout link")


def flag_currency(case: Case) -> list[Outcome]:
    """Paid in another currency: the price cannot be compared or set."""
    if _order(case).total.currency == case.policy.account_currency:
        return []
    return flag(case, "currency", "task_other_currency", "paid in another currency than the account's")


def flag_zero_decimal(case: Case) -> list[Outcome]:
    """A currency without cents: how Lemon Squeezy counts it is not confirmed, so a person compares once."""
    if not case.policy.flags_zero_decimal or minor_digits(_order(case).total.currency):
        return []
    return flag(case, "zero-decimal", "task_zero_decimal", "paid in a currency without cents")


def flag_paid_twice(case: Case) -> list[Outcome]:
    """A second payment for a deal that another order paid."""
    reason = f"deal {case.deal.lead_id} was paid by order {case.first_order_id} already"
    return alarm(case, "flag:paid-twice", reason, other=case.first_order_id)


def _order(case: Case) -> Order:
    if case.order is None:
        raise ValueError(f"{case.source} has no order")
    return case.order
