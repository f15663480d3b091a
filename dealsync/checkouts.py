"""Checkouts for deals: opened with the deal's id and a claim link, and kept as evidence of whom a payment is for."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from dealsync.apis.lemonsqueezy.values import Checkout, NewCheckout
from dealsync.core.claims import ClaimToken, claim_url
from dealsync.core.evidence import LEAD_ID_KEY, IssuedCheckout
from dealsync.core.models import Money, normal_email
from dealsync.errors import UnexpectedAnswer
from dealsync.ledger.keys import claim_key
from dealsync.ledger.runs import utc_now
from dealsync.run import Run

NONCE_BYTES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutWish:
    """A checkout for one deal. `custom` is more custom data, which comes back in webhooks as text."""

    lead_id: int
    store_id: str
    variant_id: str
    email: str = ""
    name: str = ""
    custom_price: Money | None = None  # in the store's currency
    expires_at: datetime | None = None
    custom: Mapping[str, str] = field(default_factory=dict, hash=False)


async def open_checkout(run: Run, wish: CheckoutWish) -> IssuedCheckout:
    """Make a checkout for a deal and keep it as evidence. Where the receiver has an address, it has a claim link.

    Never repeated blind. Raises as `LemonSqueezy.create_checkout`.
    """
    link = _claim_link(run, wish)
    made = await run.lemon_squeezy.create_checkout(
        NewCheckout(
            store_id=wish.store_id,
            variant_id=wish.variant_id,
            custom={**wish.custom, LEAD_ID_KEY: str(wish.lead_id)},
            email=wish.email or None,
            name=wish.name or None,
            custom_price=wish.custom_price,
            expires_at=wish.expires_at,
            redirect_url=link,
            receipt_link_url=link,
        )
    )
    checkout = issued(made)
    if checkout is None:
        raise UnexpectedAnswer(f"Checkout {made.id} came back without the id of deal {wish.lead_id}")
    run.store.evidence.keep_checkouts([checkout])
    return checkout


def _claim_link(run: Run, wish: CheckoutWish) -> str | None:
    origin = run.settings.config.receiver.url
    if not origin:
        return None
    token = ClaimToken(secrets.token_urlsafe(NONCE_BYTES), wish.lead_id, wish.variant_id, utc_now())
    return claim_url(origin, token, claim_key(run.store.limits.database))


def issued(checkout: Checkout) -> IssuedCheckout | None:
    """Return a checkout as evidence; None for one that names no deal."""
    if LEAD_ID_KEY not in checkout.custom:
        return None
    return IssuedCheckout(
        checkout_id=checkout.id,
        store_id=checkout.store_id,
        variant_id=checkout.variant_id,
        lead_text=checkout.custom[LEAD_ID_KEY],
        email=normal_email(checkout.email),
        custom_price=checkout.custom_price,
        url=checkout.url,
        created_at=checkout.created_at,
        updated_at=checkout.updated_at,
        expires_at=checkout.expires_at,
        test_mode=checkout.test_mode,
        custom=checkout.custom,
    )
