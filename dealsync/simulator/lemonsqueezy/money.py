"""Amounts as Lemon Squeezy shows them: minor units, the same in US cents, and as text."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}
USD_RATES = {"USD": "1.00000000", "EUR": "1.08412300", "GBP": "1.27487800"}


@lru_cache(maxsize=4096)  # a store has few prices
def formatted(minor: int, currency: str) -> str:
    """Return minor units as text: `$1,199.00`, `-£0.01`, `PLN575.99` (reference, section 5 "Money")."""
    sign = "-" if minor < 0 else ""
    return f"{sign}{SYMBOLS.get(currency, currency)}{abs(minor) / 100:,.2f}"


def rate_to_usd(currency: str) -> str:
    """Return order currency -> USD with 8 decimals; 1 for a currency we have no rate for."""
    return USD_RATES.get(currency, "1.00000000")


def money_attributes(amounts: Mapping[str, int], currency: str, rate: str | None = None) -> dict[str, Any]:
    """Return each amount three times: as given, `…_usd` (each rounded by itself), `…_formatted`.

    `rate` to USD is today's unless one is given: an invoice keeps that of the first purchase.
    """
    factor = float(rate_to_usd(currency) if rate is None else rate)
    return dict(_three_ways(tuple(amounts.items()), currency, factor))


@lru_cache(maxsize=4096)  # a store has few prices
def _three_ways(amounts: tuple[tuple[str, int], ...], currency: str, factor: float) -> dict[str, Any]:
    return {
        **dict(amounts),
        **{f"{name}_usd": round(minor * factor) for name, minor in amounts},
        **{f"{name}_formatted": formatted(minor, currency) for name, minor in amounts},
    }
