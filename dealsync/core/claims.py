"""The claim link of a checkout: signed by us, completed by Lemon Squeezy with the order, visited by the buyer.

The token names the deal; the address names the order and the identifier that only its receipt has. A visit is evidence
and no more: the order is read from Lemon Squeezy, and must fit (`core.tiers.claim`).
Source of the variables: Lemon Squeezy reference, section 8, "Ways around it", 4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from itsdangerous import BadData, URLSafeSerializer

from dealsync.core.evidence import GREATEST_LEAD_ID, Claim

PATH = "/claim"
VARIABLES = "order=[order_id]&id=[order_identifier]"
"""Lemon Squeezy puts the values in; brackets that come back as they are mean that nothing was bought."""
LONGEST_ORDER_ID = 18


@dataclass(frozen=True, slots=True)
class ClaimToken:
    """What a claim link is signed for. `nonce` is its own: a link claims an order once."""

    nonce: str
    lead_id: int
    variant_id: str
    issued_at: datetime


def claim_url(origin: str, token: ClaimToken, key: bytes) -> str:
    """Return the link for a checkout's `redirect_url` and `receipt_link_url`, with its variables in brackets."""
    signed = [token.nonce, token.lead_id, token.variant_id, int(token.issued_at.timestamp())]
    return f"{origin.rstrip('/')}{PATH}?t={_serializer(key).dumps(signed)}&{VARIABLES}"


def claim_of(query: Mapping[str, str], key: bytes) -> Claim | None:
    """Return the claim that a visit makes; None for a link that is forged, cut off, or was never filled in."""
    token = _token(query.get("t", ""), key)
    order_id, identifier = query.get("order", "").strip(), _identifier(query.get("id", ""))
    is_id = order_id.isascii() and order_id.isdecimal() and len(order_id) <= LONGEST_ORDER_ID
    if token is None or identifier is None or not is_id:
        return None
    return Claim(token.nonce, order_id, identifier, token.lead_id, token.variant_id, token.issued_at)


def _token(text: str, key: bytes) -> ClaimToken | None:
    try:
        nonce, lead_id, variant_id, seconds = _serializer(key).loads(text)
        token = ClaimToken(str(nonce), int(lead_id), str(variant_id), datetime.fromtimestamp(int(seconds), UTC))
    except (BadData, ValueError, TypeError, OverflowError):
        return None
    return token if 0 < token.lead_id <= GREATEST_LEAD_ID else None


def _identifier(text: str) -> str | None:
    try:
        return str(UUID(text.strip()))
    except ValueError:
        return None


def _serializer(key: bytes) -> URLSafeSerializer:
    return URLSafeSerializer(key, salt="claim", signer_kwargs={"digest_method": hashlib.sha256})
