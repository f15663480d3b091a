"""Where people find a deal or an order in their browser."""

from __future__ import annotations


def order_url(order_id: str) -> str:
    """Return the page of an order in the Lemon Squeezy dashboard."""
    return f"https://app.lemonsqueezy.com/orders/{order_id}"


def deal_url(kommo_url: str, lead_id: int) -> str:
    """Return the page of a deal; `kommo_url` is the account's own (`Environment.kommo_url`)."""
    return f"{kommo_url}/leads/detail/{lead_id}"
