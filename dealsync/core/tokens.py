"""A pair of OAuth tokens and what is known about its renewal."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

ACCESS_LIFE, REFRESH_LIFE = timedelta(hours=24), timedelta(days=90)
"""How long a pair gives access, and how long it can be renewed. Source: Kommo reference, "Authorisation"."""


@dataclass(frozen=True, slots=True)
class TokenPair:
    """Tokens as the API gave them; they never show in a repr. `expires_at` is that of the access token."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class StoredTokens:
    """What all processes know. `renewing_since` is set while a renewal is under way, or when its answer was lost.

    `pair` is None until the first exchange has succeeded.
    """

    pair: TokenPair | None
    codes: frozenset[str]  # digests of the authorisation codes that were ever sent
    renewing_since: datetime | None

    def ends_at(self, lost_after: timedelta, now: datetime) -> datetime | None:
        """Return when access ends, if no run renews it; None as long as there is no pair.

        A renewal whose answer was lost cannot be repeated: then it ends with the access token.
        """
        if self.pair is None:
            return None
        if self.renewing_since and now - self.renewing_since > lost_after:
            return self.pair.expires_at
        return self.pair.expires_at - ACCESS_LIFE + REFRESH_LIFE


def jwt_ends_at(token: str) -> datetime | None:
    """Return when a token ends by its own claim; None for one that is no JWT, or does not tell. Nothing is verified."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        ends = claims["exp"] if isinstance(claims, dict) else None
        return datetime.fromtimestamp(ends, UTC) if isinstance(ends, int | float) else None
    except (binascii.Error, ValueError, KeyError, OverflowError, OSError):
        return None
