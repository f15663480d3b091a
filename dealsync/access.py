"""Until when dealsync may speak to Kommo, as far as that can be known without asking."""

from __future__ import annotations

from datetime import datetime

from dealsync.apis.kommo.oauth import LOST_AFTER
from dealsync.core.tokens import StoredTokens, jwt_ends_at
from dealsync.settings import Environment, Limits


def kommo_access_ends_at(environment: Environment, limits: Limits, now: datetime) -> datetime | None:
    """Return when the long-lived token ends, or the pair of tokens if no run renews it; None if that is not known."""
    if environment.kommo_token is not None:
        return jwt_ends_at(environment.kommo_token.get_secret_value())
    stored = stored_tokens(environment, limits)
    return None if stored is None else stored.ends_at(LOST_AFTER, now)


def stored_tokens(environment: Environment, limits: Limits) -> StoredTokens | None:
    """Return the OAuth tokens that the database holds; None as long as there are none."""
    return limits.tokens(environment.kommo_origin, environment.kommo_client_id).load()
