"""Request bodies of what is made: texts for custom values, nothing that is empty, nothing that is null."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dealsync.apis.lemonsqueezy import render
from dealsync.apis.lemonsqueezy.values import NewCheckout
from dealsync.core.models import Money
from dealsync.errors import ConfigError
from tests.unit.apis import samples

PLAIN: dict[str, Any] = {"store_id": "51385", "variant_id": "149091", "only_this_variant": False}


def attributes(**wanted: Any) -> dict[str, Any]:
    body = render.checkout(NewCheckout(**{**PLAIN, **wanted}))
    found: dict[str, Any] = body["data"]["attributes"]
    return found


def test_checkout__of_nothing_but_a_variant_is_the_recorded_request_without_a_preview() -> None:
    body = render.checkout(NewCheckout(store_id="51385", variant_id="149091", only_this_variant=False))
    recorded = samples.exchange("checkout-create")["request"]["body"]["data"]
    assert body["data"] == {**recorded, "attributes": {"preview": False}}


def test_checkout__of_everything() -> None:
    found = attributes(
        custom={"kommo_lead_id": 31, "utm_source": "mail", "plan": None},
        email="ann@example.com",
        name="Ann",
        discount_code="TEN",
        custom_price=Money(49000, "USD"),
        quantity=3,
        expires_at=datetime(2026, 6, 1, 14, tzinfo=timezone(timedelta(hours=2))),
        redirect_url="https://example.com/claim?order=[order_id]",
        receipt_button_text="Back",
        receipt_link_url="https://example.com",
        receipt_thank_you_note="Thanks",
        only_this_variant=True,
    )
    assert found == {
        "custom_price": 49000,
        "product_options": {
            "redirect_url": "https://example.com/claim?order=[order_id]",
            "receipt_button_text": "Back",
            "receipt_link_url": "https://example.com",
            "receipt_thank_you_note": "Thanks",
            "enabled_variants": [149091],
        },
        "checkout_data": {
            "email": "ann@example.com",
            "name": "Ann",
            "discount_code": "TEN",
            "custom": {"kommo_lead_id": "31", "utm_source": "mail"},
            "variant_quantities": [{"variant_id": 149091, "quantity": 3}],
        },
        "expires_at": "2026-06-01T12:00:00.000000Z",
        "preview": False,
    }


def test_checkout__puts_the_quantity_where_the_assumption_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "LS_CHECKOUT_QUANTITY_PER_VARIANT", False)
    assert attributes(quantity=3) == {"checkout_options": {"quantity": 3}, "preview": False}


def test_checkout__of_a_price_of_nothing_says_so() -> None:
    assert attributes(custom_price=Money(0, "USD"))["custom_price"] == 0


@given(st.dictionaries(st.text(min_size=1), st.none() | st.integers() | st.text()))
def test_checkout__sends_custom_values_as_texts_and_no_empty_one(custom: dict[str, Any]) -> None:
    sent = attributes(custom=custom).get("checkout_data", {}).get("custom", {})
    assert all(isinstance(value, str) and value.strip() for value in sent.values())
    assert sent.keys() <= custom.keys()
    assert {key for key, value in custom.items() if isinstance(value, int)} <= sent.keys()


@pytest.mark.parametrize("nothing", [None, "", "  "])
def test_checkout__leaves_out_what_is_empty(nothing: Any) -> None:
    assert attributes(email=nothing, name=nothing, redirect_url=nothing, custom={"x": nothing}) == {"preview": False}


def test_checkout__trims_ids() -> None:
    """A line feed behind an id makes it unknown. Source: reference, "Writes"."""
    body = render.checkout(NewCheckout(store_id=" 51385\n", variant_id="149091\n"))
    ids = [body["data"]["relationships"][name]["data"]["id"] for name in ("store", "variant")]
    assert ids == ["51385", "149091"]


@pytest.mark.parametrize("odd", ["", "abc", "1.5", "²"])
def test_checkout__refuses_a_variant_that_is_no_number(odd: str) -> None:
    with pytest.raises(ConfigError, match="is no id of a variant"):
        attributes(variant_id=odd, only_this_variant=True)


def test_checkout__refuses_a_naive_end() -> None:
    with pytest.raises(ValueError, match="naive"):
        attributes(expires_at=datetime(2026, 6, 1))  # noqa: DTZ001 - naive on purpose
    assert attributes(expires_at=datetime(2026, 6, 1, tzinfo=UTC))["expires_at"] == "2026-06-01T00:00:00.000000Z"


def test_webhook__is_the_recorded_request() -> None:
    body = render.webhook(
        store_id="51385", url="http://localhost:3000/webhook", events=["order_created"], secret="abc123"
    )
    assert body == samples.exchange("webhook-create")["request"]["body"]
