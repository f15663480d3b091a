"""The words that people read in Kommo: notes and tasks, from sandboxed Jinja2 templates in `words/`.

Every text ends in a short reference made from the idempotency key, by which a lost answer is found again.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_datetime
from babel.numbers import format_currency
from jinja2 import DictLoader, StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from dealsync.core.models import Invoice, Money, Order, Subscription

NAME_LIMIT = 200
"""Characters of a product name that a text keeps; the rest is cut, with an ellipsis to say so."""
TEXT_LIMIT = 10_000
"""Characters of a whole text: an owner's own template cannot grow beyond what Kommo keeps."""
ENDED = "expired"
LIVES = ("active", "on_trial", "paused")


@dataclass(frozen=True)
class Texts:
    """A language, the way to write amounts and days, and templates of the account's own in place of the built-in."""

    language: str = "en"
    locale: str = "en_US"
    zone: str = "UTC"
    overrides: Mapping[str, str] = field(default_factory=dict)

    def render(self, template: str, key: str, values: Mapping[str, Any]) -> str:
        """Return a text with the reference of an idempotency key at its end."""
        return f"{self.plain(template, values)} {reference(key)}"

    def plain(self, template: str, values: Mapping[str, Any], *, is_for_kommo: bool = True) -> str:
        """Return a text without a reference: the result of a task, or a part of an e-mail.

        Whatever buyers and products are called, it is no markup in Kommo's pages.
        """
        shown = {**BLANK, **{name: self._shown(value) for name, value in values.items()}}
        if is_for_kommo:
            shown = {name: _without_markup(value) for name, value in shown.items()}
        environment = _environment(self.language, tuple(sorted(self.overrides.items())))
        return environment.get_template(template).render(shown)[:TEXT_LIMIT]

    def money(self, money: Money) -> str:
        """Return an amount as people write it: `$490.00`, `490,00 €`."""
        return format_money(money, self.locale)

    def moment(self, at: datetime) -> str:
        """Return a time as people write it, to the minute, in the account's zone."""
        return format_datetime(at, format="medium", tzinfo=ZoneInfo(self.zone), locale=self.locale)

    def _shown(self, value: Any) -> Any:
        if isinstance(value, Money):
            return self.money(value)
        if isinstance(value, datetime):
            return format_date(value.astimezone(ZoneInfo(self.zone)).date(), format="medium", locale=self.locale)
        return value


def _without_markup(value: Any) -> Any:
    return value.replace("<", "&lt;").replace(">", "&gt;") if isinstance(value, str) else value


@cache
def words(language: str) -> dict[str, str]:
    """Return the built-in templates of a language, by name."""
    return tomllib.loads((files(__package__) / "words" / f"{language}.toml").read_text(encoding="utf-8"))


@cache
def _environment(language: str, overrides: tuple[tuple[str, str], ...]) -> SandboxedEnvironment:
    templates = {**words("en"), **words(language), **dict(overrides)}
    return SandboxedEnvironment(loader=DictLoader(templates), undefined=StrictUndefined, autoescape=False)


def fault_of(name: str, template: str) -> str | None:
    """Return why a template of the account's own cannot be used; None if it can."""
    if name not in words("en"):
        return "is no text of dealsync"
    texts = Texts(overrides={name: template})
    try:
        for values in (EXAMPLE, {}):
            texts.plain(name, values)
    except (TemplateError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        return f"cannot be used: {error}"
    return None


EXAMPLE: dict[str, Any] = {
    "amount": "$490.00", "refunded": "$10.00", "product": "Pro", "number": 1000, "order_id": "17", "other": 999,
    "asked": "$500.00", "reason": "two deals fit", "deals": "31, 32", "plan": "Pro (Yearly)", "subscription_id": "9",
    "trial_ends": "", "renews_at": "", "ends_at": "", "resumes_at": "", "has_ended": False, "is_living": True,
    "old": "Pro", "new": "Team", "seats": "5", "since": "Jun 1, 2026",
    "url": "https://acme.lemonsqueezy.com/checkout/custom/17", "price": "$490.00", "expires": "", "words": "refused",
    "email": "ann@example.com", "quantity": "5", "store_currency": "EUR", "account_currency": "USD", "lead_id": 31,
    "name": "Ann Example", "company": "Acme", "text": "Paid: $490.00.", "run": "20261128-120000-7f3a9c",
}  # fmt: skip
"""A value for everything that any template may name."""
BLANK: dict[str, Any] = dict.fromkeys(EXAMPLE, "")
"""What is not known where a text is written is nothing, and no reason to write none."""


def reference(key: str) -> str:
    """Return the short reference of an idempotency key, as it stands at the end of a text: `ref 7f3a9c`."""
    return f"ref {hashlib.sha256(key.encode()).hexdigest()[:6]}"


def order_values(order: Order) -> dict[str, Any]:
    """Return what texts may say about an order."""
    return {
        "amount": order.total,
        "refunded": order.refunded,
        "product": product_name(order),
        "number": order.number,
        "order_id": order.id,
    }


def subscription_values(subscription: Subscription) -> dict[str, Any]:
    """Return what texts may say about a subscription. Times that are not known are empty."""
    return {
        "subscription_id": subscription.id,
        "plan": plan_name(subscription.product_name, subscription.variant_name) or "subscription",
        "seats": str(subscription.quantity or ""),
        "renews_at": subscription.renews_at or "",
        "ends_at": subscription.ends_at or "",
        "trial_ends": subscription.trial_ends_at or "",
        "resumes_at": subscription.resumes_at or "",
        "has_ended": subscription.subscription_status == ENDED,
        "is_living": subscription.subscription_status in LIVES,
    }


def invoice_values(invoice: Invoice) -> dict[str, Any]:
    """Return what texts may say about an invoice, besides its subscription."""
    return {"amount": invoice.total, "refunded": invoice.refunded}


@lru_cache(maxsize=10_000)  # prices repeat, and a locale's rules take longer than all else that is said of one
def format_money(money: Money, locale: str) -> str:
    """Return an amount as people in `locale` write it: `$490.00`, `490,00 €`."""
    return format_currency(money.major, money.currency, locale=locale)


def product_name(order: Order) -> str:
    """Return product and variant of an order on one line."""
    return plan_name(order.product_name, order.variant_name) or f"variant {order.variant_id}"


def plan_name(product: str, variant: str) -> str:
    """Return product and variant on one line; Lemon Squeezy calls a product's only variant "Default"."""
    plain = variant in ("", "Default", product)
    name = " ".join((product if plain else f"{product} ({variant})").split())
    return name if len(name) <= NAME_LIMIT else f"{name[: NAME_LIMIT - 1]}…"
