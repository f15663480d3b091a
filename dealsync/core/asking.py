"""A deal -> the checkout that it asks for, or what stands in its way."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from email_validator import EmailNotValidError, validate_email

from dealsync.core.mapping import other_field
from dealsync.core.models import Contact, Deal, Money, minor_digits
from dealsync.core.plan import CheckoutWish
from dealsync.core.policy import CheckoutPolicy, Policy, VariantRule

OWNER, PIPELINE, PRICE = "@owner", "@pipeline", "@price"
WORDS = (OWNER, PIPELINE, PRICE)
"""What custom data can hold besides fields of the deal: the owner's id, the pipeline's, the price."""
MOST_PIECES = 10_000
_COUNT = re.compile(r"\d{1,5}(\.0+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why no checkout can be opened: the name of a flag, words without personal data, values for its text."""

    name: str
    words: str
    values: Mapping[str, Any] = field(default_factory=dict)


def asked(
    deal: Deal, contact: Contact | None, policy: Policy, currencies: Mapping[str, str]
) -> CheckoutWish | Obstacle:
    """Return what a deal asks for. `currencies`: of the stores, by id."""
    email = _email_of(contact)
    if isinstance(email, Obstacle):
        return email
    rule = _rule_for(deal, policy.checkout)
    if rule is None:
        return Obstacle("no-variant", "nothing says what is sold: no rule of checkout.variants fits, and no default")
    quantity = _quantity(deal, policy.checkout)
    if isinstance(quantity, Obstacle):
        return quantity
    price = _price(deal, quantity, rule.store_id, policy, currencies)
    if isinstance(price, Obstacle):
        return price
    return CheckoutWish(
        lead_id=deal.lead_id,
        store_id=rule.store_id,
        variant_id=rule.variant_id,
        email=email,
        name=contact.name.strip() if contact else "",
        quantity=quantity,
        custom_price=price,
        discount_code=_field(deal, policy.checkout.discount_field),
        custom={key: text for key, source in policy.checkout.custom.items() if (text := _custom(deal, source, policy))},
    )


def _email_of(contact: Contact | None) -> str | Obstacle:
    """The first address that mail can be sent to."""
    if contact is None or contact.is_deleted:
        return Obstacle("no-contact", "it has no contact")
    if not contact.emails:
        return Obstacle("no-email", "its contact has no e-mail")
    for email in contact.typed or contact.emails:
        try:
            # .test is let through: nobody mistypes it, and trials use it.
            validate_email(email, check_deliverability=False, test_environment=True)
        except EmailNotValidError:
            continue
        return email
    return Obstacle("bad-email", "its contact's e-mail is no e-mail", {"email": contact.emails[0]})


def _rule_for(deal: Deal, policy: CheckoutPolicy) -> VariantRule | None:
    default = VariantRule(policy.store_id, policy.variant_id) if policy.variant_id else None
    return next((rule for rule in policy.rules if _fits(rule, deal)), default)


def _fits(rule: VariantRule, deal: Deal) -> bool:
    return (
        rule.pipeline_id in (None, deal.pipeline_id)
        and (not rule.tag or rule.tag.casefold() in {tag.casefold() for tag in deal.tags})
        and (rule.field_id is None or _field(deal, rule.field_id).casefold() == rule.value.strip().casefold())
    )


def _quantity(deal: Deal, policy: CheckoutPolicy) -> int | Obstacle:
    text = _field(deal, policy.quantity_field)
    if not text:
        return 1
    count = int(text.partition(".")[0]) if _COUNT.fullmatch(text) else 0
    if not 0 < count <= MOST_PIECES:
        return Obstacle("bad-quantity", "its quantity is no number from 1 up", {"quantity": text[:40]})
    return count


def _price(
    deal: Deal, quantity: int, store_id: str, policy: Policy, currencies: Mapping[str, str]
) -> Money | Obstacle | None:
    """The price of one, where the deal's price is charged."""
    section, price = policy.checkout, policy.asked_of(deal)
    if price.minor <= 0 and (section.custom_price or not section.sells_without_price):
        return Obstacle("no-price", "it has no price")
    if not section.custom_price:
        return None
    if currencies.get(store_id) != policy.account_currency:
        theirs = {"store_currency": currencies.get(store_id, "unknown"), "account_currency": policy.account_currency}
        return Obstacle("other-currency", "the store sells in another currency than the deal's price is in", theirs)
    if policy.flags_zero_decimal and not minor_digits(price.currency):
        return Obstacle("no-cents", "its currency has no cents, and how Lemon Squeezy counts it is not confirmed")
    each, rest = divmod(price.minor, quantity)
    if rest:
        return Obstacle("uneven-price", "its price cannot be divided by its quantity", {"quantity": str(quantity)})
    return Money(each, price.currency)


def _custom(deal: Deal, source: int | str, policy: Policy) -> str:
    if isinstance(source, int):
        return _field(deal, source)
    values = {
        OWNER: str(deal.responsible_user_id or ""),
        PIPELINE: str(deal.pipeline_id),
        PRICE: str(policy.asked_of(deal).major),
    }
    return values[source]


def _field(deal: Deal, field_id: int | None) -> str:
    return "" if field_id is None else deal.fields.get(other_field(field_id), "").strip()
