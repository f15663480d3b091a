"""What may tell which deal a payment belongs to, besides Lemon Squeezy's and Kommo's own objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

LEAD_ID_KEY = "kommo_lead_id"
"""The key of a checkout's custom data under which the deal's id travels."""
CHECKOUT_KEY = "dealsync_checkout"
"""The key under which a checkout of ours carries its mark: what it was asked for, see `core.checkouts`."""
GREATEST_LEAD_ID = 2**63 - 1


class HintKind(StrEnum):
    """Where a hint is from; the values are those of the tiers that it feeds."""

    EXPLICIT = "explicit"  # a verified webhook
    CLAIM = "claim"  # the buyer's visit to our claim link


class Sender(StrEnum):
    """Who sends a webhook."""

    LEMON_SQUEEZY = "lemon_squeezy"
    KOMMO = "kommo"


@dataclass(frozen=True, slots=True)
class Event:
    """A verified webhook: which object it speaks of, and the custom data that it carries.

    Of Kommo, `object_type` and `event_name` are as in its keys: `leads`, `leads.status`; `custom` has what else it
    tells of a deal.
    """

    event_id: str
    event_name: str
    object_type: str  # orders, subscriptions, subscription-invoices, license-keys, ...; of Kommo leads, contacts, ...
    object_id: str
    order_id: str | None
    subscription_id: str | None
    store_id: str | None
    test_mode: bool
    custom: Mapping[str, str] = field(default_factory=dict, hash=False)
    sender: Sender = Sender.LEMON_SQUEEZY
    object_created_at: datetime | None = None  # by the body
    object_updated_at: datetime | None = None  # the same; None if it tells none


@dataclass(frozen=True, slots=True)
class Claim:
    """A visit to a claim link: the link names the deal, the visitor's address the order that was paid through it."""

    nonce: str
    order_id: str
    order_identifier: str  # UUID; no guess
    lead_id: int
    variant_id: str
    issued_at: datetime


@dataclass(frozen=True, slots=True)
class IssuedCheckout:
    """A checkout with a deal's id in its custom data, whoever made it."""

    checkout_id: str
    store_id: str
    variant_id: str
    lead_text: str
    email: str  # normalised; empty if none was given
    custom_price: int | None  # minor units of the store's currency
    url: str
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None
    test_mode: bool
    custom: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def mark(self) -> str:
        """What dealsync opened it for; empty for a checkout of somebody else."""
        return self.custom.get(CHECKOUT_KEY, "")


def lead_id_in(text: str) -> int | None:
    """Return the id that a text holds; None for a text that is no id ("abc", "", "12 34", 10^30, "0")."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > len(str(GREATEST_LEAD_ID)):
        return None
    lead_id = int(digits)
    return lead_id if 0 < lead_id <= GREATEST_LEAD_ID else None
