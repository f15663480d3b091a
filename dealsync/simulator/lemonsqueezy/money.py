"""Amounts as Lemon Squeezy shows them: minor units, the same in US cents, and as text."""

from collections.abc import Mapping
from typing import Any

SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}
USD_RATES = {"USD": "1.00000000", "EUR": "1.08412300", "GBP": "1.27487800"}


def formatted(minor: int, currency: str) -> str:
    """Return minor units as text: `$1,199.00`, `-£0.01`, `PLN575.99` (reference, section 3 "Money")."""
    sign = "-" if minor < 0 else ""
    return f"{sign}{SYMBOLS.get(currency, currency)}{abs(minor) / 100:,.2f}"


def rate_to_usd(currency: str) -> str:
    """Return order currency -> USD with 8 decimals; 1 for a currency we have no rate for."""
    return USD_RATES.get(currency, "1.00000000")


def money_attributes(amounts: Mapping[str, int], currency: str) -> dict[str, Any]:
    """Return each amount three times: as given, `…_usd` (each rounded by itself), `…_formatted`."""
    rate = float(rate_to_usd(currency))
    return {
        **amounts,
        **{f"{name}_usd": round(minor * rate) for name, minor in amounts.items()},
        **{f"{name}_formatted": formatted(minor, currency) for name, minor in amounts.items()},
    }
