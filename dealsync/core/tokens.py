"""A pair of OAuth tokens and what is known about its renewal."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


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
