"""The right to exchange a code or to renew a pair goes to one process, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from dealsync.core.tokens import StoredTokens, TokenPair
from dealsync.ledger.tokens import Tokens

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PAIR = TokenPair("a1", "r1", NOW + timedelta(days=1))
LOST_AFTER = timedelta(seconds=60)


@pytest.fixture
def tokens(engine: Engine) -> Tokens:
    return Tokens(engine, "kommo https://acme.example client", lambda: NOW)


def later(engine: Engine, seconds: float) -> Tokens:
    return Tokens(engine, "kommo https://acme.example client", lambda: NOW + timedelta(seconds=seconds))


def test_code__is_claimed_by_one_of_many(tokens: Tokens) -> None:
    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(lambda _: tokens.claim_code("digest", lost_after=LOST_AFTER), range(8)))
    assert sorted(won) == [False] * 7 + [True]
    assert tokens.load() == StoredTokens(None, frozenset({"digest"}), NOW)


def test_code__that_was_not_sent_after_all_can_be_claimed_again(tokens: Tokens, engine: Engine) -> None:
    assert tokens.claim_code("digest", lost_after=LOST_AFTER)
    tokens.release("digest")
    assert tokens.load() == StoredTokens(None, frozenset(), None)
    assert tokens.claim_code("digest", lost_after=LOST_AFTER)
    assert not later(engine, 59).claim_code("other", lost_after=LOST_AFTER)
    assert later(engine, 60).claim_code("other", lost_after=LOST_AFTER)


def test_code__that_was_ever_sent_is_never_claimed_again(tokens: Tokens, engine: Engine) -> None:
    assert tokens.claim_code("digest", lost_after=LOST_AFTER)
    tokens.store(PAIR)
    assert tokens.load() == StoredTokens(PAIR, frozenset({"digest"}), None)
    assert not later(engine, 9999).claim_code("digest", lost_after=LOST_AFTER)
    assert tokens.claim_code("other", lost_after=LOST_AFTER)
    tokens.release()
    assert not later(engine, 9999).claim_code("other", lost_after=LOST_AFTER)
    assert not later(engine, 9999).claim_code("digest", lost_after=LOST_AFTER)


def test_renewal__is_claimed_by_one_of_many_and_only_for_the_present_pair(tokens: Tokens) -> None:
    tokens.claim_code("digest", lost_after=LOST_AFTER)
    tokens.store(PAIR)
    assert not tokens.claim_renewal("an older one")
    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(lambda _: tokens.claim_renewal("r1"), range(8)))
    assert sorted(won) == [False] * 7 + [True]
    tokens.release()
    assert tokens.load() == StoredTokens(PAIR, frozenset({"digest"}), None), "giving back a renewal keeps the pair"


def test_pair__does_not_show_in_a_repr(tokens: Tokens) -> None:
    tokens.claim_code("digest", lost_after=LOST_AFTER)
    tokens.store(PAIR)
    shown = repr(tokens.load())
    assert "a1" not in shown
    assert "r1" not in shown
