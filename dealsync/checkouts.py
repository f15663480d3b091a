"""Checkouts as evidence: one with a deal's id in its custom data tells whom a payment through it is for."""

from __future__ import annotations

from dealsync.apis.lemonsqueezy.values import Checkout
from dealsync.core.evidence import LEAD_ID_KEY, IssuedCheckout
from dealsync.core.models import normal_email


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
