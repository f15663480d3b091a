from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dealsync.core.claims import ClaimToken, claim_of, claim_url
from dealsync.core.evidence import Claim
from tests.builders import RECEIPT

KEY = b"k" * 32
TOKEN = ClaimToken("nonce", 31, "77", datetime(2026, 6, 1, 12, tzinfo=UTC))
LINK = claim_url("https://deals.example/", TOKEN, KEY)


def visited(link: str = LINK, order_id: str = "17", identifier: str = RECEIPT) -> dict[str, str]:
    """The query of a visit after Lemon Squeezy has put its values in."""
    filled = link.replace("[order_id]", order_id).replace("[order_identifier]", identifier)
    return dict(parse_qsl(urlsplit(filled).query))


def test_claim__a_link_that_was_filled_in_names_deal_and_order() -> None:
    assert claim_of(visited(), KEY) == Claim("nonce", "17", RECEIPT, 31, "77", TOKEN.issued_at)


def test_claim_url__leaves_the_variables_to_lemon_squeezy() -> None:
    assert LINK.startswith("https://deals.example/claim?t=")
    assert LINK.endswith("&order=[order_id]&id=[order_identifier]")


def test_claim__identifiers_are_compared_in_one_form() -> None:
    claim = claim_of(visited(identifier=RECEIPT.upper()), KEY)
    assert claim is not None
    assert claim.order_identifier == RECEIPT


@pytest.mark.parametrize(
    "query",
    [
        {},
        visited(order_id="[order_id]"),
        visited(identifier="[order_identifier]"),
        visited(order_id="abc"),
        visited(order_id="1" * 19),
        visited(order_id="-1"),
        visited() | {"t": ""},
        visited(claim_url("https://deals.example", TOKEN, b"another key")),
        visited(claim_url("https://deals.example", ClaimToken("n", -1, "77", TOKEN.issued_at), KEY)),
    ],
)
def test_claim__a_link_that_is_not_whole_claims_nothing(query: dict[str, str]) -> None:
    assert claim_of(query, KEY) is None


@given(place=st.integers(0, 200), character=st.characters(codec="ascii"))
def test_claim__a_token_with_another_character_claims_nothing(place: int, character: str) -> None:
    query = visited()
    place %= len(query["t"])
    forged = query["t"][:place] + character + query["t"][place + 1 :]
    assert forged == query["t"] or claim_of(query | {"t": forged}, KEY) is None


@given(st.text())
def test_claim__any_text_for_a_token_claims_nothing(text: str) -> None:
    assert claim_of(visited() | {"t": text}, KEY) is None
