"""When access ends: told by a token itself, or by what is known of a pair."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dealsync.core.tokens import ACCESS_LIFE, REFRESH_LIFE, StoredTokens, TokenPair, jwt_ends_at
from tests.builders import NOW
from tests.checks.world import jwt

LOST_AFTER = timedelta(minutes=3)


def test_jwt__tells_when_it_ends() -> None:
    assert jwt_ends_at(jwt(NOW)) == NOW.replace(microsecond=0)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "an-opaque-token",
        "a.b.c",
        "a.!!!.c",
        "a.e30.c",  # {}
        "a.W10.c",  # []
        "a.eyJleHAiOiAic29vbiJ9.c",  # {"exp": "soon"}
        "a.eyJleHAiOiAxZTk5fQ.c",  # {"exp": 1e99}
        "a.eyJleHAiOiBOYU59.c",  # {"exp": NaN}
        "ä.ö.ü",
    ],
)
def test_jwt__that_is_none_or_does_not_tell_has_no_end(token: str) -> None:
    assert jwt_ends_at(token) is None


def test_pair__lasts_as_long_as_it_can_be_renewed() -> None:
    pair = TokenPair("a", "r", NOW + ACCESS_LIFE)
    assert StoredTokens(pair, frozenset(), None).ends_at(LOST_AFTER, NOW) == NOW + REFRESH_LIFE
    renewing = StoredTokens(pair, frozenset(), NOW)
    assert renewing.ends_at(LOST_AFTER, NOW + timedelta(minutes=2)) == NOW + REFRESH_LIFE
    assert renewing.ends_at(LOST_AFTER, NOW + timedelta(minutes=4)) == NOW + ACCESS_LIFE
    assert StoredTokens(None, frozenset(), NOW).ends_at(LOST_AFTER, NOW) is None
