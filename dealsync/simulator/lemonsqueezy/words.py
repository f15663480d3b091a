"""Texts and addresses that several objects share."""

STORE_URL = "https://simulated-store.lemonsqueezy.com"
APP_URL = "https://app.lemonsqueezy.com"
SIGNATURE = "0" * 64  # signed links carry one; ours is obviously none
STATUS_TEXTS = {
    "partial_refund": "Partial Refund",
    "partial_refunded": "Partial Refunded",
    "past_due": "Past Due",
    "on_trial": "On Trial",
}
COUNTRIES = {"US": "United States", "GB": "United Kingdom", "DE": "Germany", "FR": "France", "PL": "Poland"}


def status_formatted(status: str) -> str:
    """Return the status as people read it."""
    return STATUS_TEXTS.get(status, status.capitalize())
