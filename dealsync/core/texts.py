"""The words that people read in Kommo: notes and tasks, from sandboxed Jinja2 templates.

Every text ends in a short reference made from the idempotency key, by which a lost answer is found again.
"""

from __future__ import annotations

import hashlib

from babel.numbers import format_currency
from jinja2 import DictLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from dealsync.core.models import Money, Order

_TEMPLATES = {
    "paid": "Paid: {{ amount }} for {{ product }}, Lemon Squeezy order #{{ number }}.",
    "payment_failed": "Payment failed: {{ amount }} for {{ product }}, Lemon Squeezy order #{{ number }}.",
    "refunded": "Refunded in full: {{ refunded }} for {{ product }}, Lemon Squeezy order #{{ number }}.",
    "partly_refunded": "Refunded in part: {{ refunded }} of {{ amount }} so far for {{ product }}, "
    "Lemon Squeezy order #{{ number }}.",
    "task_refunded": "Refunded in full: {{ refunded }} for {{ product }}, order #{{ number }}. "
    "Talk to the client and decide what becomes of this deal.",
    "task_partly_refunded": "Refunded in part: {{ refunded }} of {{ amount }} for {{ product }}, order #{{ number }}. "
    "Check what the client still has.",
    "task_fraudulent": "URGENT: Lemon Squeezy marked the payment of {{ amount }} (order #{{ number }}) as fraudulent. "
    "Stop delivery and check.",
    "task_paid_but_lost": "Paid but marked lost: {{ amount }} came in for {{ product }}, order #{{ number }}. "
    "Reopen the deal or refund the client.",
    "task_paid_twice": "Paid twice? {{ amount }} for {{ product }}, order #{{ number }}, "
    "came in for a deal that order #{{ other }} paid already. Refund it or open a deal of its own.",
    "task_amount_differs": "{{ amount }} was paid for {{ product }}, order #{{ number }}; the deal asked {{ asked }}. "
    "The price is now what was paid: check that this is right.",
    "task_other_currency": "{{ amount }} was paid for {{ product }}, order #{{ number }}, in another currency than "
    "this account's. The deal's price was left as it is: set it by hand.",
    "task_review": "Which deal was paid? {{ amount }} for {{ product }}, order #{{ number }}: {{ reason }}. "
    "{% if deals %}Possible deals: {{ deals }}. {% endif %}"
    "Write {{ order_id }} into the field LS order id of the right deal, or run: dealsync reviews.",
}
_environment = SandboxedEnvironment(
    loader=DictLoader(_TEMPLATES),
    undefined=StrictUndefined,
    autoescape=False,
)
NAME_LIMIT = 200
"""Characters of a product name that a text keeps; the rest is cut, with an ellipsis to say so."""


def reference(key: str) -> str:
    """Return the short reference of an idempotency key, as it stands at the end of a text: `ref 7f3a9c`."""
    return f"ref {hashlib.sha256(key.encode()).hexdigest()[:6]}"


def render(template: str, key: str, order: Order, *, locale: str, **extra: str) -> str:
    """Return the text `template` about `order`, ending in the reference of `key`."""
    body = _environment.get_template(template).render(
        amount=format_money(order.total, locale),
        refunded=format_money(order.refunded, locale),
        product=product_name(order),
        number=order.number,
        order_id=order.id,
        **extra,
    )
    return f"{body} {reference(key)}"


def format_money(money: Money, locale: str) -> str:
    """Return an amount as people in `locale` write it: `$490.00`, `490,00 €`."""
    return format_currency(money.major, money.currency, locale=locale)


def product_name(order: Order) -> str:
    """Return product and variant on one line; Lemon Squeezy calls a product's only variant "Default"."""
    plain = order.variant_name in ("", "Default", order.product_name)
    name = order.product_name if plain else f"{order.product_name} ({order.variant_name})"
    name = " ".join(name.split()) or f"variant {order.variant_id}"
    return name if len(name) <= NAME_LIMIT else f"{name[: NAME_LIMIT - 1]}…"
